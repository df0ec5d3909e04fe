package outgoing_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker/outgoing"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const (
	secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	next   = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receiver is another system. It takes what is signed, but for customers that it
// refuses.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	got     []string            // type and version, by arrival
	ids     []string            // of all attempts
	refused map[customer.ID]int // with a status
	all     int                 // status for all; 0: taken
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, refused: map[customer.ID]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	content, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Error(err)
	}
	for _, s := range []string{secret, next} { // while the receiver changes, either will do
		verifier, err := webhooks.NewWebhook(s)
		if err == nil {
			err = verifier.Verify(content, q.Header)
		}
		if err != nil {
			r.t.Errorf("signature: %v", err)
		}
	}
	var event struct {
		ID       string      `json:"event_id"`
		Type     string      `json:"type"`
		Version  int         `json:"version"`
		Customer customer.ID `json:"customer_id"`
	}
	if err := json.Unmarshal(content, &event); err != nil || event.ID != q.Header.Get("Webhook-Id") {
		r.t.Errorf("body %s: %v", content, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, event.ID)
	for _, status := range []int{r.all, r.refused[event.Customer]} {
		if status != 0 {
			w.Header().Set("Location", r.URL+"/elsewhere")
			w.WriteHeader(status)
			return
		}
	}
	r.got = append(r.got, fmt.Sprintf("%s %s %d", short(event.Customer), event.Type, event.Version))
	w.WriteHeader(http.StatusNoContent)
}

func short(id customer.ID) string { return string(id[len(id)-4:]) }

func (r *receiver) refuse(id customer.ID, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[id] = status
}

// taken is what came since the last call.
func (r *receiver) taken() (got []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	got, r.got = r.got, nil
	return got
}

// world is a database and who delivers from it.
type world struct {
	*outgoing.Deliverer
	t       *testing.T
	store   *store.Store
	db      *sql.DB
	metrics *prometheus.Registry
}

func newWorld(t *testing.T, targets ...outgoing.Target) world {
	t.Helper()
	dsn := storetest.DSN(t)
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: 30 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	connector, err := pq.NewConnector(dsn)
	must(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	metrics := prometheus.NewRegistry()
	d := outgoing.New(outgoing.Config{Targets: targets, Holder: t.Name(), Logger: discreet.Logger(t, secret, next), Metrics: metrics}, s)
	for _, target := range targets {
		must(t, s.AddEventTarget(t.Context(), target.Name))
	}
	return world{d, t, s, db, metrics}
}

func target(t *testing.T, name, url string) outgoing.Target {
	t.Helper()
	target, err := outgoing.ParseTarget(name + " " + url + " " + secret + " " + next)
	must(t, err)
	return target
}

func (w world) create() customer.ID {
	w.t.Helper()
	id := customer.ID(uuid.Must(uuid.NewV7()).String())
	email, err := customer.ParseEmail(string(id) + "@example.com")
	must(w.t, err)
	_, _, err = w.store.Create(w.t.Context(), customer.Draft{ID: id, FirstName: "Ada", LastName: "L", Email: email, CreatedBy: "app:x"}, nil, cause())
	must(w.t, err)
	return id
}

func cause() customer.Cause { return customer.Cause{Kind: customer.ByAPI, Actor: "app:test"} }

func (w world) rename(id customer.ID, name string) {
	w.t.Helper()
	_, err := w.store.Patch(w.t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: name}, 0, cause())
	must(w.t, err)
}

// round is one, with as many more as it takes until nothing is due.
func (w world) round(t outgoing.Target) {
	w.t.Helper()
	_, err := w.Round(w.t.Context(), 0, t, false)
	must(w.t, err)
}

// later has so much time pass for what failed.
func (w world) later(d time.Duration) {
	w.t.Helper()
	_, err := w.db.ExecContext(w.t.Context(), `
		update event_deliveries
		set next_at = next_at - $1 * interval '1 second', first_at = first_at - $1 * interval '1 second'`, d.Seconds())
	must(w.t, err)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestEventsAreDeliveredSignedAndInOrder(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	ada := w.create()
	w.rename(ada, "Augusta")
	must(t, w.store.CloseCustomer(t.Context(), ada, 0, cause()))
	w.round(crm)
	a := short(ada)
	same(t, "first", r.taken(), []string{a + " customer.created 1", a + " customer.updated 2", a + " customer.closed 3"})
	w.round(crm)
	same(t, "again", r.taken(), nil)
	if got := w.shown("customersync_event_deliveries_total"); got["delivered crm"] != 3 {
		t.Errorf("%v", got)
	}
}

// shown are the values of a metric, by the values of its labels.
func (w world) shown(name string) map[string]float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	must(w.t, err)
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			values[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

func TestATargetThatIsNewHearsOfWhatIsNew(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	w := newWorld(t)
	old := w.create()
	crm := target(t, "crm", r.URL)
	w.round(crm)
	same(t, "what was before", r.taken(), nil)
	w.rename(old, "New")
	w.round(crm)
	same(t, "what came since", r.taken(), []string{short(old) + " customer.updated 2"})
	if _, _, err := w.store.ReplayEvents(t.Context(), "crm", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.round(crm)
	same(t, "after a replay", r.taken(), []string{short(old) + " customer.created 1", short(old) + " customer.updated 2"})
}

func TestAPoisonedCustomerHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	bad, good := w.create(), w.create()
	r.refuse(bad, 500)
	w.rename(bad, "B")
	w.round(crm)
	w.rename(bad, "C")
	w.rename(good, "D")
	w.round(crm)
	same(t, "the others", r.taken(), []string{short(good) + " customer.created 1", short(good) + " customer.updated 2"})
	if n := len(r.ids); n != 3 {
		t.Errorf("%d attempts: what is behind was tried, or too soon: %q", n, r.ids)
	}
	states, err := w.store.EventTargets(t.Context())
	must(t, err)
	if s := states[0]; s.Waiting != 3 || s.Unread != 0 || s.Dead != 0 || s.Oldest.IsZero() {
		t.Errorf("states %+v", states)
	}
	r.refuse(bad, 0)
	for range 3 {
		w.later(time.Hour)
		w.round(crm)
	}
	same(t, "once it is cured", r.taken(), []string{short(bad) + " customer.created 1", short(bad) + " customer.updated 2", short(bad) + " customer.updated 3"})
}

func TestAnEventIsGivenUpAfterADayAndReplayed(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	began := time.Now()
	bad := w.create()
	r.refuse(bad, 503)
	w.round(crm)
	attempts := 1
	for passed := time.Duration(0); passed < 24*time.Hour; passed += 30 * time.Minute {
		w.later(30 * time.Minute)
		w.round(crm)
		r.mu.Lock()
		attempts = len(r.ids)
		r.mu.Unlock()
	}
	if attempts < 10 || attempts > 25 {
		t.Errorf("%d attempts within a day", attempts)
	}
	w.rename(bad, "B") // the next one has its own day
	w.later(4 * time.Hour)
	w.round(crm)
	w.round(crm)
	dead, err := w.store.DeadEvents(t.Context(), "crm", 10)
	must(t, err)
	if len(dead) != 1 || dead[0].Event.Version != 1 || dead[0].Dead.IsZero() || dead[0].Note != "status 503" || dead[0].Attempts < 10 {
		t.Errorf("dead %+v", dead)
	}
	r.refuse(bad, 0)
	if _, n, err := w.store.ReplayEvents(t.Context(), "", began.Add(-time.Hour)); err != nil || n != 2 {
		t.Errorf("replay: %d, %v", n, err)
	}
	w.round(crm)
	same(t, "replayed", r.taken(), []string{short(bad) + " customer.created 1", short(bad) + " customer.updated 2"})
	if _, _, err := w.store.ReplayEvents(t.Context(), "nobody", began); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("of no target: %v", err)
	}
}

// A process that was stopped, or lost its lease, has written nothing: the events come
// again, by the same id.
func TestWhatWasNotWrittenDownComesAgain(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	id := w.create()
	old, err := w.store.Acquire(t.Context(), customer.LeaseEvents, "one", time.Nanosecond)
	must(t, err)
	_, err = w.store.Acquire(t.Context(), customer.LeaseEvents, "two", time.Minute)
	must(t, err)
	if _, err := w.Round(t.Context(), old, crm, false); !errors.Is(err, customer.ErrLeaseLost) {
		t.Errorf("without the lease: %v", err)
	}
	w.round(crm)
	same(t, "twice", r.taken(), []string{short(id) + " customer.created 1", short(id) + " customer.created 1"})
	if r.ids[0] != r.ids[1] {
		t.Errorf("ids %q", r.ids)
	}
}

// One target answers nothing, one is quick: the daemon's own loop serves both.
func TestAPoisonedTargetHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hung) })
	r := newReceiver(t)
	w := newWorld(t, target(t, "slow", slow.URL), target(t, "quick", r.URL))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	for range 3 {
		w.create()
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		n := len(r.got)
		r.mu.Unlock()
		if n == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d came", n)
		}
	}
	stop()
	running.Wait()
	fence, err := w.store.Acquire(t.Context(), customer.LeaseEvents, "next", time.Minute)
	if err != nil || fence == 0 {
		t.Errorf("the lease was not given back: %v", err)
	}
}

func TestADeliveryGoesToItsTargetAlone(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	elsewhere := "https://169.254.169.254/secret-path"
	tests := map[string]struct{ url, note string }{
		"a redirect":   {r.URL, "status 302"},
		"link-local":   {elsewhere, "link-local"},
		"nobody there": {"http://127.0.0.1:1/secret-path", "refused"},
	}
	r.all = 302
	for name, test := range tests {
		crm := target(t, "crm", test.url)
		w := newWorld(t, crm)
		w.create()
		w.round(crm)
		var note string
		must(t, w.db.QueryRowContext(t.Context(), `select note from event_deliveries`).Scan(&note))
		if !strings.Contains(note, test.note) || strings.Contains(note, "secret-path") {
			t.Errorf("%s: %q", name, note)
		}
	}
	if len(r.ids) != 1 {
		t.Errorf("%d requests", len(r.ids))
	}
}

func TestATargetIsParsedOrRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"crm https://crm.example/hook " + secret:                          "",
		"crm https://crm.example/hook?x=1 " + secret + " " + next:         "",
		"crm http://127.0.0.1:1/ " + secret:                               "",
		"crm http://localhost " + secret:                                  "",
		"":                                                                "a name, a URL and a secret",
		"crm https://crm.example":                                         "a name, a URL and a secret",
		"CRM https://crm.example " + secret:                               "small letters",
		"crm http://crm.example " + secret:                                "https",
		"crm ftp://crm.example " + secret:                                 "https",
		"crm https:///x " + secret:                                        "URL",
		"crm https://me:pw@crm.example " + secret:                         "without user",
		"crm https://crm.example whsec_c2hvcnQ=":                          "24 bytes",
		"crm https://crm.example " + strings.TrimPrefix(secret, "whsec_"): "whsec_",
	} {
		got, err := outgoing.ParseTarget(text)
		switch {
		case want == "" && (err != nil || got.Name != "crm" || len(got.Secrets) != strings.Count(text, "whsec_")):
			t.Errorf("%q: %+v, %v", text, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw@")):
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTheBacklogIsShown(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	r.refuse(w.create(), 500)
	w.round(crm)
	w.create()
	want := map[string]float64{"dead crm": 0, "unread crm": 1, "waiting crm": 1}
	if got := w.shown("customersync_event_backlog"); !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := w.shown("customersync_event_oldest_undelivered_timestamp_seconds"); got["crm"] < float64(time.Now().Add(-time.Hour).Unix()) {
		t.Errorf("oldest: %v", got)
	}
}

// Who replays while a round is under way gets all, each once, in order.
func TestATargetThatIsSetBackDuringARoundBeginsAnew(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	crm := target(t, "crm", r.URL)
	w := newWorld(t, crm)
	id := w.create()
	w.round(crm)
	r.taken()
	w.rename(id, "B")
	work, err := w.store.EventWork(t.Context(), "crm", 10)
	must(t, err)
	_, _, err = w.store.ReplayEvents(t.Context(), "crm", time.Now().Add(-time.Hour))
	must(t, err)
	must(t, w.store.SettleEvents(t.Context(), 0, "crm", customer.EventReport{
		From: work.Position, To: work.Fresh[0].Position, Failed: []customer.EventOutcome{{Event: work.Fresh[0], Note: "status 500", Again: time.Hour}},
	}))
	w.round(crm)
	same(t, "all", r.taken(), []string{short(id) + " customer.created 1", short(id) + " customer.updated 2"})
}
