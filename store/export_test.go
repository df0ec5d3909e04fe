package store

import (
	"context"
	"time"
)

// IdleInTransaction is the limit that the server has for the store's connections.
func IdleInTransaction(ctx context.Context, s *Store) (limit string, err error) {
	err = s.db.GetContext(ctx, &limit, `show `+idleInTransaction)
	return limit, err
}

// PingEvery makes Listen try its connection as often.
func PingEvery(s *Store, every time.Duration) { s.ping = every }

// Probe is the statement of Idle.
const Probe = probe
