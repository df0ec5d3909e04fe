package pgbouncer

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/lib/pq"
)

// spawn starts the process so that it dies with us, even by kill -9: Linux ties that
// to the thread that forked, which is kept for as long.
func (s *Server) spawn(owner *syscall.Credential) error {
	path, err := program()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(context.Background(), path, s.ini()) //nolint:gosec // ended by Stop
	s.cmd.Dir, s.cmd.Env = "/", []string{"LC_ALL=C.UTF-8"}
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	dieWithParent(s.cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.done)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is told by what it said
		}
	}()
	return <-started
}

// words is what a process says.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// Queries is how many there were since the start, by PgBouncer's own count, in which
// our questions are too.
func (s *Server) Queries(ctx context.Context) (int, error) {
	totals, err := s.show(ctx, "totals")
	return totals["total_query_count"], err
}

// Connections is how many there are just now of clients, and to Postgres.
func (s *Server) Connections(ctx context.Context) (clients, servers int, err error) {
	lists, err := s.show(ctx, "lists")
	return lists["used_clients"], lists["used_servers"], err
}

// show asks PgBouncer's console for a list of names and numbers. It speaks the
// simple protocol alone, which lib/pq uses for a query without arguments.
func (s *Server) show(ctx context.Context, what string) (map[string]int, error) {
	connector, err := pq.NewConnector("host=" + s.dir + " port=" + s.port + " user=pgbouncer dbname=pgbouncer sslmode=disable")
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // it only asked
	rows, err := db.QueryContext(ctx, "show "+what)
	if err != nil {
		return nil, fmt.Errorf("pgbouncer: show %s: %w", what, err)
	}
	defer func() { _ = rows.Close() }() // read to its end
	found := map[string]int{}
	for rows.Next() {
		var name string
		var number int
		if err := rows.Scan(&name, &number); err != nil {
			return nil, fmt.Errorf("pgbouncer: show %s: %w", what, err)
		}
		found[name] = number
	}
	return found, rows.Err()
}
