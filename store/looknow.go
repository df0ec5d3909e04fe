package store

import (
	"context"

	"github.com/ahiko-io/customersync/customer"
)

// looking is true of a customer while somebody waits for a look that was asked
// for. Each look moves next_check_at on.
const looking = `coalesce(look_now_at >= next_check_at, false)`

// dueAgain makes a customer due because of news of it. Whoever waits for a look
// waits on: it has not been made.
const dueAgain = `next_check_at = statement_timestamp(),
		    look_now_at = case when look_now_at >= next_check_at then statement_timestamp() else look_now_at end`

// LookNow makes a live customer due now and wakes the workers. Asked again within
// ten seconds it does nothing: those who ask share one look, and nobody can make
// one customer cost more than six look-ups a minute. An unknown or closed customer
// is left alone.
func (s *Store) LookNow(ctx context.Context, id customer.ID) error {
	return s.read(ctx, "ask for a look", func(ctx context.Context) error {
		_, err := s.db.ExecContext(ctx, `
			with asked as (
			  update customers
			  set look_now_at = now(), next_check_at = least(next_check_at, now())
			  where id = $1 and lifecycle <> 'inactive'
			    and (look_now_at is null or look_now_at <= now() - interval '10 seconds')
			  returning id)
			select pg_notify('`+channel+`', '')
			from asked`, string(id))
		return err
	})
}
