package worker_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// streamed is a world whose Event Stream was made by setup; broken says what its
// webhook answers instead of taking deliveries.
func streamed(t *testing.T, o auth0sim.Options) (w world, broken *atomic.Int32) {
	t.Helper()
	o.AllowHTTP = true
	o.Wait = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	w, broken = newWorld(t, o, auth0sync.Policy{}), &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		if status := broken.Load(); status != 0 {
			rw.WriteHeader(int(status))
		} else if _, err := w.Deliver(r.Context(), r.Header, body); err != nil {
			rw.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	d := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: w.tenant.Issuer(), ClientID: "sim-client", ClientSecret: "sim-secret", Share: 1, Metrics: prometheus.NewRegistry(),
	})
	must(t, d.SetUp(t.Context(), auth0sync.Setup{URL: server.URL, Stream: true, Token: streamToken, Tell: func(auth0sync.Step) {}}))
	return w, broken
}

func TestFailedDeliveriesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{})
	id := w.enroll(t, "ada@example.com")
	broken.Store(500)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.tenant.Settle()
	broken.Store(0)
	must(t, w.Watch(t.Context()))
	w.tenant.Settle()
	w.run(t)
	if c := w.get(t, id); c.Lifecycle != customer.Active {
		t.Errorf("%+v", c)
	}
	w.tenant.ResetCalls()
	must(t, w.Watch(t.Context()))
	if n := w.tenant.Calls()["POST /api/v2/event-streams/{id}/redeliver/{event}"]; n != 0 {
		t.Errorf("what was taken is asked for again: %d", n)
	}
}

func TestAnEventThatFailsEachTimeIsLetBe(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{})
	broken.Store(400)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com"})
	w.tenant.Settle()
	for range 5 {
		must(t, w.Watch(t.Context()))
		w.tenant.Settle()
	}
	if n := w.tenant.Calls()["POST /api/v2/event-streams/{id}/redeliver/{event}"]; n != 3 {
		t.Errorf("%d redeliveries", n)
	}
}

// What a disabled stream missed nobody tells: a full reconcile is owed.
func TestADisabledStreamIsEnabledAndMadeUpFor(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{StreamGivesUp: 3})
	w.enroll(t, "ada@example.com")
	broken.Store(500)
	for _, address := range []string{"a@example.com", "b@example.com"} {
		w.signUp(t, auth0sim.SignUp{Email: address})
		w.tenant.Settle()
	}
	broken.Store(0)
	must(t, w.Watch(t.Context()))
	owed, err := w.store.Owed(t.Context(), time.Time{})
	if err != nil || !owed {
		t.Errorf("owed %v, %v", owed, err)
	}
	w.tenant.Settle()
	id := w.enroll(t, "late@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "late@example.com", EmailVerified: yes()})
	w.tenant.Settle()
	w.run(t)
	if c := w.get(t, id); c.Lifecycle != customer.Active {
		t.Errorf("the stream does not deliver again: %+v", c)
	}
}

func TestWithoutAStreamOrItsScopeThereIsNothingToWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	if err := w.Watch(t.Context()); !errors.Is(err, auth0sync.ErrNoStream) {
		t.Errorf("no stream: %v", err)
	}
	w = newWorld(t, auth0sim.Options{Scopes: []string{"read:users"}}, auth0sync.Policy{})
	if err := w.Watch(t.Context()); !errors.Is(err, auth0sync.ErrForbidden) {
		t.Errorf("no scope: %v", err)
	}
}
