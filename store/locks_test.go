package store_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// Whoever holds a row for long makes others fail, in time and without a trace: a
// connection that is given up would leave a server process waiting, and those add
// up to all that the server has.
func TestALockThatIsHeldLeavesNobodyWaitingAtTheServer(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	db := raw(t, dsn)
	patience := time.Second
	if storetest.PgBouncer() {
		patience = 0 // as preset, which the role's lock_timeout is set for
	}
	s, err := store.Open(store.Options{DSN: underTest(t, dsn), PgBouncer: storetest.PgBouncer(), QueryTimeout: patience})
	must(t, err)
	defer s.Close()
	id := create(t, s, "ada@example.com")
	holder, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(t.Context(), `select from customers where id = $1 for update`, string(id))
	must(t, err)
	if _, err := s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: "X"}, 0, byTest()); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("a change: %v", err)
	}
	if err := s.LookNow(t.Context(), id); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("a statement: %v", err)
	}
	if waiting := waitingForLocks(t, db); waiting != 0 {
		t.Errorf("%d wait at the server for nobody", waiting)
	}
}

// A process that is told to stop while it takes a lease gives it back, since it knows
// that it has it. Else nobody would work until the lease ran out.
func TestALeaseIsTakenOrNotHoweverSoonNobodyWantsItAnyMore(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	db := raw(t, dsn)
	s, err := store.Open(store.Options{DSN: underTest(t, dsn), PgBouncer: storetest.PgBouncer()})
	must(t, err)
	defer s.Close()
	holder, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(t.Context(), `select from leases where name = $1 for update`, string(customer.LeaseWorker))
	must(t, err)

	ctx, stop := context.WithCancel(t.Context())
	var fence int64
	taken := make(chan error, 1)
	go func() {
		var err error
		fence, err = s.Acquire(ctx, customer.LeaseWorker, "stops", time.Hour)
		taken <- err
	}()
	for waitingForLocks(t, db) == 0 {
		select {
		case err := <-taken:
			t.Fatalf("it did not wait for the row: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	stop()
	must(t, holder.Commit())
	must(t, <-taken)
	must(t, s.Release(t.Context(), fence))
	_, err = s.Acquire(t.Context(), customer.LeaseWorker, "comes next", time.Hour)
	must(t, err)

	if _, err := s.Acquire(ctx, customer.LeaseEvents, "stopped before", time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("taken by who had been told to stop: %v", err)
	}
}

// underTest is dsn, with a name by which waitingForLocks knows its sessions.
func underTest(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	query := u.Query()
	query.Set("application_name", "under-test")
	u.RawQuery = query.Encode()
	return u.String()
}

func waitingForLocks(t *testing.T, db *sql.DB) (sessions int) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), `
		select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'under-test' and wait_event_type = 'Lock'`).Scan(&sessions))
	return sessions
}
