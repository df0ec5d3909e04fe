package store_test

import (
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

// Whoever waits for a look waits on when a delivery makes the customer due once
// more: it has not been looked at for that.
func TestALookThatWasAskedForIsAwaitedUntilItIsMade(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ada := create(t, s, "ada@example.com")
	looking := func(want bool, after string) {
		t.Helper()
		if e, err := s.Explain(t.Context(), ada); err != nil || e.Looking != want {
			t.Errorf("after %s: looking is %t, %v", after, e.Looking, err)
		}
	}
	must(t, s.LookNow(t.Context(), ada))
	looking(true, "it was asked for")
	_, err := s.Receive(t.Context(), delivery("evt_1", "ada@example.com"))
	must(t, err)
	if absorbed, err := s.Absorb(t.Context(), 0, 10); err != nil || absorbed.Matched != 1 {
		t.Fatalf("%+v, %v", absorbed, err)
	}
	looking(true, "a delivery")
	hold(t, s, ada, customer.NotRegistered, nil)
	looking(false, "the look")
}

// Nobody waits for the looks that come by themselves: they do not go first at Auth0's
// rate limit, nor one by one.
func TestACustomerThatIsDueIsNotUrgentForThat(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ada := create(t, s, "ada@example.com")
	due, err := s.DueByID(t.Context(), []customer.ID{ada})
	must(t, err)
	if len(due) != 1 || due[0].Urgent {
		t.Errorf("%+v", due)
	}
	must(t, s.LookNow(t.Context(), ada))
	due, err = s.DueByID(t.Context(), []customer.ID{ada})
	must(t, err)
	if len(due) != 1 || !due[0].Urgent {
		t.Errorf("asked for: %+v", due)
	}
}
