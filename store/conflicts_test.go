package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

var rivals = []customer.Candidate{
	{AuthUserID: "auth0|1", Connections: []string{"db"}, EmailVerified: true},
	{AuthUserID: "google-oauth2|1", Connections: []string{"google-oauth2"}, EmailVerified: true},
}

// hold writes a reason as the worker does.
func hold(t testing.TB, s *store.Store, id customer.ID, reason customer.Reason, candidates []customer.Candidate) {
	t.Helper()
	due, err := s.DueByEmail(t.Context(), get(t, s, id).Email.Key)
	must(t, err)
	n, err := s.Hold(t.Context(), 0, []customer.Hold{{Customer: id, Reason: reason, Due: due[0].At, Candidates: candidates}})
	if err != nil || n != 1 {
		t.Fatalf("held %d: %v", n, err)
	}
}

func TestCandidatesLeaveWithTheConflict(t *testing.T) {
	t.Parallel()
	roads := map[string]func(t *testing.T, s *store.Store, id customer.ID){
		"another reason": func(t *testing.T, s *store.Store, id customer.ID) { hold(t, s, id, customer.NotRegistered, nil) },
		"a link by the worker": func(t *testing.T, s *store.Store, id customer.ID) {
			_, err := s.Link(t.Context(), 0, []customer.Link{link(id, "ada@example.com", "auth0|1")}, byTest())
			must(t, err)
		},
		"a link by hand": func(t *testing.T, s *store.Store, id customer.ID) {
			_, err := s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|1"}, 0, byTest())
			must(t, err)
		},
		"a closing": func(t *testing.T, s *store.Store, id customer.ID) {
			must(t, s.CloseCustomer(t.Context(), id, 0, byTest()))
		},
	}
	for name, take := range roads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storetest.New(t)
			id := create(t, s, "ada@example.com")
			hold(t, s, id, customer.SeveralUsers, rivals)
			hold(t, s, id, customer.SeveralUsers, nil) // a look that did not see them all
			conflict, err := s.Conflict(t.Context(), id)
			must(t, err)
			if diff := cmp.Diff(rivals, conflict.Candidates); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			take(t, s, id)
			if _, err := s.Conflict(t.Context(), id); !errors.Is(err, customer.ErrNoConflict) {
				t.Errorf("still in conflict: %v", err)
			}
			if e, err := s.Explain(t.Context(), id); err != nil || e.Candidates != nil {
				t.Errorf("left behind: %v, %v", e.Candidates, err)
			}
		})
	}
}

func TestANewConflictDoesNotShowTheCandidatesOfTheOld(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	hold(t, s, id, customer.SeveralUsers, rivals)
	hold(t, s, id, customer.UserTaken, nil)
	if conflict, err := s.Conflict(t.Context(), id); err != nil || conflict.Candidates != nil {
		t.Errorf("%v, %v", conflict.Candidates, err)
	}
}
