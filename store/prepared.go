package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/lib/pq"
)

// prepared marks the statements that each connection prepares when it first meets
// them, and keeps: those of every request. An unprepared one takes two round
// trips and is planned each time, which costs more than to run it. Only statements
// whose best plan is the same for all arguments are marked.
//
// The mark is in the text so that what happens to a statement is seen where the
// statement is. Behind PgBouncer, which would lose them, it is just a comment.
const prepared = "/* prepared */ "

// poolConn is a connection of the pool, which keeps the marked statements. The
// pool's own sql.Stmt would do the same, but to make one within a transaction it
// takes a second connection: with none left, all transactions would wait for each
// other.
type poolConn struct {
	pqConn
	wire  *deadlineConn          // that it goes over
	ready map[string]driver.Stmt // nil: it prepares nothing
}

// pqConn is all that database/sql asks of a connection, and lib/pq has.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// QueryContext implements driver.QueryerContext.
func (c *poolConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	defer c.boundBy(ctx)()
	if c.ready == nil || !strings.HasPrefix(query, prepared) {
		return c.pqConn.QueryContext(ctx, query, args)
	}
	statement, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := statement.(driver.StmtQueryContext).QueryContext(ctx, args) //nolint:forcetypeassert // lib/pq has it
	return rows, c.outdated(query, err)
}

// ExecContext implements driver.ExecerContext.
func (c *poolConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	defer c.boundBy(ctx)()
	if c.ready == nil || !strings.HasPrefix(query, prepared) {
		return c.pqConn.ExecContext(ctx, query, args)
	}
	statement, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := statement.(driver.StmtExecContext).ExecContext(ctx, args) //nolint:forcetypeassert // lib/pq has it
	return result, c.outdated(query, err)
}

func (c *poolConn) statement(ctx context.Context, query string) (driver.Stmt, error) {
	if ready, ok := c.ready[query]; ok {
		return ready, nil
	}
	made, err := c.PrepareContext(ctx, query)
	if err == nil {
		c.ready[query] = made
	}
	return made, err
}

// outdated forgets a statement that a migration has changed the tables under: the
// next try prepares it anew.
func (c *poolConn) outdated(query string, err error) error {
	if isOutdated(err) {
		delete(c.ready, query)
	}
	return err
}

// isOutdated reports "cached plan must not change result type" (0A000) and a
// prepared statement that the server does not know (26000).
func isOutdated(err error) bool {
	var pqErr *pq.Error
	return errors.As(err, &pqErr) && (pqErr.Code == "0A000" || pqErr.Code == "26000")
}
