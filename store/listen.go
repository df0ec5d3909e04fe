package store

import (
	"context"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"go.uber.org/zap"
)

// channel is what is notified when there is something for the worker to do.
const channel = "customersync_work"

// notify wakes the workers of all replicas when the transaction commits.
func notify(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `select pg_notify('`+channel+`', '')`)
	return err
}

const (
	// listenerPing is how often a quiet LISTEN connection is tried: a dead one says
	// nothing by itself.
	listenerPing = 60 * time.Second
	// listenerRest is how long it may be quiet before it is given up and made anew:
	// a server that is frozen does not answer a ping.
	listenerRest = 2 * listenerPing
)

// Listen calls wake whenever there may be something to do, until ctx ends. It is
// a help, not the truth: what is notified while the connection is down is lost,
// so wake is called whenever a connection stands too, and workers look by
// themselves. wake may be called by two goroutines at once.
// The same connection serves all who Watch a customer. Behind PgBouncer there is
// none: wake is never called, and watchers look for themselves once a second.
func (s *Store) Listen(ctx context.Context, wake func()) {
	if s.listen == nil {
		s.pollForWatchers(ctx)
		return
	}
	listener := s.listen(ctx)
	var calls sync.WaitGroup
	calls.Go(func() { s.subscribe(ctx, listener, wake) })
	s.relay(ctx, listener, &calls, wake)
	// Calls hold the lock that Close needs while they wait for the server. They come
	// back, since the dialer has closed the connection.
	_ = listener.Close() // it is of no further use
	calls.Wait()
	go func() { // it may rest between two tries to connect, which is not worth waiting for
		for range listener.Notify { // emptied, so that it ends
		}
	}()
}

// subscribe returns once the first connection stands and listens. What happened
// before was told to nobody.
func (s *Store) subscribe(ctx context.Context, listener *pq.Listener, wake func()) {
	for _, name := range []string{watchChannel, channel} {
		if err := listener.Listen(name); err != nil && ctx.Err() == nil {
			s.log.Warn("listen; work is found by polling", zap.Error(translate(err)))
		}
	}
	s.pass(nil, wake)
}

// relay passes notifications on until ctx ends.
func (s *Store) relay(ctx context.Context, listener *pq.Listener, calls *sync.WaitGroup, wake func()) {
	ping := time.NewTicker(s.ping)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-listener.Notify: // also after each reconnect, with nil
			s.pass(n, wake)
		case <-ping.C:
			calls.Go(func() { _ = listener.Ping() }) // its failure makes the listener reconnect
		}
	}
}
