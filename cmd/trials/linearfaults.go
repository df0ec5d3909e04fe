package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"
)

// killOne is kill -9 of a replica, which is then started again.
func (l *load) killOne(ctx context.Context, dice *rand.Rand) error {
	victim := l.replicas[dice.IntN(len(l.replicas))]
	if err := victim.kill(); err != nil {
		return err
	}
	return victim.start(ctx)
}

// stopFor stops Postgres by SIGSTOP for a while.
func (w *world) stopFor(ctx context.Context, d time.Duration) error {
	pids, err := w.freeze()
	if err == nil {
		err = pause(ctx, d)
	}
	return errors.Join(err, signalAll(pids, syscall.SIGCONT))
}
