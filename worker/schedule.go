package worker

import (
	"hash/fnv"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

const (
	firstBackoff = 30 * time.Second
	lastBackoff  = 24 * time.Hour
	// errorBackoff is how long a customer waits after Auth0 failed; the
	// directory's circuit breaker does the rest.
	errorBackoff = time.Minute
)

// nextCheck says when to look at a customer again, given why it waits and how
// many looks in a row changed nothing. The interval doubles from 30 seconds to
// 24 hours, so that an abandoned sign-up costs almost nothing. Reasons that no
// look can change give the zero time: only an event brings those back.
func (w *Worker) nextCheck(now time.Time, id customer.ID, reason customer.Reason, misses int) time.Time {
	switch reason {
	case customer.EmailMissing, customer.EmailUnmatchable:
		return time.Time{}
	case customer.Auth0Error:
		return now.Add(spread(id, errorBackoff))
	case customer.Auth0Budget:
		return now.Add(spread(id, w.backoff)) // not all at one instant, which would be read in pages
	default:
		return now.Add(spread(id, doubled(w.backoff, misses)))
	}
}

// doubled is the interval after so many misses, given that after the first.
func doubled(d time.Duration, misses int) time.Duration {
	for range misses - 1 {
		if d *= 2; d >= lastBackoff {
			return lastBackoff
		}
	}
	return d
}

// spread shortens an interval by up to a tenth, always the same for a customer,
// so that customers created together do not stay due together.
func spread(id customer.ID, d time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return d - d/10*time.Duration(h.Sum32()%1000)/1000
}
