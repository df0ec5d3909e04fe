package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

const (
	waitParameter    = "wait_for"
	timeoutParameter = "timeout"
	usualWait        = 20 * time.Second
	longestWait      = 60 * time.Second // proxies give up soon after
	// clientGone is the status in log and metrics of a client that hung up while it
	// waited, as nginx has it; nobody receives it.
	clientGone = 499
)

// holdFor is how long a GET is to wait for the customer to be active; 0: not at
// all.
func (c *call) holdFor() (time.Duration, error) {
	values, err := c.query(emailParameter, waitParameter, timeoutParameter)
	switch {
	case err != nil:
		return 0, err
	case !values.Has(waitParameter) && values.Has(timeoutParameter):
		return 0, fail("invalid_query").about(timeoutParameter).saying("timeout goes with wait_for.")
	case !values.Has(waitParameter):
		return 0, nil
	case values.Get(waitParameter) != string(customer.Active):
		return 0, fail("invalid_query").about(waitParameter).saying("wait_for must be active.")
	}
	return timeoutIn(values)
}

func timeoutIn(values url.Values) (time.Duration, error) {
	if !values.Has(timeoutParameter) {
		return usualWait, nil
	}
	timeout, err := time.ParseDuration(values.Get(timeoutParameter))
	if err != nil || timeout < 0 || timeout > longestWait {
		return 0, fail("invalid_query").about(timeoutParameter).saying("timeout must be a duration from 0s to 60s, such as 20s.")
	}
	return timeout, nil
}

// untilActive waits until a customer that is auth_pending is so no more, the time
// is up or the server stops, and returns it as it then is. It holds neither a
// connection to the database nor a goroutine beside the request's.
func (s *Server) untilActive(c *call, found customer.Customer, hold time.Duration) (customer.Customer, error) {
	told, stop := s.customers.Watch(found.ID)
	defer stop()
	wait := s.hold(c, hold)
	defer wait.end()
	for over := false; ; over = wait.over(told) {
		var err error
		if found, err = s.readAgain(c, found.ID); err != nil || over || found.Lifecycle != customer.AuthPending {
			return found, err
		}
	}
}

// readAgain reads a customer once more, for somebody who may see it no longer: it
// may have been linked to another person's user.
func (s *Server) readAgain(c *call, id customer.ID) (customer.Customer, error) {
	part, done := c.within(requestWithin)
	defer done()
	found, err := s.customers.Customer(part.r.Context(), id)
	return s.allow(part, readCustomers, found, err)
}

// hungUp reports whether err is that the client went away while it waited, which
// is nobody's failure.
func (c *call) hungUp(err error) bool {
	if !errors.Is(err, context.Canceled) || c.r.Context().Err() == nil {
		return false
	}
	c.w.WriteHeader(clientGone)
	return true
}

// waiting is a request that is held because its client asked for that.
type waiting struct {
	*call
	stopping <-chan struct{}
	timer    *time.Timer
	since    time.Time
}

// hold begins to wait.
func (s *Server) hold(c *call, most time.Duration) *waiting {
	now := time.Now()
	// The server's deadline for reading the request goes on meanwhile, and would end
	// the request's context (net/http, connReader.backgroundRead).
	_ = http.NewResponseController(c.w).SetReadDeadline(now.Add(most + requestWithin)) // if there is none, so much the better
	return &waiting{c, s.stopping, time.NewTimer(most), now}
}

// over waits until told, and says whether that is the end of it.
func (w *waiting) over(told <-chan struct{}) bool {
	select {
	case <-told:
		return false
	case <-w.timer.C:
	case <-w.stopping:
	case <-w.r.Context().Done():
	}
	return true
}

func (w *waiting) end() {
	w.timer.Stop()
	w.held += time.Since(w.since)
}
