package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
)

// wire stands between the replicas and Postgres. While it is held, no byte comes
// through either way, and nothing tells so.
type wire struct {
	held     sync.RWMutex
	listener net.Listener
	to       string // path of Postgres' socket
}

// blackHole swallows what is sent to Postgres, and what it answers.
func blackHole(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error) {
	line, err := w.newWire(ctx)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = line.listener.Close() }() // of no use any more
	return suffer(ctx, w, rounds, dice, illness{name: "blackhole", lasts: silent, inject: func(context.Context) (func() error, error) {
		line.held.Lock()
		return func() error { line.held.Unlock(); return nil }, nil
	}})
}

// newWire has the replicas that are started after it reach Postgres over TCP, and
// through it.
func (w *world) newWire(ctx context.Context) (*wire, error) {
	u, err := url.Parse(w.dsn)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	line := &wire{listener: listener, to: fmt.Sprintf("%s/.s.PGSQL.%s", u.Query().Get("host"), u.Port())}
	u.Host, u.RawQuery = listener.Addr().String(), "sslmode=disable"
	w.dsn = u.String()
	go line.accept(ctx)
	return line, nil
}

func (l *wire) accept(ctx context.Context) {
	for {
		from, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		to, err := (&net.Dialer{}).DialContext(ctx, "unix", l.to)
		if err != nil {
			_ = from.Close() // that says it
			continue
		}
		go l.copy(from, to)
		go l.copy(to, from)
	}
}

// copy passes on one direction, and ends both with it.
func (l *wire) copy(from, to net.Conn) {
	_, _ = io.Copy(gate{l, to}, from) // however it ended
	_, _ = from.Close(), to.Close()
}

// gate lets nothing through while the wire is held.
type gate struct {
	wire *wire
	to   net.Conn
}

// Write implements io.Writer.
func (g gate) Write(b []byte) (int, error) {
	g.wire.held.RLock()
	defer g.wire.held.RUnlock()
	return g.to.Write(b)
}
