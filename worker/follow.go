package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// What may be followed.
const (
	FollowAuto   = "auto"   // the event feed, or the logs where there is none
	FollowEvents = "events" // the event feed alone
	FollowLogs   = "logs"   // the logs alone
	FollowOff    = "off"
)

// Names of the lanes that are followed by a cursor.
const (
	laneFeed = "event_feed"
	laneLogs = "log_tail"
)

const (
	// betterAgain is how often the event feed is tried again while the logs stand in.
	betterAgain = time.Hour
	// beatsApart is how far apart the cursors of mere heartbeats are written.
	beatsApart = 10 * time.Second
	// followAgain and followAgainMost are the pauses between failures.
	followAgain     = time.Second
	followAgainMost = time.Minute
)

// serveFollow follows Auth0 while this process has the lease for it.
func (w *Worker) serveFollow(ctx context.Context) {
	if w.follow == FollowOff {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		fence, err := w.store.Acquire(ctx, customer.LeaseFollow, w.holder, leaseTTL)
		if err == nil {
			w.followUnderLease(ctx, fence)
			continue
		}
		if !errors.Is(err, customer.ErrLeaseHeld) && ctx.Err() == nil {
			w.log.Warn("lease to follow Auth0", zap.Error(err))
		}
		pause(ctx, leaseTTL)
	}
}

// pause waits, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *Worker) followUnderLease(ctx context.Context, fence int64) {
	defer w.release(ctx, fence)
	ctx, stop := context.WithCancelCause(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		w.keepLease(ctx, fence, stop)
	}()
	f := &following{Worker: w, fence: fence}
	f.run(ctx)
	stop(nil)
	<-renewing
}

// following is a process that has the lease to follow.
type following struct {
	*Worker
	fence   int64
	written time.Time // when a cursor was last written
	failing int       // tries in a row that failed
}

// run follows the best lane there is, until ctx ends.
func (f *following) run(ctx context.Context) {
	for ctx.Err() == nil {
		if f.follow != FollowLogs {
			err := f.guarded(ctx, laneFeed, f.followFeed)
			if !errors.Is(err, auth0sync.ErrForbidden) {
				f.recover(ctx, laneFeed, err)
				continue
			}
			f.log.Warn("the event feed is not to be had", zap.Error(err))
			if f.follow == FollowEvents {
				pause(ctx, betterAgain)
				continue
			}
		}
		f.followLogsFor(ctx, betterAgain)
	}
}

// guarded follows a lane and survives its panics.
func (f *following) guarded(ctx context.Context, lane string, do func(context.Context) error) (err error) {
	defer f.metrics.following.WithLabelValues(lane).Set(0)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			f.log.Error("following panicked", zap.String("lane", lane), zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	return do(ctx)
}

// recover waits before the next try, the longer the more have failed.
func (f *following) recover(ctx context.Context, lane string, err error) {
	if err == nil || ctx.Err() != nil {
		f.failing = 0
		return
	}
	f.log.Warn("following Auth0", zap.String("lane", lane), zap.Error(err))
	again := min(followAgain<<min(f.failing, 6), followAgainMost)
	f.failing++
	pause(ctx, again/2+rand.N(again/2)) //nolint:gosec // jitter
}

// followFeed takes in one connection of the event feed. A connection that cannot
// go on from where the last one ended starts from now, and a full reconcile makes
// up for what was missed.
func (f *following) followFeed(ctx context.Context) error {
	cursor, _, err := f.store.Cursor(ctx, laneFeed)
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	for item, err := range f.directory.Feed(ctx, cursor) {
		switch {
		case errors.Is(err, auth0sync.ErrCursor):
			f.log.Warn("the event feed does not go back far enough; a full reconcile makes up for it")
			_, err := f.store.Follow(ctx, f.fence, laneFeed, nil, "") // the next connection starts from now
			return err
		case err != nil:
			return err
		}
		if err := f.take(ctx, item, cursor); err != nil {
			return fmt.Errorf("take in: %w", err)
		}
	}
	return nil
}

// take acts on one item of the feed.
func (f *following) take(ctx context.Context, item auth0sync.FeedItem, from string) error {
	f.failing = 0
	switch {
	case item.Cursor == "":
		f.metrics.following.WithLabelValues(laneFeed).Set(1)
		if from != "" {
			return nil
		}
		return f.missed(ctx, laneFeed) // only now: from here on nothing is missed
	case item.Delivery == nil && time.Since(f.written) < beatsApart:
		return nil
	case item.Delivery == nil:
		return f.note(ctx, laneFeed, nil, item.Cursor)
	}
	return f.note(ctx, laneFeed, []customer.Delivery{*item.Delivery}, item.Cursor)
}

// note writes down what came, and how far the lane is.
func (f *following) note(ctx context.Context, lane string, deliveries []customer.Delivery, cursor string) error {
	fresh, err := f.store.Follow(ctx, f.fence, lane, deliveries, cursor)
	if err != nil {
		return err
	}
	f.written = time.Now()
	f.metrics.followed.WithLabelValues(lane).Add(float64(len(deliveries)))
	if fresh > 0 {
		f.Wake()
	}
	return nil
}

// missed notes that a lane starts anew, and has a full reconcile make up for it.
func (f *following) missed(ctx context.Context, lane string) error {
	if err := f.store.NoteGap(ctx, f.fence, lane); err != nil {
		return err
	}
	f.owed(ctx)
	return nil
}
