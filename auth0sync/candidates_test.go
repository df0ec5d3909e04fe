package auth0sync_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

func TestAConflictShowsTheUsersItIsBetween(t *testing.T) {
	t.Parallel()
	one, two := user("auth0|1"), user("google-oauth2|2", from("google-oauth2"))
	shownOne := customer.Candidate{AuthUserID: one.ID, Connections: []string{"db"}, EmailVerified: true}
	shownTwo := customer.Candidate{AuthUserID: two.ID, Connections: []string{"google-oauth2"}, EmailVerified: true}
	held := func(c customer.Candidate) customer.Candidate {
		c.Holder = bob
		return c
	}
	tests := map[string]struct {
		found []auth0sync.User
		world customer.World
		want  []customer.Candidate
	}{
		"those that qualify, in order": {
			found: []auth0sync.User{two, user("auth0|3", unverified), one, user("auth0|4", blocked)},
			want:  []customer.Candidate{shownOne, shownTwo},
		},
		"one that is linked to another": {
			found: []auth0sync.User{one},
			world: customer.World{UserHolder: map[string]customer.ID{one.ID: bob}},
			want:  []customer.Candidate{held(shownOne)},
		},
		"one that names another": {
			found: []auth0sync.User{user(one.ID, namesBob)},
			world: customer.World{Live: map[customer.ID]bool{bob: true}},
			want:  []customer.Candidate{held(shownOne)},
		},
		"several that name the customer": {
			found: []auth0sync.User{user(one.ID, namesAda), user("auth0|5"), user(two.ID, from("google-oauth2"), namesAda)},
			want:  []customer.Candidate{shownOne, shownTwo},
		},
		"nobody when one is linked":     {found: []auth0sync.User{one}},
		"nobody when nobody has signed": {found: []auth0sync.User{user("auth0|6", unverified)}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := auth0sync.Policy{}.Decide(pending(t, "ada@example.com"), test.found, test.world).Rivals
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
