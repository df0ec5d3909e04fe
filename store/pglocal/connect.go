package pglocal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"
)

// again is how soon it is looked whether somebody has come up, or gone.
const again = 20 * time.Millisecond

// lockOrJoin takes the lock of the data directory, or finds that another process
// of ours has it and its server answers. While neither is so, somebody is on the
// way up or down.
func (s *Server) lockOrJoin(ctx context.Context, folder *os.Root, lock *os.File) (joined bool, err error) {
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return false, fmt.Errorf("data directory: lock: %w", err)
		}
		if err = s.join(ctx, folder); err == nil {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("another process has the database, and it does not answer: %w", err)
		case <-time.After(again):
		}
	}
}

// join connects to the server that another process runs. Another user may have
// chosen another place for its socket.
func (s *Server) join(ctx context.Context, folder *os.Root) error {
	_, rest, err := readPidFile(folder)
	if err != nil {
		return err
	}
	lines := strings.Split(rest, "\n")
	if len(lines) < 4 || lines[3] == "" {
		return errors.New("its server is not up")
	}
	s.sockets = lines[3]
	return s.prepare(ctx)
}

// await waits until the server that was launched takes connections.
func (s *Server) await(ctx context.Context) error {
	for {
		err := s.prepare(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres did not start: %w: %s", err, s.process.lastWords())
		case <-s.done:
			return fmt.Errorf("postgres ended at its start: %s", s.process.lastWords())
		case <-time.After(again):
		}
	}
}

// prepare connects, and makes the database if it is not there. Without
// connect_timeout (in seconds) lib/pq waits for a frozen server for ever,
// whatever the context says.
func (s *Server) prepare(ctx context.Context) error {
	connector, err := pq.NewConnector(s.Database("postgres") + "&connect_timeout=2")
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // nothing is pending on it
	_, err = db.ExecContext(ctx, `create database `+database)
	var pqErr *pq.Error
	if errors.As(err, &pqErr) && (pqErr.Code == "42P04" || pqErr.Code == "23505") { // there already, or made by another just now
		return nil
	}
	return err
}
