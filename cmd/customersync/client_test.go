package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/api/client"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

// A customer's whole life, by the client and a daemon as they are shipped.
func TestTheClientLeadsACustomerThroughItsLife(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_ERASE_KEYS="+eraseKey))
	s := openDSN(t, dsn)
	// The first calls may come before the signing keys: they are repeated.
	shop := clientOf(t, d, s, sim, "read:customers", "create:customers", "update:customers", "delete:customers", "erase:customers")
	ctx := t.Context()

	id, err := shop.Create(ctx, client.NewCustomer{FirstName: "Ada", LastName: "Lovelace", EmailAddress: "ada+1@example.com"})
	must(t, err)
	if _, err := clientOf(t, d, s, sim, "create:customers").Create(ctx, client.NewCustomer{FirstName: "A", LastName: "B", EmailAddress: "ADA+1@example.com"}); !errors.Is(err, client.ErrEmailTaken) {
		t.Errorf("by another app: %v", err)
	}
	before, err := shop.Customer(ctx, client.ByEmail("ada+1@example.com"))
	if err != nil || before.ID != id || before.Lifecycle != client.AuthPending || before.AuthUserID != "" {
		t.Fatalf("%+v, %v", before, err)
	}
	if _, err := shop.Customer(ctx, client.ByID(id), client.IfNoneMatch(before.ETag)); !errors.Is(err, client.ErrNotModified) {
		t.Errorf("not modified: %v", err)
	}

	user, err := sim.SignUp(auth0sim.SignUp{Email: "ada+1@example.com", EmailVerified: verified()})
	must(t, err)
	looked, err := shop.Sync(ctx, id)
	if err != nil || !looked.Looked || looked.Lifecycle != client.Active {
		t.Errorf("sync: %+v, %v", looked, err)
	}
	ada, err := shop.WaitActive(ctx, client.ByID(id), time.Minute)
	if err != nil || ada.AuthUserID != user.ID {
		t.Errorf("%+v, %v", ada, err)
	}
	if err := shop.Update(ctx, client.ByID(id), client.FirstName("Augusta"), client.IfMatch(before.ETag)); !errors.Is(err, client.ErrPreconditionFailed) {
		t.Errorf("with an old ETag: %v", err)
	}
	must(t, shop.Update(ctx, client.ByID(id), client.FirstName("Augusta"), client.IfMatch(ada.ETag)))
	for name, change := range map[string]client.Change{"auth_user_id": client.Link("nobody"), "last_name": client.LastName("")} {
		var refused *client.Error
		if err := shop.Update(ctx, client.ByID(id), change); !errors.Is(err, client.ErrInvalidField) || !errors.As(err, &refused) || refused.Field != name || refused.RequestID == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	why, err := shop.Explain(ctx, id)
	if err != nil || len(why.History) != 3 || why.History[1].Evidence == nil || why.Reason != "" {
		t.Errorf("%+v, %v", why, err)
	}
	must(t, shop.Close(ctx, client.ByEmail("ada+1@example.com")))
	if err := shop.Update(ctx, client.ByID(id), client.LastName("King")); !errors.Is(err, client.ErrCustomerInactive) {
		t.Errorf("a closed one: %v", err)
	}
	if _, err := shop.Erasure(ctx, id); !errors.Is(err, client.ErrCustomerNotFound) {
		t.Errorf("a proof before: %v", err)
	}
	proof, err := shop.Erase(ctx, client.ByID(id), client.RequestID("their-wish"))
	must(t, err)
	again, err := shop.Erasure(ctx, id)
	if err != nil || again.ErasedAt != proof.ErasedAt || proof.RequestID != "their-wish" || proof.Removed["customers"] != 1 {
		t.Errorf("%+v, %+v, %v", proof, again, err)
	}
	if _, err := shop.Explain(ctx, id); !errors.Is(err, client.ErrCustomerNotFound) {
		t.Errorf("an erased one: %v", err)
	}
	var life []client.EventType
	for page, err := range shop.Events(ctx, "", 1) {
		must(t, err)
		for _, e := range page.Events {
			life = append(life, e.Type)
		}
	}
	if len(life) != 1 || life[0] != client.CustomerErased {
		t.Errorf("events %v", life)
	}
}

func TestTheClientListsAndSettles(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	d := startServe(t, append(env, "DATABASE_URL="+dsn))
	shop := clientOf(t, d, s, sim, "read:customers", "update:customers", "delete:customers")
	var made []string
	users := map[string]string{}
	for _, name := range []string{"ada", "bob", "cyd"} {
		made = append(made, string(pending(t, s, name+"@example.com")))
		for _, connection := range []string{auth0sim.Database, auth0sim.Google} {
			user, err := sim.SignUp(auth0sim.SignUp{Email: name + "@example.com", Connection: connection, EmailVerified: verified()})
			must(t, err)
			users[name] = user.ID
		}
	}
	for _, size := range []int{0, 1, 2, 1000} {
		var got []string
		for one, err := range shop.Customers(t.Context(), client.Filter{PageSize: size, Lifecycle: client.AuthPending, UpdatedSince: time.Now().Add(-time.Hour)}) {
			must(t, err)
			got = append(got, one.ID)
		}
		if len(got) != 3 || got[0] != made[0] || got[2] != made[2] {
			t.Errorf("pages of %d: %v", size, got)
		}
	}
	for _, id := range made {
		found, err := shop.Sync(t.Context(), id)
		if err != nil || found.Reason != client.SeveralUsers {
			t.Errorf("%+v, %v", found, err)
		}
	}
	var conflicts []client.Conflict
	for one, err := range shop.Conflicts(t.Context(), 2) {
		must(t, err)
		conflicts = append(conflicts, one)
	}
	if len(conflicts) != 3 || len(conflicts[2].Candidates) != 2 {
		t.Errorf("conflicts %+v", conflicts)
	}
	must(t, shop.Resolve(t.Context(), made[0], client.Resolution{AuthUserID: users["ada"], Why: "They said so."}))
	must(t, shop.Resolve(t.Context(), made[1], client.Resolution{Action: client.CloseCustomer, Why: "They said so."}))
	must(t, shop.Resolve(t.Context(), made[2], client.Resolution{Action: client.LookAgain}))
	if err := shop.Resolve(t.Context(), made[0], client.Resolution{Action: client.LookAgain}); !errors.Is(err, client.ErrNotInConflict) {
		t.Errorf("again: %v", err)
	}
	for i, want := range []client.Lifecycle{client.Active, client.Inactive, client.AuthPending} {
		if got, err := shop.Customer(t.Context(), client.ByID(made[i])); err != nil || got.Lifecycle != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := shop.WaitActive(short, client.ByID(made[2]), time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who is gone: %v", err)
	}
}
