package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

// linkWithin is how long nobody may be linked when all is well again though some are
// to be: the dead worker's lease, the pause between two looks at a customer, and the
// schedule.
const linkWithin = 2 * time.Minute

// auth0Takes is how long a tenant is away: without it a worker would be at its work
// for too short a time to be met there.
const auth0Takes = 10 * time.Millisecond

// kill ends one of two replicas by kill -9 in the middle of its work: the API's, and
// every other time the worker's, while it looks people up and links them. The dead
// one's lease is taken away at once, so that the other goes on before it dies too.
func kill(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	hooks, err := newFront(ctx, l.replicas)
	if err != nil {
		return got, err
	}
	defer hooks.close()
	w.tenant.ConnectAction("http://"+hooks.address+"/webhooks/auth0", w.secret)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Delay: auth0sim.Duration(auth0Takes)}}})
	inRun := 0
	for got.rounds < rounds {
		if err := l.killRound(ctx, &got, &inRun, dice); err != nil {
			return got, err
		}
		if got.rounds%50 == 0 {
			w.line("kill: %d rounds, %d operations acknowledged", got.rounds, l.ledger.operations())
		}
	}
	linked, err := l.links(ctx)
	if err != nil {
		return got, err
	}
	w.line("kill: %d of %d kills met a worker in its run; by the last one %d links were made, %d of %d who signed up were still to be linked",
		inRun, rounds, linked, l.unlinked(ctx), l.signedUp())
	if inRun == 0 || linked == 0 {
		return got, errors.New("no worker was killed, or none linked: it shows nothing of links")
	}
	err = l.allLinked(ctx)
	return got, errors.Join(err, l.check(ctx, &got))
}

// killRound kills a replica under load, brings it back and looks at what is there.
func (l *load) killRound(ctx context.Context, got *result, inRun *int, dice *rand.Rand) error {
	victim := l.replicas[dice.IntN(len(l.replicas))]
	after := time.Duration(20+dice.IntN(200)) * time.Millisecond
	worker := got.rounds%2 == 0
	struck := false
	err := l.during(ctx, dice.Uint64(), func() error {
		if err := until(ctx, giveUp, "load", afterThat(after, func() bool { return l.inFlight.Load() > 0 })); err != nil {
			return err
		}
		if worker {
			victim = l.worker(ctx, victim)
		}
		if err := victim.kill(); err != nil {
			return err
		}
		struck = true
		held, err := l.takeLease(ctx, victim)
		if err != nil {
			return err
		}
		*inRun += held
		return victim.start(ctx)
	})
	if err != nil {
		return err
	}
	got.struck(struck)
	got.unavailable = append(got.unavailable, l.ledger.round())
	return l.check(ctx, got)
}

// worker is the replica that is in a run just now, as soon as one is; after a second
// in which none was, it is the other one.
func (l *load) worker(ctx context.Context, other *replica) *replica {
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		var holder string
		err := l.w.db.QueryRowContext(ctx, `
			select holder
			from leases
			where name = 'worker' and expires_at > clock_timestamp()`).Scan(&holder)
		for _, r := range l.replicas {
			if err == nil && strings.HasSuffix(holder, r.holder()) {
				return r
			}
		}
	}
	return other
}

// takeLease ends the lease of a replica that is dead: 1 if it had it.
func (l *load) takeLease(ctx context.Context, dead *replica) (int, error) {
	done, err := l.w.db.ExecContext(ctx, `
		update leases
		set expires_at = '-infinity'
		where name = 'worker' and holder like '%' || $1 and expires_at > clock_timestamp()`, dead.holder())
	if err != nil {
		return 0, err
	}
	n, err := done.RowsAffected()
	return int(n), err
}

// holder is how a replica's name in the lease ends.
func (r *replica) holder() string { return ":" + strconv.Itoa(r.cmd.Process.Pid) }

// afterThat is done, but not before some time has passed.
func afterThat(pause time.Duration, done func() bool) func() bool {
	from := time.Now().Add(pause)
	return func() bool { return time.Now().After(from) && done() }
}

func (l *load) killAll() {
	for _, r := range l.replicas {
		_ = r.kill() // it may have ended
	}
}
