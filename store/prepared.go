package store

import (
	"context"
	"database/sql"
	"sync"

	"github.com/jmoiron/sqlx"
)

// prepared keeps the statements that every request needs ready at the server, on
// each connection that met them: an unprepared one takes two round trips, and is
// planned each time. Only those go through it whose best plan does not depend on
// their arguments.
type prepared struct {
	db         *sqlx.DB
	statements sync.Map // query → *sqlx.Stmt
}

// statement is a query, ready. The pool prepares it on other connections by itself.
func (p *prepared) statement(ctx context.Context, query string) (*sqlx.Stmt, error) {
	if ready, ok := p.statements.Load(query); ok {
		return ready.(*sqlx.Stmt), nil //nolint:forcetypeassert // nothing else is stored
	}
	made, err := p.db.PreparexContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if first, twice := p.statements.LoadOrStore(query, made); twice {
		return first.(*sqlx.Stmt), made.Close() //nolint:forcetypeassert // nothing else is stored
	}
	return made, nil
}

// query runs a prepared query outside of a transaction; behind PgBouncer, which
// would lose it, a plain one.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s.prepared == nil {
		return s.db.QueryContext(ctx, query, args...)
	}
	statement, err := s.prepared.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}
