package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// longestStatement is how long one statement of a migration may take: an index on
// a large table takes minutes.
const longestStatement = time.Hour

// migrator reads the embedded migrations. No session locker: several replicas
// are kept apart by Migrate's own lock.
func migrator(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return provider, nil
}

// Migrate brings the schema up to date. Replicas that start together wait for
// each other on a transaction's lock, which works behind PgBouncer too. A newer
// schema than this program's is left as it is.
//
// It has two connections of its own, whatever the size of the pool, that wait for
// the server until ctx ends: the pool's give up after seconds. Where there is
// nothing to do it asks the pool alone.
func (s *Store) Migrate(ctx context.Context) error {
	if s.migrated(ctx) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	db, err := connect(s.dsn, dialer{timeout: longestStatement, until: ctx}, false)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nothing is under way any more
	provider, err := migrator(db)
	if err != nil {
		return err
	}
	return s.retry(ctx, "migrate", func() error { return migrate(ctx, sqlx.NewDb(db, "postgres"), provider) })
}

// migrated reports whether all migrations have been made; false if in doubt.
func (s *Store) migrated(ctx context.Context) bool {
	provider, err := migrator(s.db.DB)
	if err != nil {
		return false
	}
	var versions []int64
	for _, source := range provider.ListSources() {
		versions = append(versions, source.Version)
	}
	var made int
	err = s.db.GetContext(ctx, &made, `
		select count(distinct version_id)
		from `+goose.DefaultTablename+`
		where is_applied and version_id = any($1)`, pq.Array(versions))
	return err == nil && made == len(versions)
}

func migrate(ctx context.Context, db *sqlx.DB, provider *goose.Provider) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it holds a lock and nothing else
	// For its turn a replica waits as long as it takes; a migration waits for a table
	// no longer than a request, since requests queue up behind it, and is tried again.
	const lock = `select pg_advisory_xact_lock(hashtextextended('customersync migrations', 0))`
	if _, err := tx.ExecContext(ctx, `set local `+lockTimeout+` = 0`); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, lock); err != nil {
		return err
	}
	// This transaction rests while the migrations run beside it.
	if _, err := tx.ExecContext(ctx, `set local `+idleInTransaction+` = 0`); err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}
