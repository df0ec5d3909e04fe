package ops

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

// due is what the nth reading of a test finds.
type due struct {
	n      int
	err    error
	panics bool
}

func TestOldCountsAreShownWithTheirAgeWhileTheyAreReadAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	readings := make(chan due, 1)
	c := &countCache{log: zap.NewNop(), now: func() time.Time { return now }, read: func(context.Context) (customer.Status, error) {
		d := <-readings
		if d.panics {
			panic("a bug")
		}
		return customer.Status{Due: d.n}, d.err
	}}
	expect := func(n int, age time.Duration, reading bool) {
		t.Helper()
		got, ok := c.get(t.Context(), time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !ok || got.Due != n || got.Age != age || (c.reading != nil) != reading {
			t.Fatalf("%d of age %s, %t, being read: %t; want %d of %s, %t", got.Due, got.Age, ok, c.reading != nil, n, age, reading)
		}
	}
	finish := func(d due) {
		t.Helper()
		c.mu.Lock()
		done := c.reading
		c.mu.Unlock()
		readings <- d
		<-done
	}
	readings <- due{n: 1}
	expect(1, 0, false)
	now = now.Add(freshFor - time.Nanosecond)
	expect(1, freshFor-time.Nanosecond, false)
	now = now.Add(time.Nanosecond)
	expect(1, freshFor, true) // a frozen database holds nobody up
	expect(1, freshFor, true)
	finish(due{err: errors.New("away")})
	if c.last.Due != 1 {
		t.Fatalf("after a failure: %+v", c.last)
	}
	expect(1, freshFor, true) // and is asked again
	finish(due{panics: true})
	expect(1, freshFor, true)
	finish(due{n: 2})
	expect(2, 0, false)
}
