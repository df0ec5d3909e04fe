package store

import (
	"context"

	"github.com/ahiko-io/customersync/customer"
)

// looking is true of a customer that was made due and not looked at since: each
// look moves next_check_at on. Who asked does not matter: a delivery that comes
// between LookNow and the look makes it due later than LookNow did.
const looking = `coalesce(next_check_at <= clock_timestamp(), false)`

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
