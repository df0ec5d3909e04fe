package pgbouncer_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/store/pgbouncer"
	"github.com/ahiko-io/customersync/store/pglocal"
)

// Trials rest on its count, and on clients taking turns at a connection.
func TestClientsShareConnections(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "customersync-pgbouncer-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o711))
	postgres, err := pglocal.Start(t.Context(), pglocal.Options{Dir: filepath.Join(dir, "pg")})
	must(t, err)
	t.Cleanup(func() { _ = postgres.Stop() })
	bouncer, err := pgbouncer.Start(t.Context(), filepath.Join(dir, "bouncer"), postgres.DSN(), 1)
	must(t, err)
	before, err := bouncer.Queries(t.Context())
	must(t, err)
	through, err := bouncer.Through(postgres.DSN())
	must(t, err)
	pids := map[int]int{}
	for range 5 {
		pids[backend(t, through)]++
	}
	clients, servers, err := bouncer.Connections(t.Context())
	must(t, err)
	if len(pids) != 1 || clients < 5 || servers != 1 {
		t.Errorf("%d clients had %d connections, by its own count %d had %d", 5, len(pids), clients, servers)
	}
	if after, err := bouncer.Queries(t.Context()); err != nil || after < before+5 || after > before+7 {
		t.Errorf("it counts %d queries of 5, and two of ours, %v", after-before, err)
	}
	must(t, bouncer.Stop())
	if err := bouncer.Stop(); err == nil {
		t.Error("one that had ended was stopped")
	}
}

// backend is the process at the server that answers a client, who stays.
func backend(t *testing.T, dsn string) (pid int) {
	t.Helper()
	connector, err := pq.NewConnector(dsn)
	must(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	must(t, db.QueryRowContext(context.Background(), "select pg_backend_pid()").Scan(&pid))
	return pid
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	for dsn, why := range map[string]string{
		"postgres://u@:5432/d?host=" + t.TempDir(): "no such file",
		"postgres://u@:%zz":                        "not understood",
	} {
		if _, err := pgbouncer.Start(t.Context(), filepath.Join(t.TempDir(), "b"), dsn, 1); err == nil || !strings.Contains(fmt.Sprint(err), why) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
