// Package auth0sim is an Auth0 tenant in memory: the Management API, tokens and
// deliveries that customersync meets, with their limits and their nastiness, and
// a control surface under /_sim/. README.md says what it copies, from where, and
// how to drive it.
package auth0sim

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options of a tenant. The zero value is a polite tenant without rate limits.
type Options struct {
	Domain       string        // shown in events; default customersync-sim
	Audience     string        // API identifier in minted tokens; default https://api.customersync.test
	ClientID     string        // of the machine application at /oauth/token; default sim-client
	ClientSecret string        // default sim-secret
	Scopes       []string      // granted to that application; default DefaultScopes
	Plan         Plan          // rate limits
	SearchLag    time.Duration // until search sees a change
	MaxURL       int           // longest request target before 414; default 8192 bytes
	// Rude makes the tenant as unpleasant as real ones can be: every 11th
	// Management API call fails with 429, 500 or 503 in turn, deliveries come
	// twice and out of order, users of enterprise connections have numeric
	// identity ids and the text "true" for email_verified.
	Rude   bool
	Now    func() time.Time // default time.Now
	Client *http.Client     // for deliveries; default with a 10 s timeout
	// Wait is how deliveries wait between attempts; default by the real clock.
	Wait   func(context.Context, time.Duration) error
	Logger *zap.Logger // default silent
}

// DefaultScopes are what the simulated application is granted.
func DefaultScopes() []string {
	return []string{"read:users", "create:users", "update:users", "delete:users", "read:connections", "read:logs"}
}

// Tenant is a simulated Auth0 tenant. It is an http.Handler.
type Tenant struct {
	o   Options
	mux *http.ServeMux

	mu         sync.Mutex
	baseURL    string        // of the issuer, without the slash; "" means from the request
	offset     time.Duration // of the tenant's clock
	users      map[string]*record
	byEmail    map[string]map[string]bool // exact address → ids that have it now
	everEmail  map[string]map[string]bool // lower-case address → ids that ever had it: what search may still see
	calls      map[string]int
	apiCalls   int
	keys       []signingKey
	grants     map[string]grant // access tokens of the Management API
	buckets    map[string]*bucket
	faults     Faults
	action     *endpoint
	postLogin  bool
	stream     *endpoint
	logs       []map[string]any
	jobs       map[string]map[string]any
	held       []delivery // an event held back to come out of order
	lastNumber int64      // for ids

	deliveries sync.WaitGroup
	stop       context.CancelFunc
	running    context.Context //nolint:containedctx // the life of the tenant's deliveries
}

// New returns a tenant without users. Close ends its deliveries.
func New(o Options) *Tenant {
	o.Domain = cmp.Or(o.Domain, "customersync-sim")
	o.Audience = cmp.Or(o.Audience, "https://api.customersync.test")
	o.ClientID = cmp.Or(o.ClientID, "sim-client")
	o.ClientSecret = cmp.Or(o.ClientSecret, "sim-secret")
	o.MaxURL = cmp.Or(o.MaxURL, 8192)
	if o.Scopes == nil {
		o.Scopes = DefaultScopes()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if o.Wait == nil {
		o.Wait = waitReally
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	t := &Tenant{
		o:         o,
		users:     map[string]*record{},
		byEmail:   map[string]map[string]bool{},
		everEmail: map[string]map[string]bool{},
		calls:     map[string]int{},
		grants:    map[string]grant{},
		buckets:   map[string]*bucket{},
		jobs:      map[string]map[string]any{},
	}
	t.running, t.stop = context.WithCancel(context.Background())
	t.keys = []signingKey{newSigningKey("sim-key-1")}
	t.mux = t.routes()
	return t
}

func waitReally(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Close gives up deliveries that are under way and waits for them to end.
func (t *Tenant) Close() {
	t.stop()
	t.deliveries.Wait()
}

// SetBaseURL says where the tenant is served, such as http://127.0.0.1:4000. It
// is needed for minting tokens before the first request.
func (t *Tenant) SetBaseURL(u string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.baseURL = u
}

// Issuer is the iss of the tenant's tokens.
func (t *Tenant) Issuer() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.baseURL + "/"
}

// Advance moves the tenant's clock on.
func (t *Tenant) Advance(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offset += d
}

// now is the tenant's time. t.mu is held.
func (t *Tenant) now() time.Time { return t.o.Now().Add(t.offset).UTC().Truncate(time.Millisecond) }

// Calls counts the requests so far by endpoint, such as "GET /api/v2/users/{id}".
func (t *Tenant) Calls() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := make(map[string]int, len(t.calls))
	for endpoint, n := range t.calls {
		calls[endpoint] = n
	}
	return calls
}

// ResetCalls starts counting anew.
func (t *Tenant) ResetCalls() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.calls)
}

// CheckAddr refuses an address that others could reach: the simulator signs
// tokens for whoever asks.
func CheckAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: expected host:port: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q: the simulator listens on loopback only, such as 127.0.0.1:4000", addr)
	}
	return nil
}

// endpointOf is a route of Auth0's surface.
type route struct {
	pattern string
	scope   string // needed of a Management API token; "" for routes outside it
	group   string // of the rate limit
	serve   func(*Tenant, http.ResponseWriter, *http.Request)
}

func (t *Tenant) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range []route{
		{"GET /.well-known/openid-configuration", "", "", (*Tenant).serveDiscovery},
		{"GET /.well-known/jwks.json", "", "", (*Tenant).serveJWKS},
		{"POST /oauth/token", "", "", (*Tenant).serveToken},
		{"GET /userinfo", "", "", (*Tenant).serveUserInfo},
		{"GET /api/v2/users", "read:users", readUsers, (*Tenant).serveSearch},
		{"POST /api/v2/users", "create:users", writeUsers, (*Tenant).serveCreateUser},
		{"GET /api/v2/users-by-email", "read:users", readUsers, (*Tenant).serveByEmail},
		{"GET /api/v2/users/{id}", "read:users", readUsers, (*Tenant).serveGetUser},
		{"PATCH /api/v2/users/{id}", "update:users", writeUsers, (*Tenant).servePatchUser},
		{"DELETE /api/v2/users/{id}", "delete:users", deleteUsers, (*Tenant).serveDeleteUser},
		{"POST /api/v2/users/{id}/identities", "update:users", writeUsers, (*Tenant).serveLink},
		{"DELETE /api/v2/users/{id}/identities/{provider}/{user_id}", "update:users", writeUsers, (*Tenant).serveUnlink},
		{"GET /api/v2/connections", "read:connections", others, (*Tenant).serveConnections},
		{"GET /api/v2/logs", "read:logs", readLogs, (*Tenant).serveLogs},
		{"POST /api/v2/jobs/users-exports", "read:users", others, (*Tenant).serveExport},
		{"GET /api/v2/jobs/{id}", "read:users", others, (*Tenant).serveJob},
	} {
		mux.Handle(r.pattern, t.auth0(r))
	}
	t.control(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		apiError(w, http.StatusNotFound, "Not Found", "Not Found", "")
	})
	return mux
}

// ServeHTTP implements http.Handler.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	if t.baseURL == "" {
		t.baseURL = "http://" + r.Host
	}
	w.Header().Set("Date", t.now().Format(http.TimeFormat))
	t.mu.Unlock()
	if len(r.RequestURI) > t.o.MaxURL {
		w.WriteHeader(http.StatusRequestURITooLong)
		return
	}
	t.mux.ServeHTTP(w, r)
}

// auth0 is a route with all that Auth0 puts before it: counting, faults, token,
// scope, rate limit.
func (t *Tenant) auth0(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fault := t.count(r)
		w, done := fault.dress(w)
		defer done()
		if r.scope != "" {
			if !t.limit(w, r.group) || !t.authorise(w, req, r.scope) {
				return
			}
		}
		if fault.answer(w, req) {
			return
		}
		r.serve(t, w, req)
	})
}
