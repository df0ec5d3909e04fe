package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

const (
	// tick is the pause between two looks at what is due, as it is unless it is set.
	tick = 30 * time.Second
	// linkedWithin is how soon after Auth0 is well again everybody is to be linked.
	linkedWithin = 3 * tick
	// struckWithin is how long it may take until each call under attack was made: the
	// program lets a tenant be for ten seconds that fails all the time, a lane of
	// events that fails for up to a minute, one that says nothing has 90 seconds, and
	// each is to be struck five times on a machine that may have more to do.
	struckWithin = 6 * time.Minute
	// syncWithin is how long a client may wait that has Auth0 asked, and some more.
	syncWithin = 11 * time.Second
	// everyPair is in how many rounds each call has met each nastiness.
	everyPair = 12
	// provokeEach is the pause between two things that make the program call.
	provokeEach = 300 * time.Millisecond
	// longestReconcile is how long one by hand is let be at a tenant that tells it
	// nothing.
	longestReconcile = 30 * time.Second
)

// hostile has Auth0 answer the calls of all lanes in every way that is bad, while
// people sign up and clients call the API, which must not notice. Nobody may be linked
// to whom Auth0 never knew verified; all others are, soon after it is well again.
func hostile(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	n, err := newNasty(ctx, w, dice.IntN(len(nastinesses())))
	if err != nil {
		return got, err
	}
	defer n.close()
	w.settings = []string{"CUSTOMERSYNC_PROMOTE_SCHEDULE=@every " + tick.String(), "CUSTOMERSYNC_FOLLOW=off"}
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	l.doors, l.bring, l.clients, l.patience = l.doors[:1], l.come, 2, 2*syncWithin
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	for got.rounds < rounds {
		if err := l.hostileRound(ctx, &got, n, dice); err != nil {
			return got, err
		}
		met, spared := n.spared()
		w.line("auth0: %d rounds, %d of %d nastinesses met their call, linked %s after the last", got.rounds, met, met+len(spared),
			got.unavailable[len(got.unavailable)-1].Round(time.Second))
	}
	if _, spared := n.spared(); rounds >= everyPair && len(spared) > 0 {
		return got, fmt.Errorf("%d nastinesses did not meet their call: %s", len(spared), strings.Join(spared, ", "))
	}
	return got, l.allReady(ctx)
}

// hostileRound attacks the calls of all lanes, a few at a time so that none hides
// another, and lets Auth0 be well again.
func (l *load) hostileRound(ctx context.Context, got *result, n *nasty, dice *rand.Rand) error {
	l.attempts.take()
	lane := []string{callEvents, callLogs}[got.rounds%2]
	struck := true
	err := l.during(ctx, dice.Uint64(), func() error {
		for _, calls := range [][]string{{callToken}, {callEmail, lane, callFile}, {callSearch, callKeys}, {callUser, callExport}, {callJob}} {
			missed, err := l.siege(ctx, n, calls)
			if err != nil {
				return err
			}
			if missed != "" {
				l.w.line("auth0: %s was not called often enough in round %d", missed, got.rounds)
				struck = false
			}
		}
		return nil
	})
	n.attack(ctx)
	if err != nil {
		return err
	}
	well := time.Now()
	err = until(ctx, linkedWithin, "everybody who signed up to be linked", func() bool { return l.unlinked(ctx) == 0 })
	if err != nil {
		return fmt.Errorf("%w: %d are not", err, l.unlinked(ctx))
	}
	got.struck(struck)
	got.unavailable = append(got.unavailable, time.Since(well))
	err = l.check(ctx, got)
	got.wrong = append(append(got.wrong, n.complaints()...), l.noticed()...)
	return errors.Join(err, l.stayed(ctx, got))
}

// noticed is what clients of the API had to complain of.
func (l *load) noticed() (wrong []string) {
	for _, a := range l.attempts.take() {
		if took := a.ended.Sub(a.began); a.status != http.StatusOK || took > answerWithin {
			wrong = append(wrong, fmt.Sprintf("%s: status %d after %s", a.method, a.status, took.Round(time.Millisecond)))
		}
	}
	return wrong
}

// stayed sees to it that nobody lost a link by what Auth0 seemed to say.
func (l *load) stayed(ctx context.Context, got *result) error {
	var gone int
	err := l.w.db.QueryRowContext(ctx, "select count(*) from history where change = 'unlinked'").Scan(&gone)
	if gone > 0 {
		got.wrong = append(got.wrong, fmt.Sprintf("%d customers were unlinked", gone))
	}
	return err
}

// siege attacks some calls, and has the program make them; it returns the one that it
// did not make, if any.
func (l *load) siege(ctx context.Context, n *nasty, calls []string) (missed string, err error) {
	before := n.strikes()
	n.attack(ctx, calls...)
	ctx, cancel := context.WithTimeout(ctx, struckWithin)
	defer cancel()
	reconciled := make(chan error, 1)
	go func() { reconciled <- l.reconciles(ctx) }()
	for _, call := range calls {
		if call == callEvents || call == callLogs {
			err = l.follow(ctx, call)
		}
	}
	_ = until(ctx, struckWithin, "the calls", func() bool {
		missed = ""
		for _, call := range calls {
			if n.strikes()[call] < before[call]+leastStrikes(call) {
				missed = call
				err = errors.Join(err, l.provoke(ctx, call), pause(ctx, provokeEach))
			}
		}
		return missed == "" || err != nil && ctx.Err() == nil
	})
	if ctx.Err() != nil {
		err = nil // that is what is missed
	}
	cancel()
	return missed, errors.Join(err, <-reconciled)
}

// leastStrikes is how often each call is struck in a round, by nastinesses that follow
// each other. Lanes take turns, so they have more.
func leastStrikes(call string) int {
	if call == callEvents || call == callLogs {
		return 5
	}
	return 3
}

// provoke does what makes the program call.
func (l *load) provoke(ctx context.Context, call string) error {
	switch call {
	case callToken:
		l.w.tenant.RevokeGrants()
	case callKeys:
		return l.unknownKey(ctx)
	case callSearch: // the third look at a customer is a search
		return l.bringForward(ctx)
	case callUser:
		return l.nameNobody(ctx)
	}
	return nil
}

// nameNobody has the worker ask for a user by id: one whom a delivery named, without
// an address, for somebody who waits.
func (l *load) nameNobody(ctx context.Context) error {
	_, err := l.w.db.ExecContext(ctx, `
		with waiting as (
		  select id
		  from customers
		  where lifecycle = 'auth_pending'
		  order by id
		  limit 1
		  for update skip locked
		)
		update customers c
		set hint_auth_user_id = 'auth0|nobody', hint_email = null, next_check_at = clock_timestamp()
		from waiting w
		where c.id = w.id`)
	return err
}

// bringForward makes all that wait due for the look that is a search. It does not
// wait for those that the worker has just now: it may have others locked that we
// want, in another order.
func (l *load) bringForward(ctx context.Context) error {
	_, err := l.w.db.ExecContext(ctx, `
		with waiting as (
		  select id
		  from customers
		  where lifecycle = 'auth_pending'
		  for update skip locked
		)
		update customers c
		set misses = 2, next_check_at = clock_timestamp(), hint_auth_user_id = null, hint_email = null
		from waiting w
		where c.id = w.id`)
	return err
}

// follow has one replica follow Auth0 by this lane, from now on.
func (l *load) follow(ctx context.Context, lane string) error {
	one := l.replicas[1]
	if err := one.terminate(); err != nil {
		return err
	}
	one.settings = append(one.settings, "CUSTOMERSYNC_FOLLOW="+lane)
	return one.start(ctx)
}

// unknownKey has somebody call the API with a token whose key is to be fetched.
func (l *load) unknownKey(ctx context.Context) error {
	c := l.newClient(0)
	defer c.http.CloseIdleConnections()
	req, err := c.request(ctx, http.MethodGet, "", "")
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.w.tenant.MintMachineToken("x", auth0sim.TokenOptions{Header: map[string]any{"kid": "unknown"}}))
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// reconciles are full ones by hand, one after the other, whatever comes of them but a
// panic.
func (l *load) reconciles(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.reconcile(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, longestReconcile)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, l.w.binary, "reconcile") //nolint:gosec // built by ourselves
	cmd.Env, cmd.Stderr = l.replicas[0].env(), &said
	if err := cmd.Run(); err != nil && strings.Contains(said.String(), "panic:") {
		return fmt.Errorf("reconcile: %w:\n%s", err, &said)
	}
	return nil
}

// come is one person's way in: some are told of, some are not, and some are never to
// be linked.
func (l *load) come(ctx context.Context, c *client, dice *rand.Rand) error {
	n := l.made.Add(1)
	email := fmt.Sprintf("person%d@example.com", n)
	a := account{email: customer.EmailKey(email), key: fmt.Sprintf("key-%d", n), firstName: "Ada"}
	kind := dice.IntN(5)
	verified := kind > 0
	a.signedUp = kind > 1
	if _, err := l.w.tenant.SignUp(auth0sim.SignUp{
		Email: email, Connection: auth0sim.Passwordless, EmailVerified: &verified, Blocked: kind == 1, DropDeliveries: kind > 3,
	}); err != nil {
		return err
	}
	got, took, err := c.insist(ctx, http.MethodPost, "", fmt.Sprintf(`{"first_name":"Ada","last_name":"L","email_address":%q}`, email), a.key)
	if err != nil {
		return err
	}
	a.id = got.ID
	l.ledger.acknowledged(a, took)
	if err := l.rename(ctx, c, &a); err != nil {
		return err
	}
	if dice.IntN(3) == 0 {
		if err := l.syncNow(ctx, c, a.id); err != nil {
			return err
		}
	}
	return pause(ctx, time.Duration(500+dice.IntN(1000))*time.Millisecond)
}

// syncNow has Auth0 asked about a customer, and be answered whatever that says.
func (l *load) syncNow(ctx context.Context, c *client, id customer.ID) error {
	asked := time.Now()
	status, _, err := c.send(ctx, http.MethodPost, "/"+string(id)+"/sync", "", "")
	if took := time.Since(asked); err == nil && (status != http.StatusOK || took > syncWithin) {
		err = fmt.Errorf("sync: status %d after %s", status, took.Round(time.Millisecond))
	}
	return err
}
