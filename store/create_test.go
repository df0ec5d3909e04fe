package store_test

import (
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
