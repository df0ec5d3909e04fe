package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// linked makes a customer that is linked to its Auth0 user.
func (w world) linked(t *testing.T, address string) (customer.ID, string) {
	t.Helper()
	user := w.signUp(t, auth0sim.SignUp{Email: address, EmailVerified: yes()})
	id := w.enroll(t, address)
	w.look(t, address)
	if c := w.get(t, id); c.AuthUserID != user.ID {
		t.Fatalf("%s is not linked: %+v", address, c)
	}
	return id, user.ID
}

// event is what the tenant's stream says of a user.
func (w world) event(t *testing.T, h customer.Hint) {
	t.Helper()
	w.hint(t, h)
}

// brief is a policy under which nobody waits for the grace period.
func brief() auth0sync.Policy { return auth0sync.Policy{GoneGrace: time.Nanosecond} }

func TestADeletedUserIsBelievedOnlyWhenAuth0SaysSoThroughoutTheGracePeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id, user := w.linked(t, "ada@example.com")
	w.event(t, customer.Hint{AuthUserID: user, Deleted: true})
	w.run(t)
	if e := w.explain(t, id); e.Lifecycle != customer.Active || !e.GoneAt.IsZero() {
		t.Errorf("a false report of a deletion changed the customer: %+v", e)
	}
	must(t, w.tenant.Delete(user))
	w.event(t, customer.Hint{AuthUserID: user, Deleted: true})
	r := w.run(t)
	e := w.explain(t, id)
	if e.Lifecycle != customer.Active || e.GoneAt.IsZero() || r.Unlinked != 0 {
		t.Errorf("within the grace period: %+v, run %+v", e, r)
	}
	if !e.Next.Before(e.GoneAt.Add(5 * time.Minute)) {
		t.Errorf("asked again only at %s", e.Next)
	}
	w.look(t, "ada@example.com")
	if e := w.explain(t, id); e.Lifecycle != customer.Active || !e.Next.Equal(e.GoneAt.Add(auth0sync.DefaultGoneGrace)) {
		t.Errorf("asked again at %s, the grace period ends at %s", e.Next, e.GoneAt.Add(auth0sync.DefaultGoneGrace))
	}
}

func (w world) explain(t *testing.T, id customer.ID) customer.Explanation {
	t.Helper()
	e, err := w.store.Explain(t.Context(), id)
	must(t, err)
	return e
}

func TestACustomerWhoseUserIsGoneIsUnlinkedAndLinkedAnewWhenTheyReturn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	id, user := w.linked(t, "ada@example.com")
	must(t, w.tenant.Delete(user))
	w.look(t, "ada@example.com") // missed for the first time
	if r := w.look(t, "ada@example.com"); r.Unlinked != 1 || r.Result != customer.RunOK {
		t.Fatalf("run %+v", r)
	}
	e := w.explain(t, id)
	last := e.History[len(e.History)-1]
	if e.Lifecycle != customer.AuthPending || e.Reason != customer.UserGone || e.AuthUserID != "" ||
		last.What != "unlinked" || last.From != user || last.Version != e.Version {
		t.Fatalf("%+v", e)
	}
	w.look(t, "ada@example.com")
	if reason := w.reason(t, "ada@example.com"); reason != customer.UserGone {
		t.Errorf("waits because %s", reason)
	}
	again := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.look(t, "ada@example.com")
	if e := w.explain(t, id); e.AuthUserID != again.ID || !e.GoneAt.IsZero() {
		t.Errorf("not linked to the new user: %+v", e)
	}
}

func TestWhatBecomesOfACustomerWhoseUserIsGoneIsASetting(t *testing.T) {
	t.Parallel()
	for choice, want := range map[auth0sync.OnUserGone]customer.Lifecycle{
		auth0sync.OnGonePending: customer.AuthPending,
		auth0sync.OnGoneClose:   customer.Inactive,
		auth0sync.OnGoneKeep:    customer.Active,
	} {
		t.Run(string(choice), func(t *testing.T) {
			t.Parallel()
			policy := brief()
			policy.OnUserGone = choice
			w := newWorld(t, auth0sim.Options{}, policy)
			id, user := w.linked(t, "ada@example.com")
			must(t, w.tenant.Delete(user))
			w.look(t, "ada@example.com")
			w.look(t, "ada@example.com")
			if got := w.get(t, id).Lifecycle; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestACustomerFollowsItsUserIntoTheOneThatWasLinkedWithIt(t *testing.T) {
	t.Parallel()
	// The deletion of the secondary comes, or the change of the primary, or both.
	for name, report := range map[string]func(t *testing.T, w world, primary, secondary string){
		"by the secondary's deletion": func(t *testing.T, w world, _, secondary string) {
			w.event(t, customer.Hint{AuthUserID: secondary, Deleted: true})
		},
		"by the primary's change": func(t *testing.T, w world, primary, secondary string) {
			w.event(t, customer.Hint{AuthUserID: primary, Identities: []string{secondary}})
		},
		"by both": func(t *testing.T, w world, primary, secondary string) {
			w.event(t, customer.Hint{AuthUserID: primary, Identities: []string{secondary}})
			w.event(t, customer.Hint{AuthUserID: secondary, Deleted: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, brief())
			id, secondary := w.linked(t, "ada@example.com")
			primary := w.signUp(t, auth0sim.SignUp{Email: "ada.work@example.com", Connection: auth0sim.Google})
			_, err := w.tenant.Link(primary.ID, secondary)
			must(t, err)
			report(t, w, primary.ID, secondary)
			if r := w.run(t); r.Rebound != 1 {
				t.Errorf("run %+v", r)
			}
			e := w.explain(t, id)
			last := e.History[len(e.History)-1]
			if e.AuthUserID != primary.ID || e.Lifecycle != customer.Active || last.What != "rebound" || last.From != secondary || len(last.Evidence) == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// Search lags behind the linking, so the first look finds neither.
func TestALinkedUserThatSearchDoesNotShowYetIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{SearchLag: time.Minute}, auth0sync.Policy{})
	id, secondary := w.linked(t, "ada@example.com")
	primary := w.signUp(t, auth0sim.SignUp{Email: "ada.work@example.com"})
	_, err := w.tenant.Link(primary.ID, secondary)
	must(t, err)
	w.event(t, customer.Hint{AuthUserID: secondary, Deleted: true})
	w.run(t)
	if e := w.explain(t, id); e.GoneAt.IsZero() || e.AuthUserID != secondary {
		t.Fatalf("%+v", e)
	}
	w.tenant.Advance(2 * time.Minute)
	w.look(t, "ada@example.com")
	if e := w.explain(t, id); e.AuthUserID != primary.ID || !e.GoneAt.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestAUserLinkedIntoAnotherCustomersUserIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	ada, secondary := w.linked(t, "ada@example.com")
	bob, primary := w.linked(t, "bob@example.com")
	_, err := w.tenant.Link(primary, secondary)
	must(t, err)
	for range 2 {
		w.look(t, "ada@example.com")
		w.look(t, "bob@example.com")
	}
	if c := w.get(t, ada); c.Lifecycle != customer.AuthPending {
		t.Errorf("ada: %+v", c)
	}
	if c := w.get(t, bob); c.AuthUserID != primary {
		t.Errorf("bob: %+v", c)
	}
}

func TestAnEmptiedTenantDoesNotWipeTheLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	const all = 12
	var ids []customer.ID
	for i := range all {
		id, user := w.linked(t, fmt.Sprintf("c%d@example.com", i))
		ids = append(ids, id)
		must(t, w.tenant.Delete(user))
		w.event(t, customer.Hint{AuthUserID: user, Deleted: true})
	}
	w.run(t) // all are missed for the first time
	r := w.look(t, "c0@example.com")
	if r.Unlinked != 0 || r.Result != customer.RunPartial || !strings.Contains(r.Note, "12 of 12") {
		t.Errorf("run %+v", r)
	}
	for _, id := range ids {
		if c := w.get(t, id); c.Lifecycle != customer.Active {
			t.Errorf("%+v", c)
		}
	}
}

// One after the other is no way round it either.
func TestUnlinkedCustomersCountForADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	unlinked := 0
	for i := range 12 {
		_, user := w.linked(t, fmt.Sprintf("c%d@example.com", i))
		must(t, w.tenant.Delete(user))
		w.look(t, fmt.Sprintf("c%d@example.com", i))
		unlinked += w.look(t, fmt.Sprintf("c%d@example.com", i)).Unlinked
	}
	if unlinked != 10 {
		t.Errorf("%d unlinked, the limit is 10", unlinked)
	}
}

func TestAuth0FailingUnlinksNobody(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]auth0sim.Fault{
		"user by id fails":           {Endpoint: "GET /api/v2/users/{id}", Status: 500},
		"a proxy's 404":              {Endpoint: "GET /api/v2/users/{id}", Status: 404, Body: "<html>not found</html>", ContentType: "text/html"},
		"search fails":               {Endpoint: "GET /api/v2/users", Status: 500},
		"search refuses identities":  {Endpoint: "GET /api/v2/users", Status: 400},
		"search says nothing at all": {Endpoint: "GET /api/v2/users", Body: "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, brief())
			id, user := w.linked(t, "ada@example.com")
			must(t, w.tenant.Delete(user))
			w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{fault}})
			for range 2 {
				if r := w.look(t, "ada@example.com"); r.Result == customer.RunOK {
					t.Errorf("run %+v", r)
				}
			}
			if e := w.explain(t, id); e.Lifecycle != customer.Active || !e.GoneAt.IsZero() {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A stranger's address in a connection that nobody trusts, and a trusted identity
// of one's own linked to it, must not lead to the stranger's customer.
func TestATrustedIdentityDoesNotVouchForAnotherIdentitysAddress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		own  auth0sim.SignUp // the trusted identity
		want customer.Reason // "": linked
	}{
		"an address of its own":       {auth0sim.SignUp{Email: "mallory@example.com", Connection: auth0sim.Google}, customer.ConnectionNotTrusted},
		"the same address":            {auth0sim.SignUp{Email: "Ada@example.com", Connection: auth0sim.Google}, ""},
		"the same address unverified": {auth0sim.SignUp{Email: "ada@example.com"}, customer.ConnectionNotTrusted},
		"no address":                  {auth0sim.SignUp{Username: "mallory"}, customer.ConnectionNotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
			primary := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Enterprise, EmailVerified: yes()})
			_, err := w.tenant.Link(primary.ID, w.signUp(t, test.own).ID)
			must(t, err)
			w.enroll(t, "ada@example.com")
			w.look(t, "ada@example.com")
			if got := w.reason(t, "ada@example.com"); got != test.want {
				t.Errorf("reason %q, want %q", got, test.want)
			}
		})
	}
}

// A delivery named the customer's id, and its user has the customer's address by
// now: another user may have it as well.
func TestAHintToAUserByIDDoesNotHideItsRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "ada@example.com")
	hinted := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Google})
	w.event(t, customer.Hint{AuthUserID: hinted.ID, Email: "old@example.com", Key: "old@example.com", CustomerID: id})
	w.runAs(t, worker.KindInbox)
	if got := w.reason(t, "ada@example.com"); got != customer.SeveralUsers {
		t.Errorf("reason %q, linked to %q", got, w.get(t, id).AuthUserID)
	}
}
