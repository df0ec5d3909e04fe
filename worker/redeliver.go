package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	// failedSince is how far back failed deliveries are asked for again.
	failedSince = 24 * time.Hour
	// mostRedelivered are asked for again in one look; a call each. It is also how
	// many are listed at a time.
	mostRedelivered = 50
	// mostListed bounds a look at failures that are all let be.
	mostListed = 10 * mostRedelivered
	// redeliveries of one event are asked for at most; then it is let be.
	redeliveries = 3
)

// redelivery is what became of a look's failed deliveries.
type redelivery struct{ failed, asked, letBe int }

// redeliver asks again for what failed, and tells of it. An event that fails each
// time is let be in the end: the worker finds its user all the same.
func (w *Worker) redeliver(ctx context.Context, stream string) ([]string, error) {
	var r redelivery
	seen, err := w.redeliverAll(ctx, stream, &r)
	if seen != nil {
		w.asked = seen // those that do not fail any more are forgotten
	}
	w.metrics.streamFailures.Set(float64(r.failed))
	if r.asked+r.letBe == 0 {
		return nil, err
	}
	w.log.Warn("deliveries of the event stream failed",
		zap.Int("failed", r.failed), zap.Int("asked_again", r.asked), zap.Int("let_be", r.letBe))
	return []string{fmt.Sprintf("failed deliveries: %d, asked for again: %d, let be: %d", r.failed, r.asked, r.letBe)}, err
}

// redeliverAll goes through what failed, beyond what is let be already: old
// failures must not stand in the way of new ones. It returns how often each was
// asked for, or nil if it did not see them all.
func (w *Worker) redeliverAll(ctx context.Context, stream string, r *redelivery) (map[string]int, error) {
	since, after, seen := time.Now().Add(-failedSince), "", map[string]int{}
	for r.failed < mostListed {
		page, err := w.directory.FailedDeliveries(ctx, stream, since, after, mostRedelivered)
		if err != nil {
			return nil, err
		}
		for _, event := range page {
			if _, twice := seen[event]; twice {
				return nil, nil // the list does not go on from where it was asked to
			}
			r.failed++
			if err := w.again(ctx, stream, event, r); err != nil {
				return nil, err
			}
			seen[event] = w.asked[event]
		}
		if len(page) < mostRedelivered {
			return seen, nil
		}
		if r.asked > 0 {
			return nil, nil
		}
		after = page[len(page)-1]
	}
	return nil, nil
}

// again asks for one more delivery of an event, unless that was of no use before.
func (w *Worker) again(ctx context.Context, stream, event string, r *redelivery) error {
	switch n := w.asked[event]; {
	case n > redeliveries:
		return nil
	case n == redeliveries:
		r.letBe++
	default:
		if err := w.directory.Redeliver(ctx, stream, event); err != nil {
			return err
		}
		r.asked++
	}
	w.asked[event]++ // one more than redeliveries says that this was told
	return nil
}
