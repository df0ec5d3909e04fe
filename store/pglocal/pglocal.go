// Package pglocal finds the Postgres that is installed on this machine and runs
// a server of our own with it: on a Unix socket that only we can reach, for as
// long as this process lives.
package pglocal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// Options say where the server keeps its data, and how carefully.
type Options struct {
	// Dir is made if it is missing. As root it must be reachable by the user
	// postgres: Postgres refuses to run as root. One of root's that is there
	// already must be empty.
	Dir string
	// Durable is false for a database that may be lost with the machine.
	Durable bool
	Logger  *zap.Logger // nil: silent
}

// Server is a running Postgres.
type Server struct {
	sockets string
	bin     string   // the folder of its programs; "": another process of ours runs it
	process *process // nil: another process of ours runs it
	lock    *os.File // nil too, then
	done    chan struct{}
}

const (
	port     = 5432 // names the socket file; nothing listens on the network
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
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	account, folder, err := enter(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }() // what was written is closed on its own
	lock, err := account.openLock(folder)
	if err != nil {
		return nil, err
	}
	s := &Server{sockets: socketDir(folder.Name()), done: make(chan struct{})}
	joined, err := s.lockOrJoin(ctx, folder, lock)
	if err != nil || joined {
		return orNil(s, errors.Join(err, lock.Close()))
	}
	s.lock = lock
	if err := s.launch(ctx, o, account, folder); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func orNil(s *Server, err error) (*Server, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// enter makes the data directory for whoever will run the server. As root, no
// link that this account put there is followed out of it.
func enter(ctx context.Context, dir string) (account, *os.Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return account{}, nil, fmt.Errorf("data directory: %w", err)
	}
	a, err := serverAccount(dir)
	if err != nil {
		return account{}, nil, err
	}
	if err := a.makeDir(ctx, dir); err != nil {
		return account{}, nil, err
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return account{}, nil, fmt.Errorf("data directory: %w", err)
	}
	return a, folder, nil
}

// socketDir is a short path: the address of a Unix socket has room for about 100
// bytes. A deep data directory gets a folder below /tmp, named after it.
func socketDir(dir string) string {
	if path := filepath.Join(dir, "socket"); len(path) < 80 {
		return path
	}
	return filepath.Join("/tmp", fmt.Sprintf("customersync-%d-%x", os.Getuid(), shortHash(dir)))
}

// DSN is the URL of the database customersync on this server.
func (s *Server) DSN() string { return s.Database(database) }

// Database is the URL of another database on this server. It names the port, or
// PGPORT of the environment would be taken; and nothing in it means anything to
// a shell.
func (s *Server) Database(name string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: ":" + strconv.Itoa(port), Path: "/" + name}
	u.RawQuery = url.Values{"host": {s.sockets}}.Encode()
	return u.String()
}

// Program is the path of a program of this server's own version, such as pg_dump.
func (s *Server) Program(name string) string { return filepath.Join(s.bin, name) }

// Done is closed when the server that this process started has ended. For one
// that is used together it stays open.
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
