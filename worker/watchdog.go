package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
)

const (
	// watchEvery is how often our Event Stream is looked at: Auth0 advises so.
	// https://auth0.com/docs/customize/events/events-best-practices
	watchEvery = 5 * time.Minute
	// failedSince is how far back failed deliveries are asked for again.
	failedSince = 24 * time.Hour
	// mostRedelivered are asked for again in one look; a call each.
	mostRedelivered = 50
	// redeliveries of one event are asked for at most; then it is let be.
	redeliveries = 3
	// laneStream is the Event Stream where it missed something.
	laneStream = "event_stream"
)

// serveWatch looks at our Event Stream from time to time, until ctx ends.
func (w *Worker) serveWatch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.watchSafely(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("event stream not looked after", zap.Error(err))
			if errors.Is(err, auth0sync.ErrForbidden) || errors.Is(err, auth0sync.ErrNoStream) {
				pause(ctx, betterAgain)
			}
		}
		pause(ctx, watchEvery)
	}
}

// watchSafely survives a panic, as runs do.
func (w *Worker) watchSafely(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			w.log.Error("watching panicked", zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	return w.Watch(ctx)
}

// Watch looks after our Event Stream, once: it is enabled again if Auth0 disabled
// it, which it does after many failures, and failed deliveries are asked for again.
// A disabled stream keeps nothing, so a full reconcile makes up for that.
func (w *Worker) Watch(ctx context.Context) error {
	stream, err := w.directory.OurStream(ctx)
	if err != nil {
		return err
	}
	if !stream.Enabled {
		w.log.Error("the event stream was disabled; it is enabled again, and a full reconcile makes up for what it missed", zap.String("stream", stream.ID))
		if err := w.directory.EnableStream(ctx, stream.ID); err != nil {
			return err
		}
		if err := w.store.NoteGap(ctx, 0, laneStream); err != nil {
			return fmt.Errorf("note gap: %w", err)
		}
		w.owed(ctx)
	}
	return w.redeliver(ctx, stream.ID)
}

// redeliver asks again for what failed. An event that fails each time is let be
// in the end: the worker finds its user all the same.
func (w *Worker) redeliver(ctx context.Context, stream string) error {
	failed, err := w.directory.FailedDeliveries(ctx, stream, time.Now().Add(-failedSince), mostRedelivered)
	if err != nil {
		return err
	}
	w.metrics.streamFailures.Set(float64(len(failed)))
	again := map[string]int{} // those that do not fail any more are forgotten
	asked := 0
	for _, event := range failed {
		again[event] = w.asked[event]
		if again[event] == redeliveries {
			continue
		}
		if err := w.directory.Redeliver(ctx, stream, event); err != nil {
			return err
		}
		again[event]++
		asked++
	}
	w.asked = again
	if len(failed) > 0 {
		w.log.Warn("deliveries of the event stream failed", zap.Int("failed", len(failed)), zap.Int("asked_again", asked))
	}
	return nil
}
