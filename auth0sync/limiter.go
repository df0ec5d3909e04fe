package auth0sync

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// longestReset is how far away the reset is taken to be, at most: the slowest bucket
	// that Auth0 documents is full again within seconds.
	longestReset = time.Minute
	// longestBan is how long a 429 is obeyed, at most: Auth0's limits last minutes.
	longestBan = 10 * time.Minute
	// slowestRefill is how many seconds an empty bucket takes to be full again, at most,
	// on the plans that Auth0 documents: 10 calls at 2 a second.
	slowestRefill = 5.0
	// arrivesWithin is how long a call may be without an answer and not be taken to have
	// been counted by Auth0: one that hangs must not take room from others all the time.
	arrivesWithin = 2 * time.Second
	// unknownPace is for a tenant that tells no limit.
	unknownPace = 2.0
)

// limiter keeps calls within our share of the tenant's rate limit, by what each answer
// tells of it. Some plans have one token bucket for all endpoints, others one for each
// group of them, and no answer says which it drew from: those of one size are taken for
// one.
// https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy
type limiter struct {
	share float64

	mu      sync.Mutex
	calls   int64                // so far
	buckets map[int]*bucket      // by size
	draws   map[string]*bucket   // by endpoint: what it last drew from
	latest  *bucket              // what any endpoint last drew from
	bans    map[string]time.Time // by endpoint: until when a 429 asked us to stay away
	news    chan struct{}        // closed when the next call has ended
}

// bucket is a token bucket of the tenant's, as far as it is known.
type bucket struct {
	size     int
	left     int       // as last told, whoever has drawn from it
	at       time.Time // when that was told
	full     time.Time // when it will be full again, all by our clock
	asOf     int64     // the newest call when that was told
	underWay int       // calls that may not have been counted in that
	// turns are held by whoever waits in front, for each priority; the others behind
	// get them in the order in which they came.
	turns [Cron + 1]chan struct{}
}

// filled is how much is in a bucket by a time. It is refilled evenly, and not slower
// than said, since a reset is told in whole seconds and rounded up. One that is told to
// be far away says little of that.
func (b *bucket) filled(by time.Time) int {
	span := b.full.Sub(b.at)
	switch {
	case !by.Before(b.full):
		return b.size
	case span >= longestReset:
		return b.left
	}
	return b.left + int(float64(b.size-b.left)*float64(by.Sub(b.at))/float64(span))
}

// holds is when so much will be in a bucket, if nobody draws from it.
func (b *bucket) holds(n int) time.Time {
	span := b.full.Sub(b.at)
	if n >= b.size || span >= longestReset {
		return b.full
	}
	return b.at.Add(time.Duration(math.Ceil(float64(n-b.left) / float64(b.size-b.left) * float64(span))))
}

func newBucket() *bucket {
	b := &bucket{size: 1}
	for i := range b.turns {
		b.turns[i] = make(chan struct{}, 1)
	}
	return b
}

// newLimiter lets one call through at a time until Auth0 has told its limit.
func newLimiter(share float64) *limiter {
	return &limiter{
		share: share, buckets: map[int]*bucket{}, draws: map[string]*bucket{}, latest: newBucket(),
		bans: map[string]time.Time{}, news: make(chan struct{}),
	}
}

// draw is a call that has its room, until it is done.
type draw struct {
	endpoint string
	from     *bucket
	call     int64
	counted  bool        // it is under way no more
	late     *time.Timer // runs until it has to have arrived
}

// take takes room for one call of an endpoint, and waits for it if there is none.
// ErrBudget: there will be none within longestWait, or not before ctx ends.
func (l *limiter) take(ctx context.Context, endpoint string) (d *draw, waited time.Duration, err error) {
	defer func(began time.Time) { waited = time.Since(began) }(time.Now())
	ctx, cancel := context.WithTimeout(ctx, longestWait)
	defer cancel()
	priority, ok := ctx.Value(priorityKey{}).(Priority)
	if !ok {
		priority = Cron
	}
	// Whoever has to stay away does so before it queues: others draw from the bucket too.
	if err := await(ctx, l.banned(endpoint), nil); err != nil {
		return nil, 0, err
	}
	turn := l.turn(endpoint, priority)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, 0, outOfTime(ctx)
	}
	for {
		d, wait, news := l.try(endpoint, priority)
		if wait == 0 {
			return d, 0, nil
		}
		if err := await(ctx, wait, news); err != nil {
			return nil, 0, err
		}
	}
}

// await waits, or until there is news. Without news to hope for it fails at once if
// ctx ends sooner.
func await(ctx context.Context, wait time.Duration, news <-chan struct{}) error {
	end, ok := ctx.Deadline()
	switch {
	case wait <= 0:
		return nil
	case news == nil && ok && time.Until(end) < wait:
		return ErrBudget
	}
	select {
	case <-time.After(wait):
		return nil
	case <-news:
		return nil
	case <-ctx.Done():
		return outOfTime(ctx)
	}
}

// banned is for how long calls of an endpoint are unwelcome; 0 or less: they are not.
func (l *limiter) banned(endpoint string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.bans[endpoint])
}

// turn is what a call of an endpoint has to hold while it waits in front.
func (l *limiter) turn(endpoint string, p Priority) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucketOf(endpoint).turns[p]
}

// outOfTime is why a wait that ctx has ended came to nothing.
func outOfTime(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrBudget
	}
	return ctx.Err()
}

// try takes room for one call, or says for how long there is none. While calls are
// under way their answers may tell of room sooner: that is news; nil if none are.
func (l *limiter) try(endpoint string, p Priority) (d *draw, wait time.Duration, news <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if wait := l.bans[endpoint].Sub(now); wait > 0 {
		return nil, wait, nil
	}
	b := l.bucketOf(endpoint)
	// At least one call must be possible on the smallest plan.
	kept := min(float64(b.size)*(1-l.share)*(1-p.reach()), float64(b.size-1))
	need := int(math.Ceil(kept)) + b.underWay + 1
	if b.filled(now) >= need {
		b.underWay++
		l.calls++
		d := &draw{endpoint: endpoint, from: b, call: l.calls}
		d.late = time.AfterFunc(arrivesWithin, func() { l.hangs(d) })
		return d, 0, nil
	}
	if b.underWay > 0 {
		news = l.news
	}
	return nil, max(b.holds(need).Sub(now), time.Millisecond), news
}

// bucketOf is what an endpoint draws from, as far as is known.
func (l *limiter) bucketOf(endpoint string) *bucket {
	if b := l.draws[endpoint]; b != nil {
		return b
	}
	return l.latest
}

// done ends a call and learns from its answer; nil if there is none. Of calls that were
// under way together nobody knows which Auth0 counted last: whichever tells of less is
// believed.
func (l *limiter) done(d *draw, res *http.Response) (told bucketState, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.late.Stop()
	l.count(d)
	if res == nil {
		return told, false
	}
	now := time.Now()
	if told, ok = readBucket(res.Header, now); !ok {
		return told, false
	}
	b := l.buckets[told.size]
	switch {
	case b != nil:
	case len(l.buckets) == 0: // it was a stand-in, and there may be a queue at it
		b = l.latest
	default:
		b = newBucket()
	}
	b.size = told.size
	l.buckets[told.size] = b
	l.draws[d.endpoint], l.latest = b, b
	full := now.Add(told.full)
	if d.call <= b.asOf {
		told.left = min(told.left, b.filled(now))
		full = later(full, b.full)
	}
	b.left, b.at, b.full, b.asOf = told.left, now, full, l.calls
	return told, true
}

// hangs takes a call without an answer to have been counted.
func (l *limiter) hangs(d *draw) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.counted {
		return
	}
	l.count(d)
	now, b := time.Now(), d.from
	b.left, b.full = max(b.filled(now)-1, 0), later(b.full, now).Add(time.Duration(slowestRefill/float64(b.size)*float64(time.Second)))
	b.at = now
}

// count ends that a call is under way, which is news.
func (l *limiter) count(d *draw) {
	if d.counted {
		return
	}
	d.counted = true
	d.from.underWay--
	close(l.news)
	l.news = make(chan struct{})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// bucketState is what an answer tells of the bucket that it drew from.
type bucketState struct {
	size, left int
	full       time.Duration // until it is full again
}

// readBucket reads the headers of an answer; false if they tell nothing that makes
// sense. The reset is by Auth0's clock, so it is taken relative to the answer's own
// date.
func readBucket(h http.Header, now time.Time) (s bucketState, ok bool) {
	size, err1 := strconv.ParseUint(h.Get("X-Ratelimit-Limit"), 10, 31)
	left, err2 := strconv.ParseUint(h.Get("X-Ratelimit-Remaining"), 10, 31)
	reset, err3 := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64)
	if errors.Join(err1, err2, err3) != nil || size == 0 {
		return bucketState{}, false
	}
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		theirs = now
	}
	return bucketState{
		size: int(size), left: int(min(left, size)),
		full: min(max(time.Unix(reset, 0).Sub(theirs), 0), longestReset),
	}, true
}

// ban keeps calls away from an endpoint that a 429 came from, and returns for how long
// it asks: whoever asks next, in this run or another, would get the same, and make it
// last.
func (l *limiter) ban(endpoint string, res *http.Response) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	wait := max(l.bucketOf(endpoint).full.Sub(now), time.Second)
	if asked, ok := retryAfter(res.Header); ok {
		wait = asked
	}
	l.bans[endpoint] = now.Add(min(wait, longestBan))
	return wait
}

// retryAfter is how long an answer asks to stay away, in whole seconds; a day at most,
// which is longer than anybody here waits.
func retryAfter(h http.Header) (time.Duration, bool) {
	s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 63)
	return time.Duration(min(s, 86_400)) * time.Second, err == nil
}

// left is what an answer last told to be left of its bucket; -1: none has yet.
func (l *limiter) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buckets) == 0 {
		return -1
	}
	return l.latest.left
}

// pace is how many calls of an endpoint a second are ours for long: the share of what
// its bucket is refilled by. How fast that is shows when calls are missing from it; a
// bucket that is nearly full tells little, since its reset comes in whole seconds.
func (l *limiter) pace(endpoint string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buckets) == 0 {
		return unknownPace * l.share
	}
	b := l.bucketOf(endpoint)
	refill := float64(b.size) / slowestRefill
	if within := b.full.Sub(b.at).Seconds(); within > 1 {
		refill = max(refill, float64(b.size-b.left)/within)
	}
	return max(refill, 0.1) * l.share
}
