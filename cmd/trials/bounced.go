package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/store/pgbouncer"
)

const (
	// queriesARound is how many pass through PgBouncer in a round, at least.
	queriesARound = 5000
	// turns is how many connections all replicas together have to Postgres: far fewer
	// than they believe to have, so that each statement may meet another session.
	turns = 6
	// roundWithin is how long a round may take.
	roundWithin = 2 * time.Minute
)

// bounced has two replicas share a few connections by a PgBouncer in transaction
// mode. Nothing is broken: no request may fail, none is tried twice, everybody is
// linked, and the replicas have nothing to complain of.
func bounced(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	bouncer, err := pgbouncer.Start(ctx, filepath.Join(w.dir, "bouncer"), w.dsn, turns)
	if err != nil {
		return got, err
	}
	defer func() { _ = bouncer.Stop() }() // nothing is pending
	if w.dsn, err = bouncer.Through(w.dsn); err != nil {
		return got, err
	}
	w.settings = append(w.settings, "CUSTOMERSYNC_PGBOUNCER=true")
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	l.clients = crowd
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	for got.rounds < rounds {
		if err := l.bouncedRound(ctx, &got, bouncer, dice); err != nil {
			return got, err
		}
	}
	queries, err := bouncer.Queries(ctx)
	if err != nil {
		return got, err
	}
	w.line("pgbouncer: %d queries, %d operations acknowledged", queries, got.operations)
	if err := l.allLinked(ctx); err != nil {
		return got, err
	}
	if err := l.check(ctx, &got); err != nil {
		return got, err
	}
	return got, l.endWithoutComplaint()
}

// bouncedRound lasts for a number of queries.
func (l *load) bouncedRound(ctx context.Context, got *result, bouncer *pgbouncer.Server, dice *rand.Rand) error {
	before, err := bouncer.Queries(ctx)
	if err != nil {
		return err
	}
	l.attempts.take()
	shared := false
	err = l.during(ctx, dice.Uint64(), func() error {
		return until(ctx, roundWithin, "queries to pass through PgBouncer", func() bool {
			clients, servers, err := bouncer.Connections(ctx)
			shared = shared || err == nil && servers > 0 && clients > servers
			after, err := bouncer.Queries(ctx)
			return err == nil && after >= before+queriesARound
		})
	})
	if err != nil {
		return err
	}
	got.struck(shared)
	got.unavailable = append(got.unavailable, l.ledger.round())
	got.wrong = append(got.wrong, l.failures()...)
	return l.check(ctx, got)
}

// failures are the requests that were not served, since the attempts were last taken.
func (l *load) failures() (failed []string) {
	for _, a := range l.attempts.take() {
		if a.status != http.StatusOK {
			failed = append(failed, fmt.Sprintf("%s was answered with status %d", a.method, a.status))
		}
	}
	return failed
}

// endWithoutComplaint ends the replicas, who must not have logged anything that is
// an error or a warning.
func (l *load) endWithoutComplaint() error {
	for _, r := range l.replicas {
		if err := r.terminate(); err != nil {
			return err
		}
		if said := strings.TrimSpace(r.said.String()); said != "" {
			return errors.New("a replica complained:\n" + said)
		}
	}
	return nil
}
