package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/pglocal"
)

// world is what a trial happens in: a durable Postgres, a simulated tenant, and
// the program as it is built from here.
type world struct {
	out      io.Writer
	dir      string
	binary   string
	postgres *pglocal.Server
	dsn      string  // of the replicas
	db       *sql.DB // of the checker
	tenant   *auth0sim.Tenant
	server   *http.Server
	sim      string // base URL
	secret   string // of the Action
	appKey   string
	token    string   // a machine's, with all permissions
	settings []string // of replicas to be started, beside their own
}

func newWorld(ctx context.Context, out io.Writer, binary string) (w *world, err error) {
	w = &world{out: out, binary: binary}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "customersync-trials-"); err != nil {
		return w, err
	}
	if err := os.Chmod(w.dir, 0o711); err != nil { //nolint:gosec // Postgres' own user must get to its folder in it
		return w, err
	}
	if err := w.startTenant(ctx); err != nil {
		return w, err
	}
	return w, w.startPostgres(ctx)
}

// build makes the program, in a folder of its own.
func build(ctx context.Context, dir string, flags ...string) (binary string, err error) {
	binary = filepath.Join(dir, "customersync")
	args := append([]string{"build", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/ahiko-io/customersync/cmd/customersync")...) //nolint:gosec // paths of our own
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, output)
	}
	return binary, nil
}

func (w *world) startTenant(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.sim = "http://" + listener.Addr().String()
	w.secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("trial", 7)))
	w.tenant = auth0sim.New(auth0sim.Options{KeepStates: true})
	w.tenant.SetBaseURL(w.sim)
	w.mintToken()
	w.server = &http.Server{Handler: w.tenant, ReadHeaderTimeout: time.Minute}
	go func() { _ = w.server.Serve(listener) }() // until close
	return nil
}

func (w *world) mintToken() {
	w.token = w.tenant.MintMachineToken("trials", auth0sim.TokenOptions{
		Permissions: []string{"read:customers", "create:customers", "update:customers", "delete:customers", "erase:customers"},
		Lifetime:    24 * time.Hour,
	})
}

// startPostgres starts the server with fsync on: what is acknowledged must be on
// the disk.
func (w *world) startPostgres(ctx context.Context) (err error) {
	if w.postgres, err = pglocal.Start(ctx, pglocal.Options{Dir: filepath.Join(w.dir, "pg"), Durable: true}); err != nil {
		return err
	}
	w.dsn = w.postgres.DSN()
	connector, err := pq.NewConnector(w.dsn)
	if err != nil {
		return err
	}
	w.db = sql.OpenDB(connector)
	s, err := store.Open(store.Options{DSN: w.dsn})
	if err != nil {
		return err
	}
	if err = errors.Join(s.Migrate(ctx), s.Close()); err != nil {
		return err
	}
	return w.newAppKey(ctx)
}

func (w *world) close() error {
	var err error
	if w.server != nil {
		w.tenant.Close()
		err = w.server.Close()
	}
	if w.db != nil {
		err = errors.Join(err, w.db.Close())
	}
	if w.postgres != nil {
		err = errors.Join(err, w.postgres.Stop())
	}
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

func (w *world) line(format string, args ...any) {
	_, _ = fmt.Fprintf(w.out, format+"\n", args...) // nowhere left to report to
}
