package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Standing reads what monitors ask for. Ids are made in the order of time (RFC 9562,
// version 7), so that the first id is the oldest customer.
func (s *Store) Standing(ctx context.Context) (customer.Standing, error) {
	var st customer.Standing
	err := s.inTx(ctx, "read how it stands", func(tx *sqlx.Tx) (err error) {
		if st.Oldest, err = oldest(ctx, tx); err != nil {
			return err
		}
		if st.Lanes, err = lanes(ctx, tx); err != nil {
			return err
		}
		return waiting(ctx, tx, &st)
	})
	return st, err
}

// Pending counts auth_pending customers by reason. It reads an index, but all of it: a
// fifth of a second for a million of them, more while many of them are new.
func (s *Store) Pending(ctx context.Context) (map[customer.Reason]int, error) {
	var rows []struct {
		Reason string `db:"reason"`
		Count  int    `db:"count"`
	}
	err := s.read(ctx, "count pending customers", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select reason, count(*)
			from customers
			where reason is not null
			group by reason`)
	})
	pending := map[customer.Reason]int{}
	for _, r := range rows {
		pending[customer.Reason(r.Reason)] = r.Count
	}
	return pending, err
}

// oldestOfReasons has one probe for each reason.
const oldestOfReasons = `
	select r.reason, c.created_at
	from unnest($1::text[]) as r(reason)
	cross join lateral (
	  select created_at from customers where reason = r.reason order by id limit 1) c`

func oldest(ctx context.Context, tx *sqlx.Tx) (map[customer.Reason]time.Time, error) {
	var rows []struct {
		Reason  string    `db:"reason"`
		Created time.Time `db:"created_at"`
	}
	err := tx.SelectContext(ctx, &rows, prepared+oldestOfReasons, pq.Array(customer.Reasons()))
	all := map[customer.Reason]time.Time{}
	for _, r := range rows {
		all[customer.Reason(r.Reason)] = r.Created.UTC()
	}
	return all, err
}

func waiting(ctx context.Context, tx *sqlx.Tx, st *customer.Standing) error {
	var r struct {
		Due    sql.NullTime `db:"due"`
		New    int          `db:"new"`
		Oldest sql.NullTime `db:"oldest"`
	}
	err := tx.GetContext(ctx, &r, `
		select (select min(next_check_at) from customers where next_check_at is not null) as due,
		  (select count(*) from inbox where state = 'new') as new,
		  (select received_at from inbox where state = 'new' order by id limit 1) as oldest`)
	st.Due, st.Inbox = utc(r.Due), customer.Queued{Count: r.New, Oldest: utc(r.Oldest)}
	return err
}
