package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"

	"github.com/ahiko-io/customersync/api"
	"github.com/ahiko-io/customersync/api/ops"
	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/pglocal"
	"github.com/ahiko-io/customersync/worker"
	"github.com/ahiko-io/customersync/worker/outgoing"
	"github.com/ahiko-io/customersync/worker/planning"
)

// addresses are where a daemon listens.
type addresses struct{ api, ops string }

type serveCmd struct{}

// Run is the daemon.
func (serveCmd) Run(ctx context.Context, p process, s *settings) error {
	c, err := s.config(p.getenv, needsAll)
	if err != nil {
		return err
	}
	log := p.logger(c.logLevel)
	defer func() { _ = log.Sync() }() // stderr may be a terminal, which cannot
	dsn, stop, err := database(ctx, c, log)
	if err != nil {
		return err
	}
	return errors.Join(p.serve(ctx, c, dsn, log), stop())
}

// database returns the URL of the database to use. Without a setting it starts
// the embedded one; stop ends that.
func database(ctx context.Context, c config, log *zap.Logger) (dsn string, stop func() error, err error) {
	if c.databaseURL != "" {
		return c.databaseURL, func() error { return nil }, nil
	}
	server, err := pglocal.Start(ctx, pglocal.Options{Dir: c.dataDir, Durable: true, Logger: log})
	if err != nil {
		return "", nil, fmt.Errorf("embedded database in %s: %w", c.dataDir, err)
	}
	log.Info("embedded database", zap.String("dir", c.dataDir))
	return server.DSN(), server.Stop, nil
}

const (
	// migrateAgain is how soon a database that could not be prepared is tried again.
	migrateAgain = time.Second
	// drainWithin is how long requests in flight may take after a signal.
	drainWithin   = 10 * time.Second
	headersWithin = 10 * time.Second
	idleFor       = 2 * time.Minute
	// answersWithin is how long a client may take to read an answer, longer than any
	// call waits. Listings set their own limit with each part that they send.
	answersWithin = 90 * time.Second
	// mostConnections at once. Those beyond wait to be accepted, until one that sends
	// no request gives its place up: after headersWithin, or idleFor if it sent one.
	mostConnections = 8192
	// ballast makes the collector wait. The daemon's own heap is some 3 MB, and the
	// collector comes whenever as much again was allocated: under load, many times a
	// second. A block that nobody touches costs no memory, but counts for that. With
	// this one a GET took 55 µs of processor instead of 68, and a third more were
	// answered, for 4 MB; a percentage (GOGC) would have a full reconcile take
	// several times its memory.
	ballast = 4 << 20 // bytes
	// settledAfter is when a daemon has done what it does but once: with its first run,
	// and its first connection to Auth0, it has touched 5 MB more of the program.
	settledAfter = 10 * time.Second
)

// serve runs the daemon over a database until ctx ends. Then /readyz fails, and
// requests are taken for as long as load balancers may need to notice. After that it
// drains: no new requests, those in flight and the run in hand come to their end or
// are rolled back, the lease is released.
func (p process) serve(ctx context.Context, c config, dsn string, log *zap.Logger) error {
	defer runtime.KeepAlive(make([]byte, ballast))
	traces, sendTraces, err := tracing(ctx, c.otlpEndpoint, log)
	if err != nil {
		return err
	}
	defer sendTraces()
	d, err := assemble(ctx, c, dsn, log, prometheus.NewRegistry(), traces)
	if err != nil {
		return err
	}
	defer func() { _ = d.store.Close() }() // everybody who used it has stopped

	// Listening comes first: an address in use must not cost anyone a half start,
	// and whoever connects early is told 503, not refused.
	apiListener, err := listen(ctx, "CUSTOMERSYNC_LISTEN", c.listen)
	if err != nil {
		return err
	}
	opsListener, err := listen(ctx, "CUSTOMERSYNC_OPS_LISTEN", c.opsListen)
	if err != nil {
		return errors.Join(err, apiListener.Close())
	}
	apiServer, opsServer := httpServer(d.api, log), httpServer(d.ops, log)
	failed := make(chan error, 2)
	go func() { failed <- apiServer.Serve(apiListener) }()
	go func() { failed <- opsServer.Serve(opsListener) }()

	working, stopWork := context.WithCancel(ctx)
	defer stopWork()
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx)) // to the very end: stopping takes its time
	defer unwatch()
	var work sync.WaitGroup
	work.Go(func() { d.work(working, log) })

	at := addresses{apiListener.Addr().String(), opsListener.Addr().String()}
	log.Info("serving", zap.String("api", at.api), zap.String("ops", at.ops), zap.String("issuer", c.issuer()))
	systemd := supervisorOf(p.getenv, log)
	systemd.tell(ctx, "READY=1")
	work.Go(func() { systemd.watch(watched, at.ops) })
	if p.ready != nil {
		p.ready(at)
	}
	var serveErr error
	select {
	case <-ctx.Done():
		systemd.tell(ctx, "STOPPING=1")
		log.Info("stopping", zap.Duration("requests_are_taken_for", c.stopDelay))
		stopWork() // another replica may go on with it
		serveErr = linger(c.stopDelay, failed)
	case serveErr = <-failed:
	}
	stopWork()
	drain(apiServer, log) //nolint:contextcheck // ctx has ended
	unwatch()
	work.Wait()
	return errors.Join(serveErr, opsServer.Close())
}

// daemon is the parts of the program, put together.
type daemon struct {
	store  *store.Store
	worker *worker.Worker
	events *outgoing.Deliverer
	plans  *planning.Planner
	api    http.Handler
	ops    http.Handler
}

// registry is where the parts of the program put their metrics.
type registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

func assemble(ctx context.Context, c config, dsn string, log *zap.Logger, registry registry, traces trace.TracerProvider) (*daemon, error) {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	s, w, err := syncer(c, dsn, registry, traces, log)
	if err != nil {
		return nil, err
	}
	registry.MustRegister(standing{s, log})
	server, err := api.New(ctx, api.Config{
		Issuer: c.issuer(), Audience: c.audience, EmailClaim: c.emailClaim, LogKey: c.logKey, Logger: log, Metrics: registry, Traces: traces,
	}, s, w, w)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	checks := []ops.Check{
		{Name: "database", Do: s.Ready},
		{Name: "signing_keys", Do: server.Ready},
		{Name: "serving", Do: func(context.Context) error { return stopping(ctx) }},
	}
	plans := planning.New(ctx, s, w, log)
	events := outgoing.New(outgoing.Config{Targets: c.eventTargets, Holder: holder(), Logger: log, Metrics: registry}, s)
	page := ops.PageConfig{Loopback: c.opsLoopback(), Logger: log, Self: w, Checks: checks, Planner: plans}
	if c.opsURL != nil {
		page.Login = &ops.Login{
			URL: c.opsURL, Issuer: c.issuer(), ClientID: c.opsClientID, ClientSecret: c.opsClientSecret, Audience: c.audience, Tokens: server,
		}
	}
	return &daemon{s, w, events, plans, server, opsHandler(ops.New(checks, registry), ops.NewPage(page, s))}, nil
}

// opsHandler is what the ops listener serves: health for tools, the page for people.
func opsHandler(health, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", health)
	mux.Handle("/ops/", page)
	return mux
}

// opsLoopback reports whether only this machine reaches the ops listener.
func (c config) opsLoopback() bool {
	host, _, err := net.SplitHostPort(c.opsListen)
	return err == nil && ops.Loopback(host)
}

var errStopping = errors.New("stopping")

// stopping is an error from when the daemon was told to stop.
func stopping(ctx context.Context) error {
	if ctx.Err() != nil {
		return errStopping
	}
	return nil
}

// syncer puts together what looks customers up: store, directory, worker.
func syncer(c config, dsn string, metrics prometheus.Registerer, traces trace.TracerProvider, log *zap.Logger) (*store.Store, *worker.Worker, error) {
	s, err := openMeasured(c, dsn, log, metrics, traces)
	if err != nil {
		return nil, nil, err
	}
	directory := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		Domain: c.domain, BaseURL: c.baseURL, ClientID: c.clientID, ClientSecret: c.clientSecret, Share: c.share, Metrics: metrics, Traces: traces,
		StreamTokens: c.streamTokens,
	})
	verifier, err := auth0sync.NewVerifier(auth0sync.Secrets{Actions: c.actionSecrets, EventStreams: c.streamTokens, LogStreams: c.logTokens}, time.Now)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	w, err := worker.New(worker.Config{
		Schedule: c.schedule, Follow: c.follow, Watches: len(c.streamTokens) > 0, Reconcile: c.reconcile, FirstBackoff: c.firstBackoff, Policy: c.policy, Unlinks: c.unlinks, Holder: holder(), Logger: log, Metrics: metrics, Traces: traces,
	}, s, directory, verifier)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, w, nil
}

func openStore(c config, dsn string, log *zap.Logger) (*store.Store, error) {
	return openMeasured(c, dsn, log, nil, nil)
}

func openMeasured(c config, dsn string, log *zap.Logger, metrics prometheus.Registerer, traces trace.TracerProvider) (*store.Store, error) {
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: c.pgBouncer, EraseKeys: c.eraseKeys, Logger: log, Metrics: metrics, Traces: traces})
	if err != nil {
		return nil, usageError{fmt.Errorf("DATABASE_URL: %w", err)}
	}
	return s, nil
}

// holder names this process in the lease row.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + ":" + strconv.Itoa(os.Getpid())
}

// work prepares the database, however long that takes, then runs the worker.
func (d *daemon) work(ctx context.Context, log *zap.Logger) {
	for {
		err := d.store.Migrate(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		log.Error("database not ready; trying again", zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(migrateAgain):
		}
	}
	warnOfLostKeys(ctx, d.store, log)
	settled := time.AfterFunc(settledAfter, func() { unmap(log) })
	defer settled.Stop()
	var delivering sync.WaitGroup
	delivering.Go(func() { d.events.Run(ctx) })
	if err := d.worker.Run(ctx); err != nil {
		log.Error("worker", zap.Error(err))
	}
	delivering.Wait()
	d.plans.Wait()
}

// unmap has a process that runs for long let go of the program that its start needed.
func unmap(log *zap.Logger) {
	if err := unmapProgram(); err != nil {
		log.Debug("the program's pages stay in memory", zap.Error(err))
	}
}

// warnOfLostKeys tells when customers were erased with a key that is not set any more:
// who they were cannot be told again, so they may come back.
func warnOfLostKeys(ctx context.Context, s *store.Store, log *zap.Logger) {
	n, err := s.StrangeEraseKeys(ctx)
	switch {
	case err != nil:
		log.Warn("erase keys not checked", zap.Error(err))
	case n > 0:
		log.Error("names were erased with a key that is missing in CUSTOMERSYNC_ERASE_KEYS: they are not known again", zap.Int("names", n))
	}
}

func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot listen: %w", setting, err)
	}
	return netutil.LimitListener(l, mostConnections), nil
}

func httpServer(h http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headersWithin,
		ReadTimeout:       30 * time.Second, // a body of 1 MiB on a slow line
		WriteTimeout:      answersWithin,
		IdleTimeout:       idleFor,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          zap.NewStdLog(log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
}

// linger waits, unless the listeners fail.
func linger(d time.Duration, failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	case <-time.After(d):
		return nil
	}
}

// drain lets requests in flight come to their end. Those that take too long, such
// as a listing to a slow client, are cut off: that is no failure of the daemon.
func drain(s *http.Server, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		log.Warn("some requests were cut off", zap.Error(errors.Join(err, s.Close())))
	}
}
