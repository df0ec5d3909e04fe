package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

const (
	leaseTTL    = 15 * time.Second
	renewEvery  = 5 * time.Second
	pageSize    = 500
	absorbBatch = 500
	// finishWithin is what a stopped run may take to write its record and
	// release the lease.
	finishWithin = 5 * time.Second
)

// Order is what RunOnce is asked to do. Its zero value is everything that is due.
type Order struct {
	Kind   string            // one of the Kind constants; it also sets the priority at Auth0's rate limit
	Only   customer.EmailKey // this customer alone, due or not; "": all that is due
	DryRun bool              // decide, but write nothing and take no lease
	Each   func(Outcome)     // called with each decision; may be nil
	Begun  func(run int64)   // called when the run begins, with its number; 0 if it makes no record; may be nil
	// Of a full reconcile: called as the listing comes in, and with each linked
	// customer that it does not agree with; may be nil.
	Progress func(Progress)
	Found    func(customer.Finding)
	Resume   bool // go on with the export of a full reconcile that was cut off within the day
	// Of KindApply: what to do, and what is called with each that is not done.
	Planned []Planned
	Refused func(row Planned, why string)
	Done    func(row Planned) // called with each that is done; may be nil
	// By is the person who wants it, and Why the reason: the record of the run has both,
	// and the history of each customer that it changes. "": nobody in person.
	By, Why string
	Most    int // look at so many of those that are due and no more; 0: at all
}

// What starts a run.
const (
	KindPromote   = "promote"   // the clock
	KindInbox     = "inbox"     // a delivery, or a customer that somebody changed
	KindSync      = "sync"      // an operator, who does not want customers put off
	KindReconcile = "reconcile" // the clock at night, a gap in a lane, or an operator: all customers against all users
	KindPlan      = "plan"      // an operator: the same, to see what it would do
	KindWatch     = "watchdog"  // the clock: a look at our Event Stream, which no Order asks for
	KindApply     = "apply"     // an operator: to do what was planned
)

// page is how many customers are looked at together.
func (o Order) page() int {
	if o.Most > 0 {
		return min(o.Most, pageSize)
	}
	return pageSize
}

// isFull says that a run looks at all customers. It takes its lease even if it
// changes nothing, for the sake of the one listing there is.
func isFull(kind string) bool { return kind == KindReconcile || kind == KindPlan }

// ofAll says that a run is not about what is due.
func ofAll(kind string) bool { return isFull(kind) || kind == KindApply }

// Outcome is what a run decided, or would have decided, about one customer.
type Outcome struct {
	Customer   customer.Customer
	Action     Action
	Reason     customer.Reason // with ActionHold
	AuthUserID string          // whom it is, or was, linked to
	Gone       bool            // Auth0 says that this user is gone
	Next       time.Time       // with ActionHold: the next look; zero: not until something happens
}

// Action is what a run does with a customer.
type Action string

// All actions.
const (
	ActionLink   Action = "link"   // becomes active
	ActionHold   Action = "hold"   // stays as it is
	ActionFill   Action = "fill"   // linked, gets its e-mail address
	ActionRebind Action = "rebind" // follows its user into the one that was linked with
	ActionUnlink Action = "unlink" // becomes auth_pending: its user is gone
	ActionClose  Action = "close"  // becomes inactive: its user is gone
)

// RunOnce takes in the inbox and looks at every customer that is due, once. With
// nothing to do it costs one probe of the database, makes no record and asks
// Auth0 nothing. The error says that no run could be made (customer.ErrLeaseHeld,
// customer.ErrUnavailable); a run that was made tells of its troubles in Result.
func (w *Worker) RunOnce(ctx context.Context, o Order) (customer.Run, error) {
	w.metrics.attempt(o.Kind)
	r, err := w.runOnce(ctx, o)
	if err != nil {
		return r, err
	}
	w.metrics.finished(r)
	if lease(o.Kind) == customer.LeaseWorker && !o.DryRun && o.Only == "" {
		w.looked.Store(time.Now().UnixNano())
	}
	return r, nil
}

func (w *Worker) runOnce(ctx context.Context, o Order) (customer.Run, error) {
	o.DryRun = o.DryRun || o.Kind == KindPlan
	if o.DryRun && !ofAll(o.Kind) {
		return w.work(ctx, 0, 0, o), nil
	}
	if o.Only == "" && !ofAll(o.Kind) {
		idle, err := w.store.Idle(ctx)
		if err != nil {
			return customer.Run{}, fmt.Errorf("probe: %w", err)
		}
		if idle {
			return customer.Run{Kind: o.Kind, Result: customer.RunOK}, nil
		}
	}
	fence, err := w.acquire(ctx, lease(o.Kind))
	if err != nil {
		return customer.Run{}, fmt.Errorf("lease: %w", err)
	}
	defer w.release(ctx, lease(o.Kind), fence)
	id, err := w.store.StartRun(ctx, customer.Run{Kind: o.Kind, AskedBy: o.By, Why: o.Why}, fence)
	if err != nil {
		return customer.Run{}, fmt.Errorf("record run: %w", err)
	}
	r := w.underLease(ctx, id, fence, o)
	return r, w.finish(ctx, r)
}

// lease is what a run of this kind needs. A full reconcile has one of its own:
// nobody who signs up meanwhile should wait for its end.
func lease(kind string) customer.LeaseName {
	if ofAll(kind) {
		return customer.LeaseReconcile
	}
	return customer.LeaseWorker
}

// underLease works while the lease is renewed beside it, and stops when it is lost.
func (w *Worker) underLease(ctx context.Context, id, fence int64, o Order) customer.Run {
	ctx, stop := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { w.keepLease(ctx, lease(o.Kind), fence, stop) })
	defer renewing.Wait()
	defer stop(nil) // after a panic too: a lease that is renewed for ever is nobody's ever again
	return w.work(ctx, id, fence, o)
}

func (w *Worker) acquire(ctx context.Context, name customer.LeaseName) (fence int64, err error) {
	if fence, err = w.store.Acquire(ctx, name, w.holder, leaseTTL); err == nil {
		w.metrics.held.WithLabelValues(string(name)).Set(1)
	}
	return fence, err
}

func (w *Worker) keepLease(ctx context.Context, name customer.LeaseName, fence int64, stop context.CancelCauseFunc) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// An unreachable database is not a lost lease: the writes check the
		// fence themselves, so work may go on until one of them says so.
		if err := w.store.Renew(ctx, fence, leaseTTL); errors.Is(err, customer.ErrLeaseLost) {
			w.metrics.held.WithLabelValues(string(name)).Set(0)
			stop(err)
			return
		}
	}
}

func (w *Worker) release(ctx context.Context, name customer.LeaseName, fence int64) {
	defer w.metrics.held.WithLabelValues(string(name)).Set(0)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	switch err := w.store.Release(ctx, fence); {
	case errors.Is(err, customer.ErrLeaseLost):
		w.metrics.lost.WithLabelValues(string(name)).Inc()
	case err != nil:
		w.log.Warn("lease not released; it ends by its time to live", zap.Error(err))
	}
}

func (w *Worker) finish(ctx context.Context, r customer.Run) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	if r.Kind == KindInbox && r.Result == customer.RunOK && r.Looked == 0 {
		// Most events are about nobody who waits; a record of each would be a flood.
		if err := w.store.DropRun(ctx, r.ID); err != nil {
			return fmt.Errorf("forget run %d: %w", r.ID, err)
		}
		return nil
	}
	w.log.Info("run",
		zap.Int64("run", r.ID), zap.String("kind", r.Kind), zap.String("result", string(r.Result)), zap.String("lane", r.Lane),
		zap.Int("looked", r.Looked), zap.Int("linked", r.Linked), zap.Int("filled", r.Filled),
		zap.Int("unlinked", r.Unlinked), zap.Int("rebound", r.Rebound),
		zap.Int("conflicts", r.Conflicts), zap.Int("errors", r.Errors),
		zap.Int("auth0_calls", r.Auth0Calls), zap.Duration("budget_wait", r.BudgetWait),
		zap.String("note", r.Note))
	if err := w.store.FinishRun(ctx, r.ID, r); err != nil {
		return fmt.Errorf("record run %d: %w", r.ID, err)
	}
	return nil
}

// work is a run between the taking and the giving back of the lease.
func (w *Worker) work(ctx context.Context, id, fence int64, o Order) customer.Run {
	ctx, span := w.traced(ctx, o.Kind)
	ctx, spent := auth0sync.Meter(auth0sync.WithPriority(ctx, priority(o.Kind)))
	p := &pass{Worker: w, order: o, fence: fence, confirmations: fewLookups}
	p.tally.ID, p.tally.Kind = id, o.Kind
	if o.Begun != nil {
		o.Begun(id)
	}
	p.tally.Started = time.Now().UTC()
	err := p.all(ctx)
	r := p.tally
	r.Ended = time.Now().UTC()
	r.Auth0Calls = int(spent.Calls.Load())
	r.BudgetWait = time.Duration(spent.Waited.Load())
	r.Result = result(ctx, r, err, p.answered, p.stopped)
	if r.Note == "" && err != nil {
		r.Note = err.Error()
	}
	span(r)
	return r
}

// result says how a run ended, given the error that stopped it, if any, how many
// customers were done without one, and whether something waits for a person.
func result(ctx context.Context, r customer.Run, stopped error, answered int, waiting bool) customer.RunResult {
	switch {
	case ctx.Err() != nil || errors.Is(stopped, customer.ErrLeaseLost):
		return customer.RunAborted
	case stopped == nil && r.Errors == 0 && !waiting:
		return customer.RunOK
	case answered > 0:
		return customer.RunPartial
	default:
		return customer.RunFailed
	}
}

// priority ranks a run at Auth0's rate limit: a person waits behind a delivery.
func priority(kind string) auth0sync.Priority {
	if kind == KindInbox {
		return auth0sync.Webhook
	}
	return auth0sync.Cron
}
