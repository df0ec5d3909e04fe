package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func drafts(t *testing.T, addresses ...string) (all []customer.Draft) {
	t.Helper()
	for _, address := range addresses {
		d := draft(t, address)
		d.CreatedBy = "import"
		all = append(all, d)
	}
	return all
}

func TestAnImportMakesWhoIsMissingAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	s := erasing(t, storetest.DSN(t), eraseKey)
	create(t, s, "there@example.com")
	closed := create(t, s, "closed@example.com")
	must(t, s.CloseCustomer(t.Context(), closed, 0, byTest()))
	erased := create(t, s, "erased@example.com")
	_, err := s.Erase(t.Context(), erased, 0, byTest())
	must(t, err)
	// A sign-up that was told of before its customer came.
	_, err = s.Receive(t.Context(), customer.Delivery{Source: "event_stream", EventID: "1", Understood: true, Hint: customer.Hint{AuthUserID: "auth0|kept", Email: "kept@example.com", Key: "kept@example.com", Verified: true}})
	must(t, err)
	list := drafts(t, "new@example.com", "there@example.com", "closed@example.com", "ERASED@example.com", "New@Example.com", "kept@example.com")
	for _, want := range [][]customer.Imported{
		{customer.ImportMade, customer.ImportThere, customer.ImportMade, customer.ImportErased, customer.ImportThere, customer.ImportMade},
		{customer.ImportThere, customer.ImportThere, customer.ImportThere, customer.ImportErased, customer.ImportThere, customer.ImportThere},
	} {
		came, err := s.Import(t.Context(), list, customer.Cause{Kind: customer.ByOperator, Actor: "import", Why: "a test"})
		must(t, err)
		if diff := cmp.Diff(want, came); diff != "" {
			t.Error(diff)
		}
	}
	e, err := s.Explain(t.Context(), list[0].ID)
	must(t, err)
	if len(e.History) != 1 || e.History[0].Cause.Actor != "import" || e.Customer.Lifecycle != customer.AuthPending {
		t.Errorf("%+v", e)
	}
	if all, err := s.Customers(t.Context(), "", 10); err != nil || len(all) != 5 {
		t.Errorf("%d customers, %v", len(all), err)
	}
	// An app may bring back whom a list may not.
	if _, created, err := s.Create(t.Context(), draft(t, "erased@example.com"), nil, byTest()); err != nil || !created {
		t.Errorf("%t, %v", created, err)
	}
	came, err := s.Import(t.Context(), drafts(t, "erased@example.com"), byTest())
	if err != nil || came[0] != customer.ImportThere {
		t.Errorf("%v, %v", came, err)
	}
}
