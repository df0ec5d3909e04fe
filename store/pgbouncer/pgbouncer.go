// Package pgbouncer runs the PgBouncer that is installed on this machine, in
// transaction mode, before a Postgres on a Unix socket: for tests and trials.
package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Server is a running PgBouncer.
type Server struct {
	dir  string // of its configuration and its socket
	port string // names the socket file
	cmd  *exec.Cmd
	said *words
	done chan struct{}
}

// startWithin is how long a start may take.
const startWithin = 20 * time.Second

// settings are those of a PgBouncer that is there to save connections. Whoever gets
// to the socket may connect, as to the Postgres behind it. What it says goes to its
// standard error.
const settings = `[databases]
* = host=%[1]s port=%[2]s user=%[3]s

[pgbouncer]
pool_mode = transaction
default_pool_size = %[4]d
max_client_conn = 1000
auth_type = any
listen_port = %[2]s
unix_socket_dir = %[5]s
unix_socket_mode = 0777
`

// Start starts PgBouncer before the server of a database URL, with its files in
// dir, which must not be there yet. Each database has pool connections to Postgres,
// however many clients it has. As root it runs as whoever runs Postgres.
func Start(ctx context.Context, dir, dsn string, pool int) (*Server, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("pgbouncer: the database URL is not understood")
	}
	s := &Server{dir: dir, port: u.Port(), said: &words{}, done: make(chan struct{})}
	sockets := u.Query().Get("host")
	owner, err := ownerOf(filepath.Join(sockets, ".s.PGSQL."+u.Port()))
	if err != nil {
		return nil, fmt.Errorf("pgbouncer: %w", err)
	}
	ini := fmt.Sprintf(settings, sockets, u.Port(), u.User.Username(), pool, dir)
	if err := s.write(ini, owner); err != nil {
		return nil, fmt.Errorf("pgbouncer: %w", err)
	}
	if err := s.spawn(owner); err != nil { //nolint:contextcheck // it lives until Stop, whatever becomes of ctx
		return nil, fmt.Errorf("pgbouncer: %w", err)
	}
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// ownerOf is whom a program must run as to be who owns a file; nil: as we do.
func ownerOf(path string) (*syscall.Credential, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, nil
	}
	return nil, nil
}

func (s *Server) write(ini string, owner *syscall.Credential) error {
	if err := os.Mkdir(s.dir, 0o755); err != nil { //nolint:gosec // as private as the folder it is in
		return err
	}
	if err := os.WriteFile(s.ini(), []byte(ini), 0o644); err != nil { //nolint:gosec // no secret in it, and the owner must read it
		return err
	}
	if owner == nil {
		return nil
	}
	return os.Chown(s.dir, int(owner.Uid), int(owner.Gid))
}

func (s *Server) ini() string { return filepath.Join(s.dir, "pgbouncer.ini") }

// program is PgBouncer's path: Debian keeps it where only root's PATH leads.
func program() (string, error) {
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		return "", errors.New("it is not installed: make pgbouncer-server installs it on Debian, or prints the line that does")
	}
	return path, nil
}

// await waits until the one behind it answers through it.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		_, err := s.Queries(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("pgbouncer ended at its start: %s", s.Said())
		case <-ctx.Done():
			return fmt.Errorf("pgbouncer did not start: %w: %s", err, s.Said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Through is the URL of the same database by way of PgBouncer.
func (s *Server) Through(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("pgbouncer: the database URL is not understood")
	}
	query := u.Query()
	query.Set("host", s.dir)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Said is what PgBouncer has told so far.
func (s *Server) Said() string { return s.said.String() }

// Stop ends it and all connections through it. There is nothing that it could lose.
func (s *Server) Stop() error {
	err := s.cmd.Process.Kill()
	<-s.done
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("pgbouncer had ended by itself: %s", s.Said())
	}
	return err
}
