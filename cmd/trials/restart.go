package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
)

// restart stops one of two replicas by SIGTERM and starts it again, under load that
// comes through a load balancer. No request may fail: none is tried twice.
func restart(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	balancer, err := newFront(ctx, l.replicas)
	if err != nil {
		return got, err
	}
	defer balancer.close()
	l.doors = []string{balancer.address}
	w.tenant.ConnectAction("http://"+balancer.address+"/webhooks/auth0", w.secret)
	requests := 0
	for got.rounds < rounds {
		if err := l.restartRound(ctx, &got, balancer, dice); err != nil {
			return got, err
		}
		for _, a := range l.attempts.take() {
			requests++
			if a.status != http.StatusOK {
				got.wrong = append(got.wrong, fmt.Sprintf("round %d: %s was answered with status %d", got.rounds, a.method, a.status))
			}
		}
		if got.rounds%10 == 0 || got.rounds == rounds {
			w.line("restart: %d rounds, %d of %d requests failed", got.rounds, len(got.wrong), requests)
		}
	}
	return got, nil
}

func (l *load) restartRound(ctx context.Context, got *result, balancer *front, dice *rand.Rand) error {
	one := l.replicas[got.rounds%len(l.replicas)]
	err := l.during(ctx, dice.Uint64(), func() error {
		if err := one.terminate(); err != nil {
			return err
		}
		if err := one.start(ctx); err != nil {
			return err
		}
		return until(ctx, giveUp, "the balancer to see it", balancer.allReady)
	})
	if err != nil {
		return err
	}
	got.struck(true)
	got.unavailable = append(got.unavailable, l.ledger.round())
	return l.check(ctx, got)
}

// terminate is SIGTERM, and waits until the process has ended well.
func (r *replica) terminate() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%w: %w", errAlreadyDead, err)
	}
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("stop: %w:\n%s", err, r.said)
	}
	return nil
}
