package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"
)

// wire stands between the replicas and Postgres. While it is held, no byte comes
// through either way, and nothing tells so.
type wire struct {
	held     sync.RWMutex
	mute     sync.RWMutex // held: nothing that Postgres says comes through
	listener net.Listener
	to       string // path of Postgres' socket

	mu   sync.Mutex
	open map[net.Conn]bool // connections of the replicas
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
	line := &wire{listener: listener, open: map[net.Conn]bool{}, to: fmt.Sprintf("%s/.s.PGSQL.%s", u.Query().Get("host"), u.Port())}
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
		l.mu.Lock()
		l.open[from] = true
		l.mu.Unlock()
		go l.copy(from, to, &l.held)
		go func() {
			l.copy(to, from, &l.held, &l.mute)
			l.mu.Lock()
			delete(l.open, from)
			l.mu.Unlock()
		}()
	}
}

// copy passes on one direction, and ends both with it.
func (l *wire) copy(from, to net.Conn, gates ...*sync.RWMutex) {
	_, _ = io.Copy(gated{to, gates}, from) // however it ended
	_, _ = from.Close(), to.Close()
}

// gated lets nothing through while one of its gates is held.
type gated struct {
	to    net.Conn
	gates []*sync.RWMutex
}

// Write implements io.Writer.
func (g gated) Write(b []byte) (int, error) {
	for _, gate := range g.gates {
		gate.RLock()
		defer gate.RUnlock()
	}
	return g.to.Write(b)
}

// cut ends all connections when Postgres has done what it was asked on them, and
// before it can say so. It is false if there were none.
func (l *wire) cut(ctx context.Context) (bool, error) {
	l.mute.Lock()
	defer l.mute.Unlock()
	err := pause(ctx, answered)
	l.mu.Lock()
	defer l.mu.Unlock()
	for from := range l.open {
		_ = from.Close() // that is all it hears
	}
	return len(l.open) > 0, err
}

// answered is long enough for Postgres to do what is under way.
const answered = 50 * time.Millisecond
