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
	// logsWhileWaiting is how often the log is read while customers wait, and
	// logsElse while none does: then only deletions are news.
	logsWhileWaiting = 30 * time.Second
	logsElse         = 15 * time.Minute
	// logsKept is how long a cursor surely lasts: the smallest plan keeps its log for
	// a day, and what becomes of older cursors Auth0 does not tell.
	logsKept = 20 * time.Hour
)

// followLogsFor reads the tenant's log again and again for about so long.
func (f *following) followLogsFor(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); ctx.Err() == nil; {
		err := f.guarded(ctx, laneLogs, f.readLogs)
		if errors.Is(err, auth0sync.ErrForbidden) {
			f.log.Warn("the tenant's log is not to be had either; sign-ups are found by looking", zap.Error(err))
			pause(ctx, betterAgain)
			return
		}
		f.recover(ctx, laneLogs, err)
		if f.follow == FollowAuto && time.Now().After(end) {
			return
		}
		if err == nil {
			f.untilNextLogs(ctx)
		}
	}
}

// untilNextLogs waits until it is time to read the log again: soon if anybody
// waits, who may have been made while this did.
func (f *following) untilNextLogs(ctx context.Context) {
	for since := time.Now(); ctx.Err() == nil; {
		pause(ctx, f.logsEvery)
		waiting, err := f.store.AnyPending(ctx)
		if err != nil || waiting || time.Since(since) >= logsElse {
			return
		}
	}
}

// readLogs takes in what the log has since the cursor.
func (f *following) readLogs(ctx context.Context) error {
	cursor, moved, err := f.store.Cursor(ctx, laneLogs)
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	now, err := f.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	if cursor == "" || now.Sub(moved) > logsKept {
		return f.startLogs(ctx)
	}
	for {
		page, err := f.directory.Logs(ctx, cursor)
		if errors.Is(err, auth0sync.ErrCursor) {
			return f.startLogs(ctx)
		}
		if err != nil {
			return err
		}
		f.uses(laneLogs)
		if err := f.note(ctx, laneLogs, page.Deliveries, page.Cursor); err != nil {
			return fmt.Errorf("take in: %w", err)
		}
		if !page.More || page.Cursor == cursor {
			return nil
		}
		cursor = page.Cursor
	}
}

// startLogs begins with where the log ends now.
func (f *following) startLogs(ctx context.Context) error {
	page, err := f.directory.Logs(ctx, "")
	if err != nil {
		return err
	}
	f.uses(laneLogs)
	if page.Cursor == "" {
		return nil // an empty log: whoever comes first in it makes the gap
	}
	if err := f.missed(ctx, laneLogs); err != nil {
		return fmt.Errorf("note gap: %w", err)
	}
	return f.note(ctx, laneLogs, nil, page.Cursor)
}
