package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/store/pglocal"
)

// bench is what all measures share: a durable Postgres with a full table, and a
// simulated tenant. Daemons come and go.
type bench struct {
	options
	postgres *pglocal.Server
	programs string // directory of pgbench and psql
	dsn      string
	db       *sqlx.DB
	sim      *program
	simURL   string
	tenant   bool // has users
	appID    string
	token    string // of a machine with all permissions
	report   report
}

// setUp starts what is measured with. The database is made once a directory.
func setUp(ctx context.Context, o options) (b *bench, err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "customersync-bench-"); err != nil {
			return nil, err
		}
		if err := os.Chmod(o.dir, 0o711); err != nil { //nolint:gosec // Postgres' own user must get to its folder in it
			return nil, err
		}
	}
	b = &bench{options: o, report: newReport(o)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.tearDown())
		}
	}()
	b.postgres, err = pglocal.Start(ctx, pglocal.Options{Dir: filepath.Join(o.dir, "pg"), Durable: true})
	if err != nil {
		return b, err
	}
	b.dsn = b.postgres.DSN()
	if b.db, err = sqlx.Open("postgres", b.dsn+"&sslmode=disable"); err != nil {
		return b, err
	}
	if b.programs, err = b.bin(ctx); err != nil {
		return b, err
	}
	if err := b.startSim(ctx); err != nil {
		return b, err
	}
	key, err := b.verb(ctx, "keys", "create", "bench") // migrates too
	if err != nil {
		return b, err
	}
	match := regexp.MustCompile(`key: (\w+)`).FindStringSubmatch(key)
	if match == nil {
		return b, errors.New("keys create told no key")
	}
	b.appID = match[1]
	if err := b.mint(ctx); err != nil {
		return b, err
	}
	return b, fill(ctx, b.db, o.customers)
}

func (b *bench) tearDown() error {
	var errs []error
	if b.sim != nil {
		errs = append(errs, b.sim.stop())
	}
	if b.db != nil {
		errs = append(errs, b.db.Close())
	}
	if b.postgres != nil {
		errs = append(errs, b.postgres.Stop())
	}
	if !b.keep {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// bin is where this server's own programs are: a pgbench of another version
// would measure something else.
func (b *bench) bin(ctx context.Context) (string, error) {
	var major string
	if err := b.db.GetContext(ctx, &major, `select current_setting('server_version_num')::int / 10000`); err != nil {
		return "", err
	}
	for _, place := range []string{
		"/usr/lib/postgresql/" + major + "/bin", "/usr/pgsql-" + major + "/bin",
	} {
		if _, err := os.Stat(filepath.Join(place, "pgbench")); err == nil {
			return place, nil
		}
	}
	path, err := exec.LookPath("pgbench")
	return filepath.Dir(path), err
}

func (b *bench) startSim(ctx context.Context) (err error) {
	const address = "127.0.0.1:4390"
	b.simURL = "http://" + address
	b.sim, err = start(ctx, b.dir, "sim", []string{"PATH=" + os.Getenv("PATH")}, b.binary, "sim", "--sim-listen", address)
	if err != nil {
		return err
	}
	return until(ctx, "the simulator", func() bool { return b.get(ctx, b.simURL+"/.well-known/jwks.json") == nil })
}

// mint makes an access token that outlives the run.
func (b *bench) mint(ctx context.Context) error {
	var answer struct {
		Token string `json:"access_token"`
	}
	err := b.control(ctx, http.MethodPost, "token", map[string]any{
		"client_id": "bench", "lifetime": "12h",
		"permissions": []string{"read:customers", "create:customers", "update:customers", "delete:customers"},
	}, &answer)
	b.token = answer.Token
	if err == nil && b.token == "" {
		err = errors.New("the simulator minted no token")
	}
	return err
}

// control drives the simulator.
func (b *bench) control(ctx context.Context, method, what string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, b.simURL+"/_sim/"+what, bytes.NewReader(text))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	text, err = io.ReadAll(res.Body)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// get expects 200.
func (b *bench) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", res.StatusCode)
	}
	return errors.Join(err, res.Body.Close())
}

// environment of customersync.
// Of what is set twice the last counts.
func (b *bench) environment(extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir,
		"DATABASE_URL=" + b.dsn,
		"AUTH0_BASE_URL=" + b.simURL, "AUTH0_CLIENT_ID=sim-client", "AUTH0_CLIENT_SECRET=sim-secret",
		"AUTH0_AUDIENCE=https://api.customersync.test",
		"CUSTOMERSYNC_LISTEN=" + apiAddress, "CUSTOMERSYNC_OPS_LISTEN=" + opsAddress,
		"CUSTOMERSYNC_EVENT_STREAM_TOKENS=" + streamToken,
		// The worker does nothing but what a measure asks for.
		"CUSTOMERSYNC_FOLLOW=off", "CUSTOMERSYNC_PROMOTE_SCHEDULE=0 0 1 1 *", "CUSTOMERSYNC_RECONCILE_SCHEDULE=off",
	}, extra...)
}

const (
	apiAddress  = "127.0.0.1:4391"
	opsAddress  = "127.0.0.1:4392"
	apiURL      = "http://" + apiAddress
	streamToken = "bench-bench-bench-bench-bench-bench" //nolint:gosec // of a daemon on loopback that lives for minutes
)

// clone runs something on a copy of the full database.
func (b *bench) clone(ctx context.Context, run func(dsn string) error) (err error) {
	b.db.SetMaxIdleConns(0) // a database that is copied must be at rest
	defer b.db.SetMaxIdleConns(2)
	admin, err := sqlx.Open("postgres", b.postgres.Database("postgres")+"&sslmode=disable")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	for _, statement := range []string{
		`drop database if exists copy with (force)`,
		`create database copy template customersync strategy file_copy`,
	} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return run(b.postgres.Database("copy"))
}

// verb runs a verb of customersync and returns what it printed.
func (b *bench) verb(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.binary, args...) //nolint:gosec // the program to measure
	cmd.Env = b.environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("customersync %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// daemon starts customersync serve and waits until it is ready.
func (b *bench) daemon(ctx context.Context, extra ...string) (*program, error) {
	p, err := start(ctx, b.dir, "daemon", b.environment(extra...), b.binary, "serve")
	if err != nil {
		return nil, err
	}
	err = until(ctx, "the daemon", func() bool { return b.get(ctx, "http://"+opsAddress+"/readyz") == nil })
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// until waits for what must come true within a minute.
func until(ctx context.Context, what string, true_ func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !true_() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
