package auth0sync_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/customer/attack"
)

// addresses have their keys written beside them, by hand: what is no address or
// is never matched has none.
var addresses = map[string]string{ //nolint:gochecknoglobals // a table
	"ada@example.com": "ada@example.com", "ADA@Example.COM": "ada@example.com", " ada@example.com ": "ada@example.com",
	"ad\u212A@example.com": "", "adk@example.com": "adk@example.com", "a.da@example.com": "a.da@example.com", "ada+x@example.com": "ada+x@example.com",
	"ada@bücher.de": "ada@xn--bcher-kva.de", "Ada@XN--bcher-kva.de": "ada@xn--bcher-kva.de", "": "", "ada": "", "ada@ex ample.com": "", "Ada <ada@example.com>": "",
	"ada@example.com@x": "", "\"ada\"@example.com": "", "ada@example.co": "ada@example.co", "ada@example.com.": "",
}

// questioned is a case to decide: a customer, all that was seen, who holds what.
type questioned struct {
	c      customer.Customer
	seen   []auth0sync.User
	world  customer.World
	policy auth0sync.Policy
}

func one[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func question(t *testing.T, r *rand.Rand) (q questioned) {
	t.Helper()
	var spelt []string
	for address := range addresses {
		spelt = append(spelt, address)
	}
	slices.Sort(spelt)
	likely := []string{"ada@example.com", "ADA@Example.COM", "ada@bücher.de", "Ada@XN--bcher-kva.de"}
	address := func() string {
		if r.IntN(4) > 0 {
			return one(r, likely...)
		}
		return one(r, spelt...)
	}
	mine := address()
	if addresses[mine] == "" {
		mine = one(r, "", "zoë@example.com")
	}
	q.c = pending(t, mine)
	q.world = customer.World{UserHolder: map[string]customer.ID{}, Live: map[customer.ID]bool{}, EmailHolder: map[customer.EmailKey]customer.ID{}, Newest: map[string]customer.Seen{}, Erased: map[string]bool{}}
	q.policy.ConnectionPriority = one(r, nil, nil, []string{"db"}, []string{"google-oauth2", "db"}, []string{"nowhere", "samlp"})
	q.policy.TrustedProviders = one(r, nil, nil, []string{"samlp"}, []string{"auth0", "samlp"})
	states := map[string]auth0sync.User{}
	for range r.IntN(6) {
		u := auth0sync.User{
			ID: fmt.Sprintf("auth0|%d", r.IntN(4)), Email: address(), EmailVerified: r.IntN(3) > 0, Blocked: r.IntN(5) == 0, Unread: r.IntN(25) == 0,
			CustomerID: one(r, none, none, none, none, ada, bob), UpdatedAt: time.Unix(1+r.Int64N(3), 0), SeenAt: time.Unix(10+r.Int64N(2), 0),
		}
		for range 1 + r.IntN(2) {
			u.Identities = append(u.Identities, auth0sync.Identity{Provider: one(r, "auth0", "google-oauth2", "samlp"), Connection: one(r, "db", "google-oauth2", "samlp"), OtherEmail: r.IntN(6) == 0})
		}
		at := fmt.Sprint(u.ID, u.UpdatedAt, u.SeenAt)
		if was, known := states[at]; known { // one state for each user and time
			u = was
		}
		states[at] = u
		q.seen = append(q.seen, u)
		if r.IntN(6) == 0 {
			q.world.UserHolder[u.ID] = one(r, ada, bob)
		}
		if r.IntN(8) == 0 {
			q.world.Erased[u.ID] = true
		}
		if r.IntN(8) == 0 {
			q.world.Newest[u.ID] = customer.Seen{UpdatedAt: time.Unix(1+r.Int64N(3), 0), SeenAt: time.Unix(10+r.Int64N(2), 0)}
		}
	}
	q.world.Live[bob] = r.IntN(2) == 0
	if r.IntN(4) == 0 {
		q.world.EmailHolder["ada@example.com"] = bob
	}
	return q
}

// Kinds of users, by what stands between them and the customer.
const (
	fits      = "fits"
	unrelated = "not_registered"
	untrusted = "connection_not_trusted"
	unproven  = "email_unverified"
	barred    = "user_blocked"
	occupied  = "user_taken"
	forgotten = "user_erased"
)

// answer is what product rule says of a case, found another way than Decide does:
// the last state of each user is put into a class, and the classes are counted.
func (q questioned) answer() string {
	key := addresses[q.c.Email.Address]
	for _, u := range q.seen {
		if u.Unread && (u.CustomerID == ada || u.EmailVerified && key != "" && addresses[u.Email] == key) {
			return "auth0_error"
		}
	}
	current, stale := q.states()
	classes := map[string][]auth0sync.User{}
	byName := slices.ContainsFunc(current, func(u auth0sync.User) bool { return u.CustomerID == ada })
	for _, u := range current {
		class := q.class(u, key)
		if byName {
			class = q.classByName(u)
		}
		classes[class] = append(classes[class], u)
	}
	if !byName && q.c.Email.Address == "" {
		return "email_missing"
	}
	if !byName && key == "" {
		return "email_unmatchable"
	}
	if len(classes[fits]) == 0 {
		for _, nearest := range []string{occupied, forgotten, barred, unproven, untrusted} {
			if len(classes[nearest]) > 0 {
				return nearest
			}
		}
		return unrelated
	}
	contenders := slices.Clone(classes[fits])
	for _, u := range stale {
		if q.class(u, key) == fits && u.CustomerID != ada || q.classByName(u) == fits {
			contenders = append(contenders, u)
		}
	}
	winner := q.settled(contenders)
	if !slices.ContainsFunc(classes[fits], func(u auth0sync.User) bool { return u.ID == winner.ID }) {
		return "several_users"
	}
	if !byName {
		return winner.ID + " by email"
	}
	filled := ""
	if k := addresses[winner.Email]; q.c.Email.Address == "" && winner.EmailVerified && q.world.EmailHolder[customer.EmailKey(k)] == "" {
		filled = k
	}
	return winner.ID + " by app_metadata" + filled
}

// states sorts all that was seen and keeps the last of each user; what is older
// than what was applied before is stale.
func (q questioned) states() (current, stale []auth0sync.User) {
	sorted := slices.DeleteFunc(slices.Clone(q.seen), func(u auth0sync.User) bool { return u.Unread })
	age := func(updated, seen time.Time) string { return fmt.Sprintf("%05d %05d", updated.Unix(), seen.Unix()) }
	slices.SortFunc(sorted, func(a, b auth0sync.User) int {
		return strings.Compare(a.ID+age(a.UpdatedAt, a.SeenAt), b.ID+age(b.UpdatedAt, b.SeenAt))
	})
	for i, u := range sorted {
		applied, known := q.world.Newest[u.ID]
		switch {
		case i+1 < len(sorted) && sorted[i+1].ID == u.ID:
		case known && age(u.UpdatedAt, u.SeenAt) < age(applied.UpdatedAt, applied.SeenAt):
			stale = append(stale, u)
		default:
			current = append(current, u)
		}
	}
	return current, stale
}

func (q questioned) isOccupied(u auth0sync.User) bool {
	return q.world.UserHolder[u.ID] == bob || u.CustomerID == bob && q.world.Live[bob]
}

func (q questioned) class(u auth0sync.User, key string) string {
	trusted := q.policy.TrustedProviders
	if trusted == nil {
		trusted = []string{"auth0", "email", "google-oauth2", "apple"}
	}
	vouched := false
	for _, i := range u.Identities {
		vouched = vouched || !i.OtherEmail && strings.Contains(" "+strings.Join(trusted, " ")+" ", " "+i.Provider+" ")
	}
	switch {
	case key == "" || addresses[u.Email] != key:
		return unrelated
	case !vouched:
		return untrusted
	case !u.EmailVerified:
		return unproven
	case u.Blocked:
		return barred
	case q.isOccupied(u):
		return occupied
	case q.world.Erased[u.ID]:
		return forgotten
	}
	return fits
}

func (q questioned) classByName(u auth0sync.User) string {
	switch {
	case u.CustomerID != ada:
		return unrelated
	case q.isOccupied(u):
		return occupied
	case q.world.Erased[u.ID]:
		return forgotten
	case u.Blocked:
		return barred
	}
	return fits
}

// settled is the only contender, or the only one in the first connection of the
// priority that has any.
func (q questioned) settled(contenders []auth0sync.User) auth0sync.User {
	in := map[string][]auth0sync.User{}
	for _, u := range contenders {
		met := map[string]bool{}
		for _, i := range u.Identities {
			if !met[i.Connection] {
				in[i.Connection] = append(in[i.Connection], u)
			}
			met[i.Connection] = true
		}
	}
	groups := [][]auth0sync.User{}
	for _, connection := range q.policy.ConnectionPriority {
		groups = append(groups, in[connection])
	}
	if len(contenders) == 1 {
		return contenders[0]
	}
	for _, group := range groups {
		if len(group) == 1 {
			return group[0]
		}
		if len(group) > 1 {
			break
		}
	}
	return auth0sync.User{}
}

func TestAttackNoWorldGetsAWrongLink(t *testing.T) {
	t.Parallel()
	r, outcomes := attack.Dice(t), map[string]int{}
	for n := range attack.Times(20_000, 1_000_000) {
		q := question(t, r)
		v := q.policy.Decide(q.c, slices.Clone(q.seen), q.world)
		got := string(v.Reason)
		if v.Link != nil {
			got = v.Link.AuthUserID + " by " + v.Link.Evidence.NamedBy + string(v.Link.Fill.Key)
			if v.Link.Customer != ada || v.Link.Key != q.c.Email.Key || v.Reason != "" {
				t.Fatalf("world %d: %+v", n, v)
			}
		}
		if want := q.answer(); got != want {
			t.Fatalf("world %d: %s, want %s: %+v", n, got, want, q)
		}
		kind, _, linked := strings.Cut(got, " by ")
		if linked {
			kind = "linked"
		}
		outcomes[kind]++
	}
	t.Log(outcomes)
	if len(outcomes) != 11 {
		t.Errorf("only %d kinds of outcomes were met: %v", len(outcomes), outcomes)
	}
}
