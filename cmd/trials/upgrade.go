package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/store"
)

// before is the commit of this repository that upgrades begin at: the last one
// without the feed of events and without erasing, each of which came with a migration.
const before = "7114ff849fc727fbbc5f8fcb01ef77634f53f1f0"

// mixed is how long each pair of versions works side by side.
const mixed = time.Second

// apart is more customers than a round makes.
const apart = 1_000_000

// upgrade replaces two replicas of the version before by those of now, one after the
// other and back and forth, under load that comes through a load balancer. The first
// new one changes the schema under the old one. No request may fail.
func upgrade(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	old, err := buildBefore(ctx, filepath.Join(w.dir, "before"))
	if err != nil {
		return got, err
	}
	for got.rounds < rounds {
		name := fmt.Sprintf("upgrade%d", got.rounds)
		if _, err := w.db.ExecContext(ctx, "create database "+name); err != nil {
			return got, err
		}
		if err := w.in(name, func(w *world) error { return upgradeRound(ctx, w, &got, old, dice) }); err != nil {
			return got, err
		}
		w.line("upgrade: %d rounds, %d operations acknowledged, %d requests failed", got.rounds, got.operations, len(got.wrong))
	}
	return got, nil
}

// buildBefore makes the program as it was.
func buildBefore(ctx context.Context, dir string) (binary string, err error) {
	if err := history(ctx); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	archive := filepath.Join(dir, "before.tar")
	for _, args := range [][]string{
		{"git", "-C", "{root}", "archive", "-o", archive, before}, // a worktree would leave a trace in the repository
		{"tar", "-xf", archive, "-C", dir},
		{"go", "build", "-C", dir, "-buildvcs=false", "-o", "customersync", "./cmd/customersync"},
	} {
		if _, err := say(ctx, args...); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "customersync"), nil
}

// history is an error if the repository's history does not reach back to the version
// before, as in an unpacked archive or a shallow clone.
func history(ctx context.Context) error {
	if _, err := say(ctx, "git", "-C", "{root}", "cat-file", "-e", before+"^{commit}"); err != nil {
		return fmt.Errorf("the version before is commit %.7s of the repository, which is not here: %w", before, err)
	}
	return nil
}

// say runs a program and returns what it says; {root} is the folder of this module.
func say(ctx context.Context, args ...string) (string, error) {
	for n, arg := range args {
		if arg == "{root}" {
			root, err := say(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
			if err != nil {
				return "", err
			}
			args[n] = root
		}
	}
	output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput() //nolint:gosec // of our own
	text := string(bytes.TrimSpace(output))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args[:2], " "), err, text)
	}
	return text, nil
}

// in has do work in another database.
func (w *world) in(database string, do func(*world) error) error {
	u, err := url.Parse(w.dsn)
	if err != nil {
		return err
	}
	u.Path = "/" + database
	there := *w
	there.dsn = u.String()
	connector, err := pq.NewConnector(there.dsn)
	if err != nil {
		return err
	}
	there.db = sql.OpenDB(connector)
	defer func() { _ = there.db.Close() }() // it only read
	return do(&there)
}

func upgradeRound(ctx context.Context, w *world, got *result, old string, dice *rand.Rand) error {
	recent := w.binary
	w.binary = old
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return fmt.Errorf("the version before: %w", err)
	}
	defer l.killAll()
	l.made.Store(int64(got.rounds) * apart) // the tenant is the same: nobody signs up twice
	if err := w.newAppKey(ctx); err != nil {
		return err
	}
	balancer, err := newFront(ctx, l.replicas)
	if err != nil {
		return err
	}
	defer balancer.close()
	l.doors = []string{balancer.address}
	w.tenant.ConnectAction("http://"+balancer.address+"/webhooks/auth0", w.secret)
	from, err := w.schema(ctx)
	if err != nil {
		return err
	}
	err = l.during(ctx, dice.Uint64(), func() error {
		for _, turn := range []struct {
			of     int
			binary string
		}{{0, recent}, {1, old}, {1, recent}, {0, old}, {0, recent}} {
			if err := l.exchange(ctx, l.replicas[turn.of], turn.binary, balancer); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	to, err := w.schema(ctx)
	got.struck(to > from)
	got.unavailable = append(got.unavailable, l.ledger.round())
	return errors.Join(err, l.judge(ctx, got))
}

// exchange stops a replica and starts another version in its place.
func (l *load) exchange(ctx context.Context, r *replica, binary string, balancer *front) error {
	if err := r.terminate(); err != nil {
		return err
	}
	r.binary = binary
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := until(ctx, giveUp, "the balancer to see it", balancer.allReady); err != nil {
		return err
	}
	return pause(ctx, mixed)
}

// judge adds what failed, and what the checker finds when everybody is linked.
func (l *load) judge(ctx context.Context, got *result) error {
	got.wrong = append(got.wrong, l.failures()...)
	operations := got.operations
	err := l.allLinked(ctx)
	err = errors.Join(err, l.check(ctx, got))
	got.operations += operations
	return err
}

// schema is the version that the database's schema has.
func (w *world) schema(ctx context.Context) (version int, err error) {
	err = w.db.QueryRowContext(ctx, "select max(version_id) from goose_db_version where is_applied").Scan(&version)
	return version, err
}

// newAppKey is a key that this database knows, whatever its version.
func (w *world) newAppKey(ctx context.Context) error {
	s, err := store.Open(store.Options{DSN: w.dsn})
	if err != nil {
		return err
	}
	_, w.appKey, err = s.CreateAppKey(ctx, "trials")
	return errors.Join(err, s.Close())
}
