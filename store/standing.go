package store

import (
	"context"
	"database/sql"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Standing reads what monitors ask for: no part of it reads the table of customers,
// but for one row a reason. Ids are made in the order of time (RFC 9562, version 7),
// so that the first id is the oldest customer.
func (s *Store) Standing(ctx context.Context) (customer.Standing, error) {
	var st customer.Standing
	err := s.inTx(ctx, "read how it stands", func(tx *sqlx.Tx) (err error) {
		if st.Pending, err = pending(ctx, tx); err != nil {
			return err
		}
		if st.Lanes, err = lanes(ctx, tx); err != nil {
			return err
		}
		return waiting(ctx, tx, &st)
	})
	return st, err
}

func pending(ctx context.Context, tx *sqlx.Tx) (map[customer.Reason]customer.Queued, error) {
	var rows []struct {
		Reason string       `db:"reason"`
		Count  int          `db:"count"`
		Oldest sql.NullTime `db:"oldest"`
	}
	err := tx.SelectContext(ctx, &rows, prepared+`
		select r.reason,
		  (select count(*) from customers where reason = r.reason) as count,
		  (select created_at from customers where reason = r.reason order by id limit 1) as oldest
		from unnest($1::text[]) as r(reason)`, pq.Array(customer.Reasons()))
	all := map[customer.Reason]customer.Queued{}
	for _, r := range rows {
		all[customer.Reason(r.Reason)] = customer.Queued{Count: r.Count, Oldest: utc(r.Oldest)}
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
