package ops

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

const (
	// freshFor is how old a status may be before it is read again: counting a large
	// table takes longer than a page may.
	freshFor = 5 * time.Second
	// staleAfter is how old a status may be and still be shown: an hour later "nothing
	// needs a person" may be a lie.
	staleAfter = time.Minute
	// countWithin bounds that reading, which nobody waits for once there is a status.
	countWithin = 30 * time.Second
)

// snapshot is a status and when it was read.
type snapshot struct {
	customer.Status
	Read time.Time
	Age  time.Duration
	Err  error // why it could not be read again since
}

// statusCache reads the status at most once at a time, whoever asks.
type statusCache struct {
	read func(context.Context) (customer.Status, error)
	now  func() time.Time

	mu      sync.Mutex
	last    snapshot
	reading chan struct{} // closed when the reading under way has ended; nil: none is
}

// errCounting says that nothing recent is there yet.
var errCounting = errors.New("the customers are being counted")

// get returns the status there is, with its age, and has an old one read again
// behind it. For one that is too old to be shown it waits.
func (c *statusCache) get(ctx context.Context) (snapshot, error) {
	last, reading := c.peek(ctx)
	if !c.recent(last) {
		select {
		case <-reading:
		case <-ctx.Done():
			return snapshot{}, errCounting
		}
		c.mu.Lock()
		last = c.last
		c.mu.Unlock()
	}
	if !c.recent(last) {
		return snapshot{}, cmp.Or(last.Err, errCounting) // errCounting: that took longer than it may be old
	}
	last.Age = c.now().Sub(last.Read)
	return last, nil
}

func (c *statusCache) recent(s snapshot) bool {
	return !s.Read.IsZero() && c.now().Sub(s.Read) < staleAfter
}

// peek returns what there is, and starts a reading if that is old and none is under way.
func (c *statusCache) peek(ctx context.Context) (snapshot, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading == nil && (c.last.Read.IsZero() || c.now().Sub(c.last.Read) >= freshFor) {
		c.reading = make(chan struct{})
		go c.refresh(context.WithoutCancel(ctx), c.reading)
	}
	return c.last, c.reading
}

func (c *statusCache) refresh(ctx context.Context, done chan<- struct{}) {
	ctx, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	began := c.now() // the status is of then, however long the counting takes
	status, err := c.read(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last.Err = err
	if err == nil {
		c.last = snapshot{Status: status, Read: began}
	}
	c.reading = nil
	close(done)
}
