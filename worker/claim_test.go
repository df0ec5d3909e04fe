package worker_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// A token says what held when it was issued, which may be long after the user
// last changed: it must not make what Auth0 says of that user look old.
func TestATokenDoesNotAgeWhatAuth0SaysLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	u := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Google})
	email, err := customer.ParseEmail("ada@example.com")
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := w.Enroll(t.Context(), customer.Draft{
		ID: customer.ID(uuid.Must(uuid.NewV7()).String()), FirstName: "Ada", LastName: "Lovelace",
		Email: email, Subject: u.ID, CreatedBy: "user:" + u.ID,
	}, &customer.Claim{AuthUserID: u.ID, Email: email, Verified: true, IssuedAt: time.Now().Add(time.Hour)},
		customer.Cause{Kind: customer.ByToken, Actor: u.ID, Why: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.get(t, id); got.AuthUserID != u.ID {
		t.Fatalf("not linked by its token: %+v", got)
	}
	if _, err := w.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID}, 0,
		customer.Cause{Kind: customer.ByAPI, Actor: "app:test", Why: "test"}); err != nil {
		t.Fatal(err)
	}
	w.run(t)
	if got := w.get(t, id); got.AuthUserID != u.ID {
		t.Errorf("not linked again: %s", w.reason(t, "ada@example.com"))
	}
}
