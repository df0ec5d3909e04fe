package worker_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/customer/attack"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/worker"
)

// between is a store in which something happens after the decision and before
// the links are written.
type between struct {
	*store.Store
	happens func(links []customer.Link)
}

// Link implements worker.Store.
func (b *between) Link(ctx context.Context, fence int64, links []customer.Link, cause customer.Cause) ([]customer.ID, error) {
	if happens := b.happens; happens != nil && len(links) > 0 {
		b.happens = nil
		happens(links)
	}
	return b.Store.Link(ctx, fence, links, cause)
}

// race is one schedule: a customer, a user who fits it, and what happens between
// the look and the write.
type race struct {
	world
	r     *rand.Rand
	n     int
	id    customer.ID
	user  auth0sim.User
	other customer.ID // another customer, if the schedule has one
	must  string      // what the write must leave of the customer: "", "pending", "inactive", "elsewhere"
}

func (r *race) address(name string) string { return fmt.Sprintf("%s%d@example.com", name, r.n) }

// happenings are what may come between. Each says what the guards must see to.
func (r *race) happenings(t *testing.T) map[string]func() {
	cause := customer.Cause{Kind: customer.ByAPI}
	patch := func(id customer.ID, user string) {
		_, err := r.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: user}, 0, cause)
		must(t, err)
	}
	return map[string]func(){
		"the address changes":  func() { must(t, r.tenant.ChangeEmail(r.user.ID, r.address("new"))) },
		"the user is blocked":  func() { must(t, r.tenant.Block(r.user.ID, true)) },
		"the user is deleted":  func() { must(t, r.tenant.Delete(r.user.ID)) },
		"a second user":        func() { r.signUp(t, auth0sim.SignUp{Email: r.address("c"), Connection: auth0sim.Google}) },
		"an unproven second":   func() { r.signUp(t, auth0sim.SignUp{Email: r.address("c"), Connection: auth0sim.Enterprise}) },
		"the customer closes":  func() { must(t, r.store.CloseCustomer(t.Context(), r.id, 0, cause)); r.must = "inactive" },
		"linked by a person":   func() { patch(r.id, fmt.Sprintf("auth0|by-hand-%d", r.n)); r.must = "elsewhere" },
		"linked and unlinked":  func() { patch(r.id, fmt.Sprintf("auth0|by-hand-%d", r.n)); patch(r.id, "") },
		"the user is taken":    func() { r.other = r.enroll(t, r.address("other")); patch(r.other, r.user.ID); r.must = "pending" },
		"taken and free again": func() { r.other = r.enroll(t, r.address("other")); patch(r.other, r.user.ID); patch(r.other, "") },
		"taken, holder closed": func() {
			r.other = r.enroll(t, r.address("other"))
			patch(r.other, r.user.ID)
			must(t, r.store.CloseCustomer(t.Context(), r.other, 0, cause))
		},
		"closed and made anew": func() {
			must(t, r.store.CloseCustomer(t.Context(), r.id, 0, cause))
			r.other, r.must = r.enroll(t, r.address("c")), "inactive"
		},
	}
}

// Whatever happens between a look and its write: nobody is linked who was not
// linkable when looked at, what changed with us meanwhile is respected, and the
// next looks end at what the rule says of how things are then.
func TestAttackTheWorldMovesBetweenLookAndWrite(t *testing.T) {
	t.Parallel()
	s := &between{}
	w := newWorldOver(t, auth0sim.Options{}, brief(), func(whole *store.Store) worker.Store {
		s.Store = whole
		return s
	})
	r, met := attack.Dice(t), map[string]int{}
	for n := range attack.Times(200, 10_000) {
		one := &race{world: w, r: r, n: n}
		what := one.run(t, s)
		met[what]++
		if t.Failed() {
			t.Fatalf("schedule %d: %s", n, what)
		}
	}
	t.Log(met)
}

func (r *race) run(t *testing.T, s *between) (what string) {
	t.Helper()
	r.id = r.enroll(t, r.address("c"))
	verified := true
	r.user = r.signUp(t, auth0sim.SignUp{Email: r.address("c"), EmailVerified: &verified})
	what = "nothing"
	s.happens = func(links []customer.Link) {
		if len(links) != 1 || links[0].Customer != r.id || links[0].AuthUserID != r.user.ID {
			t.Errorf("decided %+v", links)
		}
		happenings := r.happenings(t)
		names := slices.Sorted(maps.Keys(happenings))
		if i := r.r.IntN(len(names) + 1); i < len(names) {
			what = names[i]
			happenings[what]()
		}
	}
	if run := r.look(t, r.address("c")); run.Result != customer.RunOK || run.Note != "" {
		t.Errorf("the run ended %s: %s", run.Result, run.Note) // a guard is no error
	}
	c := r.get(t, r.id)
	switch r.must {
	case "":
		if c.Lifecycle != customer.Active || c.AuthUserID != r.user.ID {
			t.Errorf("is %s %s", c.Lifecycle, c.AuthUserID)
		}
	case "pending":
		if c.Lifecycle != customer.AuthPending {
			t.Errorf("is %s %s, though the user was taken", c.Lifecycle, c.AuthUserID)
		}
	case "inactive":
		if c.Lifecycle != customer.Inactive || c.AuthUserID != "" {
			t.Errorf("is %s %s, though it was closed", c.Lifecycle, c.AuthUserID)
		}
	case "elsewhere":
		if c.AuthUserID == r.user.ID {
			t.Error("a person's link was written over")
		}
	}
	r.afterwards(t)
	return what
}

// afterwards looks again, and holds the customers against the rule.
func (r *race) afterwards(t *testing.T) {
	t.Helper()
	r.tenant.Advance(2 * auth0sync.SearchLag)
	ids := []customer.ID{r.id}
	if r.other != "" {
		ids = append(ids, r.other)
	}
	for _, name := range []string{"c", "other"} {
		r.look(t, r.address(name))
	}
	w := customer.World{UserHolder: map[string]customer.ID{}, Live: map[customer.ID]bool{}}
	for _, id := range ids {
		if c := r.get(t, id); c.Lifecycle != customer.Inactive && c.AuthUserID != "" {
			if holder, twice := w.UserHolder[c.AuthUserID]; twice {
				t.Errorf("%s is on %s and %s", c.AuthUserID, holder, id)
			}
			w.UserHolder[c.AuthUserID] = id
		}
	}
	var seen []auth0sync.User
	for _, u := range r.tenant.Users() {
		if u.Email == r.address("c") || u.Email == r.address("other") {
			seen = append(seen, observed(u))
		}
	}
	for _, id := range ids {
		e := r.explain(t, id)
		if e.Lifecycle != customer.AuthPending {
			continue
		}
		if v := brief().Decide(e.Customer, seen, w); v.Link != nil || v.Reason != e.Reason {
			t.Errorf("%s waits because %s; the rule says %q %+v", e.Email.Key, e.Reason, v.Reason, v.Link)
		}
	}
}
