package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/lib/pq"
)

// node is one of two Postgres that stand in for each other.
type node struct {
	w       *world
	data    string
	sockets string
	owner   *syscall.Credential // nil: we are not root
	cmd     *exec.Cmd
	said    *bytes.Buffer
}

// newNode is a node that keeps its data in a folder, as whoever owns that of like.
func (w *world) newNode(name, data, like string) (*node, error) {
	n := &node{w: w, data: data, sockets: filepath.Join(w.dir, name)}
	info, err := os.Stat(like)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(n.sockets, 0o755); err != nil { //nolint:gosec // ours and the owner's
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() == 0 {
		n.owner = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
		return n, os.Chown(n.sockets, int(owner.Uid), int(owner.Gid))
	}
	return n, nil
}

// program is one of Postgres' own, run as the owner.
func (n *node) program(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(path), name), args...) //nolint:gosec // beside initdb
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: n.owner}
	return cmd, nil
}

// start starts the server and waits until it answers.
func (n *node) start(ctx context.Context) (err error) {
	n.cmd, err = n.program(context.WithoutCancel(ctx), "postgres", "-D", n.data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+n.sockets)
	if err != nil {
		return err
	}
	n.said = &bytes.Buffer{}
	n.cmd.Stderr = n.said
	if err := n.cmd.Start(); err != nil {
		return err
	}
	err = until(ctx, startWithin, "a node to answer", func() bool { return n.ask(ctx, "select 1") == "1" })
	if err != nil {
		return fmt.Errorf("%w:\n%s", errors.Join(err, n.kill()), n.said)
	}
	return nil
}

// kill is kill -9 of all its processes, as when the machine is gone. A child alone
// would wait for ever for a lock that another one died with.
func (n *node) kill() error {
	if n.cmd.ProcessState != nil {
		return errAlreadyDead // and its number may be another's by now
	}
	children, err := childrenOf(n.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("%w: %w", errAlreadyDead, err)
	}
	return errors.Join(killed(n.cmd, n.said), signalAll(children, syscall.SIGKILL))
}

// ask is the one value that a query gives, "" if it gave none.
func (n *node) ask(ctx context.Context, query string) (value string) {
	connector, err := pq.NewConnector("host=" + n.sockets + " port=5432 user=customersync dbname=customersync sslmode=disable")
	if err != nil {
		return ""
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }() // it only asked
	if err := db.QueryRowContext(ctx, query).Scan(&value); err != nil {
		return ""
	}
	return value
}

// follow makes n a copy of a primary, which from then on acknowledges nothing that
// n has not on its disk.
func (n *node) follow(ctx context.Context, primary *node) error {
	if err := os.RemoveAll(n.data); err != nil {
		return err
	}
	cmd, err := n.program(ctx, "pg_basebackup", "-h", primary.sockets, "-p", "5432", "-U", "customersync", "-D", n.data, "-R", "-X", "stream", "-c", "fast")
	if err != nil {
		return err
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the primary: %w: %s", err, output)
	}
	if err := n.start(ctx); err != nil {
		return err
	}
	primary.ask(ctx, "alter system set synchronous_standby_names = '*'")
	primary.ask(ctx, "select pg_reload_conf()")
	return until(ctx, startWithin, "the copy to be synchronous", func() bool {
		return primary.ask(ctx, "select sync_state from pg_stat_replication") == "sync"
	})
}
