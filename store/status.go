package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Status reads how the whole stands, as of one moment. It counts all customers,
// which takes about a second for some millions: it is for people, not for a probe.
func (s *Store) Status(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "read status", countCustomers, oldestPending, countDue, lastRuns, readLeases, countInbox, readLanes, countGone)
}

// Glance is Status without what has to be counted: Customers and Pending. It reads
// indexes, and of each no more than customer.Uncounted rows, whatever the number of
// customers.
func (s *Store) Glance(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "glance at status", oldestPending, countDue, lastRuns, readLeases, countInbox, readLanes, countGone)
}

// Counts is the rest of Status.
func (s *Store) Counts(ctx context.Context) (customer.Status, error) {
	return s.standing(ctx, "count customers", countCustomers, countDue)
}

func (s *Store) standing(ctx context.Context, doing string, parts ...func(context.Context, *sqlx.Tx, *customer.Status) error) (customer.Status, error) {
	var st customer.Status
	err := s.inTx(ctx, doing, func(tx *sqlx.Tx) error {
		st = customer.Status{}
		if _, err := tx.ExecContext(ctx, `set transaction isolation level repeatable read, read only`); err != nil {
			return err
		}
		for _, part := range parts {
			if err := part(ctx, tx, &st); err != nil {
				return err
			}
		}
		return nil
	})
	return st, err
}

// some ends a select that reads no more rows than are counted: customer.Uncounted.
const some = `limit 10000`

func countCustomers(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
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

func readLanes(ctx context.Context, tx *sqlx.Tx, st *customer.Status) (err error) {
	st.Lanes, err = lanes(ctx, tx)
	return err
}

func countGone(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	return tx.GetContext(ctx, &st.Gone, `
		select count(*)
		from (
		  select
		  from customers
		  where gone_at is not null and lifecycle = 'active'
		  `+some+`) gone`)
}

// oldestPending probes for each reason: ids are made in the order of time.
func oldestPending(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	var rows []row
	err := tx.SelectContext(ctx, &rows, `
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

func countDue(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	var r struct {
		Now   time.Time    `db:"now"`
		Due   int          `db:"due"`
		Since sql.NullTime `db:"since"`
	}
	err := tx.GetContext(ctx, &r, `
		select now() as now, count(*) as due, min(next_check_at) as since
		from (
		  select next_check_at
		  from customers
		  where next_check_at <= now()
		  order by next_check_at
		  `+some+`) due`)
	st.At, st.Due, st.DueSince = r.Now.UTC(), r.Due, utc(r.Since)
	return err
}

// LastRuns returns the last attempt and the last success of each kind of run.
func (s *Store) LastRuns(ctx context.Context) ([]customer.LastRuns, error) {
	var st customer.Status
	err := s.inTx(ctx, "read last runs", func(tx *sqlx.Tx) error {
		st = customer.Status{}
		return lastRuns(ctx, tx, &st)
	})
	return st.Runs, err
}

func lastRuns(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	// There are some kinds and, in a month, very many runs: from kind to kind by the index.
	const kinds = `
		with recursive kinds as (
		  (select kind from runs order by kind limit 1)
		  union all
		  select (select kind from runs where kind > k.kind order by kind limit 1)
		  from kinds k
		  where k.kind is not null
		)`
	var attempts, successes []runRow
	if err := tx.SelectContext(ctx, &attempts, kinds+`
		select r.*
		from kinds k
		cross join lateral (
		  select `+runColumns+` from runs where kind = k.kind order by id desc limit 1) r
		order by r.kind`); err != nil {
		return err
	}
	if err := tx.SelectContext(ctx, &successes, kinds+`
		select r.*
		from kinds k
		cross join lateral (
		  select `+runColumns+` from runs where kind = k.kind and result = 'ok' order by id desc limit 1) r`); err != nil {
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

func readLeases(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
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

func countInbox(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	var r struct {
		New         int          `db:"new"`
		Oldest      sql.NullTime `db:"oldest"`
		Kept        int          `db:"kept"`
		Quarantined int          `db:"quarantined"`
	}
	err := tx.GetContext(ctx, &r, `
		select
		  (select count(*) from (select from inbox where state = 'new' `+some+`) n) as new,
		  (select received_at from inbox where state = 'new' order by id limit 1) as oldest,
		  (select count(*) from (select from inbox where state = 'kept' `+some+`) k) as kept,
		  (select count(*) from (select from inbox where state = 'quarantined' `+some+`) q) as quarantined`)
	st.Inbox = customer.Backlog{New: r.New, Oldest: utc(r.Oldest), Kept: r.Kept, Quarantined: r.Quarantined}
	return err
}
