package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// launch starts the server of a folder whose lock we hold, and waits until it
// takes connections.
func (s *Server) launch(ctx context.Context, o Options, a account, folder *os.Root) error {
	data := filepath.Join(folder.Name(), "data")
	made, err := madeBy(data)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	postgres, err := choose(installed(ctx, places()), data, made)
	if err != nil {
		return err
	}
	s.bin = postgres.bin
	if err := a.makeOwned(s.sockets); err != nil {
		return err
	}
	if made == "" {
		err = initialise(ctx, postgres.bin, data, a)
	} else {
		err = settlePredecessor(ctx, folder, data)
	}
	if err != nil {
		return err
	}
	s.process, err = spawn(filepath.Join(postgres.bin, "postgres"), serverArgs(data, s.sockets, o.Durable), a, o.Logger, s.done) //nolint:contextcheck // the server outlives its start
	if err != nil {
		return err
	}
	return s.await(ctx)
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
	args := []string{"-D", data} // serves looks for these
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// initialise makes a cluster: beside, and then moved into place, so that one cut
// short is never taken for whole.
func initialise(ctx context.Context, bin, data string, a account) error {
	part := data + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	cmd := a.command(ctx, filepath.Join(bin, "initdb"),
		"--pgdata="+part, "--username="+user, "--auth=trust", "--encoding=UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(output)))
	}
	if err := os.Rename(part, data); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// pidFile is where a server says who it is: its pid, data directory, start time,
// port and socket directory, a line each.
const pidFile = "data/postmaster.pid"

// settlePredecessor deals with the pidFile that a killed process left. A server
// that is still on its way down is stopped and waited for: we hold the lock, so
// nobody uses it. Then the file is made to name us: Postgres believes any process
// with the number in it to be a running server, unless it is its own parent. The
// file is not deleted, since recovery reads the rest of it; but an empty one, that
// a power cut leaves, Postgres would refuse for ever.
func settlePredecessor(ctx context.Context, folder *os.Root, data string) error {
	number, _, err := readPidFile(folder)
	if err != nil {
		return err
	}
	if err := stopPredecessor(ctx, number, data); err != nil {
		return err
	}
	number, rest, err := readPidFile(folder)
	if err != nil {
		return err
	}
	if number+rest == "" {
		err = folder.Remove(pidFile) // nothing in it to recover by
	} else {
		err = folder.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// readPidFile returns the first line and the rest; empty if there is no file.
func readPidFile(folder *os.Root) (number, rest string, err error) {
	content, err := folder.ReadFile(pidFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", fmt.Errorf("data directory: %w", err)
	}
	number, rest, _ = strings.Cut(string(content), "\n")
	return number, rest, nil
}

func stopPredecessor(ctx context.Context, number, data string) error {
	pid, err := strconv.Atoi(number)
	for err == nil && serves(pid, data) {
		_ = syscall.Kill(pid, syscall.SIGINT) // it may have ended by now
		select {
		case <-ctx.Done():
			return fmt.Errorf("postgres process %d still uses %s: %w", pid, data, ctx.Err())
		case <-time.After(again):
		}
	}
	return nil
}
