package store_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// byTest is the cause of changes that tests make.
func byTest() customer.Cause {
	return customer.Cause{Kind: customer.ByAPI, Actor: "app:test", RequestID: "req-1", Why: "test"}
}

func draft(t testing.TB, address string) customer.Draft {
	t.Helper()
	d := customer.Draft{
		ID: customer.ID(uuid.Must(uuid.NewV7()).String()), FirstName: "Ada", LastName: "Lovelace", CreatedBy: "app:test",
	}
	if address != "" {
		d.Email = email(t, address)
	}
	return d
}

func email(t testing.TB, address string) customer.Email {
	t.Helper()
	e, err := customer.ParseEmail(address)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func create(t testing.TB, s *store.Store, address string) customer.ID {
	t.Helper()
	id, created, err := s.Create(t.Context(), draft(t, address), nil, byTest())
	if err != nil || !created {
		t.Fatalf("create: %v, created %v", err, created)
	}
	return id
}

func TestCreateMakesAPendingCustomerThatIsDue(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "Ada@Example.com")
	got, err := s.Customer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if got.Lifecycle != customer.AuthPending || got.Email.Address != "Ada@Example.com" || got.Email.Key != "ada@example.com" || got.Version != 1 {
		t.Errorf("created %+v", got)
	}
	now, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	due, err := s.Due(t.Context(), now, nil, false, 10)
	if err != nil || len(due) != 1 || due[0].ID != id || due[0].Reason != customer.Waiting {
		t.Errorf("due: %+v, %v", due, err)
	}
}

// Many may be due at one instant, which a page may end in.
func TestWhoIsDueAtOneInstantIsReadOnce(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	want := map[customer.ID]bool{}
	for i := range 20 {
		want[create(t, s, fmt.Sprintf("c%d@example.com", i))] = true
	}
	_, err := db.ExecContext(t.Context(), `update customers set next_check_at = now() - interval '1 second' * (email_key < 'c2')::int`)
	must(t, err)
	now, err := s.Now(t.Context())
	must(t, err)
	var last *customer.Due
	for page := 0; ; page++ {
		due, err := s.Due(t.Context(), now, last, false, 7)
		must(t, err)
		if len(due) == 0 {
			if page != 3 {
				t.Errorf("%d pages", page)
			}
			break
		}
		for i, d := range due {
			if !want[d.ID] {
				t.Errorf("read twice: %s", d.ID)
			}
			delete(want, d.ID)
			if last != nil && d.At.Before(last.At) {
				t.Errorf("%s comes after %s", d.At, last.At)
			}
			last = &due[i]
		}
	}
	if len(want) != 0 {
		t.Errorf("passed by: %v", want)
	}
}
