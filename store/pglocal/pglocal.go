// Package pglocal finds the Postgres that is installed on this machine and runs
// a server of our own with it: on a Unix socket that only we can reach, for as
// long as this process lives.
package pglocal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
	"go.uber.org/zap"
)

// Options say where the server keeps its data, and how carefully.
type Options struct {
	// Dir is made if it is missing. As root it must be reachable by the user
	// postgres: Postgres refuses to run as root.
	Dir string
	// Durable is false for a database that may be lost with the machine.
	Durable bool
	Logger  *zap.Logger // nil: silent
}

// Server is a running Postgres.
type Server struct {
	sockets string
	process *process // nil: another process of ours runs it
	lock    *os.File
	done    chan struct{}
}

const (
	port     = 5432 // names the socket file, and is what clients assume; nothing listens on the network
	user     = "customersync"
	database = "customersync"
	// startWithin is how long a start may take, crash recovery included.
	startWithin = 60 * time.Second
	stopWithin  = 15 * time.Second
)

// Start starts the server that keeps its data in o.Dir, making it first if there
// is none. If another process of ours runs it already, it is used together, and
// Stop leaves it running. ErrNotFound if no Postgres is installed.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	account, err := serverAccount(dir)
	if err != nil {
		return nil, err
	}
	if err := account.makeDir(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // below the operator's data directory
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	s := &Server{sockets: socketDir(dir), done: make(chan struct{})}
	owner, err := s.ownOrJoin(ctx, lock)
	if err != nil || !owner {
		return s, errors.Join(err, lock.Close())
	}
	s.lock = lock
	if err := s.launch(ctx, o, account, filepath.Join(dir, "data")); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// ownOrJoin takes the lock of the data directory, or finds that another process
// of ours has it and its server answers. While neither is so, somebody is on the
// way up or down.
func (s *Server) ownOrJoin(ctx context.Context, lock *os.File) (owner bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return false, fmt.Errorf("data directory: lock: %w", err)
		}
		if err = s.prepare(ctx); err == nil {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("another process has the database, and it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// socketDir is a short path: the address of a Unix socket has room for about 100
// bytes. A deep data directory gets a folder below /tmp, named after it.
func socketDir(dir string) string {
	if path := filepath.Join(dir, "socket"); len(path) < 80 {
		return path
	}
	return filepath.Join("/tmp", fmt.Sprintf("customersync-%d-%x", os.Getuid(), shortHash(dir)))
}

func (s *Server) launch(ctx context.Context, o Options, account account, data string) error {
	bin, err := find()
	if err != nil {
		return err
	}
	if err := account.makeOwned(s.sockets); err != nil {
		return err
	}
	if err := initialise(ctx, bin, data, account); err != nil {
		return err
	}
	if err := settlePredecessor(ctx, data); err != nil {
		return err
	}
	s.process, err = spawn(filepath.Join(bin, "postgres"), serverArgs(data, s.sockets, o.Durable), account, o.Logger, s.done) //nolint:contextcheck // the server outlives its start
	return err
}

func serverArgs(data, sockets string, durable bool) []string {
	settings := []string{
		"listen_addresses=", "unix_socket_directories=" + sockets, "unix_socket_permissions=0777",
		"port=" + strconv.Itoa(port), "max_connections=100", "timezone=UTC", "log_min_messages=warning",
		"jit=off", // our statements are short
	}
	if !durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
	}
	args := []string{"-D", data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// initialise makes a cluster unless there is one. A cluster that another major
// version made is refused, and never touched.
func initialise(ctx context.Context, bin, data string, account account) error {
	made, err := major(data)
	switch {
	case err == nil:
		have, err := installedMajor(ctx, bin)
		if err == nil && have != made {
			err = fmt.Errorf("%s was made by Postgres %s, but %s holds Postgres %s: install Postgres %s, or move the data with pg_upgrade or pg_dump",
				data, made, bin, have, made)
		}
		return err
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("data directory: %w", err)
	}
	// Built beside and moved into place, so that one cut short is never taken for whole.
	part := data + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	cmd := account.command(ctx, filepath.Join(bin, "initdb"),
		"--pgdata="+part, "--username="+user, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(output)))
	}
	if err := os.Rename(part, data); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

func installedMajor(ctx context.Context, bin string) (string, error) {
	output, err := accountOfCaller().command(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("postgres --version: %w", err)
	}
	fields := strings.Fields(string(output)) // postgres (PostgreSQL) 15.18 (Debian …)
	if len(fields) < 3 {
		return "", fmt.Errorf("postgres --version: not understood: %s", output)
	}
	version, _, _ := strings.Cut(fields[2], ".")
	return version, nil
}

// settlePredecessor deals with the postmaster.pid that a killed process left. A
// server that is still on its way down is stopped and waited for: we hold the
// lock, so nobody uses it. Then the file is made to name us: Postgres believes
// any process with the number in it to be a running server, unless it is its own
// parent. The file is not deleted, since recovery reads the rest of it.
func settlePredecessor(ctx context.Context, data string) error {
	path := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(path) //nolint:gosec // our own data directory
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	number, rest, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(number)
	for err == nil && strings.Contains(commandLine(pid), data) {
		_ = syscall.Kill(pid, syscall.SIGINT) // it may have ended by now
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres process %d still uses %s: %w", pid, data, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil // it took its file along
	}
	content = []byte(strconv.Itoa(os.Getpid()) + "\n" + rest)
	if err := os.WriteFile(path, content, 0o600); err != nil { //nolint:gosec // our own data directory
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// await waits until the server that was launched takes connections.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := s.prepare(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres did not start: %w", err)
		case <-s.done:
			return fmt.Errorf("postgres ended at its start: %s", s.process.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// prepare connects, and makes the database if it is not there.
func (s *Server) prepare(ctx context.Context) error {
	connector, err := pq.NewConnector(s.Database("postgres"))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // nothing is pending on it
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	return s.makeDatabase(ctx, db)
}

func (s *Server) makeDatabase(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `create database `+database)
	var pqErr *pq.Error
	if errors.As(err, &pqErr) && (pqErr.Code == "42P04" || pqErr.Code == "23505") { // there already, or made by another just now
		return nil
	}
	return err
}

// DSN is the URL of the database customersync on this server.
func (s *Server) DSN() string { return s.Database(database) }

// Database is the URL of another database on this server.
func (s *Server) Database(name string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Path: "/" + name}
	u.RawQuery = url.Values{"host": {s.sockets}}.Encode() // nothing in it that a shell would take amiss
	return u.String()
}

// Done is closed when the server that this process started has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server, if this process started it, and waits for that.
func (s *Server) Stop() error {
	if s.lock == nil {
		return nil
	}
	var err error
	if s.process != nil {
		err = s.process.stop(stopWithin)
		_ = os.Remove(s.sockets) // empty by now, and made anew at the next start
	}
	return errors.Join(err, s.lock.Close())
}
