package auth0sim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// clock is a tenant's time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// client asks a served tenant, with a Management API token.
type client struct {
	t      *testing.T
	tenant *Tenant
	url    string
	token  string
}

func serve(t *testing.T, o Options) client {
	t.Helper()
	if o.Now == nil {
		o.Now = newClock().now
	}
	tenant := New(o)
	server := httptest.NewServer(tenant)
	t.Cleanup(func() { server.Close(); tenant.Close() })
	tenant.SetBaseURL(server.URL)
	c := client{t: t, tenant: tenant, url: server.URL}
	c.token, _ = c.do("POST", "/oauth/token", `{"grant_type":"client_credentials","client_id":"`+tenant.o.ClientID+
		`","client_secret":"`+tenant.o.ClientSecret+`","audience":"`+server.URL+`/api/v2/"}`).object()["access_token"].(string)
	tenant.ResetCalls()
	return c
}

type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

func (c client) do(method, path, body string) answer {
	c.t.Helper()
	res, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

func (c client) try(method, path, body string) (answer, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := (&http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{c.t, res.StatusCode, res.Header, b}, err
}

func (a answer) object() map[string]any {
	a.t.Helper()
	var o map[string]any
	if err := json.Unmarshal(a.body, &o); err != nil {
		a.t.Fatalf("%v in %s", err, a.body)
	}
	return o
}

func (a answer) list() []map[string]any {
	a.t.Helper()
	var l []map[string]any
	if err := json.Unmarshal(a.body, &l); err != nil || l == nil {
		a.t.Fatalf("%v in %s", err, a.body)
	}
	return l
}

// ids are the user_id of each of a list.
func (a answer) ids() string {
	a.t.Helper()
	ids := []string{}
	for _, u := range a.list() {
		ids = append(ids, u["user_id"].(string))
	}
	return strings.Join(ids, " ")
}

// want checks the status and, of an error, the code.
func (a answer) want(status int, code string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if code != "" && a.object()["errorCode"] != code {
		a.t.Fatalf("want errorCode %q: %s", code, a.body)
	}
	return a
}

func (c client) signUp(s SignUp) User {
	c.t.Helper()
	u, err := c.tenant.SignUp(s)
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

func (c client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// sink receives deliveries, and answers with one status after the other, the last
// for ever.
type sink struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	seen     []received
}

type received struct {
	header http.Header
	body   []byte
}

func newSink(t *testing.T, statuses ...int) *sink {
	t.Helper()
	s := &sink{statuses: statuses}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.WriteHeader(s.statuses[min(len(s.seen), len(s.statuses)-1)])
	s.seen = append(s.seen, received{r.Header.Clone(), bytes.Clone(body)})
}

func (s *sink) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.seen...)
}

// types are the type of each delivery, in the order of their arrival.
func (s *sink) types(t *testing.T) string {
	t.Helper()
	types := []string{}
	for _, r := range s.all() {
		var b struct{ Type string }
		if err := json.Unmarshal(r.body, &b); err != nil {
			t.Fatal(err)
		}
		types = append(types, b.Type)
	}
	return strings.Join(types, " ")
}

// waits records how long deliveries want to wait, and does not; a delivery that is
// held back waits until it is let go.
type waits struct {
	mu    sync.Mutex
	asked []time.Duration
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	if d == longestHold {
		<-ctx.Done()
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, d)
	return ctx.Err()
}

func yes() *bool { b := true; return &b }
