package ops

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

const (
	// freshFor is how old counts may be before they are read again: counting a large
	// table takes longer than a page may.
	freshFor = 5 * time.Second
	// staleAfter is how old counts may be and still be shown: an hour later they may be a
	// lie.
	staleAfter = time.Minute
	// countWithin bounds that reading, which nobody waits for.
	countWithin = 30 * time.Second
)

// countPatience is how long a page waits for a count before it is shown without: what
// it says beside costs nothing.
const countPatience = 20 * time.Millisecond

// snapshot is counts and when they were read.
type snapshot struct {
	customer.Status
	Read time.Time
	Age  time.Duration
}

// AgeText says how old the numbers are.
func (s snapshot) AgeText() string { return s.Age.Round(time.Second).String() }

// countCache reads counts at most once at a time, whoever asks.
type countCache struct {
	read func(context.Context) (customer.Status, error)
	now  func() time.Time
	log  *zap.Logger

	mu      sync.Mutex
	last    snapshot
	reading chan struct{} // closed when the reading under way has ended; nil: none is
}

// get returns the counts there are, with their age, and has old ones read again behind
// them. For such as are too old to be shown it waits, up to patience; false: there are
// none yet.
func (c *countCache) get(ctx context.Context, patience time.Duration) (snapshot, bool) {
	last, reading := c.peek(ctx)
	if !c.recent(last) && reading != nil {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-reading:
		case <-late.C:
		case <-ctx.Done():
		}
		c.mu.Lock()
		last = c.last
		c.mu.Unlock()
	}
	if !c.recent(last) {
		return snapshot{}, false
	}
	last.Age = c.now().Sub(last.Read)
	return last, true
}

func (c *countCache) recent(s snapshot) bool {
	return !s.Read.IsZero() && c.now().Sub(s.Read) < staleAfter
}

// peek returns what there is, and starts a reading if that is old and none is under way.
func (c *countCache) peek(ctx context.Context) (snapshot, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading == nil && (c.last.Read.IsZero() || c.now().Sub(c.last.Read) >= freshFor) {
		c.reading = make(chan struct{})
		go c.refresh(context.WithoutCancel(ctx), c.reading)
	}
	return c.last, c.reading
}

// refresh counts. A failure, be it a bug, leaves what there is: the page reads the
// database beside, and says so if that is away.
func (c *countCache) refresh(ctx context.Context, done chan<- struct{}) {
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	began := c.now() // the counts are of then, however long it took
	status, err := c.safely(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.last = snapshot{Status: status, Read: began}
	}
	c.reading = nil
	close(done)
}

// safely makes an error of a panic, which nobody else would catch here.
func (c *countCache) safely(ctx context.Context) (_ customer.Status, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("counting panicked", zap.Any("panic", r), zap.Stack("stack"))
			err = errors.New("the count met a bug; the log says which")
		}
	}()
	return c.read(ctx)
}
