package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// listening has the service hear of what happens in the database, as the daemon's
// worker does.
func (s *service) listening() *service {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var listener sync.WaitGroup
	listener.Go(func() { s.store.Listen(ctx, s.worker.Wake) })
	s.t.Cleanup(func() {
		cancel()
		listener.Wait()
	})
	return s
}

// waiting makes a request that is held, and returns once it is.
func (s *service) waiting(path, token string, headers ...string) <-chan answer {
	s.t.Helper()
	came := make(chan answer, 1)
	go func() { came <- s.do("GET", customers+path, token, "", headers...) }()
	select {
	case <-s.waits:
	case a := <-came:
		s.t.Fatalf("did not wait: %d %s", a.status, a.body)
	}
	return came
}

func TestR18AWaitEndsWhenTheCustomerIsActive(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	user, ada := s.person("ada@example.com", true)
	id := s.create("ada@example.com")
	const wait = "wait_for=active&timeout=60s"
	var held []<-chan answer
	for _, path := range []string{"/" + id + "?" + wait, "/me?" + wait, "?email_address=ada@example.com&" + wait} {
		held = append(held, s.waiting(path, ada), s.waiting(path, ada))
	}
	s.do("PATCH", customers+"/"+id, s.machine(), `{"auth_user_id":"`+user.ID+`"}`).want(t, 200, "")
	for _, one := range held {
		a := <-one
		if got := a.data(t); got["customer_lifecycle"] != "active" || got["auth_user_id"] != user.ID || a.header.Get("ETag") == "" {
			t.Errorf("got %v, ETag %q", got, a.header.Get("ETag"))
		}
	}
	if got := s.do("GET", customers+"/"+id+"?"+wait, ada, "").data(t); got["customer_lifecycle"] != "active" {
		t.Errorf("an active customer is waited for: %v", got)
	}
}

func TestR18AWaitEndsWhenTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	id := s.create("ada@example.com")
	for _, timeout := range []string{"0s", "1ms"} {
		a := s.do("GET", customers+"/"+id+"?wait_for=active&timeout="+timeout, s.machine(), "")
		if got := a.data(t); got["customer_lifecycle"] != "auth_pending" {
			t.Errorf("after %s: %v", timeout, got)
		}
		s.do("GET", customers+"/"+id+"?wait_for=active&timeout="+timeout, s.machine(), "", "If-None-Match", a.header.Get("ETag")).
			wantStatus(t, http.StatusNotModified)
	}
}

func TestR18AWaitOutlastsTheDeadlineForReadingTheRequest(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	id := s.create("ada@example.com")
	impatient := httptest.NewUnstartedServer(s.handler)
	impatient.Config.ReadTimeout = 300 * time.Millisecond
	impatient.Start()
	t.Cleanup(impatient.Close)
	s.url = impatient.URL
	a := s.do("GET", customers+"/"+id+"?wait_for=active&timeout=600ms", s.machine(), "")
	if got := a.data(t); got["customer_lifecycle"] != "auth_pending" {
		t.Errorf("got %v", got)
	}
}

func (a answer) wantStatus(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
}

func TestR18AWaitEndsWhenTheCustomerIsClosed(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	id := s.create("ada@example.com")
	held := s.waiting("/"+id+"?wait_for=active&timeout=60s", s.machine())
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 200, "")
	if got := (<-held).data(t); got["customer_lifecycle"] != "inactive" {
		t.Errorf("got %v", got)
	}
	if got := s.do("GET", customers+"/"+id+"?wait_for=active&timeout=60s", s.machine(), "").data(t); got["customer_lifecycle"] != "inactive" {
		t.Errorf("a closed customer is waited for: %v", got)
	}
}

func TestR18WhoWaitsForACustomerThatIsLinkedToAnotherSeesItNoMore(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	_, ada := s.person("ada@example.com", true)
	id := s.create("ada@example.com")
	held := s.waiting("/"+id+"?wait_for=active&timeout=60s", ada)
	s.do("PATCH", customers+"/"+id, s.machine(), `{"auth_user_id":"auth0|somebody-else"}`).want(t, 200, "")
	(<-held).want(t, 404, "customer_not_found")
}

func TestR18ABadWaitIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	tests := map[string]struct{ query, field string }{
		"another lifecycle":       {"wait_for=inactive", "wait_for"},
		"another case":            {"wait_for=Active", "wait_for"},
		"a timeout alone":         {"timeout=5s", "timeout"},
		"beyond the longest":      {"wait_for=active&timeout=60.001s", "timeout"},
		"negative":                {"wait_for=active&timeout=-1s", "timeout"},
		"without a unit":          {"wait_for=active&timeout=20", "timeout"},
		"not a time":              {"wait_for=active&timeout=soon", "timeout"},
		"beyond what fits":        {"wait_for=active&timeout=9999999999h", "timeout"},
		"twice":                   {"wait_for=active&wait_for=active", "wait_for"},
		"empty":                   {"wait_for=", "wait_for"},
		"an empty timeout":        {"wait_for=active&timeout=", "timeout"},
		"an address beside an id": {"wait_for=active&email_address=ada@example.com", "email_address"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.do("GET", customers+"/"+id+"?"+test.query, s.machine(), "")
			a.want(t, http.StatusBadRequest, "invalid_query")
			if !strings.Contains(a.body, `"field":"`+test.field+`"`) {
				t.Errorf("does not name %s: %s", test.field, a.body)
			}
		})
	}
	s.do("GET", customers+"?wait_for=active", s.machine(), "").want(t, http.StatusBadRequest, "invalid_query")
	s.do("GET", customers+"/00000000-0000-7000-8000-000000000000?wait_for=active&timeout=60s", s.machine(), "").want(t, 404, "customer_not_found")
}

func TestR18AClientThatHangsUpIsForgotten(t *testing.T) {
	t.Parallel()
	s := newService(t).listening()
	id := s.create("ada@example.com")
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+customers+"/"+id+"?wait_for=active&timeout=60s", nil)
	must(t, err)
	req.Header.Set("Ahiko-App-Id", s.appKey)
	req.Header.Set("Authorization", "Bearer "+s.machine())
	go func() {
		<-s.waits
		hangUp()
	}()
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Errorf("answered %d", res.StatusCode)
	}
	<-s.left
}

func TestR18AServerThatStopsAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	var held []<-chan answer
	for range 20 {
		held = append(held, s.waiting("/"+id+"?wait_for=active&timeout=60s", s.machine()))
	}
	s.stop()
	for _, one := range held {
		if got := (<-one).data(t); got["customer_lifecycle"] != string(customer.AuthPending) {
			t.Errorf("got %v", got)
		}
	}
}
