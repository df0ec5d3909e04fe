package worker_test

import (
	"fmt"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
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
