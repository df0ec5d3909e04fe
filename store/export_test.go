package store

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// IdleInTransaction is the limit that the server has for the store's connections.
func IdleInTransaction(ctx context.Context, s *Store) (limit string, err error) {
	err = s.db.GetContext(ctx, &limit, `show `+idleInTransaction)
	return limit, err
}

// PingEvery makes Listen try its connection as often.
func PingEvery(s *Store, every time.Duration) { s.ping = every }

// Watching is how many customers are watched.
func Watching(s *Store) int {
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	return len(s.watchers.of)
}

// Tell tells those who watch a customer.
func Tell(s *Store, id customer.ID) { s.watchers.tell(id) }

// DB is the store's pool.
func DB(s *Store) *sqlx.DB { return s.db }
