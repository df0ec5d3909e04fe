package store

import "context"

// IdleInTransaction is the limit that the server has for the store's connections.
func IdleInTransaction(ctx context.Context, s *Store) (limit string, err error) {
	err = s.db.GetContext(ctx, &limit, `show `+idleInTransaction)
	return limit, err
}
