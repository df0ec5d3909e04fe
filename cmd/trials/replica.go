package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// replica is one serve, at the same addresses through all its lives.
type replica struct {
	w        *world
	binary   string   // that it is
	api, ops string   // host:port
	settings []string // beside those of every replica
	cmd      *exec.Cmd
	said     *bytes.Buffer // of this life; to be read when it has ended
}

// startWithin is how long a replica may take to be ready.
const startWithin = 30 * time.Second

func (w *world) newReplica(ctx context.Context) (*replica, error) {
	api, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	r := &replica{w: w, binary: w.binary, api: api, ops: ops, settings: slices.Clone(w.settings)}
	return r, r.start(ctx)
}

// freeAddress is one that nobody listens on just now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// start starts the program and waits until it is ready.
func (r *replica) start(ctx context.Context) error {
	if err := r.launch(ctx); err != nil {
		return err
	}
	err := until(ctx, startWithin, "a replica to be ready", func() bool { return r.ready(ctx) })
	if err != nil {
		_ = r.kill() // it may have ended
		return fmt.Errorf("%w:\n%s", err, r.said)
	}
	return nil
}

// launch starts the program.
func (r *replica) launch(ctx context.Context) error {
	r.said = &bytes.Buffer{}
	r.cmd = exec.CommandContext(context.WithoutCancel(ctx), r.binary, "serve") //nolint:gosec // built by ourselves; ended by kill
	r.cmd.Stderr = r.said
	r.cmd.Env = r.env()
	return r.cmd.Start()
}

// env is the replica's environment.
func (r *replica) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.w.dir, "DATABASE_URL=" + r.w.dsn,
		"AUTH0_BASE_URL=" + r.w.sim, "AUTH0_CLIENT_ID=sim-client", "AUTH0_CLIENT_SECRET=sim-secret",
		"AUTH0_AUDIENCE=https://api.customersync.test", "CUSTOMERSYNC_ACTION_SECRETS=" + r.w.secret,
		"CUSTOMERSYNC_LISTEN=" + r.api, "CUSTOMERSYNC_OPS_LISTEN=" + r.ops,
		"CUSTOMERSYNC_PROMOTE_SCHEDULE=@every 10s", "CUSTOMERSYNC_LOG_LEVEL=warn",
		"CUSTOMERSYNC_STOP_DELAY=" + (4 * askEvery).String(),
	}, r.settings...)
}

func (r *replica) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.ops+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// errAlreadyDead is that a fault could not be injected.
var errAlreadyDead = errors.New("the process had ended by itself")

// kill is kill -9, and waits until the process is gone.
func (r *replica) kill() error { return killed(r.cmd, r.said) }

func killed(cmd *exec.Cmd, said *bytes.Buffer) error {
	_ = cmd.Process.Kill() // how it ended is what counts
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("%w:\n%s", errAlreadyDead, said)
	}
	return nil
}

// until polls: there is nothing that would tell.
func until(ctx context.Context, within time.Duration, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
