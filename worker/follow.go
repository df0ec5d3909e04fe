package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
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
	// crowdedOut is how many refusals in a row make the logs stand in for a feed
	// whose connections others hold: some minutes, in which those of a replica that
	// died end.
	crowdedOut = 8
	// shortest is how long a connection lasts that ends as it should; Auth0 keeps
	// them for minutes.
	shortest = 10 * time.Second
)

// errNothingCame says that a connection ended before it was of any use.
var errNothingCame = errors.New("the connection ended at once")

// serveFollow follows Auth0 while this process has the lease for it.
func (w *Worker) serveFollow(ctx context.Context) {
	if w.follow == FollowOff && !w.watches {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		fence, err := w.acquire(ctx, customer.LeaseFollow)
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
	defer w.release(ctx, customer.LeaseFollow, fence)
	ctx, stop := context.WithCancelCause(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		w.keepLease(ctx, customer.LeaseFollow, fence, stop)
	}()
	var watching sync.WaitGroup
	if w.watches {
		watching.Go(func() { w.serveWatch(ctx, fence) })
	}
	f := &following{Worker: w, fence: fence}
	f.run(ctx)
	f.metrics.following.Reset()
	stop(nil)
	watching.Wait()
	<-renewing
}

// following is a process that has the lease to follow.
type following struct {
	*Worker
	fence   int64
	written time.Time // when a cursor was last written
	failing int       // tries in a row that failed
	lane    string    // followed last
}

// run follows the best lane there is, until ctx ends.
func (f *following) run(ctx context.Context) {
	if f.follow == FollowOff {
		<-ctx.Done()
	}
	for ctx.Err() == nil {
		if f.follow != FollowLogs {
			err := f.guarded(ctx, laneFeed, f.followFeed)
			if !f.notToBeHad(err) {
				f.recover(ctx, laneFeed, err)
				continue
			}
			f.log.Warn("the event feed is not to be had", zap.Error(err))
			if f.follow == FollowEvents {
				pause(ctx, betterAgain)
				continue
			}
			f.failing = 0
		}
		f.followLogsFor(ctx, betterAgain)
	}
}

// notToBeHad reports whether there is no use in trying the feed again soon.
func (f *following) notToBeHad(err error) bool {
	crowded := f.follow == FollowAuto && f.failing >= crowdedOut && errors.Is(err, auth0sync.ErrRateLimited)
	return crowded || errors.Is(err, auth0sync.ErrForbidden)
}

// uses says once that this process follows by another lane than before.
func (f *following) uses(lane string) {
	if f.lane != lane {
		f.metrics.following.Reset()
		f.lane = lane
		f.log.Info("following Auth0", zap.String("lane", lane))
	}
	f.metrics.followsBy(lane)
}

// guarded follows a lane and survives its panics.
func (f *following) guarded(ctx context.Context, lane string, do func(context.Context) error) (err error) {
	defer func() {
		if err != nil {
			f.metrics.following.WithLabelValues(lane).Set(0)
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			f.log.Error("following panicked", zap.String("lane", lane), zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	return do(ctx)
}

// recover waits before the next try, the longer the more have failed, or for as
// long as Auth0 asks.
func (f *following) recover(ctx context.Context, lane string, err error) {
	if err == nil || ctx.Err() != nil {
		f.failing = 0
		return
	}
	f.log.Warn("following Auth0 failed", zap.String("lane", lane), zap.Error(err))
	again := min(followAgain<<min(f.failing, 6), followAgainMost)
	f.failing++
	again = again/2 + rand.N(again/2) //nolint:gosec // jitter
	var later *auth0sync.LaterError
	if errors.As(err, &later) {
		again = min(max(again, later.After), betterAgain)
	}
	pause(ctx, again)
}

// followFeed takes in one connection of the event feed. Where there is no going on
// from the cursor the next connection starts from now, and a full reconcile makes
// up for what was missed.
func (f *following) followFeed(ctx context.Context) error {
	cursor, _, err := f.store.Cursor(ctx, laneFeed)
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	began, came := time.Now(), false
	for item, err := range f.directory.Feed(ctx, cursor) {
		if errors.Is(err, auth0sync.ErrCursor) {
			_, lost := f.store.Follow(ctx, f.fence, laneFeed, nil, "")
			return errors.Join(err, lost)
		}
		if err != nil {
			return err
		}
		if err := f.take(ctx, item, cursor); err != nil {
			return fmt.Errorf("take in: %w", err)
		}
		came = came || item.Cursor != ""
	}
	if !came && time.Since(began) < shortest {
		return errNothingCame
	}
	return nil
}

// take acts on one item of the feed.
func (f *following) take(ctx context.Context, item auth0sync.FeedItem, from string) error {
	f.uses(laneFeed)
	switch {
	case item.Cursor == "" && from == "":
		return f.missed(ctx, laneFeed) // only now: from here on nothing is missed
	case item.Cursor == "":
		return nil
	}
	f.failing = 0
	switch {
	case item.Delivery == nil && time.Since(f.written) < beatsApart:
		return nil
	case item.Delivery == nil:
		return f.note(ctx, laneFeed, nil, item.Cursor)
	}
	return f.note(ctx, laneFeed, []customer.Delivery{*item.Delivery}, item.Cursor)
}

// note writes down what came, and how far the lane is.
func (f *following) note(ctx context.Context, lane string, deliveries []customer.Delivery, cursor string) error {
	deliveries = slices.DeleteFunc(deliveries, func(d customer.Delivery) bool {
		return d.Understood && !d.Hint.Matters() // a row for each would say nothing
	})
	fresh, err := f.store.Follow(ctx, f.fence, lane, deliveries, cursor)
	if err != nil {
		return err
	}
	f.written = time.Now()
	for i, d := range deliveries {
		f.metrics.followed.WithLabelValues(lane, deliveryResult(d, fresh[i])).Inc()
	}
	if slices.Contains(fresh, true) {
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
