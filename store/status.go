package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// Status reads how the whole stands, as of one moment. It counts all customers,
// which takes about a second for some millions: it is for people, not for a probe.
func (s *Store) Status(ctx context.Context) (customer.Status, error) {
	var st customer.Status
	err := s.inTx(ctx, "read status", func(tx *sqlx.Tx) error {
		st = customer.Status{}
		if _, err := tx.ExecContext(ctx, `set transaction isolation level repeatable read, read only`); err != nil {
			return err
		}
		for _, part := range []func(context.Context, *sqlx.Tx, *customer.Status) error{
			countCustomers, oldestPending, countDue, lastRuns, readLeases, countInbox, readLanes, countGone,
		} {
			if err := part(ctx, tx, &st); err != nil {
				return err
			}
		}
		return nil
	})
	return st, err
}

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
		from customers
		where gone_at is not null and lifecycle = 'active'`)
}

func oldestPending(ctx context.Context, tx *sqlx.Tx, st *customer.Status) error {
	var rows []row
	err := tx.SelectContext(ctx, &rows, `
		select `+columns+`
		from customers
		where reason is not null
		order by created_at, id
		limit 1`)
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
		from customers
		where next_check_at <= now()`)
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
	var attempts, successes []runRow
	if err := tx.SelectContext(ctx, &attempts, `
		select distinct on (kind) `+runColumns+`
		from runs
		order by kind, id desc`); err != nil {
		return err
	}
	if err := tx.SelectContext(ctx, &successes, `
		select distinct on (kind) `+runColumns+`
		from runs
		where result = 'ok'
		order by kind, id desc`); err != nil {
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
		select count(*) filter (where state = 'new') as new, min(received_at) filter (where state = 'new') as oldest,
		  count(*) filter (where state = 'kept') as kept, count(*) filter (where state = 'quarantined') as quarantined
		from inbox
		where state <> 'done'`)
	st.Inbox = customer.Backlog{New: r.New, Oldest: utc(r.Oldest), Kept: r.Kept, Quarantined: r.Quarantined}
	return err
}
