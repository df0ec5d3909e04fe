package main

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"net/url"

	"github.com/lib/pq"
)

// locked has somebody hold the table of customers.
func locked(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	return suffer(ctx, w, rounds, dice, illness{name: "locked", lasts: silent, inject: func(ctx context.Context) (func() error, error) {
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "lock table customers in access exclusive mode"); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
		return tx.Rollback, nil
	}})
}

// readOnly is a server that takes no writes, as one whose disk is nearly full is
// made to be by those who run it.
func readOnly(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	set := func(to string) error {
		for _, do := range []string{"alter system set default_transaction_read_only = " + to, "select pg_reload_conf()"} {
			if _, err := w.db.ExecContext(ctx, do); err != nil {
				return err
			}
		}
		return until(ctx, giveUp, "the server to know that read-only is "+to, func() bool {
			var is string
			err := w.db.QueryRowContext(ctx, "show default_transaction_read_only").Scan(&is)
			return err == nil && is == to
		})
	}
	return suffer(ctx, w, rounds, dice, illness{name: "readonly", lasts: refusing, reads: true, inject: func(ctx context.Context) (func() error, error) {
		if err := set("on"); err != nil {
			return nil, err
		}
		// The other sessions are told one after the other.
		return func() error { return set("off") }, pause(ctx, healWithin)
	}})
}

// crowded has others take every connection that Postgres has.
func crowded(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	return suffer(ctx, w, rounds, dice, illness{name: "crowded", lasts: refusing, inject: w.takeConnections})
}

const hog = "hog" // application_name of those others

func (w *world) takeConnections(ctx context.Context) (func() error, error) {
	u, err := url.Parse(w.dsn)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	q.Set("application_name", hog)
	u.RawQuery = q.Encode()
	connector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	others := sql.OpenDB(connector)
	first, err := others.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, others.Close())
	}
	var taken []*sql.Conn
	release := func() error {
		var all error
		for _, c := range append(taken, first) {
			all = errors.Join(all, c.Close())
		}
		return errors.Join(all, others.Close())
	}
	all, err := mostConnections(ctx, first)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	var lost error
	err = until(ctx, giveUp, "all connections to be taken", func() bool {
		for {
			c, err := others.Conn(ctx)
			if err != nil {
				break
			}
			taken = append(taken, c)
		}
		if len(taken)+1 == all {
			return true
		}
		lost = driveOut(ctx, first)
		return lost != nil
	})
	if err := errors.Join(err, lost); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// mostConnections is how many the server has.
func mostConnections(ctx context.Context, c *sql.Conn) (n int, err error) {
	err = c.QueryRowContext(ctx, "select setting::int from pg_settings where name = 'max_connections'").Scan(&n)
	return n, err
}

// driveOut ends everybody else's connections.
func driveOut(ctx context.Context, c *sql.Conn) error {
	_, err := c.ExecContext(ctx, `
		select pg_terminate_backend(pid)
		from pg_stat_activity
		where backend_type = 'client backend' and application_name <> $1`, hog)
	return err
}
