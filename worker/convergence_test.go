package worker_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

var (
	convergeSeeds = flag.Int("converge.seeds", 16, "how many worlds TestEveryLaneConverges drives")
	convergeFrom  = flag.Uint64("converge.from", 0, "the first of them")
)

// Tenants live: people sign up, verify, change addresses, are blocked, linked and
// deleted, customers come and go, while deliveries are lost, doubled and
// reordered, Auth0 and the webhook fail, and the daemon is restarted. Whatever
// lanes there are, after quiet the rows are what the pure rule says of the final
// state, and nothing is left that it would change.
func TestEveryLaneConverges(t *testing.T) {
	t.Parallel()
	for i := range *convergeSeeds {
		seed := *convergeFrom + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l := newLife(t, seed)
			for range 40 {
				l.step(t)
			}
			l.quiet(t)
		})
	}
}

// life is a tenant and its customers, driven by chance.
type life struct {
	world
	r      *rand.Rand
	policy auth0sync.Policy
	rude   bool
	pushed bool   // there is a webhook
	follow string // what is followed
	ids    []customer.ID
	down   atomic.Bool // the webhook answers 503
	stop   func()
}

func newLife(t *testing.T, seed uint64) *life {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	l := &life{r: r, policy: brief()}
	if r.IntN(2) == 0 {
		l.policy.ConnectionPriority = []string{auth0sim.Google}
	}
	o := auth0sim.Options{MaskLogs: r.IntN(3) == 0}
	if l.rude = r.IntN(2) == 0; l.rude {
		o = auth0sim.Rude(o)
	}
	l.follow = []string{worker.FollowOff, worker.FollowEvents, worker.FollowLogs, worker.FollowAuto}[r.IntN(4)]
	o.NoEvents = l.follow == worker.FollowAuto && r.IntN(2) == 0
	l.world = newWorld(t, o, l.policy)
	l.signUp(t, auth0sim.SignUp{Email: "first@example.com"}) // an empty log has no end to start from
	if l.pushed = r.IntN(2) == 0; l.pushed {
		l.webhook(t)
	}
	l.start(t)
	return l
}

// webhook is ours, sometimes down.
func (l *life) webhook(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || l.down.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if _, err := l.Deliver(r.Context(), r.Header, body); err != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	l.tenant.ConnectAction(server.URL, actionSecret)
	l.tenant.ConnectEventStream(server.URL, streamToken)
}

func (l *life) start(t *testing.T) {
	t.Helper()
	l.stop = l.daemonOf(t, worker.Config{Follow: l.follow, LogsEvery: 50 * time.Millisecond, Policy: l.policy})
}

func (l *life) address() string { return fmt.Sprintf("c%d@example.com", l.r.IntN(5)) }

// someone is a user there is.
func (l *life) someone() (auth0sim.User, bool) {
	all := l.tenant.Users()
	if len(all) == 0 {
		return auth0sim.User{}, false
	}
	return all[l.r.IntN(len(all))], true
}

// step lets one thing happen. What is impossible just does not.
func (l *life) step(t *testing.T) {
	t.Helper()
	u, _ := l.someone()
	switch l.r.IntN(16) {
	case 0, 1, 2:
		verified := l.r.IntN(3) > 0
		_, _ = l.tenant.SignUp(auth0sim.SignUp{
			Email: l.address(), EmailVerified: &verified, DropDeliveries: l.r.IntN(3) == 0,
			Connection: []string{auth0sim.Database, auth0sim.Google, auth0sim.Enterprise, auth0sim.Passwordless}[l.r.IntN(4)],
		})
	case 3:
		_ = l.tenant.Verify(u.ID)
	case 4:
		_ = l.tenant.Block(u.ID, l.r.IntN(2) == 0)
	case 5:
		_ = l.tenant.ChangeEmail(u.ID, l.address())
	case 6:
		_ = l.tenant.Delete(u.ID)
	case 7:
		other, _ := l.someone()
		_, _ = l.tenant.Link(u.ID, other.ID)
	case 8:
		_ = l.tenant.Login(u.ID)
	case 9, 10, 11:
		l.enrollOne(t)
	case 12:
		if len(l.ids) > 0 && l.r.IntN(4) == 0 {
			must(t, l.store.CloseCustomer(t.Context(), l.ids[l.r.IntN(len(l.ids))], 0, customer.Cause{Kind: customer.ByAPI}))
		}
	case 13:
		l.trouble()
	case 14:
		l.tryRun(t, worker.Order{Kind: worker.KindPromote})
	case 15:
		l.stop()
		l.start(t)
	}
}

func (l *life) enrollOne(t *testing.T) {
	t.Helper()
	email, err := customer.ParseEmail(l.address())
	must(t, err)
	id := customer.ID(uuid.Must(uuid.NewV7()).String())
	id, created, err := l.Enroll(t.Context(), customer.Draft{ID: id, FirstName: "A", LastName: "B", Email: email, CreatedBy: "test"}, nil, customer.Cause{Kind: customer.ByAPI})
	must(t, err)
	if created {
		l.ids = append(l.ids, id)
	}
}

// trouble makes something fail for a while, or ends that.
func (l *life) trouble() {
	l.down.Store(l.r.IntN(2) == 0)
	l.tenant.SetFaults([]auth0sim.Faults{
		{},
		{DropActions: true, DropEvents: true},
		{DuplicateEvents: true, ReorderEvents: true},
		{Requests: []auth0sim.Fault{{Status: 500, Times: 2}}},
		{Requests: []auth0sim.Fault{noExports()}},
	}[l.r.IntN(5)])
	l.tenant.CycleFeed()
}

func (l *life) tryRun(t *testing.T, o worker.Order) {
	t.Helper()
	if _, err := l.RunOnce(t.Context(), o); err != nil && !errors.Is(err, customer.ErrLeaseHeld) {
		t.Fatal(err)
	}
}

// quiet ends all trouble and waits until the rows are right. Lanes that lose
// nothing must do without a full reconcile.
func (l *life) quiet(t *testing.T) {
	t.Helper()
	l.down.Store(false)
	l.tenant.SetFaults(auth0sim.Faults{})
	l.tenant.Settle()
	l.tenant.Advance(5 * time.Minute) // search and exports have seen everything
	// An account linking shows in the log as a call about the primary user; if that
	// is deleted before we ask, only a full reconcile tells of the secondary.
	lossless := l.follow == worker.FollowEvents
	var wrong []string
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if wrong = l.wrong(t); len(wrong) == 0 {
			return
		}
		for _, id := range l.ids { // as cron would, when their time comes
			if c := l.get(t, id); c.Lifecycle == customer.AuthPending || !l.explain(t, id).GoneAt.IsZero() {
				l.tryRun(t, worker.Order{Kind: worker.KindSync, Only: c.Email.Key})
			}
		}
		if !lossless {
			l.tryRun(t, worker.Order{Kind: worker.KindReconcile})
		}
	}
	t.Errorf("lanes: pushed %v, follow %q; wrong after quiet:", l.pushed, l.follow)
	for _, w := range wrong {
		t.Error(w)
	}
}

// wrong says which rows are not as the rule has them.
func (l *life) wrong(t *testing.T) (all []string) {
	t.Helper()
	users := l.tenant.Users()
	holders, live := map[string]customer.ID{}, map[customer.ID]bool{}
	for _, id := range l.ids {
		if c := l.get(t, id); c.Lifecycle != customer.Inactive {
			live[id] = true
			if other, twice := holders[c.AuthUserID]; twice && c.AuthUserID != "" {
				all = append(all, fmt.Sprintf("%s is on %s and %s", c.AuthUserID, other, id))
			}
			holders[c.AuthUserID] = id
		}
	}
	delete(holders, "")
	var seen []auth0sync.User
	for _, u := range users {
		o := observed(u)
		if l.rude && u.Identities[0].Connection == auth0sim.Enterprise {
			o.EmailVerified = false // it says the text "true"
		}
		seen = append(seen, o)
	}
	w := customer.World{UserHolder: holders, Live: live}
	for _, id := range l.ids {
		e := l.explain(t, id)
		switch e.Lifecycle {
		case customer.Active:
			if !slices.ContainsFunc(users, func(u auth0sim.User) bool { return u.ID == e.AuthUserID }) {
				all = append(all, fmt.Sprintf("%s (%s) is linked to %s, who is no user", id, e.Email.Key, e.AuthUserID))
			}
		case customer.AuthPending:
			verdict := l.policy.Decide(e.Customer, seen, w)
			gone := e.Reason == customer.UserGone && verdict.Reason == customer.NotRegistered
			if verdict.Link != nil || verdict.Reason != e.Reason && !gone {
				all = append(all, fmt.Sprintf("%s (%s) waits because %s; the rule says %q %+v", id, e.Email.Key, e.Reason, verdict.Reason, verdict.Link))
			}
		case customer.Inactive:
		}
	}
	return all
}
