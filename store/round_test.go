package store_test

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// In a round of names each customer is asked for once, nobody waits for a row that
// somebody holds, and what cannot be done together is left.
func TestNamesThatAreChangedTogether(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := open(t, dsn)
	defer s.Close()
	ada, alan, held, closed := create(t, s, "ada@example.com"), create(t, s, "alan@example.com"), create(t, s, "held@example.com"), create(t, s, "closed@example.com")
	must(t, s.CloseCustomer(t.Context(), closed, 0, byTest()))
	holder, err := raw(t, dsn).BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(t.Context(), `select from customers where id = $1 for update`, string(held))
	must(t, err)

	done, err := store.RenameTogether(t.Context(), s,
		store.Renaming{ID: ada, Field: customer.FieldFirstName, Name: "Augusta", Version: 1},
		store.Renaming{ID: held, Field: customer.FieldFirstName, Name: "X", Version: 1},
		store.Renaming{ID: alan, Field: customer.FieldLastName, Name: "Lovelace", Version: 1}, // as it is
		store.Renaming{ID: ada, Field: customer.FieldFirstName, Name: "Second", Version: 1},
		store.Renaming{ID: closed, Field: customer.FieldFirstName, Name: "X", Version: 2},
		store.Renaming{ID: "018f0000-0000-7000-8000-000000000000", Field: customer.FieldFirstName, Name: "X", Version: 1},
	)
	must(t, err)
	want := []string{"Augusta Lovelace changed", "", "Ada Lovelace as it was", "", "Ada Lovelace as it was", ""}
	if !slices.Equal(done, want) {
		t.Errorf("got  %q\nwant %q", done, want)
	}
	done, err = store.RenameTogether(t.Context(), s,
		store.Renaming{ID: alan, Field: customer.FieldFirstName, Name: "X", Version: 7},
		store.Renaming{ID: ada, Field: customer.FieldLastName, Name: "King", Version: 2})
	must(t, err)
	if want := []string{"Ada Lovelace as it was", "Augusta King changed"}; !slices.Equal(done, want) {
		t.Errorf("by version: got %q, want %q", done, want)
	}
	for id, versions := range map[customer.ID]int{ada: 3, alan: 1, held: 1, closed: 2} {
		x, err := s.Explain(t.Context(), id)
		must(t, err)
		if len(x.History) != versions {
			t.Errorf("%s has %d rows of history, want %d", id, len(x.History), versions)
		}
	}
}

// In a round of customers the first of each address and each idempotency key is
// made; the others, and whom a delivery is kept for, are left to be done alone.
func TestCustomersThatAreMadeTogether(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	create(t, s, "taken@example.com")
	_, err := s.Receive(t.Context(), customer.Delivery{
		Source: "action", EventID: "1", Kind: "user.created", Understood: true,
		Hint: customer.Hint{AuthUserID: "auth0|kept", Email: "kept@example.com", Key: "kept@example.com", Verified: true},
	})
	must(t, err)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "here:1", time.Hour)
	must(t, err)
	_, err = s.Absorb(t.Context(), fence, 10)
	must(t, err)

	keyed := func(address, key string) customer.Draft {
		d := draft(t, address)
		d.Idempotency = customer.Idempotency{Key: key, Scope: "app:test", Body: sha256.Sum256([]byte(address))}
		return d
	}
	used := keyed("used@example.com", "used")
	_, _, err = s.Create(t.Context(), used, nil, byTest())
	must(t, err)
	drafts := []customer.Draft{
		draft(t, "zoe@example.com"), draft(t, "ada@example.com"), draft(t, "ada@example.com"), draft(t, "taken@example.com"),
		draft(t, "kept@example.com"), draft(t, ""), draft(t, ""),
		keyed("one@example.com", "k"), keyed("two@example.com", "k"), keyed("three@example.com", "used"),
	}
	made, err := store.MakeTogether(t.Context(), s, byTest(), drafts...)
	must(t, err)
	if want := []bool{true, true, false, false, false, true, true, true, false, false}; !slices.Equal(made, want) {
		t.Errorf("made %v\nwant %v", made, want)
	}
	for i, d := range drafts {
		x, err := s.Explain(t.Context(), d.ID)
		if (err == nil) != made[i] {
			t.Errorf("%s made: %v, read: %v", d.Email.Address, made[i], err)
		}
		if made[i] && (len(x.History) != 1 || x.History[0].Cause.RequestID != byTest().RequestID) {
			t.Errorf("%s: history %+v", d.Email.Address, x.History)
		}
	}
	// What was left is done by the way that knows what to make of it.
	if id, created, err := s.Create(t.Context(), drafts[8], nil, byTest()); err == nil || created {
		t.Errorf("another body with a key that was used: %q, %v, %v", id, created, err)
	}
	if id, _, err := s.Create(t.Context(), drafts[7], nil, byTest()); err != nil || id != drafts[7].ID {
		t.Errorf("the same again: %q, %v", id, err)
	}
	if _, created, err := s.Create(t.Context(), drafts[4], nil, byTest()); err != nil || !created {
		t.Errorf("whom a delivery is kept for: %v, %v", created, err)
	}
	if x, err := s.Explain(t.Context(), drafts[4].ID); err != nil || x.Next.IsZero() {
		t.Errorf("it is not due: %+v, %v", x, err)
	}
}
