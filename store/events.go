package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// eventRow is an event as the tables hold it.
type eventRow struct {
	Position  int64          `db:"position"`
	Customer  string         `db:"customer_id"`
	Version   int64          `db:"version"`
	At        time.Time      `db:"at"`
	Change    string         `db:"change"`
	Field     sql.NullString `db:"field"`
	Lifecycle string         `db:"to_lifecycle"`
}

func (r eventRow) event() customer.Event {
	return customer.Event{
		Position: r.Position, Type: customer.EventOf(r.Change), At: r.At.UTC(),
		Customer: customer.ID(r.Customer), Version: r.Version, Lifecycle: customer.Lifecycle(r.Lifecycle), Field: r.Field.String,
	}
}

// Events returns up to limit events behind a position, in their order, which is that
// of a customer's versions. What was returned before stays where it was, and whatever
// comes later comes behind: who goes on from the last position misses nothing and
// meets nothing twice. customer.ErrFeedAhead if the feed has not come that far.
func (s *Store) Events(ctx context.Context, after int64, limit int) ([]customer.Event, error) {
	events, err := s.placed(ctx, after, limit)
	if err != nil || len(events) == limit {
		return events, err
	}
	last, err := s.PlaceEvents(ctx)
	switch {
	case err != nil:
		return nil, err
	case after > last:
		return nil, fmt.Errorf("read events: %w", customer.ErrFeedAhead)
	case len(events) > 0 && events[len(events)-1].Position == last, after == last:
		return events, nil // nothing came behind
	}
	return s.placed(ctx, after, limit)
}

func (s *Store) placed(ctx context.Context, after int64, limit int) ([]customer.Event, error) {
	var rows []eventRow
	err := s.read(ctx, "read events", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select *
			from (
			  (select position, customer_id, version, at, change, field, to_lifecycle
			   from history
			   where position > $1
			   order by position
			   limit $2)
			  union all
			  (select position, customer_id, version, erased_at, 'erased', null, 'inactive'
			   from erasures
			   where position > $1
			   order by position
			   limit $2)) placed
			order by position
			limit $2`, after, limit)
	})
	events := make([]customer.Event, len(rows))
	for i, r := range rows {
		events[i] = r.event()
	}
	return events, err
}

// unplaced are the changes that have no place in the feed yet, as the index on them
// has it.
const unplaced = `position is null
			    and change in ('created', 'patched', 'linked', 'unlinked', 'rebound', 'email_filled', 'closed')`

// placedAtOnce is how many events are given their place in one transaction.
const placedAtOnce = 1000

// PlaceEvents gives committed changes their places in the feed, oldest first and some
// thousand at most, and returns the last place given so far. Of a customer's changes
// none is placed before an earlier one: who sees the later sees both.
func (s *Store) PlaceEvents(ctx context.Context) (last int64, err error) {
	var waiting bool
	err = s.read(ctx, "probe for events", func(ctx context.Context) error {
		return s.db.QueryRowContext(ctx, `
			select last, exists (
			  select from history
			  where `+unplaced+`) or exists (select from erasures where position is null)
			from event_feed`).Scan(&last, &waiting)
	})
	if err != nil || !waiting {
		return last, err
	}
	err = s.inTx(ctx, "place events", func(tx *sqlx.Tx) error {
		// By itself: only the statement after the lock sees all that others have placed.
		if err := tx.GetContext(ctx, &last, `select last from event_feed for update`); err != nil {
			return err
		}
		if err := tx.GetContext(ctx, &last, `
			with next as materialized (
			  select customer_id, version, row_number() over (order by at, customer_id, version) as place
			  from history
			  where `+unplaced+`
			  order by at, customer_id, version
			  limit $1
			), placed as (
			  update history h
			  set position = $2 + n.place
			  from next n
			  where h.customer_id = n.customer_id and h.version = n.version
			)
			update event_feed
			set last = last + (select count(*) from next)
			returning last`, placedAtOnce, last); err != nil {
			return err
		}
		return tx.GetContext(ctx, &last, `
			with next as materialized (
			  select customer_id, row_number() over (order by erased_at, customer_id) as place
			  from erasures
			  where position is null
			), placed as (
			  update erasures e
			  set position = $1 + n.place
			  from next n
			  where e.customer_id = n.customer_id
			)
			update event_feed
			set last = last + (select count(*) from next)
			returning last`, last)
	})
	return last, err
}
