package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// daemon runs the worker until stop is called, which waits for its end.
func (w world) daemon(t *testing.T, follow string) (stop func()) {
	t.Helper()
	return w.daemonOf(t, worker.Config{Follow: follow, LogsEvery: 100 * time.Millisecond})
}

func (w world) daemonOf(t *testing.T, c worker.Config) (stop func()) {
	t.Helper()
	d := newWorkerOf(t, w.store, w.tenant.Issuer(), c, w.tenant.Advance)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil // whoever stops it again
	}
	t.Cleanup(stop)
	return stop
}

// eventually polls, since nothing tells a test that the daemon has done its work.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	// What is missed at once is made up for within a minute, and machines are busy.
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (w world) isActive(t *testing.T, id customer.ID) func() bool {
	t.Helper()
	return func() bool { return w.get(t, id).Lifecycle == customer.Active }
}

// following waits until the feed is connected: what happens then is not missed.
func (w world) following(t *testing.T) {
	t.Helper()
	eventually(t, "a connection of the feed", func() bool { return w.tenant.FeedConnections() == 1 })
}

// Nobody calls our webhook: there is none.
func TestTheFeedTellsOfSignUpsWithoutAWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.daemon(t, worker.FollowEvents)
	w.following(t)
	before := w.enroll(t, "before@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "before@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "after@example.com", Connection: auth0sim.Google})
	eventually(t, "the customer made before", w.isActive(t, before))
	after := w.enroll(t, "after@example.com")
	eventually(t, "the customer made after", w.isActive(t, after))
	u := w.signUp(t, auth0sim.SignUp{Email: "late@example.com"})
	late := w.enroll(t, "late@example.com")
	must(t, w.tenant.Verify(u.ID))
	eventually(t, "the customer who verified late", w.isActive(t, late))
	must(t, w.tenant.Delete(u.ID))
	eventually(t, "the deletion", func() bool { return !w.explain(t, late).GoneAt.IsZero() })
}

// What happens while nobody follows, or a connection is cycled, is told later,
// once.
func TestTheFeedGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Rude(auth0sim.Options{}), auth0sync.Policy{})
	stop := w.daemon(t, worker.FollowEvents)
	w.following(t)
	first := w.enroll(t, "first@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "first@example.com", EmailVerified: yes()})
	eventually(t, "the first", w.isActive(t, first))
	stop()
	var ids []customer.ID
	for i := range 5 {
		ids = append(ids, w.enroll(t, fmt.Sprintf("c%d@example.com", i)))
		w.signUp(t, auth0sim.SignUp{Email: fmt.Sprintf("c%d@example.com", i), EmailVerified: yes()})
	}
	w.daemon(t, worker.FollowEvents)
	for range 3 {
		w.following(t)
		w.tenant.CycleFeed()
		i := len(ids)
		ids = append(ids, w.enroll(t, fmt.Sprintf("c%d@example.com", i)))
		w.signUp(t, auth0sim.SignUp{Email: fmt.Sprintf("c%d@example.com", i), EmailVerified: yes()})
	}
	for _, id := range ids {
		eventually(t, "each sign-up", w.isActive(t, id))
	}
	for _, id := range append(ids, first) {
		if h := w.explain(t, id).History; len(h) != 2 {
			t.Errorf("%+v", h)
		}
	}
}

// Nobody was told of these sign-ups: the gap is made up for by a full reconcile.
func TestAnExpiredCursorIsMadeUpForByAFullReconcile(t *testing.T) {
	t.Parallel()
	for name, expire := range map[string]func(*auth0sim.Tenant){
		"while connected": func(t *auth0sim.Tenant) { t.ExpireFeed() },
		"told by message": func(t *auth0sim.Tenant) { t.ExpireFeed(); t.FailFeed("cursor_expired") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
			stop := w.daemon(t, worker.FollowEvents)
			w.following(t)
			first := w.enroll(t, "first@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "first@example.com", EmailVerified: yes()})
			eventually(t, "the first", w.isActive(t, first))
			stop()
			missed := w.enroll(t, "missed@example.com")
			for range 4 { // it is not looked up again for a while
				w.look(t, "missed@example.com")
			}
			w.signUp(t, auth0sim.SignUp{Email: "missed@example.com", EmailVerified: yes()})
			expire(w.tenant)
			w.tenant.Advance(2 * time.Minute)
			w.daemon(t, worker.FollowEvents)
			eventually(t, "the missed sign-up", w.isActive(t, missed))
			eventually(t, "the gap to be settled", func() bool {
				owed, err := w.store.Owed(t.Context(), time.Time{})
				must(t, err)
				return !owed
			})
			w.following(t)
			next := w.enroll(t, "next@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "next@example.com", EmailVerified: yes()})
			eventually(t, "the next sign-up", w.isActive(t, next))
		})
	}
}

func TestTroubleWithTheFeedIsOvercome(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(world){
		"an error message": func(w world) { w.tenant.FailFeed("processing_error") },
		"errors for a while": func(w world) {
			w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/events", Status: 500, Times: 4}}})
			w.tenant.CycleFeed()
		},
		"rubbish": func(w world) {
			w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/events", Body: "<html>", Times: 1}}})
			w.tenant.CycleFeed()
		},
		"a token that is refused": func(w world) { w.tenant.RevokeGrants(); w.tenant.CycleFeed() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
			w.daemon(t, worker.FollowEvents)
			w.following(t)
			first := w.enroll(t, "first@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "first@example.com", EmailVerified: yes()})
			eventually(t, "the first", w.isActive(t, first))
			trouble(w)
			id := w.enroll(t, "ada@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
			eventually(t, "the sign-up", w.isActive(t, id))
		})
	}
}

// Of several replicas one follows; another takes over.
func TestOneReplicaFollows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{FeedConnections: 10}, auth0sync.Policy{})
	stop := w.daemon(t, worker.FollowEvents)
	w.following(t)
	w.daemon(t, worker.FollowEvents)
	id := w.enroll(t, "ada@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	eventually(t, "the sign-up", w.isActive(t, id))
	if n := w.tenant.FeedConnections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	stop()
	w.following(t)
}

// cursor waits until the log is followed: what happens then is not missed.
func (w world) readsLogs(t *testing.T) {
	t.Helper()
	eventually(t, "a cursor in the log", func() bool {
		cursor, _, err := w.store.Cursor(t.Context(), "log_tail")
		must(t, err)
		return cursor != ""
	})
}

// A tenant without an event feed, or an application without its scope.
func TestTheLogStandsInForTheFeed(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]auth0sim.Options{
		"no feed":          {NoEvents: true},
		"no scope":         {Scopes: []string{"read:users", "read:logs"}},
		"masked addresses": {NoEvents: true, MaskLogs: true},
		"rude":             auth0sim.Rude(auth0sim.Options{NoEvents: true}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options, auth0sync.Policy{})
			w.enroll(t, "waits@example.com")                         // while somebody waits, the log is read often
			w.signUp(t, auth0sim.SignUp{Email: "other@example.com"}) // an empty log has no end to start from
			stop := w.daemon(t, worker.FollowAuto)
			w.readsLogs(t)
			var ids []customer.ID
			for i, connection := range []string{auth0sim.Google, auth0sim.Passwordless, auth0sim.Database} {
				address := fmt.Sprintf("c%d@example.com", i)
				ids = append(ids, w.enroll(t, address))
				u := w.signUp(t, auth0sim.SignUp{Email: address, Connection: connection})
				if connection == auth0sim.Database {
					must(t, w.tenant.Verify(u.ID))
				}
			}
			for _, id := range ids {
				eventually(t, "each sign-up", w.isActive(t, id))
			}
			stop()
			meanwhile := w.enroll(t, "meanwhile@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "meanwhile@example.com", Connection: auth0sim.Google})
			user := w.get(t, ids[0]).AuthUserID
			primary := w.signUp(t, auth0sim.SignUp{Email: "primary@example.com"})
			_, err := w.tenant.Link(primary.ID, user)
			must(t, err)
			must(t, w.tenant.Delete(w.get(t, ids[1]).AuthUserID))
			w.daemon(t, worker.FollowAuto)
			eventually(t, "the sign-up meanwhile", w.isActive(t, meanwhile))
			eventually(t, "the linking", func() bool { return w.get(t, ids[0]).AuthUserID == primary.ID })
			eventually(t, "the deletion", func() bool { return !w.explain(t, ids[1]).GoneAt.IsZero() })
		})
	}
}

// The log has forgotten where we were: a full reconcile makes up for it.
func TestALogThatDoesNotGoBackFarEnoughIsMadeUpFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{NoEvents: true}, auth0sync.Policy{})
	missed := w.enroll(t, "missed@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "other@example.com"})
	stop := w.daemon(t, worker.FollowLogs)
	w.readsLogs(t)
	stop()
	for range 4 {
		w.look(t, "missed@example.com")
	}
	w.signUp(t, auth0sim.SignUp{Email: "missed@example.com", EmailVerified: yes()})
	w.tenant.Advance(2 * time.Minute)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/logs", Status: 400, Times: 1}}})
	w.daemon(t, worker.FollowLogs)
	eventually(t, "the missed sign-up", w.isActive(t, missed))
}

// maskedSignUps delivers log entries that do not tell whose they are.
func (w world) maskedSignUps(t *testing.T, users ...string) {
	t.Helper()
	body := ""
	for i, user := range users {
		body += fmt.Sprintf("{\"data\":{\"log_id\":\"90%d\",\"type\":\"ss\",\"user_id\":%q,\"details\":{\"body\":{\"email\":\"***\"}}}}\n", i, user)
	}
	_, err := w.Deliver(t.Context(), http.Header{"Authorization": {logToken}}, []byte(body))
	must(t, err)
}

// One user that Auth0 does not tell of does not keep others from being found.
func TestAMaskedEntryThatCannotBeAskedAboutHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	var ids []customer.ID
	var users []string
	for i := range 3 {
		address := fmt.Sprintf("c%d@example.com", i)
		ids = append(ids, w.enroll(t, address))
		w.look(t, address) // not due for a while
		users = append(users, w.signUp(t, auth0sim.SignUp{Email: address, EmailVerified: yes(), DropDeliveries: true}).ID)
	}
	w.maskedSignUps(t, users...)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users/{id}", Status: 500, Times: 2}}}) // a call and its repetition
	if r := w.runAs(t, worker.KindInbox); r.Linked != 2 || r.Errors != 1 || r.Result != customer.RunPartial {
		t.Errorf("%+v", r)
	}
	if r := w.runAs(t, worker.KindPromote); r.Linked != 1 {
		t.Errorf("%+v", r)
	}
	for _, id := range ids {
		if !w.isActive(t, id)() {
			t.Error("one was not linked")
		}
	}
}

// A log stream posts many records at once, most of which are about nobody we know.
func TestALogStreamTellsOfSignUpsAndDeletions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	linked, user := w.linked(t, "linked@example.com")
	pending, masked := w.enroll(t, "pending@example.com"), w.enroll(t, "masked@example.com")
	a := w.signUp(t, auth0sim.SignUp{Email: "pending@example.com", EmailVerified: yes(), DropDeliveries: true})
	b := w.signUp(t, auth0sim.SignUp{Email: "masked@example.com", EmailVerified: yes(), DropDeliveries: true})
	must(t, w.tenant.Delete(user))
	record := func(id, kind, user, email string) string {
		return fmt.Sprintf(`{"log_id":%q,"data":{"log_id":%q,"type":%q,"user_id":%q,"details":{"body":{"email":%q}}}}`, id, id, kind, user, email)
	}
	body := "[" + record("1", "ss", a.ID, "pending@example.com") + "," + record("2", "ss", b.ID, "***") + "," +
		record("3", "sdu", user, "") + "," + record("4", "f", "", "") + "," + record("5", "s", "google-oauth2|x", "stranger@example.com") + "]"
	for range 2 { // a second time it changes nothing
		understood, err := w.Deliver(t.Context(), http.Header{"Authorization": {"Bearer " + logToken}}, []byte(body))
		if err != nil || !understood {
			t.Fatalf("%v, %v", understood, err)
		}
	}
	w.runAs(t, worker.KindInbox)
	if w.get(t, pending).AuthUserID != a.ID || w.get(t, masked).AuthUserID != b.ID || w.explain(t, linked).GoneAt.IsZero() {
		t.Errorf("%+v %+v %+v", w.get(t, pending), w.get(t, masked), w.explain(t, linked))
	}
	if _, err := w.Deliver(t.Context(), http.Header{"Authorization": {"Bearer " + logToken + "x"}}, []byte(body)); !errors.Is(err, customer.ErrForged) {
		t.Errorf("a forged one: %v", err)
	}
}

// Users whom nobody waits for log in all day: that must not fill the database.
func TestEventsThatAskForNothingLeaveNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	stop := w.daemon(t, worker.FollowEvents)
	w.following(t)
	stranger := w.signUp(t, auth0sim.SignUp{Email: "stranger@example.com"}) // unverified
	for range 20 {
		must(t, w.tenant.Login(stranger.ID))
	}
	id := w.enroll(t, "ada@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	eventually(t, "the sign-up", w.isActive(t, id))
	eventually(t, "an inbox with nothing in it", func() bool {
		status, err := w.store.Status(t.Context())
		must(t, err)
		return status.Inbox.New+status.Inbox.Kept == 0
	})
	stop()
	runs, err := w.store.Runs(t.Context(), 100)
	must(t, err)
	for _, r := range runs {
		if r.Kind == worker.KindInbox && r.Looked == 0 {
			t.Errorf("a record of nothing: %+v", r)
		}
	}
}
