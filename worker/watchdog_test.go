package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

const redeliverOne = "POST /api/v2/event-streams/{id}/redeliver/{event}"

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
	must(t, w.Watch(t.Context(), 0))
	if n := w.tenant.Calls()[redeliverOne]; n != 1 { // looking finds her too
		t.Errorf("%d redeliveries", n)
	}
	w.tenant.Settle()
	w.run(t)
	if c := w.get(t, id); c.Lifecycle != customer.Active {
		t.Errorf("%+v", c)
	}
	w.tenant.ResetCalls()
	must(t, w.Watch(t.Context(), 0))
	if n := w.tenant.Calls()[redeliverOne]; n != 0 {
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
		must(t, w.Watch(t.Context(), 0))
		w.tenant.Settle()
	}
	if n := w.tenant.Calls()[redeliverOne]; n != 3 {
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
	must(t, w.Watch(t.Context(), 0))
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
	if err := w.Watch(t.Context(), 0); !errors.Is(err, auth0sync.ErrNoStream) {
		t.Errorf("no stream: %v", err)
	}
	w = newWorld(t, auth0sim.Options{Scopes: []string{"read:users"}}, auth0sync.Policy{})
	if err := w.Watch(t.Context(), 0); !errors.Is(err, auth0sync.ErrForbidden) {
		t.Errorf("no scope: %v", err)
	}
}

// Whoever ends between enabling a stream and noting the gap must not lose it, and
// one that Auth0 keeps disabled must not have all users listed at each look.
func TestAGapIsNotedOnceAlthoughTheStreamCannotBeEnabled(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{StreamGivesUp: 1})
	w.enroll(t, "ada@example.com")
	broken.Store(400)
	w.signUp(t, auth0sim.SignUp{Email: "a@example.com"})
	w.tenant.Settle()
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "PATCH /api/v2/event-streams/{id}", Status: 500}}})
	for i, want := range []bool{true, false} {
		if err := w.Watch(t.Context(), 0); !errors.Is(err, auth0sync.ErrUnavailable) {
			t.Errorf("look %d: %v", i, err)
		}
		owed, err := w.store.Owed(t.Context(), time.Time{})
		if err != nil || owed != want {
			t.Errorf("look %d: owed %v, %v", i, owed, err)
		}
		must(t, w.store.SettleGaps(t.Context(), 0, time.Now().Add(time.Hour)))
	}
	w.tenant.SetFaults(auth0sim.Faults{})
	must(t, w.Watch(t.Context(), 0))
	if owed, err := w.store.Owed(t.Context(), time.Time{}); err != nil || !owed {
		t.Errorf("enabled in the end: owed %v, %v", owed, err)
	}
}

func TestOldFailuresDoNotStandInTheWayOfNewOnes(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{StreamGivesUp: 10_000})
	broken.Store(400)
	for i := range 50 { // a list of failures holds so many
		w.signUp(t, auth0sim.SignUp{Email: fmt.Sprintf("old-%d@example.com", i)})
	}
	w.tenant.Settle()
	for range 4 {
		must(t, w.Watch(t.Context(), 0))
		w.tenant.Settle()
	}
	w.signUp(t, auth0sim.SignUp{Email: "new@example.com"})
	w.tenant.Settle()
	w.tenant.ResetCalls()
	must(t, w.Watch(t.Context(), 0))
	if n := w.tenant.Calls()[redeliverOne]; n != 1 {
		t.Errorf("%d redeliveries, want one, of the new failure", n)
	}
}

func TestOnlyAWatchThatFindsSomethingMakesARecord(t *testing.T) {
	t.Parallel()
	w, broken := streamed(t, auth0sim.Options{})
	must(t, w.Watch(t.Context(), 0))
	if got := w.watches(t); len(got) != 0 {
		t.Errorf("nothing was found: %+v", got)
	}
	broken.Store(400)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com"})
	w.tenant.Settle()
	for range 6 { // asked for thrice, let be once, then no news
		must(t, w.Watch(t.Context(), 0))
		w.tenant.Settle()
	}
	got := w.watches(t)
	if len(got) != 4 || got[3].Note != "failed deliveries: 1, asked for again: 1, let be: 0" || got[0].Note != "failed deliveries: 1, asked for again: 0, let be: 1" {
		t.Fatalf("%+v", got)
	}
	if got[0].Result != customer.RunOK || got[3].Auth0Calls != 3 {
		t.Errorf("%+v", got)
	}
}

// watches are the records of looks at the Event Stream, newest first.
func (w world) watches(t *testing.T) (found []customer.Run) {
	t.Helper()
	runs, err := w.store.Runs(t.Context(), 100)
	must(t, err)
	for _, r := range runs {
		if r.Kind == worker.KindWatch {
			found = append(found, r)
		}
	}
	return found
}
