package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

const (
	// exportCalls is what a full listing by export costs: the count before, to
	// decide and after, the job, some looks at it, and its link.
	exportCalls = 12
	// exportStart and exportPace are how long Auth0 takes over an export: guesses on
	// the safe side, from reports of minutes for some 100,000 users.
	exportStart = 10 * time.Second
	exportPace  = 2000 // users a second
	// manyDue is as many as are counted; beyond it the choice is the same.
	manyDue = 1_000_000
)

// cost is what it takes to look up so many customers in a tenant of so many users.
type cost struct {
	due, tenant int
	pace        float64 // calls a second that are ours
}

func (c cost) searchCalls() int { return (c.due + searchBatch - 1) / searchBatch }

func (c cost) searching() time.Duration { return seconds(float64(c.searchCalls()) / c.pace) }

func (c cost) exporting() time.Duration {
	return exportStart + seconds(exportCalls/c.pace) + seconds(float64(c.tenant)/exportPace)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// exports says whether an export is the cheaper way: fewer calls, and not slower.
func (c cost) exports() bool { return c.searchCalls() > exportCalls && c.searching() > c.exporting() }

// tooMany reports whether so many customers are due that a full reconcile is the
// cheaper way to look them up. It costs a call only if many are.
func (p *pass) tooMany(ctx context.Context) (bool, error) {
	if p.order.Only != "" || p.order.DryRun || p.order.Most > 0 {
		return false, nil
	}
	before := p.now
	if p.putsOff() {
		before = p.now.Add(-auth0sync.SearchLag)
	}
	due, err := p.store.CountDue(ctx, before, manyDue)
	if err != nil {
		return false, fmt.Errorf("count due customers: %w", err)
	}
	if c := (cost{due: due}); c.searchCalls() <= exportCalls {
		return false, nil
	}
	tenant, err := p.directory.Total(ctx)
	if err != nil {
		return false, nil //nolint:nilerr // the look-ups will meet, and tell, the same
	}
	c := cost{due, tenant, p.directory.Pace()}
	p.log.Info("many customers are due",
		zap.Int("due", c.due), zap.Int("tenant", c.tenant), zap.Float64("calls_per_second", c.pace),
		zap.Duration("by_search", c.searching()), zap.Duration("by_export", c.exporting()), zap.Bool("exports", c.exports()))
	return c.exports(), nil
}

// Left reports whether a run left customers to a full reconcile, because so many
// were due that this is the cheaper way to look them up.
func Left(r customer.Run) bool { return r.Lane == laneExport && !ofAll(r.Kind) }

// Full asks for a full reconcile as soon as may be. It never blocks.
func (w *Worker) Full() {
	select {
	case w.full <- struct{}{}:
	default: // one is already asked for
	}
}

const (
	// owedEvery is how often the database is asked whether a full reconcile is owed.
	owedEvery = "@every 1m"
	// owedAgain is how long one that failed is let be, unless somebody asks for it.
	owedAgain = 15 * time.Minute
)

// errFullFailed is a full reconcile that came to nothing.
var errFullFailed = errors.New("full reconcile failed")

// serveFull does the full reconciles that are asked for, one after the other.
func (w *Worker) serveFull(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.full:
		}
		if err := w.guarded(ctx, KindReconcile); err == nil || errors.Is(err, customer.ErrLeaseHeld) {
			continue // done, or being done
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(owedAgain):
		}
	}
}

// owed asks for a full reconcile if one was cut off, or a lane missed something.
func (w *Worker) owed(ctx context.Context) {
	job, _, err := w.store.ExportJob(ctx, resumeOwn)
	gap, err2 := w.store.Owed(ctx, time.Time{})
	if err := errors.Join(err, err2); err != nil {
		w.log.Debug("ask whether a full reconcile is owed", zap.Error(err))
		return
	}
	if gap || job != "" {
		w.Full()
	}
}
