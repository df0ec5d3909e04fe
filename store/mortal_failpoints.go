//go:build failpoints

package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"os"
	"sync"
)

// A program that is built with the tag failpoints can be told to die by SIGKILL at a
// step of what it has the database do. It counts the steps itself, before and after
// each statement, begin and commit, so that none can be forgotten; cmd/trials goes
// through them all. CUSTOMERSYNC_DIE_AT names the step: an operation as retry names
// it, the how-manieth it is of that name since the start, and the step in it, such as
// "create/1/4". CUSTOMERSYNC_STEPS names a file to which each step is added.

// operation is one run of something that consists of statements.
type operation struct {
	name      string
	nth, step int // nth: 0 before the first step
}

type operationKey struct{}

// named says what the statements under ctx are for.
func named(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{name: name})
}

// mortal makes connections that count.
func mortal(c driver.Connector) driver.Connector { return mortalConnector{c, newFate()} }

// fate is when the process dies.
type fate struct {
	at    string
	steps io.Writer // nil: nobody wants to know

	mu    sync.Mutex
	times map[string]int
}

func newFate() *fate {
	f := &fate{at: os.Getenv("CUSTOMERSYNC_DIE_AT"), times: map[string]int{}}
	if path := os.Getenv("CUSTOMERSYNC_STEPS"); path != "" {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err) // a trial's own mistake
		}
		f.steps = file
	}
	return f
}

// step is one of o; the process may not outlive it.
func (f *fate) step(o *operation) {
	if o == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.nth == 0 {
		f.times[o.name]++
		o.nth = f.times[o.name]
	}
	o.step++
	at := fmt.Sprintf("%s/%d/%d", o.name, o.nth, o.step)
	if f.steps != nil {
		_, _ = fmt.Fprintln(f.steps, at) // the trial misses it
	}
	if at == f.at {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill() // nobody is told
		}
		select {} // it takes effect soon
	}
}

type mortalConnector struct {
	driver.Connector
	fate *fate
}

// Connect implements driver.Connector.
func (c mortalConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if pooled, ok := conn.(*poolConn); ok && err == nil {
		return &mortalConn{poolConn: pooled, fate: c.fate}, nil
	}
	return conn, err
}

// mortalConn counts what goes over a connection of the pool.
type mortalConn struct {
	*poolConn
	fate *fate
	in   *operation // whose transaction it is in
}

// of is what a statement is part of, nil if nobody said.
func (c *mortalConn) of(ctx context.Context) *operation {
	if c.in != nil {
		return c.in
	}
	o, _ := ctx.Value(operationKey{}).(*operation)
	return o
}

// BeginTx implements driver.ConnBeginTx.
func (c *mortalConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	in := c.of(ctx)
	c.fate.step(in)
	tx, err := c.poolConn.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	c.fate.step(in)
	c.in = in
	return mortalTx{tx, c}, nil
}

// QueryContext implements driver.QueryerContext.
func (c *mortalConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.fate.step(c.of(ctx))
	defer c.fate.step(c.of(ctx))
	return c.poolConn.QueryContext(ctx, query, args)
}

// ExecContext implements driver.ExecerContext.
func (c *mortalConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.fate.step(c.of(ctx))
	defer c.fate.step(c.of(ctx))
	return c.poolConn.ExecContext(ctx, query, args)
}

type mortalTx struct {
	driver.Tx
	c *mortalConn
}

// Commit implements driver.Tx.
func (t mortalTx) Commit() error {
	in := t.c.in
	t.c.in = nil
	t.c.fate.step(in)
	defer t.c.fate.step(in)
	return t.Tx.Commit()
}

// Rollback implements driver.Tx.
func (t mortalTx) Rollback() error {
	t.c.in = nil
	return t.Tx.Rollback()
}
