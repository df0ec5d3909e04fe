// Package storetest gives each test a migrated Postgres database of its own. No
// Postgres is a failure, never a skip.
//
// With CUSTOMERSYNC_TEST_PGBOUNCER=true in the environment the program under test
// gets there through a PgBouncer in transaction mode.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/pgbouncer"
	"github.com/ahiko-io/customersync/store/pglocal"
)

// server is the one of this test process; Main sets it before any test runs.
var server *pglocal.Server

// bouncer is before the server; nil: nothing is.
var bouncer *pgbouncer.Server

var databases atomic.Int64

const template = "template_customersync"

// Main starts a server, runs the tests and stops it; goroutines that are left
// then are a failure. Use:
//
//	func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
func Main(m *testing.M) int {
	if code := run(m); code != 0 {
		return code
	}
	http.DefaultClient.CloseIdleConnections()
	// A closed listener may rest between two tries to connect, and then ends; lib/pq
	// v1.12.3 does not let itself be woken.
	resting := []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/lib/pq.(*Listener).listenerConnLoop"),
		goleak.IgnoreAnyFunction("github.com/ahiko-io/customersync/store.(*Store).Listen.func2"),
	}
	if err := goleak.Find(resting...); err != nil {
		return fail(err)
	}
	return 0
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp(root(), "customersync-test-")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // the next run would clean up
	// Postgres runs as another user if we are root, and must get there.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // what lies in it is private
		return fail(err)
	}
	server, err = pglocal.Start(context.Background(), pglocal.Options{Dir: filepath.Join(dir, "pg")})
	if err != nil {
		return fail(err)
	}
	defer func() { _ = server.Stop() }() // it dies with us anyway
	if err := makeTemplate(); err != nil {
		return fail(err)
	}
	if os.Getenv("CUSTOMERSYNC_TEST_PGBOUNCER") == "true" {
		if err := startBouncer(filepath.Join(dir, "bouncer")); err != nil {
			return fail(err)
		}
		defer func() { _ = bouncer.Stop() }() // it dies with us anyway
	}
	return m.Run()
}

// startBouncer puts a PgBouncer before the server, and sets for the role the limits
// that it lets nobody set for a connection, as deploy/docs/scaling.md advises.
func startBouncer(dir string) (err error) {
	for setting, value := range map[string]string{"idle_in_transaction_session_timeout": "10s", "lock_timeout": "4s"} {
		if err := admin(context.Background(), "alter role current_user set "+setting+" = '"+value+"'"); err != nil {
			return err
		}
	}
	bouncer, err = pgbouncer.Start(context.Background(), dir, server.DSN(), connections)
	return err
}

// connections is how many each test's database has, however many the program under
// test believes to have: few enough for its clients to take turns.
const connections = 8

// PgBouncer reports whether one is before the databases: the program under test
// must be told so.
func PgBouncer() bool { return bouncer != nil }

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "storetest:", err)
	return 1
}

// root is where test databases live: in memory where there is such a place. Those
// that killed tests left there are removed.
func root() string {
	dir := "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = os.TempDir()
	}
	old, _ := filepath.Glob(filepath.Join(dir, "customersync-test-*")) // a well-formed pattern
	for _, path := range old {
		if abandoned(path) {
			_ = os.RemoveAll(path) // another test process may be quicker
		}
	}
	return dir
}

// abandoned reports whether the server of a test folder is gone: a live one holds
// its lock.
func abandoned(path string) bool {
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) < time.Minute {
		return false
	}
	lock, err := os.Open(filepath.Join(path, "pg", "lock")) //nolint:gosec // below our own folder
	if err != nil {
		return os.IsNotExist(err)
	}
	defer func() { _ = lock.Close() }()
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

func makeTemplate() error {
	ctx := context.Background()
	if err := admin(ctx, "create database "+template); err != nil {
		return err
	}
	s, err := store.Open(store.Options{DSN: server.Database(template), QueryTimeout: time.Minute})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.Migrate(ctx)
}

func admin(ctx context.Context, statement string) error {
	connector, err := pq.NewConnector(server.Database("postgres"))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// DSN gives the test an own migrated database and returns its URL for the program
// under test. It is dropped at the end of the test.
func DSN(t testing.TB) string {
	t.Helper()
	dsn := Direct(t)
	if bouncer == nil {
		return dsn
	}
	dsn, err := bouncer.Through(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Direct is DSN without a PgBouncer, for what is about having none.
func Direct(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if err := admin(t.Context(), fmt.Sprintf("create database %s template %s strategy file_copy", name, template)); err != nil {
		t.Fatalf("database for %s: %v", t.Name(), err)
	}
	t.Cleanup(func() {
		if err := admin(context.Background(), "drop database "+name+" with (force)"); err != nil && !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("drop database: %v", err)
		}
	})
	return server.Database(name)
}

// Dump is all that a database holds, as pg_dump writes it.
func Dump(t testing.TB, dsn string) string {
	t.Helper()
	var out, errs strings.Builder
	dump := exec.CommandContext(t.Context(), server.Program("pg_dump"), "--dbname", dsn) //nolint:gosec // our own server's
	dump.Stdout, dump.Stderr = &out, &errs
	if err := dump.Run(); err != nil {
		t.Fatalf("pg_dump: %v: %s", err, errs.String())
	}
	return out.String()
}

// New gives the test a Store with an own migrated database. It is closed and
// dropped at the end of the test.
func New(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: DSN(t), PgBouncer: PgBouncer(), QueryTimeout: 30 * time.Second})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
