package store

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/zap"
)

// channel is what is notified when there is something for the worker to do.
const channel = "customersync_work"

// notify wakes the workers of all replicas when the transaction commits.
func notify(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, `select pg_notify('`+channel+`', '')`)
	return err
}

// listenerPing is how often a quiet LISTEN connection is tried: a dead one says
// nothing by itself.
const listenerPing = 60 * time.Second

// Listen calls wake whenever there may be something to do, until ctx ends. It is
// a help, not the truth: what is notified while the connection is down is lost,
// so wake is called after each reconnect too, and workers look by themselves.
// Behind PgBouncer it only waits.
func (s *Store) Listen(ctx context.Context, wake func()) {
	if s.listen == nil {
		<-ctx.Done()
		return
	}
	listener := s.listen()
	defer func() { _ = listener.Close() }() // it is of no further use
	go func() {
		// Blocks until the first connection stands.
		if err := listener.Listen(channel); err != nil && ctx.Err() == nil {
			s.log.Warn("listen; work is found by polling", zap.Error(translate(err)))
		}
	}()
	ping := time.NewTicker(listenerPing)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-listener.Notify: // also after each reconnect, with nil
			wake()
		case <-ping.C:
			go func() { _ = listener.Ping() }() // its failure makes the listener reconnect
		}
	}
}
