package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ahiko-io/customersync/store/pglocal"
)

// crashWithin is how long nothing may be acknowledged around a crash of Postgres:
// its recovery, and our finding out that it is back.
const crashWithin = 3 * time.Second

// crash ends Postgres by kill -9 under load and starts it again. Its settings are
// the durable ones: what was acknowledged is on the disk, or was never.
func crash(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	got := result{within: crashWithin}
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	for got.rounds < rounds {
		if err := l.crashRound(ctx, &got, dice); err != nil {
			return got, err
		}
		if got.rounds%10 == 0 {
			w.line("postgres: %d rounds, %d operations acknowledged", got.rounds, l.ledger.operations())
		}
	}
	return got, l.allReady(ctx)
}

func (l *load) crashRound(ctx context.Context, got *result, dice *rand.Rand) error {
	after := time.Duration(20+dice.IntN(200)) * time.Millisecond
	err := l.during(ctx, dice.Uint64(), func() error {
		if err := until(ctx, giveUp, "load", afterThat(after, func() bool { return l.inFlight.Load() > 0 })); err != nil {
			return err
		}
		if err := l.w.killPostgres(); err != nil {
			return err
		}
		return errors.Join(l.w.restartPostgres(ctx), l.allReady(ctx))
	})
	if err != nil {
		return err
	}
	got.struck(true)
	got.unavailable = append(got.unavailable, l.ledger.round())
	return l.check(ctx, got)
}

// allReady waits until every replica says that it is ready.
func (l *load) allReady(ctx context.Context) error {
	for _, r := range l.replicas {
		if err := until(ctx, giveUp, "a replica to be ready again", func() bool { return r.ready(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// killPostgres is kill -9 of the postmaster, and waits until it is gone. Its
// children find out by themselves, and end.
func (w *world) killPostgres() error {
	pid, err := w.postmaster()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill postgres: %w", err)
	}
	<-w.postgres.Done()
	return nil
}

// postmaster is the process that Postgres was started as. It leads a process group
// of its own.
func (w *world) postmaster() (int, error) {
	content, err := os.ReadFile(filepath.Join(w.dir, "pg", "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
	if err == nil && pid <= 1 {
		err = fmt.Errorf("postmaster.pid names process %d", pid)
	}
	return pid, err
}

// restartPostgres starts it where the last one was. Until the last children have
// ended it refuses.
func (w *world) restartPostgres(ctx context.Context) error {
	var refused error
	err := until(ctx, giveUp, "postgres to start again", func() bool {
		_ = w.postgres.Stop() // gives up its lock; the process has ended
		server, err := pglocal.Start(ctx, pglocal.Options{Dir: filepath.Join(w.dir, "pg"), Durable: true})
		if refused = err; err == nil {
			w.postgres = server
		}
		return err == nil
	})
	if err != nil {
		return errors.Join(err, refused)
	}
	return nil
}
