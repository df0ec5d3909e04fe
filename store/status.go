package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Status reads how the whole stands, as of one moment. It counts all customers,
// which takes about a second for some millions: it is for people, not for a probe.
func (s *Store) Status(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "read status", 0, countCustomers, oldestPending, countDue, lastRuns, readLeases, countInbox, readLanes, countGone)
}

// Glance is Status without what has to be counted, Customers and Pending. Of all else
// no more than customer.Uncounted are counted: it reads indexes, whatever the number of
// customers.
func (s *Store) Glance(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "glance at status", customer.Uncounted, oldestPending, countDue, lastRuns, readLeases, countInbox, readLanes, countGone)
}

// Counts is the rest of Status.
func (s *Store) Counts(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "count customers", customer.Uncounted, countCustomers, countDue)
}

// part reads one part of a status; most is how many rows it counts, null: all.
type part func(ctx context.Context, tx *sqlx.Tx, most sql.NullInt64, st *customer.Status) error

func (s *Store) standing(ctx context.Context, doing string, most int64, parts ...part) (customer.Status, error) {
	var st customer.Status
	err := s.inTx(ctx, doing, func(tx *sqlx.Tx) error {
		st = customer.Status{}
		if _, err := tx.ExecContext(ctx, `set transaction isolation level repeatable read, read only`); err != nil {
			return err
		}
		for _, part := range parts {
			if err := part(ctx, tx, nullInt(most), &st); err != nil {
				return err
			}
		}
		return nil
	})
	return st, err
}

func countCustomers(ctx context.Context, tx *sqlx.Tx, _ sql.NullInt64, st *customer.Status) error {
	var rows []struct {
		Lifecycle string `db:"lifecycle"`
		Reason    string `db:"reason"`
		Count     int    `db:"count"`
	}
	err := tx.SelectContext(ctx, &rows, `
		select lifecycle, coalesce(reason, '') as reason, count(*) as count
		from customers
		group by lifecycle, reason`)
	st.Customers, st.Pending = map[customer.Lifecycle]int{}, map[customer.Reason]int{}
	for _, r := range rows {
		st.Customers[customer.Lifecycle(r.Lifecycle)] += r.Count
		if r.Reason != "" {
			st.Pending[customer.Reason(r.Reason)] += r.Count
		}
	}
	return err
}

func readLanes(ctx context.Context, tx *sqlx.Tx, _ sql.NullInt64, st *customer.Status) (err error) {
	st.Lanes, err = lanes(ctx, tx)
	return err
}

func countGone(ctx context.Context, tx *sqlx.Tx, most sql.NullInt64, st *customer.Status) error {
	return tx.GetContext(ctx, &st.Gone, prepared+`
		select count(*)
		from (
		  select
		  from customers
		  where gone_at is not null and lifecycle = 'active'
		  order by gone_at
		  limit $1) gone`, most)
}

// oldestPending probes for each reason: ids are made in the order of time.
func oldestPending(ctx context.Context, tx *sqlx.Tx, _ sql.NullInt64, st *customer.Status) error {
	var rows []row
	err := tx.SelectContext(ctx, &rows, prepared+`
		select `+qualified("c", columns)+`
		from unnest($1::text[]) as r(reason)
		cross join lateral (
		  select * from customers where reason = r.reason order by id limit 1) c
		order by c.created_at, c.id
		limit 1`, pq.Array(customer.Reasons()))
	if err == nil && len(rows) == 1 {
		st.Oldest = rows[0].customer()
	}
	return err
}

func countDue(ctx context.Context, tx *sqlx.Tx, most sql.NullInt64, st *customer.Status) error {
	var r struct {
		Now   time.Time    `db:"now"`
		Due   int          `db:"due"`
		Since sql.NullTime `db:"since"`
	}
	err := tx.GetContext(ctx, &r, prepared+`
		select now() as now, count(*) as due, min(next_check_at) as since
		from (
		  select next_check_at
		  from customers
		  where next_check_at <= now()
		  order by next_check_at
		  limit $1) due`, most)
	st.At, st.Due, st.DueSince = r.Now.UTC(), r.Due, utc(r.Since)
	return err
}

// LastRuns returns the last attempt and the last success of each kind of run.
func (s *Store) LastRuns(ctx context.Context) ([]customer.LastRuns, error) {
	var st customer.Status
	err := s.inTx(ctx, "read last runs", func(tx *sqlx.Tx) error {
		st = customer.Status{}
		return lastRuns(ctx, tx, sql.NullInt64{}, &st)
	})
	return st.Runs, err
}

// lastOfKinds goes from kind to kind by an index, whose order has the last run of each
// before the others: there are some kinds and, in a month, very many runs.
const lastOfKinds = `
	with recursive last as (
	  (select kind, id from runs where %[1]s order by kind desc, id desc limit 1)
	  union all
	  select r.kind, r.id
	  from last l
	  cross join lateral (
	    select kind, id from runs where kind < l.kind and %[1]s order by kind desc, id desc limit 1) r
	)
	select ` + runColumns + `
	from runs
	where id in (select id from last)
	order by kind`

func lastRuns(ctx context.Context, tx *sqlx.Tx, _ sql.NullInt64, st *customer.Status) error {
	var attempts, successes []runRow
	if err := tx.SelectContext(ctx, &attempts, fmt.Sprintf(lastOfKinds, "true")); err != nil {
		return err
	}
	if err := tx.SelectContext(ctx, &successes, fmt.Sprintf(lastOfKinds, "result = 'ok'")); err != nil {
		return err
	}
	good := map[string]customer.Run{}
	for _, r := range successes {
		good[r.Kind] = r.run()
	}
	for _, r := range attempts {
		st.Runs = append(st.Runs, customer.LastRuns{Kind: r.Kind, Attempt: r.run(), Success: good[r.Kind]})
	}
	return nil
}

func readLeases(ctx context.Context, tx *sqlx.Tx, _ sql.NullInt64, st *customer.Status) error {
	var rows []struct {
		Name   string       `db:"name"`
		Holder string       `db:"holder"`
		Until  sql.NullTime `db:"until"`
	}
	err := tx.SelectContext(ctx, &rows, `
		select name, holder, case when expires_at > now() then expires_at end as until
		from leases
		order by name`)
	for _, r := range rows {
		st.Leases = append(st.Leases, customer.Lease{Name: customer.LeaseName(r.Name), Holder: r.Holder, Until: utc(r.Until)})
	}
	return err
}

func countInbox(ctx context.Context, tx *sqlx.Tx, most sql.NullInt64, st *customer.Status) error {
	var r struct {
		New         int          `db:"new"`
		Oldest      sql.NullTime `db:"oldest"`
		Kept        int          `db:"kept"`
		Quarantined int          `db:"quarantined"`
	}
	err := tx.GetContext(ctx, &r, prepared+`
		select
		  (select count(*) from (select from inbox where state = 'new' order by id limit $1) n) as new,
		  (select received_at from inbox where state = 'new' order by id limit 1) as oldest,
		  (select count(*) from (select from inbox where state = 'kept' order by hint_auth_user_id limit $1) k) as kept,
		  (select count(*) from (select from inbox where state = 'quarantined' order by id limit $1) q) as quarantined`, most)
	st.Inbox = customer.Backlog{New: r.New, Oldest: utc(r.Oldest), Kept: r.Kept, Quarantined: r.Quarantined}
	return err
}
