package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

const (
	// crew is how many replicas stand by for each other.
	crew = 5
	// dearest is what their work may cost in calls of Auth0, as a multiple of what it
	// costs one that nobody disturbs.
	dearest = 1.05
	// askedAgain is how many calls each stop may cost whatever the share: what was
	// under way is asked again. It counts where there are few customers, in a test.
	askedAgain = 4
	// overdue is far longer than a lease and the pause between two tries to get it: the
	// machine may be busy.
	overdue = 2 * time.Minute
	// trueEach is how often a lease runs out by itself, which takes long. Else its end
	// is brought forward in the database, by whose clock alone it is held.
	trueEach = 10
)

// lease stops whoever of five replicas is in a run by SIGSTOP, past the end of its
// lease, and lets it go on when another one has its work. That must come to the same
// rows as if nothing had happened, and not cost more calls of Auth0.
func lease(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	l, err := newLoad(ctx, w, 1)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	l.bring, l.patience = l.arrive, time.Second
	hooks, err := newFront(ctx, l.replicas)
	if err != nil {
		return got, err
	}
	defer hooks.close()
	w.tenant.ConnectAction("http://"+hooks.address+"/webhooks/auth0", w.secret)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Delay: auth0sim.Duration(auth0Takes)}}})
	alone, err := l.price(ctx, func() error {
		return l.arrivals(ctx, dice.Uint64(), func() error { return pause(ctx, time.Duration(max(5, rounds/4))*time.Second) })
	})
	if err != nil {
		return got, err
	}
	if err := l.join(ctx, crew-1); err != nil {
		return got, err
	}
	before := l.made.Load()
	together, err := l.price(ctx, func() error {
		for got.rounds < rounds {
			if err := l.leaseRound(ctx, &got, dice); err != nil {
				return err
			}
		}
		return l.allReady(ctx)
	})
	if err != nil {
		return got, err
	}
	w.line("lease: a customer cost one replica %.3f calls of Auth0, and %d replicas %.3f", alone, crew, together)
	if brought := float64(l.made.Load() - before); together > max(alone*dearest, alone+askedAgain*float64(rounds)/brought) {
		got.wrong = append(got.wrong, fmt.Sprintf("a customer cost %.3f calls of Auth0, and one replica alone %.3f", together, alone))
	}
	return got, nil
}

// price is how many calls of the Management API each customer cost that do brought.
func (l *load) price(ctx context.Context, do func() error) (float64, error) {
	before := l.made.Load()
	l.w.tenant.ResetCalls()
	if err := do(); err != nil {
		return 0, err
	}
	calls := 0
	for endpoint, n := range l.w.tenant.Calls() {
		if strings.Contains(endpoint, " /api/v2/") {
			calls += n
		}
	}
	return float64(calls) / float64(l.made.Load()-before), ctx.Err()
}

// arrivals has people come for as long as do takes, and waits until all are linked.
func (l *load) arrivals(ctx context.Context, seed uint64, do func() error) error {
	if err := l.during(ctx, seed, do); err != nil {
		return err
	}
	return until(ctx, linkWithin, "everybody to be linked", func() bool {
		var waiting int
		err := l.w.db.QueryRowContext(ctx, "select count(*) from customers where lifecycle = 'auth_pending'").Scan(&waiting)
		return err == nil && waiting == 0
	})
}

// arrive is one person who signs up at Auth0 and becomes a customer, at a pace at
// which each is a run or nearly: what a stopped one had asked is asked again.
func (l *load) arrive(ctx context.Context, c *client, dice *rand.Rand) error {
	n := l.made.Add(1)
	email := fmt.Sprintf("person%d@example.com", n)
	a := account{email: customer.EmailKey(email), key: fmt.Sprintf("key-%d", n), firstName: "Ada"}
	if err := l.signUp(&a); err != nil {
		return err
	}
	got, took, err := c.insist(ctx, http.MethodPost, "", fmt.Sprintf(`{"first_name":"Ada","last_name":"L","email_address":%q}`, email), a.key)
	if err != nil {
		return err
	}
	a.id = got.ID
	l.ledger.acknowledged(a, took)
	return pause(ctx, time.Duration(40+dice.IntN(80))*time.Millisecond)
}

func (l *load) leaseRound(ctx context.Context, got *result, dice *rand.Rand) error {
	after, longer := time.Duration(dice.IntN(500))*time.Millisecond, time.Duration(dice.IntN(300))*time.Millisecond
	byItself := got.rounds%trueEach == 0
	err := l.arrivals(ctx, dice.Uint64(), func() error {
		if err := pause(ctx, after); err != nil {
			return err
		}
		if err := l.overtake(ctx, byItself, longer); err != nil {
			return err
		}
		return pause(ctx, time.Second)
	})
	if err != nil {
		return err
	}
	got.struck(true)
	got.unavailable = append(got.unavailable, l.ledger.round())
	if got.rounds%trueEach == 0 {
		l.w.line("lease: %d rounds, %d operations acknowledged", got.rounds, l.ledger.operations())
	}
	return l.check(ctx, got)
}

// overtake stops a replica in its run until another one has had the work for a while.
func (l *load) overtake(ctx context.Context, byItself bool, longer time.Duration) error {
	for end := time.Now().Add(giveUp); time.Now().Before(end); {
		victim, fence := l.inRun(ctx)
		if victim == nil {
			continue
		}
		if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return fmt.Errorf("%w: %w", errAlreadyDead, err)
		}
		struck, err := l.outlive(ctx, victim, fence, byItself, longer)
		err = errors.Join(err, victim.cmd.Process.Signal(syscall.SIGCONT))
		if err != nil || struck {
			return err
		}
	}
	return errors.New("nobody was met in a run")
}

// inRun is the replica that has the worker's lease, and the lease's fence; nil if
// nobody has it.
func (l *load) inRun(ctx context.Context) (*replica, int64) {
	var holder string
	var fence int64
	err := l.w.db.QueryRowContext(ctx, `
		select holder, fence
		from leases
		where name = 'worker' and expires_at > clock_timestamp()`).Scan(&holder, &fence)
	for _, r := range l.replicas {
		if err == nil && strings.HasSuffix(holder, r.holder()) {
			return r, fence
		}
	}
	return nil, 0
}

// outlive waits for the end of a stopped replica's lease and until it is another's.
// It is false if the replica was not in the middle of its run when it stopped.
func (l *load) outlive(ctx context.Context, stopped *replica, fence int64, byItself bool, longer time.Duration) (bool, error) {
	if err := pause(ctx, 20*time.Millisecond); err != nil { // what it had sent has been done
		return false, err
	}
	var running bool
	err := l.w.db.QueryRowContext(ctx, `
		select exists (
		  select from runs r
		  join leases l on l.fence = r.fence
		  where r.fence = $1 and r.ended_at is null and l.expires_at > clock_timestamp())`, fence).Scan(&running)
	if err != nil || !running {
		return false, err
	}
	if !byItself {
		if _, err := l.takeLease(ctx, stopped); err != nil {
			return false, err
		}
	}
	var open, aborted bool
	err = until(ctx, overdue, "another replica to take over", func() bool {
		err := l.w.db.QueryRowContext(ctx, `
			select coalesce(bool_or(ended_at is null), false), coalesce(bool_or(result = 'aborted'), false)
			from runs
			where fence = $1`, fence).Scan(&open, &aborted)
		return err == nil && !open
	})
	if err != nil || !aborted { // its last word was under way, and came after we had looked
		return false, err
	}
	return true, pause(ctx, longer)
}
