package main

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/lib/pq"
)

// promotedWithin is how soon after a promotion was asked for a write must be
// acknowledged.
const promotedWithin = 2 * time.Second

// failover kills the primary of two Postgres and promotes the other, which is
// synchronous: it has all that was acknowledged. The replicas are told both hosts.
func failover(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	got.within = promotedWithin
	primary, standby, err := w.pair(ctx)
	if err != nil {
		return got, err
	}
	defer func() {
		_ = w.db.Close() // there is nobody to hear it
		w.db = nil
		_, _ = primary.kill(), standby.kill() // one has ended
	}()
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	for got.rounds < rounds {
		if got.rounds > 0 {
			if err := standby.follow(ctx, primary); err != nil {
				return got, err
			}
		}
		if err := l.failoverRound(ctx, &got, primary, standby, dice); err != nil {
			return got, err
		}
		primary, standby = standby, primary
	}
	return got, l.allReady(ctx)
}

// pair makes two of the world's Postgres.
func (w *world) pair(ctx context.Context) (primary, standby *node, err error) {
	if err := errors.Join(w.db.Close(), w.postgres.Stop()); err != nil {
		return nil, nil, err
	}
	data := filepath.Join(w.dir, "pg", "data")
	w.postgres = nil
	if primary, err = w.newNode("a", data, data); err != nil {
		return nil, nil, err
	}
	if standby, err = w.newNode("b", filepath.Join(w.dir, "pg", "data2"), data); err != nil {
		return nil, nil, err
	}
	w.dsn = "postgres://customersync@/customersync?sslmode=disable&target_session_attrs=read-write&port=5432,5432&host=" + primary.sockets + "," + standby.sockets
	connector, err := pq.NewConnector(w.dsn)
	if err != nil {
		return nil, nil, err
	}
	w.db = sql.OpenDB(connector)
	if err := primary.start(ctx); err != nil {
		return nil, nil, err
	}
	if err := standby.follow(ctx, primary); err != nil {
		return nil, nil, errors.Join(err, primary.kill())
	}
	return primary, standby, nil
}

func (l *load) failoverRound(ctx context.Context, got *result, primary, standby *node, dice *rand.Rand) error {
	after := time.Duration(100+dice.IntN(300)) * time.Millisecond
	var promoted time.Time
	l.attempts.take()
	err := l.during(ctx, dice.Uint64(), func() error {
		if err := until(ctx, giveUp, "load", afterThat(after, func() bool { return l.inFlight.Load() > 0 })); err != nil {
			return err
		}
		if err := primary.kill(); err != nil {
			return err
		}
		promoted = time.Now()
		if standby.ask(ctx, "select pg_promote()") != "true" {
			return errors.New("the standby was not promoted")
		}
		return errors.Join(l.allReady(ctx), pause(ctx, healWithin))
	})
	if err != nil {
		return err
	}
	late := giveUp
	for _, a := range l.attempts.take() {
		if a.status == 200 && a.method != "GET" && a.began.After(promoted) {
			late = min(late, a.ended.Sub(promoted))
		}
	}
	got.struck(true)
	got.unavailable = append(got.unavailable, late)
	return l.check(ctx, got)
}
