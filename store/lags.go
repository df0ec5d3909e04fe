package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// Lags returns how long customers waited that were linked since, by what led to them
// and by how long it was. It is what all replicas counted, and outlives them.
func (s *Store) Lags(ctx context.Context, since time.Time) ([]customer.Lag, error) {
	var rows []struct {
		FoundBy   string  `db:"found_by"`
		Below     float64 `db:"below"`
		Customers int     `db:"customers"`
	}
	err := s.read(ctx, "read lags", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, prepared+`
			select found_by, below, sum(customers)::bigint as customers
			from lags
			where hour >= date_trunc('hour', $1::timestamptz, 'UTC')
			group by found_by, below
			order by found_by, below`, since)
	})
	lags := make([]customer.Lag, len(rows))
	for i, r := range rows {
		lags[i] = customer.Lag{FoundBy: customer.Finder(r.FoundBy), Below: r.Below, Customers: r.Customers}
	}
	return lags, err
}

// HeardAmong is how many of the newest deliveries Heard looks through.
const HeardAmong = 2000

// Heard returns when each source of deliveries was last heard of, as far as it is among
// the newest 2000 deliveries.
func (s *Store) Heard(ctx context.Context) ([]customer.Heard, error) {
	var rows []struct {
		Source string    `db:"source"`
		At     time.Time `db:"at"`
	}
	err := s.read(ctx, "ask when deliveries came", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, prepared+`
			select source, max(received_at) as at
			from (
			  select source, received_at
			  from inbox
			  order by id desc
			  limit $1) newest
			group by source
			order by source`, HeardAmong)
	})
	heard := make([]customer.Heard, len(rows))
	for i, r := range rows {
		heard[i] = customer.Heard{Source: r.Source, At: r.At.UTC()}
	}
	return heard, err
}

// Waiting returns up to limit customers that wait for a reason, in the order of their
// ids, which is that of their making, beginning behind after ("": at the start).
func (s *Store) Waiting(ctx context.Context, reason customer.Reason, after customer.ID, limit int) ([]customer.Waits, error) {
	var rows []struct {
		row
		Misses  int          `db:"misses"`
		AskedAt sql.NullTime `db:"checked_at"`
		Next    sql.NullTime `db:"next_check_at"`
	}
	err := s.read(ctx, "list who waits", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, prepared+`
			select `+columns+`, misses, checked_at, next_check_at
			from customers
			where reason = $1 and id > $2
			order by id
			limit $3`, string(reason), orFirst(after), limit)
	})
	all := make([]customer.Waits, len(rows))
	for i, r := range rows {
		all[i] = customer.Waits{Customer: r.customer(), Misses: r.Misses, AskedAt: utc(r.AskedAt), Next: utc(r.Next)}
	}
	return all, err
}

// orFirst is where a listing by id begins.
func orFirst(after customer.ID) string {
	if after == "" {
		return firstID
	}
	return string(after)
}
