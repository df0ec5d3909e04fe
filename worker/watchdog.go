package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

const (
	// watchEvery is how often our Event Stream is looked at: Auth0 advises so.
	// https://auth0.com/docs/customize/events/events-best-practices
	watchEvery = 5 * time.Minute
	// laneStream is the Event Stream where it missed something.
	laneStream = "event_stream"
)

// serveWatch looks at our Event Stream from time to time, until ctx ends. What
// keeps it from doing so is said once, not at each look.
func (w *Worker) serveWatch(ctx context.Context, fence int64) {
	said := ""
	for ctx.Err() == nil {
		again, says := watchEvery, ""
		if err := w.safely("watching", func() error { return w.Watch(ctx, fence) }); err != nil && ctx.Err() == nil {
			if says = err.Error(); says != said {
				w.log.Warn("event stream not looked after", zap.Error(err))
			}
			if errors.Is(err, auth0sync.ErrForbidden) || errors.Is(err, auth0sync.ErrNoStream) {
				again = betterAgain
			}
		}
		said = says
		pause(ctx, again)
	}
}

// Watch looks after our Event Stream, once: it is enabled again if Auth0 disabled
// it, which it does after many failures, and failed deliveries are asked for again.
// Only a look that found something makes a record. Fence is of the lease to follow.
func (w *Worker) Watch(ctx context.Context, fence int64) error {
	w.metrics.attempt(KindWatch)
	ctx, spent := auth0sync.Meter(auth0sync.WithPriority(ctx, auth0sync.Cron))
	r := customer.Run{Kind: KindWatch, Started: time.Now().UTC()}
	found, err := w.watch(ctx, fence)
	r.Result, r.Note = customer.RunOK, strings.Join(found, "; ")
	if err != nil {
		r.Result, r.Errors = result(ctx, r, err, 0, false), 1
		r.Note = strings.Join(append(found, err.Error()), "; ")
	}
	r.Ended, r.Auth0Calls, r.BudgetWait = time.Now().UTC(), int(spent.Calls.Load()), time.Duration(spent.Waited.Load())
	w.metrics.finished(r)
	if len(found) == 0 {
		return err
	}
	return errors.Join(err, w.recordWatch(ctx, fence, r))
}

func (w *Worker) recordWatch(ctx context.Context, fence int64, r customer.Run) error {
	id, err := w.store.StartRun(ctx, r, fence)
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	r.ID = id
	return w.finish(ctx, r)
}

// watch returns what it found, in words for people.
func (w *Worker) watch(ctx context.Context, fence int64) (found []string, err error) {
	stream, err := w.directory.OurStream(ctx)
	if err != nil {
		return nil, err
	}
	if !stream.Enabled {
		found = append(found, "the event stream was disabled, and missed what happened")
		w.log.Error("the event stream was disabled; a full reconcile makes up for what it missed", zap.String("stream", stream.ID))
		if err := w.revive(ctx, fence, stream.ID); err != nil {
			return found, err
		}
	}
	failed, err := w.redeliver(ctx, stream.ID)
	return append(found, failed...), err
}

// revive enables a stream. It keeps nothing while it is disabled, so a gap is
// noted: before, lest it be forgotten if this process ends here, and after, since
// a reconcile may have begun in between. A stream that Auth0 does not let us
// enable asks for one reconcile, not for one at each look.
func (w *Worker) revive(ctx context.Context, fence int64, stream string) error {
	if w.missing != stream {
		if err := w.store.NoteGap(ctx, fence, laneStream); err != nil {
			return fmt.Errorf("note gap: %w", err)
		}
		w.missing = stream
	}
	defer w.owed(ctx)
	if err := w.directory.EnableStream(ctx, stream); err != nil {
		return err
	}
	w.missing = ""
	if err := w.store.NoteGap(ctx, fence, laneStream); err != nil {
		return fmt.Errorf("note gap: %w", err)
	}
	return nil
}
