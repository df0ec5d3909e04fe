package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// One connection must do: Migrate needs two, and must not wait for itself.
func TestMigrateNeedsNoConnectionOfThePool(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	_, err := raw(t, dsn).ExecContext(t.Context(), `drop schema public cascade; create schema public`)
	must(t, err)
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), MaxConns: 1})
	must(t, err)
	defer s.Close()
	done := make(chan error, 1)
	go func() { done <- s.Migrate(t.Context()) }()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for itself")
	}
	must(t, s.Ready(t.Context()))
}

// What a migration waits for, or does, may take longer than a request may.
func TestMigrateIsNotCutOffByTheTimeOfAQuery(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	db := raw(t, dsn)
	_, err := db.ExecContext(t.Context(), `drop schema public cascade; create schema public`)
	must(t, err)
	other, err := db.BeginTx(t.Context(), nil) // another replica that migrates
	must(t, err)
	_, err = other.ExecContext(t.Context(), `select pg_advisory_xact_lock(hashtextextended('customersync migrations', 0))`)
	must(t, err)
	const short = 200 * time.Millisecond
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: short})
	must(t, err)
	defer s.Close()
	done := make(chan error, 1)
	go func() { done <- s.Migrate(t.Context()) }()
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(5 * short):
		must(t, other.Rollback())
		must(t, <-done)
	}
}

// An old program starts on the schema of the new one that it works beside.
func TestMigrateLeavesANewerSchemaAlone(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	_, err := raw(t, dsn).ExecContext(t.Context(), `insert into goose_db_version (version_id, is_applied) values (99999, true)`)
	must(t, err)
	s := open(t, dsn)
	must(t, s.Migrate(t.Context()))
	must(t, s.Ready(t.Context()))
	create(t, s, "ada@example.com")
}

// The server does not speak TLS, or not with a certificate that is trusted: that
// is nothing the caller did.
func TestAConnectionThatCannotBeMadeIsUnavailable(t *testing.T) {
	t.Parallel()
	through, _ := proxied(t, storetest.DSN(t))
	s, err := store.Open(store.Options{DSN: strings.Replace(through, "sslmode=disable", "sslmode=require", 1), PgBouncer: storetest.PgBouncer()})
	must(t, err)
	defer s.Close()
	if _, err := s.Customer(t.Context(), customer.ID(uuid.NewString())); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
