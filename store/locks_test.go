package store_test

import (
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
	u, err := url.Parse(dsn)
	must(t, err)
	query := u.Query()
	query.Set("application_name", "under-test")
	u.RawQuery = query.Encode()
	patience := time.Second
	if storetest.PgBouncer() {
		patience = 0 // as preset, which the role's lock_timeout is set for
	}
	s, err := store.Open(store.Options{DSN: u.String(), PgBouncer: storetest.PgBouncer(), QueryTimeout: patience})
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
	var waiting int
	must(t, db.QueryRowContext(t.Context(), `
		select count(*) from pg_stat_activity
		where application_name = 'under-test' and wait_event_type = 'Lock'`).Scan(&waiting))
	if waiting != 0 {
		t.Errorf("%d wait at the server for nobody", waiting)
	}
}
