package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestStatementsOfEveryRequestArePreparedOnceAConnection(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Options{DSN: storetest.DSN(t), PgBouncer: storetest.PgBouncer(), MaxConns: 1})
	must(t, err)
	defer s.Close()
	for n := range 3 {
		id := create(t, s, fmt.Sprintf("ada%d@example.com", n))
		_, err = s.Customer(t.Context(), id)
		must(t, err)
		_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: "Grace"}, 0, byTest())
		must(t, err)
	}
	statements := map[string]int{}
	rows, err := store.DB(s).QueryContext(t.Context(), `select statement from pg_prepared_statements`)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		statements[text]++
	}
	must(t, rows.Err())
	// Lock, insert, find, rename; behind PgBouncer, which would lose them, none.
	if storetest.PgBouncer() != (len(statements) == 0) || len(statements) > 0 && len(statements) < 4 {
		t.Errorf("prepared: %d statements", len(statements))
	}
	for text, times := range statements {
		if times != 1 {
			t.Errorf("prepared %d times: %s", times, text)
		}
	}
}

// Triggers in PL/pgSQL have statements of their own, so only a look-up shows it.
func TestAMigrationDoesNotBreakPreparedStatements(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), MaxConns: 1})
	must(t, err)
	defer s.Close()
	id := create(t, s, "ada@example.com")
	_, err = s.Customer(t.Context(), id)
	must(t, err)
	for _, change := range []string{
		`alter table customers add column more text`,
		`alter table customers alter column created_by type varchar(500)`,
	} {
		_, err = raw(t, dsn).ExecContext(t.Context(), change)
		must(t, err)
		if _, err = s.Customer(t.Context(), id); err != nil {
			t.Errorf("after %s: %v", change, err)
		}
	}
}

// Each change must start from what the one before it left: else one of two that
// meet would be lost, or the history would tell of a name that never was.
func TestChangesThatMeetFormAChain(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	const writers, each = 8, 25
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				field := []customer.Field{customer.FieldFirstName, customer.FieldLastName}[n%2]
				if _, err := s.Patch(t.Context(), id, customer.Patch{Field: field, Value: fmt.Sprintf("W%d-%d", w, n)}, 0, byTest()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	history, err := s.History(t.Context(), id)
	must(t, err)
	if len(history) != 1+writers*each {
		t.Fatalf("%d changes, expected %d", len(history), 1+writers*each)
	}
	now := map[string]string{"first_name": "Ada", "last_name": "Lovelace"}
	for i, change := range history[1:] {
		if change.Version != int64(i+2) || change.From != now[change.Field] {
			t.Fatalf("version %d: %s from %q to %q, but it was %q", change.Version, change.Field, change.From, change.To, now[change.Field])
		}
		now[change.Field] = change.To
	}
	last, err := s.Customer(t.Context(), id)
	must(t, err)
	if last.FirstName != now["first_name"] || last.LastName != now["last_name"] || last.Version != int64(len(history)) {
		t.Errorf("the customer is %+v, its history says %v", last, now)
	}
}
