package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/lib/pq"
)

const (
	// queriesARound is what two replicas send through PgBouncer in a round.
	queriesARound = 5000
	// serversShared is how many connections to Postgres all of theirs share: fewer than
	// one replica has.
	serversShared = 4
)

// bouncer is a PgBouncer in transaction mode before the world's Postgres.
type bouncer struct {
	cmd  *exec.Cmd
	said bytes.Buffer
	db   *sql.DB // its own console
}

// throughPgBouncer has two replicas work behind PgBouncer in transaction mode, which
// gives a connection to whoever comes next after each transaction. No request may
// fail, and none is tried twice.
func throughPgBouncer(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	b, err := w.startBouncer(ctx)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	w.settings = append(w.settings, "CUSTOMERSYNC_PGBOUNCER=true")
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, errors.Join(err, errors.New(b.said.String()))
	}
	defer l.killAll()
	w.tenant.ConnectAction("http://"+l.doors[0]+"/webhooks/auth0", w.secret)
	for got.rounds < rounds {
		if err := l.bouncedRound(ctx, &got, b, dice); err != nil {
			return got, err
		}
		if got.rounds%10 == 0 || got.rounds == rounds {
			w.line("pgbouncer: %d rounds of %d queries, %d requests failed", got.rounds, queriesARound, len(got.wrong))
		}
	}
	return got, nil
}

func (l *load) bouncedRound(ctx context.Context, got *result, b *bouncer, dice *rand.Rand) error {
	before, err := b.queries(ctx)
	if err != nil {
		return err
	}
	sent := int64(0)
	err = l.during(ctx, dice.Uint64(), func() error {
		return until(ctx, giveUp, "queries", func() bool {
			now, err := b.queries(ctx)
			sent = now - before
			return err == nil && sent >= queriesARound
		})
	})
	if err != nil {
		return err
	}
	got.struck(sent >= queriesARound)
	got.unavailable = append(got.unavailable, l.ledger.round())
	var failed []string
	for _, a := range l.attempts.take() {
		if a.status != http.StatusOK {
			failed = append(failed, fmt.Sprintf("round %d: %s was answered with status %d", got.rounds, a.method, a.status))
		}
	}
	earlier := append(got.wrong, failed...)
	err = l.check(ctx, got)
	got.wrong = append(earlier, got.wrong...)
	return err
}

// startBouncer starts PgBouncer and sends the world's replicas to it.
func (w *world) startBouncer(ctx context.Context) (*bouncer, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // Debian's, which is on nobody's path but root's
	}
	direct, err := url.Parse(w.dsn)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	user := direct.User.Username()
	file := filepath.Join(w.dir, "pgbouncer.ini")
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = any
admin_users = %s
pool_mode = transaction
default_pool_size = %d
ignore_startup_parameters = extra_float_digits
`, direct.Query().Get("host"), direct.Port(), user, host, port, user, serversShared)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil { //nolint:gosec // nothing in it is secret
		return nil, err
	}
	b := &bouncer{cmd: exec.CommandContext(context.WithoutCancel(ctx), program, file)} //nolint:gosec // ended by stop
	b.cmd.Stderr = &b.said
	info, err := os.Stat(filepath.Join(w.dir, "pg", "data"))
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 { // it refuses to run as root
		b.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: it comes with make pgbouncer", err)
	}
	through := url.URL{Scheme: "postgres", User: direct.User, Host: address, Path: direct.Path, RawQuery: "sslmode=disable"}
	w.dsn = through.String()
	through.Path = "/pgbouncer"
	connector, err := pq.NewConnector(through.String())
	if err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.db = sql.OpenDB(connector)
	if err := until(ctx, startWithin, "PgBouncer", func() bool { _, err := b.queries(ctx); return err == nil }); err != nil {
		return nil, errors.Join(err, b.stop(), errors.New(b.said.String()))
	}
	return b, nil
}

// queries is how many it has passed on, of all databases.
func (b *bouncer) queries(ctx context.Context) (total int64, err error) {
	rows, err := b.db.QueryContext(ctx, `show stats_totals`)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	for rows.Next() {
		var queries int64
		values := make([]any, len(columns))
		for i, name := range columns {
			values[i] = new(sql.RawBytes)
			if name == "query_count" {
				values[i] = &queries
			}
		}
		if err := rows.Scan(values...); err != nil {
			return 0, err
		}
		total += queries
	}
	return total, rows.Err()
}

func (b *bouncer) stop() error {
	if b.db != nil {
		_ = b.db.Close() // its server is ended next
	}
	if err := b.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	_ = b.cmd.Wait() // its exit code says nothing
	return nil
}
