package outgoing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ahiko-io/customersync/customer"
)

const (
	atOnce   = 8   // deliveries to a target
	pageSize = 200 // events of a round
	// firstAgain is how soon a failed delivery is tried again; it doubles to
	// lastAgain. An event that is not taken within givenUp of its first attempt is dead.
	firstAgain = 10 * time.Second
	lastAgain  = 4 * time.Hour
	givenUp    = 24 * time.Hour
)

// result is what a round came to.
type result int

// All results.
const (
	nothing result = iota // there was nothing to do
	some                  // something was delivered, or only old failures failed again
	refused               // of what is new nothing was taken: the target seems to be down
)

// Round does what there is to do for a target, once: what is due again, and what comes
// next in the feed. Careful is for a target that took nothing the last time: then only
// as many are tried as fit in one time-out.
//
// Whoever is killed in a round, or loses the lease, leaves the target with events that
// come again: they have the same id.
func (d *Deliverer) Round(ctx context.Context, fence int64, t Target, careful bool) (result, error) {
	limit := pageSize
	if careful {
		limit = atOnce
	}
	work, err := d.store.EventWork(ctx, t.Name, limit)
	if errors.Is(err, customer.ErrNotFound) {
		if err = d.store.AddEventTarget(ctx, t.Name); err == nil {
			work, err = d.store.EventWork(ctx, t.Name, limit)
		}
	}
	if err != nil {
		return nothing, fmt.Errorf("read what to deliver: %w", err)
	}
	if len(work.Due)+len(work.Fresh) == 0 {
		return nothing, nil
	}
	r := &round{Deliverer: d, target: t, work: work}
	r.report.From, r.report.To = work.Position, work.Position
	r.deliverAll(ctx)
	if ctx.Err() != nil {
		return nothing, ctx.Err() // what failed now did so because we stop
	}
	if err := d.store.SettleEvents(ctx, fence, t.Name, r.report); err != nil {
		return nothing, fmt.Errorf("write what was delivered: %w", err)
	}
	if tried := len(r.report.Failed) + r.taken; tried > 0 && r.taken == 0 {
		return refused, nil
	}
	return some, nil
}

// round is one in the making.
type round struct {
	*Deliverer
	target Target
	work   customer.EventWork

	mu     sync.Mutex
	report customer.EventReport
	taken  int // of the fresh ones
}

// deliverAll delivers several at once, but those of a customer one after the other.
func (r *round) deliverAll(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, due := range r.work.Due {
		g.Go(func() error {
			o := r.attempt(ctx, due.Event, due.Attempts, due.First)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.report.Due = append(r.report.Due, o)
			return nil
		})
	}
	for _, events := range byCustomer(r.work.Fresh) {
		g.Go(func() error {
			r.deliver(ctx, events)
			return nil
		})
	}
	_ = g.Wait() // failures are in the report
	if n := len(r.work.Fresh); n > 0 {
		r.report.To = r.work.Fresh[n-1].Position
	}
}

// byCustomer parts events by customer, each part in its order.
func byCustomer(events []customer.Event) (parts [][]customer.Event) {
	place := map[customer.ID]int{}
	for _, e := range events {
		i, known := place[e.Customer]
		if !known {
			i = len(parts)
			place[e.Customer], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], e)
	}
	return parts
}

// deliver delivers fresh events of one customer. Behind one that fails, or behind
// those that wait since earlier, they queue up.
func (r *round) deliver(ctx context.Context, events []customer.Event) {
	var failed []customer.EventOutcome
	taken, behind := 0, events
	if !r.work.Waiting[events[0].Customer] {
		for len(behind) > 0 && len(failed) == 0 {
			o := r.attempt(ctx, behind[0], 0, time.Time{})
			behind = behind[1:]
			if o.Note == "" {
				taken++
			} else {
				failed = append(failed, o)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += taken
	r.report.Failed = append(r.report.Failed, failed...)
	r.report.Behind = append(r.report.Behind, slices.Clone(behind)...)
}

// errPanicked is a bug of ours.
var errPanicked = errors.New("it met a bug; the log says which")

// postSafely makes an error of a panic: each delivery is on a goroutine of its own,
// where nobody else recovers, and the process would end whenever the event is due.
func (r *round) postSafely(ctx context.Context, e customer.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errPanicked
			r.log.Error("delivery panicked", zap.String("event", e.ID()), zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	return post(ctx, r.client, r.target, e, time.Now())
}

// attempt delivers an event once, and says what is to come of it.
func (r *round) attempt(ctx context.Context, e customer.Event, attempts int, first time.Time) customer.EventOutcome {
	o := customer.EventOutcome{Event: e}
	err := r.postSafely(ctx, e)
	if err == nil {
		r.results.WithLabelValues(r.target.Name, "delivered").Inc()
		return o
	}
	o.Note = err.Error()
	left := givenUp
	if !first.IsZero() {
		left -= r.work.Now.Sub(first)
	}
	if left <= 0 {
		o.Dead = true
		r.results.WithLabelValues(r.target.Name, "dead").Inc()
		r.log.Warn("event given up", zap.String("target", r.target.Name), zap.String("event", e.ID()), zap.String("why", o.Note))
		return o
	}
	o.Again = min(firstAgain<<min(attempts, 20), lastAgain, left)
	r.results.WithLabelValues(r.target.Name, "failed").Inc()
	return o
}
