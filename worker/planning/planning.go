// Package planning makes plans of full reconciles, and carries them out, behind the
// back of whoever asked: that takes longer than a request may. A plan and how far it is
// are in the database, so that every replica shows the same, and what a process leaves
// that is killed is told as such.
package planning

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// Store is what plans are kept in. *store.Store has it.
type Store interface {
	StartPlan(ctx context.Context, by, why string) (id int64, err error)
	PlanHeard(ctx context.Context, id, run int64, users, total int) error
	AddToPlan(ctx context.Context, id int64, rows []customer.PlanRow) error
	EndPlan(ctx context.Context, id int64, state customer.PlanState, note string) error
	ChooseRows(ctx context.Context, id int64, places []int64) error
	ChosenRows(ctx context.Context, id int64, limit int) ([]customer.PlanRow, error)
	SettleRows(ctx context.Context, id int64, outcomes map[int]string) error
}

// Runner does what is due, or planned. *worker.Worker has it.
type Runner interface {
	RunOnce(ctx context.Context, o worker.Order) (customer.Run, error)
}

const (
	// heardEvery is how often a plan's maker says that it is alive; the store takes it
	// for gone after several times that.
	heardEvery = 5 * time.Second
	// mostPlanned is how many changes a plan holds: more than a person reads, and what
	// the memory of a process takes without notice.
	mostPlanned = 50_000
	// writeAtOnce is how many rows are written together.
	writeAtOnce = 1000
	// endWithin is what a stopped process may take to say so.
	endWithin = 3 * time.Second
)

// Planner makes plans and carries them out.
type Planner struct {
	store Store
	run   Runner
	log   *zap.Logger

	work context.Context //nolint:containedctx // what is asked for outlives the request
	busy sync.WaitGroup

	mu   sync.Mutex
	over bool // nothing new is begun
}

// New returns a Planner whose work ends with ctx.
func New(ctx context.Context, s Store, r Runner, log *zap.Logger) *Planner {
	return &Planner{store: s, run: r, log: log, work: ctx}
}

// Wait returns when all that was begun has come to an end. Nothing is begun any more.
func (p *Planner) Wait() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.busy.Wait()
}

// Preview says what a run would do now with up to most of those that are due. It asks
// Auth0, and changes nothing.
func (p *Planner) Preview(ctx context.Context, most int) ([]customer.Proposal, customer.Run, error) {
	var all []customer.Proposal
	run, err := p.run.RunOnce(ctx, worker.Order{Kind: worker.KindSync, DryRun: true, Most: most, Each: func(o worker.Outcome) {
		all = append(all, customer.Proposal{Customer: o.Customer, Action: string(o.Action), Reason: o.Reason, AuthUserID: o.AuthUserID, Next: o.Next})
	}})
	if err != nil {
		return nil, run, fmt.Errorf("preview: %w", err)
	}
	return all, run, nil
}

// Promote looks at up to most of those that are due, as the clock does. Its error is
// customer.ErrLeaseHeld while another run is under way.
func (p *Planner) Promote(ctx context.Context, most int, by, why string) (customer.Run, error) {
	run, err := p.run.RunOnce(ctx, worker.Order{Kind: worker.KindSync, Most: most, By: by, Why: why})
	if err != nil {
		return run, fmt.Errorf("promote: %w", err)
	}
	return run, nil
}

// Make begins to make a plan. Its error is customer.ErrPlanBusy while another is being
// made or applied.
func (p *Planner) Make(ctx context.Context, by, why string) error {
	id, err := p.store.StartPlan(ctx, by, why)
	if err != nil {
		return fmt.Errorf("make plan: %w", err)
	}
	//nolint:contextcheck // it outlives the request
	p.begin(id, func(ctx context.Context, h *heartbeat) error { return p.make(ctx, h, by, why) })
	return nil
}

// Apply begins to carry out the rows of a plan at these places, nil: all. Errors are
// those of the store's ChooseRows.
func (p *Planner) Apply(ctx context.Context, plan int64, places []int64, by, why string) error {
	if err := p.store.ChooseRows(ctx, plan, places); err != nil {
		return fmt.Errorf("apply plan: %w", err)
	}
	//nolint:contextcheck // it outlives the request
	p.begin(plan, func(ctx context.Context, h *heartbeat) error { return p.apply(ctx, h, by, why) })
	return nil
}

// begin does something for a plan behind the back of the request, and writes how it
// ended. A process that stops begins nothing: the page shows that as broken off.
func (p *Planner) begin(plan int64, do func(context.Context, *heartbeat) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.busy.Go(func() {
		ctx, stop := context.WithCancel(p.work)
		defer stop()
		h := &heartbeat{plan: plan}
		var beating sync.WaitGroup
		beating.Go(func() { p.beat(ctx, h) })
		err := guarded(func() error { return do(ctx, h) })
		stop()
		beating.Wait()
		state, note := customer.PlanReady, ""
		if err != nil {
			note = err.Error()
			if !h.whole.Load() {
				state = customer.PlanFailed
			}
			p.log.Warn("plan", zap.Int64("plan", plan), zap.Error(err))
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.work), endWithin)
		defer cancel()
		if err := p.store.EndPlan(ctx, plan, state, note); err != nil {
			p.log.Warn("end of plan not noted; the page will show it as broken off", zap.Int64("plan", plan), zap.Error(err))
		}
	})
}

var errPanic = errors.New("it panicked, which is a fault of ours; the log has more")

// guarded makes an error of a panic: a plan must not take the daemon with it.
func guarded(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return do()
}

// heartbeat is how far the work on a plan is, told every few seconds.
type heartbeat struct {
	plan              int64
	run, users, total atomic.Int64
	whole             atomic.Bool // the plan is one that can be applied
}

// beat goes on until ctx ends.
func (p *Planner) beat(ctx context.Context, h *heartbeat) {
	tick := time.NewTicker(heardEvery)
	defer tick.Stop()
	for {
		if err := p.store.PlanHeard(ctx, h.plan, h.run.Load(), int(h.users.Load()), int(h.total.Load())); err != nil && ctx.Err() == nil {
			p.log.Debug("progress of plan not noted", zap.Error(err)) // the next may be
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Planner) make(ctx context.Context, h *heartbeat, by, why string) error {
	rows := &writer{plan: h.plan, write: func(some []customer.PlanRow) error { return p.store.AddToPlan(ctx, h.plan, some) }}
	run, err := p.run.RunOnce(ctx, worker.Order{
		Kind: worker.KindPlan, By: by, Why: why,
		Begun:    h.run.Store,
		Progress: func(at worker.Progress) { h.users.Store(int64(at.Users)); h.total.Store(int64(at.Total)) },
		Each: func(o worker.Outcome) {
			if o.Action != worker.ActionHold {
				rows.add(customer.PlanRow{Customer: o.Customer.ID, Version: o.Customer.Version, Action: string(o.Action), AuthUserID: o.AuthUserID})
			}
		},
	})
	if err = errors.Join(err, rows.flush()); err != nil {
		return inWords(err)
	}
	if run.Result != customer.RunOK {
		return fmt.Errorf("%w: run %d ended %s: %s", errNotWhole, run.ID, run.Result, run.Note)
	}
	p.note(ctx, h)
	return nil
}

// note writes the last of the progress.
func (p *Planner) note(ctx context.Context, h *heartbeat) {
	if err := p.store.PlanHeard(ctx, h.plan, h.run.Load(), int(h.users.Load()), int(h.total.Load())); err != nil {
		p.log.Debug("progress of plan not noted", zap.Error(err)) // it is only for show
	}
}

var (
	errNotWhole = errors.New("the plan would not be whole")
	errTooMany  = fmt.Errorf("more than %d changes: make the plan by customersync reconcile --plan", mostPlanned)
)

// inWords says what an operator can do about an error.
func inWords(err error) error {
	if errors.Is(err, customer.ErrLeaseHeld) {
		return fmt.Errorf("another full reconcile is under way; try again when it has ended: %w", err)
	}
	return err
}

// writer writes rows of a plan together.
type writer struct {
	plan  int64
	write func([]customer.PlanRow) error
	some  []customer.PlanRow
	n     int
	err   error
}

func (w *writer) add(r customer.PlanRow) {
	if w.n++; w.n > mostPlanned {
		w.err = errTooMany
	}
	if w.err != nil {
		return
	}
	r.Place = w.n
	if w.some = append(w.some, r); len(w.some) == writeAtOnce {
		w.err = w.flush()
	}
}

func (w *writer) flush() error {
	if w.err != nil || len(w.some) == 0 {
		return w.err
	}
	some := w.some
	w.some = nil
	return w.write(some)
}

func (p *Planner) apply(ctx context.Context, h *heartbeat, by, why string) error {
	h.whole.Store(true)
	for {
		rows, err := p.store.ChosenRows(ctx, h.plan, writeAtOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := p.applySome(ctx, h, rows, by, why); err != nil {
			return inWords(err)
		}
	}
}

// applySome carries out some rows and writes what became of each.
func (p *Planner) applySome(ctx context.Context, h *heartbeat, rows []customer.PlanRow, by, why string) error {
	places, outcomes := map[customer.ID]int{}, map[int]string{}
	order := worker.Order{
		Kind: worker.KindApply, By: by, Why: why, Begun: h.run.Store,
		Done:    func(row worker.Planned) { outcomes[places[row.Customer]] = customer.OutcomeDone },
		Refused: func(row worker.Planned, why string) { outcomes[places[row.Customer]] = why },
	}
	for _, r := range rows {
		places[r.Customer] = r.Place
		order.Planned = append(order.Planned, worker.Planned{Customer: r.Customer, Version: r.Version, Action: worker.Action(r.Action), AuthUserID: r.AuthUserID})
	}
	run, err := p.run.RunOnce(ctx, order)
	// What was done was done, whatever stopped the rest.
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if err = errors.Join(err, p.store.SettleRows(settling, h.plan, outcomes)); err != nil {
		return err
	}
	if len(outcomes) < len(rows) {
		return fmt.Errorf("%w: run %d ended %s: %s", errStopped, run.ID, run.Result, run.Note)
	}
	return nil
}

var errStopped = errors.New("stopped before all was done")
