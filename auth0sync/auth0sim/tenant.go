// Package auth0sim is an Auth0 tenant in memory: the Management API, tokens and
// deliveries that customersync meets, with their limits and their nastiness, and
// a control surface under /_sim/. README.md says what it copies, from where, and
// how to drive it.
package auth0sim

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options of a tenant. The zero value is a polite tenant without rate limits.
type Options struct {
	Domain          string        // shown in events; default customersync-sim
	Audience        string        // API identifier in minted tokens; default https://api.customersync.test
	ClientID        string        // of the machine application at /oauth/token; default sim-client
	ClientSecret    string        // default sim-secret
	WebClientID     string        // of the Regular Web Application that people sign in by; default sim-web
	WebClientSecret string        // default sim-web-secret
	CodeLasts       time.Duration // how long a code of /authorize may be exchanged; default 10 min
	Scopes          []string      // granted to that application; default DefaultScopes
	Plan            Plan          // rate limits
	SearchLag       time.Duration // until search sees a change
	MaxURL          int           // longest request target before 414; default 8192 bytes
	MaxTerms        int           // terms a search may have before it fails with 503 as too slow; 0: any number
	ExportTakes     time.Duration // from an export job's making to its file; default 2 s
	ActionBuilds    time.Duration // until a changed Action has been built and can be deployed; default 2 s
	KeepStates      bool          // of users, all that ever were, for States; else those that search may still see
	// Of events:
	FeedRetention   time.Duration // of events, after which an offset has expired; default 24 h
	FeedConnections int           // most at once; default by plan
	FeedBeats       time.Duration // longest silence before offset-only; default 15 s
	FeedLasts       time.Duration // until a connection is closed; default 5 min
	FeedRetry       time.Duration // that clients are told to wait before they reconnect; default 1 s
	FeedSaysGoodbye bool          // a connection that is closed ends with an error frame connection_timeout
	AllowHTTP       bool          // Event Streams may go to http:// too, not https:// alone
	StreamGivesUp   int           // failed attempts in a row after which an Event Stream is disabled; default 500
	NoEvents        bool          // the plan has no events
	NoEventsStatus  int           // which is said by 403, unless this is 404
	// Of the log:
	LogsKept       time.Duration // default by plan: 1 day, 5, or 30
	MaskLogs       bool          // logs do not tell who people are but by user id
	LogsUnordered  bool          // every second entry has a greater id than one that is younger
	LogsShuffled   bool          // what follows a checkpoint is not in the order of ids either
	RefuseLostLogs bool          // a checkpoint that is not there any more is a 400, instead of the oldest entry
	// Rude makes the tenant as unpleasant as real ones can be: every 11th
	// Management API call fails with 429, 500 or 503 in turn, every 17th is slow,
	// deliveries come twice and out of order, users of enterprise connections have
	// numeric identity ids and the text "true" for email_verified, and strange
	// neighbours are there from the start. All of it repeats exactly.
	Rude   bool
	Now    func() time.Time // default time.Now
	Client *http.Client     // for deliveries; default with a 10 s timeout
	// Wait is how deliveries wait between attempts; default by the real clock.
	Wait   func(context.Context, time.Duration) error
	Logger *zap.Logger // default silent
}

// DefaultScopes are what the simulated application is granted.
func DefaultScopes() []string {
	return []string{
		"read:users", "create:users", "update:users", "delete:users", "read:connections", "read:logs", "read:events",
		"read:event_streams", "create:event_streams", "update:event_streams", "delete:event_streams",
		"read:event_deliveries", "update:event_deliveries",
		"read:actions", "create:actions", "update:actions", "delete:actions",
		"read:log_streams", "create:log_streams", "delete:log_streams",
	}
}

// Tenant is a simulated Auth0 tenant. It is an http.Handler.
type Tenant struct {
	o   Options
	mux *http.ServeMux

	mu        sync.Mutex
	baseURL   string        // of the issuer, without the slash; "" means from the request
	offset    time.Duration // of the tenant's clock
	users     map[string]*record
	byEmail   map[string][]string // exact address → ids that have it now
	everEmail map[string][]string // lower-case address → ids that ever had it: what search may still see
	calls     map[string]int
	apiCalls  int
	keys      []signingKey
	signIns   signIns
	grants    map[string]grant // access tokens of the Management API
	buckets   map[string]*bucket
	faults    Faults
	dice      *rand.Rand // for faults with a probability; the same each time
	action    *endpoint
	postLogin bool
	streams   []*eventStream
	library   []*storedAction
	bindings  map[string][]*actionBinding // by trigger
	eventLog  eventLog
	tenantLog tenantLog
	jobs      map[string]*job

	inFlight int        // deliveries
	idle     *sync.Cond // inFlight has become 0
	closed   bool
	stop     context.CancelFunc
	running  context.Context //nolint:containedctx // the life of the tenant's deliveries
}

// New returns a tenant without users. Close ends its deliveries.
func New(o Options) *Tenant {
	o = o.withDefaults()
	t := &Tenant{
		o:         o,
		users:     map[string]*record{},
		byEmail:   map[string][]string{},
		everEmail: map[string][]string{},
		calls:     map[string]int{},
		signIns:   newSignIns(),
		grants:    map[string]grant{},
		buckets:   map[string]*bucket{},
		jobs:      map[string]*job{},
		bindings:  map[string][]*actionBinding{},
		eventLog:  eventLog{changed: make(chan struct{})},
		dice:      newDice(),
	}
	t.idle = sync.NewCond(&t.mu)
	t.running, t.stop = context.WithCancel(context.Background())
	t.keys = []signingKey{newSigningKey("sim-key-1")}
	t.mux = t.routes()
	if o.Rude {
		t.neighbours()
	}
	return t
}

func (o Options) withDefaults() Options {
	o.Domain = cmp.Or(o.Domain, "customersync-sim")
	o.Audience = cmp.Or(o.Audience, "https://api.customersync.test")
	o.ClientID = cmp.Or(o.ClientID, "sim-client")
	o.ClientSecret = cmp.Or(o.ClientSecret, "sim-secret")
	o.WebClientID = cmp.Or(o.WebClientID, "sim-web")
	o.WebClientSecret = cmp.Or(o.WebClientSecret, "sim-web-secret")
	o.CodeLasts = cmp.Or(o.CodeLasts, 10*time.Minute)
	o.MaxURL = cmp.Or(o.MaxURL, 8192)
	o.FeedRetention = cmp.Or(o.FeedRetention, 24*time.Hour)
	o.ActionBuilds = cmp.Or(o.ActionBuilds, 2*time.Second)
	o.StreamGivesUp = cmp.Or(o.StreamGivesUp, 500)
	o.FeedBeats = cmp.Or(o.FeedBeats, 15*time.Second)
	o.FeedLasts = cmp.Or(o.FeedLasts, 5*time.Minute)
	o.FeedRetry = cmp.Or(o.FeedRetry, time.Second)
	o.ExportTakes = cmp.Or(o.ExportTakes, 2*time.Second)
	if o.Scopes == nil {
		o.Scopes = DefaultScopes()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	if o.Wait == nil {
		o.Wait = waitReally
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// newClient has connections of its own, so that Close can end them, and takes a
// redirect for an answer.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute},
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func waitReally(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Close gives up deliveries that are under way and waits for them to end. Later
// ones are not sent.
func (t *Tenant) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.stop()
	for _, s := range t.tenantLog.streams {
		if s.timer != nil {
			s.timer.Stop()
		}
	}
	t.awaitIdle()
	t.o.Client.CloseIdleConnections()
}

// SetBaseURL says where the tenant is served, such as http://127.0.0.1:4000. It
// is needed for minting tokens before the first request.
func (t *Tenant) SetBaseURL(u string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.baseURL = strings.TrimSuffix(u, "/")
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
	t.rouse()
	t.pushAllLogs()
}

// now is the tenant's time. t.mu is held.
func (t *Tenant) now() time.Time { return t.o.Now().Add(t.offset).UTC().Truncate(time.Millisecond) }

// Calls counts the requests so far by endpoint, such as "GET /api/v2/users/{id}".
func (t *Tenant) Calls() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.calls)
}

// ResetCalls starts counting anew.
func (t *Tenant) ResetCalls() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.calls)
}
