package ops_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/api/ops"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// desk is an operator before the page over a real database.
type desk struct {
	t      *testing.T
	store  *store.Store
	config ops.PageConfig
}

func newDesk(t *testing.T) desk {
	t.Helper()
	return deskOver(t, storetest.DSN(t))
}

// deskOver is a desk before the page over this database.
func deskOver(t *testing.T, dsn string) desk {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: 30 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return desk{t, s, ops.PageConfig{Loopback: true, Logger: discreet.Logger(t), CountWithin: time.Minute}}
}

// made adds a customer of this name and address.
func (d desk) made(name, address string) customer.ID {
	d.t.Helper()
	return d.person(name, name, address)
}

func (d desk) person(first, last, address string) customer.ID {
	d.t.Helper()
	email, err := customer.ParseEmail(address)
	must(d.t, err)
	id := customer.ID(uuid.NewString())
	_, _, err = d.store.Create(d.t.Context(), customer.Draft{ID: id, FirstName: first, LastName: last, Email: email}, nil, customer.Cause{Kind: customer.ByAPI, Actor: "test"})
	must(d.t, err)
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends a request as a browser on this machine does.
func (d desk) ask(method, path, form string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:9090"+path, strings.NewReader(form)).WithContext(d.t.Context())
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Host = r.URL.Host
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	ops.NewPage(d.config, d.store).ServeHTTP(w, r)
	return w
}

func TestHomeSaysHowManyWaitAndWhatToDo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	w := d.ask("GET", "/ops/", "")
	for _, says := range []string{"Nothing needs a person", `auth_pending</span><svg class="track" aria-hidden="true"><rect width="100%"/></svg><span class="num">1</span>`, `active</span><svg class="track" aria-hidden="true"><rect width="0%"/></svg><span class="num">0</span>`, customer.Waiting.Meaning().Sentence, string(id)} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%d, without %q:\n%s", w.Code, says, w.Body)
		}
	}
}

func TestACustomerIsFoundByWhatSupportHas(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	_, err := d.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|1"}, 0, customer.Cause{Kind: customer.ByOperator, Actor: "test"})
	must(t, err)
	for name, q := range map[string]string{"address": " Ada@Example.com ", "id": string(id), "id in capitals": strings.ToUpper(string(id)), "Auth0 user": "auth0|1"} {
		w := d.ask("POST", "/ops/find", url.Values{"q": {q}}.Encode())
		if w.Code != 303 || w.Header().Get("Location") != "/ops/customers/"+string(id) {
			t.Errorf("by %s: %d %s", name, w.Code, w.Header().Get("Location"))
		}
	}
	for q, status := range map[string]int{"eve@example.com": 404, "auth0|2": 404, "nonsense": 422, "": 422} {
		if w := d.ask("POST", "/ops/find", url.Values{"q": {q}}.Encode()); w.Code != status {
			t.Errorf("%q: %d, want %d", q, w.Code, status)
		}
	}
}

func TestACustomerIsExplainedWithoutItsAddress(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	hostile := `<script>alert("1")</script>`
	id := d.made(hostile, "ada.secret@example.com")
	w := d.ask("GET", "/ops/customers/"+string(id), "")
	body := w.Body.String()
	for _, says := range []string{"a***@example.com", customer.Waiting.Meaning().Sentence, "<strong>created</strong>", "&lt;script&gt;"} {
		if w.Code != 200 || !strings.Contains(body, says) {
			t.Errorf("%d, without %q:\n%s", w.Code, says, body)
		}
	}
	for _, never := range []string{"secret", "<script"} {
		if strings.Contains(body, never) {
			t.Errorf("shows %q:\n%s", never, body)
		}
	}
	for _, path := range []string{"/ops/customers/" + uuid.NewString(), "/ops/customers/x", "/ops/nothing"} {
		if w := d.ask("GET", path, ""); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestStrangersDoNotSeeThePage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.made("Ada", "ada@example.com")
	open := d
	open.config.Loopback = false
	tests := map[string]*httptest.ResponseRecorder{
		"a listener that others reach":  open.ask("GET", "/ops/", ""),
		"a name that was rebound":       d.ask("GET", "/ops/", "", "Host", "evil.example:9090"),
		"a name that begins like ours":  d.ask("GET", "/ops/", "", "Host", "127.0.0.1.evil.example"),
		"a form on another site":        d.ask("POST", "/ops/find", "q=ada%40example.com", "Sec-Fetch-Site", "cross-site"),
		"a form on another local port":  d.ask("POST", "/ops/find", "q=ada%40example.com", "Sec-Fetch-Site", "same-site"),
		"a form by an older browser":    d.ask("POST", "/ops/find", "q=ada%40example.com", "Origin", "http://evil.example"),
		"a form on a page without name": d.ask("POST", "/ops/find", "q=ada%40example.com", "Origin", "null"),
	}
	for name, w := range tests {
		if w.Code != 403 || strings.Contains(w.Body.String(), "auth_pending") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Header().Get("X-Frame-Options") != "DENY" || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, w.Header())
		}
	}
	for _, host := range []string{"localhost:9090", "127.0.0.1", "[::1]:9090"} {
		if w := d.ask("GET", "/ops/", "", "Host", host); w.Code != 200 {
			t.Errorf("%s: %d", host, w.Code)
		}
	}
	if w := d.ask("POST", "/ops/find", "q=eve%40example.com", "Sec-Fetch-Site", "same-origin"); w.Code != 404 {
		t.Errorf("our own form: %d", w.Code)
	}
}

// counting counts how often customers are counted; broken makes the database fail, and
// slow makes the counting wait.
type counting struct {
	ops.Store
	reads  atomic.Int64
	broken atomic.Bool
	slow   chan struct{}
}

func (c *counting) Counts(ctx context.Context) (customer.Status, error) {
	c.reads.Add(1)
	if c.broken.Load() {
		return customer.Status{}, errors.New("pq: secret detail")
	}
	if c.slow != nil {
		<-c.slow
	}
	return c.Store.Counts(ctx)
}

func (c *counting) Glance(ctx context.Context) (customer.Status, error) {
	if c.broken.Load() {
		return customer.Status{}, errors.New("pq: secret detail")
	}
	return c.Store.Glance(ctx)
}

func TestCustomersAreCountedOnceForMany(t *testing.T) {
	t.Parallel()
	c := &counting{Store: storetest.New(t)}
	h := ops.NewPage(ops.PageConfig{Loopback: true, Logger: discreet.Logger(t), CountWithin: time.Minute}, c)
	for range 20 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/ops/", nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), "Counted ") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if n := c.reads.Load(); n > 2 { // two if a count became old meanwhile
		t.Errorf("counted %d times for 20 pages", n)
	}
}

// What needs no counting is shown at once, and the page says that it will come again.
func TestThePageDoesNotWaitForACount(t *testing.T) {
	t.Parallel()
	c := &counting{Store: storetest.New(t), slow: make(chan struct{})}
	h := ops.NewPage(ops.PageConfig{Loopback: true, Logger: discreet.Logger(t), CountWithin: time.Nanosecond}, c)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/ops/", nil))
	close(c.slow)
	if body := w.Body.String(); w.Code != 200 || w.Header().Get("Refresh") == "" || !strings.Contains(body, "are being counted") || strings.Contains(body, "Nobody waits.") {
		t.Errorf("%d, Refresh %q:\n%s", w.Code, w.Header().Get("Refresh"), body)
	}
}

func TestADatabaseThatIsAwayIsSaidPlainly(t *testing.T) {
	t.Parallel()
	c := &counting{}
	c.broken.Store(true)
	w := httptest.NewRecorder()
	ops.NewPage(ops.PageConfig{Loopback: true, Logger: discreet.Logger(t)}, c).ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/ops/", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "does not answer") || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// After a quiet hour nobody is shown what was counted an hour ago.
func TestOldCountsAreNotShown(t *testing.T) {
	t.Parallel()
	c := &counting{Store: storetest.New(t)}
	var passed atomic.Int64
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
	h := ops.NewPage(ops.PageConfig{Loopback: true, Logger: discreet.Logger(t), Now: now, CountWithin: time.Minute}, c)
	for _, age := range []time.Duration{0, 30 * time.Second, time.Hour} {
		passed.Store(int64(age))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/ops/", nil))
		want := "Counted just now"
		if age == 30*time.Second {
			want = "Counted 30s ago"
		}
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("after %s: %d, without %q:\n%s", age, w.Code, want, w.Body)
		}
	}
}
