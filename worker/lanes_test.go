package worker_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// A lane changes when we learn, never what we decide: whatever deliveries come,
// true or false, once, twice or never, in whatever order and between whatever
// runs and outages, the rows end as the rule alone says of the tenant's state.
func TestLanesDoNotChangeWhatIsDecided(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			policy := auth0sync.Policy{}
			if r.IntN(2) == 0 {
				policy.ConnectionPriority = []string{auth0sim.Google}
			}
			w := newWorld(t, auth0sim.Rude(auth0sim.Options{}), policy)
			ids, users := populate(t, w, r)
			disturb(t, w, r, ids, users)
			settle(t, w, len(ids))
			check(t, w, policy, ids, users)
		})
	}
}

func address(i int) string { return fmt.Sprintf("c%d@example.com", i) }

// populate makes a few customers, and users that fit them more or less.
func populate(t *testing.T, w world, r *rand.Rand) (ids []customer.ID, users []auth0sim.User) {
	t.Helper()
	const customers = 5
	for i := range customers {
		ids = append(ids, customer.ID(uuid.Must(uuid.NewV7()).String()))
		for range r.IntN(3) {
			s := auth0sim.SignUp{
				Email: address(i), DropDeliveries: true,
				Connection: []string{auth0sim.Database, auth0sim.Google, auth0sim.Enterprise, auth0sim.Passwordless}[r.IntN(4)],
			}
			if verified := r.IntN(3) > 0; r.IntN(2) == 0 {
				s.EmailVerified = &verified
			}
			if r.IntN(6) == 0 { // named outright, perhaps another than its address says
				s.AppMetadata = map[string]any{"customer_id": string(ids[r.IntN(len(ids))])}
			}
			u, err := w.tenant.SignUp(s)
			if err != nil {
				continue // the database has one user an address
			}
			if r.IntN(5) == 0 {
				must(t, w.tenant.Block(u.ID, true))
				u.Blocked = true
			}
			users = append(users, u)
		}
	}
	return ids, users
}

// disturb makes the customers between deliveries, runs and outages.
func disturb(t *testing.T, w world, r *rand.Rand, ids []customer.ID, users []auth0sim.User) {
	t.Helper()
	made, outages := 0, 0
	for step := 0; step < 25 || made < len(ids); step++ {
		switch r.IntN(5) {
		case 0:
			if made < len(ids) {
				email, err := customer.ParseEmail(address(made))
				must(t, err)
				_, _, err = w.Enroll(t.Context(), customer.Draft{
					ID: ids[made], FirstName: "A", LastName: "B", Email: email, CreatedBy: "test",
				}, nil, customer.Cause{Kind: customer.ByAPI})
				must(t, err)
				made++
			}
		case 1, 2:
			w.hint(t, drawHint(r, ids, users))
		case 3:
			w.run(t)
		case 4:
			if outages++; outages > 1 {
				continue // more would open the breaker, which closes by the clock alone
			}
			w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Status: 500, Times: 2}}})
			w.run(t)
			w.tenant.SetFaults(auth0sim.Faults{})
		}
	}
}

// drawHint says the truth about a user, or does not.
func drawHint(r *rand.Rand, ids []customer.ID, users []auth0sim.User) customer.Hint {
	if len(users) == 0 || r.IntN(4) == 0 {
		return customer.Hint{AuthUserID: "auth0|ghost", Email: address(r.IntN(5)), Key: customer.EmailKey(address(r.IntN(5))), CustomerID: ids[r.IntN(len(ids))]}
	}
	u := users[r.IntN(len(users))]
	h := customer.Hint{AuthUserID: u.ID, Email: u.Email, Key: customer.EmailKey(u.Email)}
	if id, ok := u.AppMetadata["customer_id"].(string); ok {
		h.CustomerID = customer.ID(id)
	}
	return h
}

// settle lets quiet come: every user that names a customer has been reported once,
// since nothing else leads to it, and every customer is looked at.
func settle(t *testing.T, w world, customers int) {
	t.Helper()
	for range 2 { // who was taken may become free to see
		for i := range customers {
			w.look(t, address(i))
		}
	}
}

// check compares each row with what the rule says of all users at once.
func check(t *testing.T, w world, policy auth0sync.Policy, ids []customer.ID, users []auth0sim.User) {
	t.Helper()
	holders := map[string]customer.ID{}
	live := map[customer.ID]bool{}
	rows := map[customer.ID]customer.Customer{}
	for _, id := range ids {
		rows[id] = w.get(t, id)
		live[id] = true
		if user := rows[id].AuthUserID; user != "" {
			if other, taken := holders[user]; taken {
				t.Errorf("%s is on %s and %s", user, other, id)
			}
			holders[user] = id
		}
	}
	for i, id := range ids {
		var found []auth0sync.User
		for _, u := range users {
			if u.AppMetadata["customer_id"] != nil && u.Email != address(i) {
				continue // whether it was reported is chance
			}
			found = append(found, observed(u))
		}
		before := rows[id]
		before.Lifecycle, before.AuthUserID = customer.AuthPending, ""
		delete(holders, rows[id].AuthUserID)
		verdict := policy.Decide(before, found, customer.World{UserHolder: holders, Live: live})
		if rows[id].AuthUserID != "" {
			holders[rows[id].AuthUserID] = id
		}
		named := rows[id].AuthUserID != "" && namedFor(users, rows[id].AuthUserID) == id
		switch {
		case named: // by a user of any address, which a delivery told of
		case verdict.Link != nil && rows[id].AuthUserID != verdict.Link.AuthUserID:
			t.Errorf("%s: linked to %q, the rule says %q", address(i), rows[id].AuthUserID, verdict.Link.AuthUserID)
		case verdict.Link == nil && rows[id].Lifecycle == customer.Active:
			t.Errorf("%s: linked to %q, the rule says %s", address(i), rows[id].AuthUserID, verdict.Reason)
		case verdict.Link == nil && w.reason(t, address(i)) != verdict.Reason:
			t.Errorf("%s waits because %s, the rule says %s", address(i), w.reason(t, address(i)), verdict.Reason)
		}
	}
}

func namedFor(users []auth0sim.User, id string) customer.ID {
	for _, u := range users {
		if name, ok := u.AppMetadata["customer_id"].(string); ok && u.ID == id {
			return customer.ID(name)
		}
	}
	return ""
}

// observed is a user as a look-up would show it.
func observed(u auth0sim.User) auth0sync.User {
	o := auth0sync.User{ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified, Blocked: u.Blocked, UpdatedAt: time.Unix(1, 0), SeenAt: time.Unix(1, 0)}
	for n, i := range u.Identities {
		email := i.ProfileData["email"]
		other := n > 0 && (email != u.Email || i.ProfileData["email_verified"] != true)
		o.Identities = append(o.Identities, auth0sync.Identity{Provider: i.Provider, Connection: i.Connection, UserID: i.UserID, OtherEmail: other})
	}
	if name, ok := u.AppMetadata["customer_id"].(string); ok {
		o.CustomerID = customer.ID(name)
	}
	return o
}
