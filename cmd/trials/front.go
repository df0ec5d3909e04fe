package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// front is a load balancer of the usual kind: it asks the replicas' /readyz now and
// then, and passes each request on once, in turn, to those that said yes. What goes
// wrong there its client sees.
type front struct {
	address  string
	replicas []*replica
	ready    []atomic.Bool
	turn     atomic.Uint64
	server   *http.Server
	stop     context.CancelFunc
}

// askEvery is how often a replica is asked whether it is ready.
const askEvery = 250 * time.Millisecond

func newFront(ctx context.Context, replicas []*replica) (*front, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{address: listener.Addr().String(), replicas: replicas, ready: make([]atomic.Bool, len(replicas))}
	ctx, f.stop = context.WithCancel(ctx)
	for n, r := range replicas {
		f.ready[n].Store(true) // it has just been waited for
		go f.follow(ctx, n, r)
	}
	pass := &httputil.ReverseProxy{Rewrite: f.choose, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(http.StatusBadGateway)
	}}
	f.server = &http.Server{Handler: pass, ReadHeaderTimeout: time.Minute}
	go func() { _ = f.server.Serve(listener) }() // until close
	return f, nil
}

func (f *front) choose(r *httputil.ProxyRequest) {
	r.SetURL(&url.URL{Scheme: "http", Host: f.pick()})
}

// pick is a replica that was ready when it was last asked, or the first one.
func (f *front) pick() string {
	turn := int(f.turn.Add(1) % uint64(len(f.replicas))) //nolint:gosec // small
	for n := range f.replicas {
		if at := (turn + n) % len(f.replicas); f.ready[at].Load() {
			return f.replicas[at].api
		}
	}
	return f.replicas[0].api
}

func (f *front) follow(ctx context.Context, n int, r *replica) {
	ticks := time.NewTicker(askEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			f.ready[n].Store(r.ready(ctx))
		}
	}
}

// allReady reports whether requests go to every replica.
func (f *front) allReady() bool {
	for n := range f.ready {
		if !f.ready[n].Load() {
			return false
		}
	}
	return true
}

func (f *front) close() {
	f.stop()
	_ = f.server.Close() // nobody is served any more
}
