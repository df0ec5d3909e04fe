// Package store keeps customers in Postgres. All SQL of the program is here.
//
// Errors speak the language of package customer; whatever means that the
// database cannot be used just now is customer.ErrUnavailable.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
)

// Options say which database to use, and how.
type Options struct {
	DSN string
	// MaxConns bounds the pool; 0 means 16.
	MaxConns int
	// QueryTimeout bounds each wait for the server's next bytes; 0 means 5 seconds.
	QueryTimeout time.Duration
	// PgBouncer says that the server is behind PgBouncer in transaction mode:
	// no prepared statements outlive a transaction and LISTEN does not work.
	PgBouncer bool
	// EraseKeys make the hashes that erased customers leave behind; all are valid, the
	// first makes new ones. Without any, Erase refuses.
	EraseKeys [][]byte
	Logger    *zap.Logger           // nil: silent
	Metrics   prometheus.Registerer // of the pool; nil: none
	Traces    trace.TracerProvider  // nil: none
}

// Store is the database.
type Store struct {
	db     *sqlx.DB
	dsn    string                                   // as checkDSN made it
	listen func(until context.Context) *pq.Listener // nil behind PgBouncer
	ping   time.Duration                            // how often Listen tries its connection

	pollEvery time.Duration // how often it asks for news where there is none
	log       *zap.Logger
	tracer    trace.Tracer // nil: nobody follows

	patience time.Duration // with the server

	byID, byEmail, byAuthUser *together[string, *customer.Customer]
	receiving                 *together[[]customer.Delivery, []bool]
	renaming                  *together[renaming, *renamed]
	making                    *together[making, bool]

	watchers watchers
	erase    eraseKeys
}

// Open prepares a pool. The server need not be up: each call says
// customer.ErrUnavailable until it is. The DSN is checked.
func Open(o Options) (*Store, error) {
	timeout := orDefault(o.QueryTimeout, 5*time.Second)
	dsn, err := checkDSN(o.DSN, o.PgBouncer, timeout)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	pool, err := connect(dsn, dialer{timeout: timeout}, !o.PgBouncer)
	if err != nil {
		return nil, err
	}
	db := sqlx.NewDb(pool, "postgres")
	db.SetMaxOpenConns(orDefault(o.MaxConns, 16))
	db.SetMaxIdleConns(orDefault(o.MaxConns, 16))
	db.SetConnMaxLifetime(5 * time.Minute) // after a fail-over nobody stays on the old primary
	s := &Store{db: db, dsn: dsn, ping: listenerPing, pollEvery: pollEvery, log: o.Logger, patience: timeout, erase: o.EraseKeys}
	if o.Traces != nil {
		s.tracer = o.Traces.Tracer("store")
	}
	s.byID, s.byEmail, s.byAuthUser = s.finder(findByID), s.finder(findByEmail), s.finder(findByAuthUser)
	s.receiving, s.renaming, s.making = s.receiver(), s.renamer(), s.maker()
	if o.Metrics != nil {
		o.Metrics.MustRegister(collectors.NewDBStatsCollector(pool, "customersync"))
	}
	if !o.PgBouncer {
		s.listen = func(until context.Context) *pq.Listener {
			return pq.NewDialListener(dialer{timeout: listenerRest, until: until}, dsn, time.Second, 30*time.Second, nil)
		}
	}
	return s, nil
}

func orDefault[T comparable](value, preset T) T {
	var zero T
	if value == zero {
		return preset
	}
	return value
}

// Close closes the pool.
func (s *Store) Close() error { return s.db.Close() }

// Ready says what keeps the database from being used, or nil.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("database does not answer: %w", translate(err))
	}
	provider, err := migrator(s.db.DB)
	if err != nil {
		return err
	}
	have, want, err := provider.GetVersions(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("schema version: %w", translate(err))
	case have < want:
		return fmt.Errorf("schema is at version %d, this program needs %d: migration is under way or failed", have, want)
	}
	return nil
}

// Now is the database's time, which leases and schedules go by.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.read(ctx, "read clock", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &now, `select clock_timestamp()`)
	})
	return now.UTC(), err
}

// attempts is how often a statement is tried that met a server on its way down
// or up. All writes are guarded or idempotent, so that doing one twice is safe.
const attempts = 3

// read runs a statement outside a transaction and translates its error.
func (s *Store) read(ctx context.Context, doing string, run func(context.Context) error) error {
	return s.retry(ctx, doing, func() error { return run(named(ctx, doing)) })
}

// inTx runs a transaction. It may run more than once.
func (s *Store) inTx(ctx context.Context, doing string, run func(*sqlx.Tx) error) error {
	return s.retry(ctx, doing, func() error {
		tx, err := s.db.BeginTxx(named(ctx, doing), nil)
		if err != nil {
			return err
		}
		if err := run(tx); err != nil {
			_ = tx.Rollback() // the first error is the one that matters
			return err
		}
		return tx.Commit()
	})
}

func (s *Store) retry(ctx context.Context, doing string, run func() error) error {
	defer s.traced(ctx, doing)()
	for attempt := 1; ; attempt++ {
		err := run()
		if err == nil {
			return nil
		}
		if attempt == attempts || !transient(err) || ctx.Err() != nil {
			return told(ctx, doing, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(attempt*attempt) * 20 * time.Millisecond):
		}
	}
}

// traced makes a span of what a request or a run has the database do, until the
// function that it returns is called. It is named by what is done: values are nobody's
// business.
func (s *Store) traced(ctx context.Context, doing string) (done func()) {
	if s.tracer == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return func() {}
	}
	_, span := s.tracer.Start(ctx, "store: "+doing, trace.WithSpanKind(trace.SpanKindClient))
	return func() { span.End() }
}

// told says what went wrong in the words of package customer. A caller who went
// away is told so, whatever the server made of it (lib/pq passes on its 57014).
func told(ctx context.Context, doing string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	}
	return fmt.Errorf("%s: %w", doing, translate(err))
}
