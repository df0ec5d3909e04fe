package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// linkWithin is how long a link may take when all is well again: the dead worker's
// lease, the pause between two looks at a customer, and the schedule.
const linkWithin = 2 * time.Minute

// kill ends one of two replicas by kill -9 in the middle of its work.
func kill(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	l := &load{w: w, ledger: newLedger()}
	defer l.killAll()
	for range 2 {
		r, err := w.newReplica(ctx)
		if err != nil {
			return result{}, err
		}
		l.replicas = append(l.replicas, r)
	}
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	var got result
	for got.rounds < rounds {
		if err := l.killRound(ctx, &got, dice); err != nil {
			return got, err
		}
		if got.rounds%50 == 0 {
			w.line("kill: %d rounds, %d operations acknowledged", got.rounds, l.ledger.operations())
		}
	}
	w.line("kill: after the last round %d of %d who signed up were still to be linked", l.unlinked(ctx), l.signedUp())
	err := until(ctx, linkWithin, "everybody who signed up to be linked", func() bool { return l.unlinked(ctx) == 0 })
	return got, errors.Join(err, l.check(ctx, &got))
}

// killRound kills a replica under load, brings it back and looks at what is there.
func (l *load) killRound(ctx context.Context, got *result, dice *rand.Rand) error {
	victim := l.replicas[dice.IntN(len(l.replicas))]
	after := time.Duration(20+dice.IntN(200)) * time.Millisecond
	struck := false
	err := l.during(ctx, dice.Uint64(), func() error {
		if err := until(ctx, giveUp, "load", afterThat(after, func() bool { return l.inFlight.Load() > 0 })); err != nil {
			return err
		}
		if err := victim.kill(); err != nil {
			return err
		}
		struck = true
		return victim.start(ctx)
	})
	if err != nil {
		return err
	}
	got.rounds++
	if struck {
		got.injected++
	}
	got.unavailable = append(got.unavailable, l.ledger.round())
	return l.check(ctx, got)
}

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

// check has the checker look at everything.
func (l *load) check(ctx context.Context, got *result) error {
	found, err := check(ctx, l.w.db, l.w.tenant.Users(), l.ledger.all())
	got.lost, got.wrong = found.lost, found.wrong
	got.operations = l.ledger.operations()
	if err == nil && len(found.lost)+len(found.wrong) > 0 {
		err = errors.New("stopped at the first fault")
	}
	return err
}
