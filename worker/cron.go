package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

const (
	// leastInterval is the shortest time between two runs that a schedule may ask for.
	leastInterval = 10 * time.Second
	pruneSchedule = "17 3 * * *"
	// keepFor is how long inbox rows, runs and idempotency keys are kept.
	keepFor = 30 * 24 * time.Hour
	// leaseRetry is how soon a delivery is tried again while another run holds the lease.
	leaseRetry = 250 * time.Millisecond
)

// CheckSchedule accepts a cron expression (five fields, UTC) or @every that
// will come, and comes at least 10 seconds apart. robfig/cron panics on some
// texts and accepts others that never come or come all the time.
func CheckSchedule(spec string) error {
	schedule, err := parseSchedule(spec)
	if err != nil {
		return err
	}
	at := schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	for range 100 {
		next := schedule.Next(at)
		switch {
		case at.IsZero() || next.IsZero():
			return fmt.Errorf("schedule %q never comes", spec)
		case next.Sub(at) < leastInterval:
			return fmt.Errorf("schedule %q comes more often than every %s", spec, leastInterval)
		}
		at = next
	}
	return nil
}

func parseSchedule(spec string) (schedule cron.Schedule, err error) {
	defer func() { // the parser slices "TZ=" texts without looking
		if r := recover(); r != nil {
			err = fmt.Errorf("schedule %q is not a cron expression", spec)
		}
	}()
	schedule, err = cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", spec, err)
	}
	return schedule, nil
}

// Run works until ctx ends: promote by its schedule, the inbox whenever a
// delivery arrives, the full reconcile and prune at night. It returns when the run in hand has stopped
// and its lease is released.
func (w *Worker) Run(ctx context.Context) error {
	logger := cronLogger{w.log}
	// Skip outermost, Recover innermost: the other way round one panic leaves
	// the job marked as running for ever (robfig/cron v3.0.1).
	jobs := cron.New(
		cron.WithLocation(time.UTC),
		cron.WithLogger(logger),
		cron.WithChain(cron.SkipIfStillRunning(logger), cron.Recover(logger)),
	)
	if _, err := jobs.AddFunc(w.schedule, func() { _ = w.tick(ctx, KindPromote) /* it logs its errors */ }); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	if _, err := jobs.AddFunc(pruneSchedule, func() { w.prune(ctx) }); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if w.nightly != "" {
		if _, err := jobs.AddFunc(w.nightly, w.Full); err != nil {
			return fmt.Errorf("reconcile: %w", err)
		}
	}
	if _, err := jobs.AddFunc(owedEvery, func() { w.owed(ctx) }); err != nil {
		return fmt.Errorf("owed reconcile: %w", err)
	}
	w.remember(ctx)
	jobs.Start()
	w.Wake() // deliveries may have come while no worker ran

	var background sync.WaitGroup
	background.Go(func() { w.store.Listen(ctx, w.Wake) })
	background.Go(func() { w.serveWakes(ctx) })
	background.Go(func() { w.serveFull(ctx) })
	background.Go(func() { w.serveFollow(ctx) })
	<-ctx.Done()
	<-jobs.Stop().Done()
	background.Wait()
	return nil
}

// remember shows in the metrics what runs before this process did.
func (w *Worker) remember(ctx context.Context) {
	last, err := w.store.LastRuns(ctx)
	if err != nil {
		w.log.Warn("read what ran before", zap.Error(err))
		return
	}
	w.metrics.remember(last)
}

// Wake asks for a run as soon as may be. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // one is already asked for
	}
}

// serveWakes turns wakes into runs, one after the other.
func (w *Worker) serveWakes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.untilHeard(ctx)
		}
	}
}

// untilHeard runs until this process had the lease once, or nothing is left to
// do: the run that holds the lease now may have looked before the wake's cause
// was written.
func (w *Worker) untilHeard(ctx context.Context) {
	for errors.Is(w.guarded(ctx, KindInbox), customer.ErrLeaseHeld) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaseRetry):
		}
	}
}

// guarded is a tick that survives a panic, as cron's own jobs do by Recover.
func (w *Worker) guarded(ctx context.Context, kind string) error {
	return w.safely(kind+" run", func() error { return w.tick(ctx, kind) })
}

// tick is one run by the clock or a wake; its outcome goes to the log and the metrics.
func (w *Worker) tick(ctx context.Context, kind string) error {
	r, err := w.RunOnce(ctx, Order{Kind: kind})
	if Left(r) {
		w.Full()
	}
	switch {
	case err == nil && isFull(kind) && r.Result == customer.RunFailed:
		return errFullFailed // the record says why
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, customer.ErrLeaseHeld):
		w.log.Debug("run skipped: lease held elsewhere", zap.String("kind", kind))
	default:
		w.log.Error("run could not be done", zap.String("kind", kind), zap.Error(err))
	}
	return err
}

func (w *Worker) prune(ctx context.Context) {
	now, err := w.store.Now(ctx)
	if err != nil {
		w.log.Error("prune", zap.Error(err))
		return
	}
	rows, err := w.store.Prune(ctx, now.Add(-keepFor))
	if err != nil {
		w.log.Error("prune", zap.Error(err))
		return
	}
	w.log.Info("pruned", zap.Int64("rows", rows))
}

// cronLogger lets robfig/cron speak through zap.
type cronLogger struct{ log *zap.Logger }

// Info is called at every wake-up of the scheduler; it is only of use to debug cron itself.
func (l cronLogger) Info(msg string, keysAndValues ...any) {
	l.log.Sugar().Debugw("cron: "+msg, keysAndValues...)
}

// Error is called with what a job panicked with.
func (l cronLogger) Error(err error, msg string, keysAndValues ...any) {
	l.log.Sugar().Errorw("cron: "+msg, append(keysAndValues, "error", err)...)
}
