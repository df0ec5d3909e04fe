package store

import (
	"context"
	"database/sql/driver"
	"time"
)

// graceful is how long the server may still take to answer when the caller's time is
// up: to say that it has cancelled the statement, or that it was done after all.
//
// lib/pq (v1.12.3) does not return from a prepared statement before the server has
// taken its request to cancel it, and then before the server has answered; one that
// is frozen does neither. Each would take as long as a patient read.
const graceful = 500 * time.Millisecond

// dialled is the key of the context that a connection of the pool is made with: a
// place for it. The connections that lib/pq makes to ask for a cancel have none.
type dialled struct{}

// hurry ends the read under way, and those after it, soon.
func (c *deadlineConn) hurry() {
	c.hurried.Store(true)
	_ = c.SetReadDeadline(time.Now().Add(min(c.timeout, graceful))) // it is closed, else
}

// calm takes hurry back.
func (c *deadlineConn) calm() { c.hurried.Store(false) }

// boundBy has the server hurried when ctx ends, until release.
func (c *poolConn) boundBy(ctx context.Context) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.wire.hurry()
		close(done)
	})
	return func() {
		if !stop() {
			<-done // or it would hurry the next caller's statement
		}
	}
}

// ResetSession implements driver.SessionResetter: the connection has a new caller.
func (c *poolConn) ResetSession(ctx context.Context) error {
	c.wire.calm()
	return c.pqConn.ResetSession(ctx)
}

// BeginTx implements driver.ConnBeginTx.
func (c *poolConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	release := c.boundBy(ctx)
	tx, err := c.pqConn.BeginTx(ctx, o)
	if err != nil {
		release()
		return nil, err
	}
	return boundTx{tx, release}, nil
}

// boundTx is a transaction whose end is waited for no longer than for the rest.
type boundTx struct {
	driver.Tx
	release func()
}

// Commit implements driver.Tx.
func (t boundTx) Commit() error {
	defer t.release()
	return t.Tx.Commit()
}

// Rollback implements driver.Tx.
func (t boundTx) Rollback() error {
	defer t.release()
	return t.Tx.Rollback()
}
