package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// load is clients at work on replicas, each with customers of its own.
type load struct {
	w        *world
	replicas []*replica
	clients  int                                                         // that work at the same time
	patience time.Duration                                               // of a client with one request
	bring    func(ctx context.Context, c *client, dice *rand.Rand) error // one customer's life
	doors    []string                                                    // host:port of what clients call: the replicas, or what stands before them
	ledger   *ledger
	attempts attempts
	made     atomic.Int64 // numbers the customers
	inFlight atomic.Int64
}

// newLoad starts some replicas, for clients that know them all.
func newLoad(ctx context.Context, w *world, replicas int) (*load, error) {
	l := &load{w: w, ledger: newLedger(), clients: few, patience: 10 * time.Second}
	l.bring = l.life
	if err := l.join(ctx, replicas); err != nil {
		l.killAll()
		return nil, err
	}
	return l, nil
}

// join starts more replicas.
func (l *load) join(ctx context.Context, replicas int) error {
	for range replicas {
		r, err := l.w.newReplica(ctx)
		if err != nil {
			return err
		}
		l.replicas, l.doors = append(l.replicas, r), append(l.doors, r.api)
	}
	return nil
}

// few clients leave the machine idle enough for what is tried beside them.
const few = 4

// during runs the load for as long as do takes, and then lets each client end
// what it is at: after it the ledger is exact.
func (l *load) during(ctx context.Context, seed uint64, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	errs := make(chan error, l.clients)
	var wg sync.WaitGroup
	for n := range l.clients {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // it must repeat
			errs <- l.work(ctx, dice, n, stop)
		})
	}
	err := until(ctx, giveUp, "load", func() bool { return l.inFlight.Load() > 0 || len(errs) > 0 })
	if err == nil {
		err = do()
	}
	close(stop)
	wg.Wait()
	for range l.clients {
		if e := <-errs; err == nil {
			err = e
		}
	}
	return err
}

// work makes customers and lives their lives until stop.
func (l *load) work(ctx context.Context, dice *rand.Rand, turn int, stop <-chan struct{}) error {
	c := l.newClient(turn)
	defer c.http.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := l.bring(ctx, c, dice); err != nil {
			return err
		}
		c.turn++
	}
}

func (l *load) newClient(turn int) *client {
	return &client{load: l, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}, Timeout: l.patience}, turn: turn}
}

// life is one customer's: made, read, renamed some times, perhaps signed up at
// Auth0 before or after that, perhaps closed.
func (l *load) life(ctx context.Context, c *client, dice *rand.Rand) error {
	n := l.made.Add(1)
	email := fmt.Sprintf("person%d@example.com", n)
	a := account{email: customer.EmailKey(email), key: fmt.Sprintf("key-%d", n), firstName: "Ada"}
	early, late := dice.IntN(4) == 0, dice.IntN(3) == 0
	if early {
		if err := l.turnUp(&a, dice); err != nil {
			return err
		}
	}
	got, took, err := c.insist(ctx, http.MethodPost, "", fmt.Sprintf(`{"first_name":"Ada","last_name":"L","email_address":%q}`, email), a.key)
	if err != nil {
		return err
	}
	a.id = got.ID
	l.ledger.acknowledged(a, took)
	if late && !early {
		if err := l.turnUp(&a, dice); err != nil {
			return err
		}
	}
	for range dice.IntN(4) {
		if err := l.rename(ctx, c, &a); err != nil {
			return err
		}
	}
	if dice.IntN(4) > 0 {
		return nil
	}
	_, took, err = c.insist(ctx, http.MethodDelete, "/"+string(a.id), "", "")
	if err == nil {
		a.closed = true
		l.ledger.acknowledged(a, took)
	}
	return err
}

// turnUp is how a customer's person, or somebody with the same address, comes to
// Auth0: most as they should. Of the others some must never be linked; some might be,
// if they were looked at in the moment when they could, and the checker knows.
func (l *load) turnUp(a *account, dice *rand.Rand) error {
	t, yes, no := l.w.tenant, true, false
	one := auth0sim.SignUp{Email: string(a.email), Connection: auth0sim.Passwordless, EmailVerified: &yes}
	then := func(string) error { return nil }
	switch dice.IntN(12) {
	case 0:
		one.EmailVerified = &no
	case 1:
		one.Blocked = true
	case 2:
		one.Connection = auth0sim.Enterprise // whom nobody trusts
	case 3:
		one.EmailVerified, then = &no, t.Verify
	case 4:
		then = func(id string) error { return t.ChangeEmail(id, "former."+string(a.email)) }
	case 5:
		then = func(id string) error { return t.Block(id, true) }
	case 6:
		then = func(string) error {
			_, err := t.SignUp(auth0sim.SignUp{Email: string(a.email), Connection: auth0sim.Google})
			return err
		}
	default:
		return l.signUp(a)
	}
	u, err := t.SignUp(one)
	if err != nil {
		return err
	}
	return then(u.ID)
}

// signUp has the Action call the webhook of one replica, whether or not that one
// is alive.
func (l *load) signUp(a *account) error {
	a.signedUp = true
	verified := true
	_, err := l.w.tenant.SignUp(auth0sim.SignUp{Email: string(a.email), Connection: auth0sim.Passwordless, EmailVerified: &verified})
	return err
}

// rename changes a customer and reads it back.
func (l *load) rename(ctx context.Context, c *client, a *account) error {
	a.patches++
	a.firstName = fmt.Sprintf("Ada%d", a.patches)
	_, took, err := c.insist(ctx, http.MethodPatch, "/"+string(a.id), fmt.Sprintf(`{"first_name":%q}`, a.firstName), "")
	if err != nil {
		return err
	}
	l.ledger.acknowledged(*a, took)
	got, took, err := c.insist(ctx, http.MethodGet, "/"+string(a.id), "", "")
	if err != nil {
		return err
	}
	l.ledger.acknowledged(*a, took)
	if got.Data.FirstName != a.firstName {
		return fmt.Errorf("customer %s: read %q after %q was acknowledged", a.id, got.Data.FirstName, a.firstName)
	}
	return nil
}

// check has the checker look at everything, and adds what it finds to what is known. A
// trial ends with the first fault that it finds.
func (l *load) check(ctx context.Context, got *result) error {
	found, err := check(ctx, l.w.db, l.w.tenant.States(), l.ledger.all())
	got.lost, got.wrong = append(got.lost, found.lost...), append(got.wrong, found.wrong...)
	got.operations = l.ledger.operations()
	if err == nil && len(found.lost)+len(found.wrong) > 0 {
		err = errors.New("stopped at the first fault")
	}
	return err
}
