package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestARevealIsNotedAndChangesNothing(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := open(t, dsn)
	live, closed := create(t, s, "ada@example.com"), create(t, s, "zoe@example.com")
	must(t, s.CloseCustomer(t.Context(), closed, 0, byTest()))
	for id, address := range map[customer.ID]string{live: "ada@example.com", closed: "zoe@example.com"} {
		before, events := get(t, s, id), feed(t, s, 0, 10)
		cause := customer.Cause{Kind: customer.ByOperator, Actor: "sub:auth0|sam", RequestID: "reveal-1", Why: "they called us"}
		for range 2 { // the second as a store does whose first answer got lost
			shown, err := s.Reveal(t.Context(), id, cause)
			if err != nil || shown.Email.Address != address {
				t.Fatalf("%v, shown %q", err, shown.Email.Address)
			}
		}
		e, err := s.Explain(t.Context(), id)
		must(t, err)
		last := e.History[len(e.History)-1]
		if len(e.History) != int(before.Version)+1 || last.What != "revealed" || last.Version != before.Version || last.Cause != cause || last.ToLifecycle != before.Lifecycle {
			t.Errorf("history %+v", e.History)
		}
		if diff := cmp.Diff(before, e.Customer); diff != "" {
			t.Errorf("the customer changed: %s", diff)
		}
		if after := feed(t, s, 0, 10); !cmp.Equal(events, after) {
			t.Errorf("others are told: %v", after[len(events):])
		}
	}
	if _, err := s.Patch(t.Context(), live, customer.Patch{Field: customer.FieldFirstName, Value: "Augusta"}, get(t, s, live).Version, byTest()); err != nil {
		t.Errorf("a change of the version that was shown: %v", err)
	}
	history, err := s.History(t.Context(), live)
	must(t, err)
	var order []string
	for _, h := range history {
		order = append(order, h.What)
	}
	if got := strings.Join(order, " "); got != "created revealed patched" {
		t.Errorf("in the order %s", got)
	}
	if _, err := raw(t, dsn).ExecContext(t.Context(), `update reveals set why = 'another reason'`); err == nil {
		t.Error("a note was rewritten")
	}
	if _, err := s.Reveal(t.Context(), "018f0000-0000-7000-8000-000000000000", byTest()); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
}
