// Package worker decides when to look, and sees a look through: it takes what
// is due, asks Auth0, lets the pure rule of package auth0sync decide, and has
// the store write what was decided.
//
// reconcile is the only road by which matching makes a customer active. Cron,
// webhooks, the sync verb and tests all end there.
package worker

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// Store is what the worker calls of the database. *store.Store has it.
type Store interface {
	records
	inbox
	leases
	runs
	listing
	lanes
}

type records interface {
	Due(ctx context.Context, before time.Time, after *customer.Due, hinted bool, limit int) ([]customer.Due, error)
	DueByEmail(ctx context.Context, key customer.EmailKey) ([]customer.Due, error)
	World(ctx context.Context, userIDs []string, named []customer.ID, keys []customer.EmailKey) (customer.World, error)
	Create(ctx context.Context, d customer.Draft, link *customer.Link, cause customer.Cause) (id customer.ID, created bool, err error)
	Link(ctx context.Context, fence int64, links []customer.Link, cause customer.Cause) (done []customer.ID, err error)
	Hold(ctx context.Context, fence int64, holds []customer.Hold) (done int, err error)
	Keep(ctx context.Context, fence int64, keeps []customer.Keep, cause customer.Cause) (filled []customer.ID, err error)
	Rebind(ctx context.Context, fence int64, rebinds []customer.Rebind, cause customer.Cause) (done []customer.ID, err error)
	Unlink(ctx context.Context, fence int64, unlinks []customer.Unlink, cause customer.Cause) (done []customer.ID, err error)
	DueByID(ctx context.Context, ids []customer.ID) ([]customer.Due, error)
	Gone(ctx context.Context, since time.Time) (gone, linked int, err error)
	Observed(ctx context.Context, fence int64, seen map[string]customer.Seen) error
}

type listing interface {
	CountDue(ctx context.Context, madeBefore time.Time, limit int) (int, error)
	SoughtCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Sought, error)
	Met(ctx context.Context, keys []customer.EmailKey, ids []customer.ID) (observations [][]byte, err error)
	ClearListing(ctx context.Context, fence int64) error
	List(ctx context.Context, fence int64, users []customer.Sighting) error
	LinkedCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Linked, error)
	Compare(ctx context.Context, ids []customer.ID) ([]customer.Finding, error)
	ExportJob(ctx context.Context, within time.Duration) (job string, made time.Time, err error)
	NoteExportJob(ctx context.Context, fence int64, job string) error
}

type lanes interface {
	Cursor(ctx context.Context, lane string) (cursor string, moved time.Time, err error)
	AnyPending(ctx context.Context) (bool, error)
	Follow(ctx context.Context, fence int64, lane string, deliveries []customer.Delivery, cursor string) (fresh []bool, err error)
	NoteGap(ctx context.Context, fence int64, lane string) error
	Owed(ctx context.Context, since time.Time) (bool, error)
	SettleGaps(ctx context.Context, fence int64, began time.Time) error
}

type inbox interface {
	Receive(ctx context.Context, deliveries ...customer.Delivery) (fresh []bool, err error)
	Partial(ctx context.Context, limit int) ([]customer.Partial, error)
	Complete(ctx context.Context, fence int64, p customer.Partial, h *customer.Hint) error
	Absorb(ctx context.Context, fence int64, limit int) (customer.Absorbed, error)
	Listen(ctx context.Context, wake func())
}

type leases interface {
	Acquire(ctx context.Context, name customer.LeaseName, holder string, ttl time.Duration) (fence int64, err error)
	Renew(ctx context.Context, fence int64, ttl time.Duration) error
	Release(ctx context.Context, fence int64) error
}

type runs interface {
	Idle(ctx context.Context) (bool, error)
	Now(ctx context.Context) (time.Time, error)
	StartRun(ctx context.Context, r customer.Run, fence int64) (id int64, err error)
	DropRun(ctx context.Context, id int64) error
	FinishRun(ctx context.Context, id int64, r customer.Run) error
	LastRuns(ctx context.Context) ([]customer.LastRuns, error)
	Prune(ctx context.Context, before time.Time) (int64, error)
}

// Directory answers questions about Auth0 users. *auth0sync.Directory has it.
// Each answer is complete or an error, never a part.
type Directory interface {
	ByEmail(ctx context.Context, email string) ([]auth0sync.User, error)
	ByID(ctx context.Context, userID string) (auth0sync.User, error)
	DeleteUser(ctx context.Context, userID string) error
	ByIdentity(ctx context.Context, userID string) ([]auth0sync.User, error)
	Search(ctx context.Context, emails []string) ([]auth0sync.User, error)
	Total(ctx context.Context) (int, error)
	Feed(ctx context.Context, cursor string) iter.Seq2[auth0sync.FeedItem, error]
	Logs(ctx context.Context, cursor string) (auth0sync.LogPage, error)
	Pace() float64
	CallsLeft() int
	OurStream(ctx context.Context) (auth0sync.EventStream, error)
	EnableStream(ctx context.Context, id string) error
	FailedDeliveries(ctx context.Context, stream string, since time.Time, after string, limit int) ([]string, error)
	Redeliver(ctx context.Context, stream, event string) error
	Export(ctx context.Context, job string, started func(job string) error) iter.Seq2[auth0sync.User, error]
	Windows(ctx context.Context) iter.Seq2[auth0sync.User, error]
}

// Verifier tells authentic deliveries from forged ones. *auth0sync.Verifier has it.
type Verifier interface {
	Admit(h http.Header) (largest int64, err error)
	Verify(h http.Header, body []byte) ([]customer.Delivery, error)
}

// Config is what a Worker is made of. All fields are required but Policy,
// FirstBackoff and Traces.
type Config struct {
	Schedule string // when promote runs: a cron expression or @every; see CheckSchedule
	Watches  bool   // our Event Stream is to be looked after
	Follow   string // one of the Follow constants; "" is FollowOff
	// LogsEvery is how often the tenant's log is read while customers wait, where it
	// is followed; 0 means 30 seconds.
	LogsEvery time.Duration
	Reconcile string // when the full reconcile runs; "": only when it is asked for
	// FirstBackoff is how soon a customer is looked up again after the first miss;
	// 0 means 30 seconds. It doubles with each.
	FirstBackoff time.Duration
	Policy       auth0sync.Policy // which users are linkable
	Unlinks      Breaker          // what stops a mass unlink
	Holder       string           // this process's name in the lease row
	Logger       *zap.Logger
	Metrics      prometheus.Registerer
	Traces       trace.TracerProvider // nil: none
}

// Worker keeps customers in step with Auth0.
type Worker struct {
	store     Store
	directory Directory
	verifier  Verifier
	policy    auth0sync.Policy
	unlinks   Breaker
	schedule  string
	backoff   time.Duration
	holder    string
	log       *zap.Logger
	metrics   metrics
	tracer    trace.Tracer // nil: nobody follows
	looked    atomic.Int64 // when it last looked for work, in nanoseconds since 1970; 0: not yet
	wake      chan struct{}
	full      chan struct{}
	watches   bool
	asked     map[string]int // event → redeliveries asked for; serveWatch's alone
	missing   string         // the disabled stream whose gap is noted; serveWatch's alone
	follow    string
	logsEvery time.Duration
	nightly   string
}

// New returns a Worker that does nothing until Run or RunOnce is called.
func New(c Config, s Store, d Directory, v Verifier) (*Worker, error) {
	if _, err := parseSchedule(c.Schedule); err != nil {
		return nil, err
	}
	w := &Worker{
		store:     s,
		directory: d,
		verifier:  v,
		policy:    c.Policy,
		unlinks:   c.Unlinks,
		schedule:  c.Schedule,
		backoff:   cmp.Or(c.FirstBackoff, firstBackoff),
		holder:    c.Holder,
		log:       c.Logger,
		metrics:   newMetrics(c.Metrics),
		wake:      make(chan struct{}, 1),
		full:      make(chan struct{}, 1),
		nightly:   c.Reconcile,
		watches:   c.Watches,
		asked:     map[string]int{},
		logsEvery: cmp.Or(c.LogsEvery, logsWhileWaiting),
		follow:    cmp.Or(c.Follow, FollowOff),
	}
	if c.Traces != nil {
		w.tracer = c.Traces.Tracer("worker")
	}
	return w, nil
}

// Looked is when this process last looked for work, be it that there was none; the zero
// time: not since it started.
func (w *Worker) Looked() time.Time {
	at := w.looked.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// CallsLeft is what is left of the tenant's rate limit, as Auth0 last told this process;
// below 0: it has not yet.
func (w *Worker) CallsLeft() int { return w.directory.CallsLeft() }
