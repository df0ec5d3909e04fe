package worker_test

import (
	"fmt"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

func TestR18ALookThatSomebodyWaitsForIsMadeAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	ada := w.enroll(t, "ada@example.com")
	w.run(t)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	for i := range 20 { // so many that all are searched for, and the young wait
		w.enroll(t, fmt.Sprintf("bulk%d@example.com", i))
	}
	w.tenant.ResetCalls()
	if err := w.store.LookNow(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	w.run(t)
	if got := w.get(t, ada); got.Lifecycle != customer.Active {
		t.Errorf("it is %s", got.Lifecycle)
	}
	if n := w.tenant.Calls()["GET /api/v2/users-by-email"]; n != 1 {
		t.Errorf("%d were looked up alone, want 1", n)
	}
}

func TestAConnectionPrioritySettlesAConflictAtTheNextLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	google := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: "google-oauth2"})
	id := w.enroll(t, "ada@example.com")
	if r := w.run(t); r.Conflicts != 1 {
		t.Fatalf("%+v", r)
	}
	conflict, err := w.store.Conflict(t.Context(), id)
	if err != nil || len(conflict.Candidates) != 2 || conflict.Reason != customer.SeveralUsers {
		t.Fatalf("%v, %+v", err, conflict)
	}
	restarted := newWorker(t, w.store, w.tenant.Issuer(), auth0sync.Policy{ConnectionPriority: []string{"google-oauth2"}})
	if err := w.store.LookNow(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := restarted.RunOnce(t.Context(), worker.Order{Kind: worker.KindPromote}); err != nil {
		t.Fatal(err)
	}
	if got := w.get(t, id); got.AuthUserID != google.ID {
		t.Errorf("linked to %q, want the Google user", got.AuthUserID)
	}
	if left, err := w.store.Conflicts(t.Context(), "", 10); err != nil || len(left) != 0 {
		t.Errorf("%v, %+v", err, left)
	}
}

func TestCandidatesStayWhileAPartialLookLeavesTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: "google-oauth2"})
	id := w.enroll(t, "ada@example.com")
	w.run(t)
	// A delivery names the customer by its id and a user that has another address.
	stranger := w.signUp(t, auth0sim.SignUp{Email: "eve@example.com", EmailVerified: yes()})
	if _, err := w.store.Receive(t.Context(), customer.Delivery{
		Source: "action", EventID: "1", Kind: "x", Understood: true,
		Hint: customer.Hint{AuthUserID: stranger.ID, Verified: true, CustomerID: id},
	}); err != nil {
		t.Fatal(err)
	}
	if r := w.runAs(t, worker.KindInbox); r.Looked != 1 {
		t.Fatalf("%+v", r)
	}
	if conflict, err := w.store.Conflict(t.Context(), id); err != nil || len(conflict.Candidates) != 2 {
		t.Errorf("%v, %+v", err, conflict)
	}
}
