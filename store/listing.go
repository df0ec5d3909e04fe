package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// firstID is before all ids of customers.
const firstID = "00000000-0000-0000-0000-000000000000"

// ClearListing forgets the users of an earlier full listing.
func (s *Store) ClearListing(ctx context.Context, fence int64) error {
	return s.inTx(ctx, "clear listing", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `truncate listed_users`)
		return err
	})
}

// List adds users to the full listing. What is given at once is written at once:
// some thousands are a good number.
func (s *Store) List(ctx context.Context, fence int64, users []customer.Sighting) error {
	return s.inTx(ctx, "list users", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		return copyUsers(ctx, tx, users)
	})
}

func copyUsers(ctx context.Context, tx *sqlx.Tx, users []customer.Sighting) (err error) {
	rows, err := tx.PrepareContext(ctx, `
		copy listed_users (user_id, carried_by, email_key, verified, blocked, customer_id, observation) from stdin`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for _, u := range users {
		if _, err := rows.ExecContext(ctx, u.UserID, u.CarriedBy, string(u.Key), u.Verified, u.Blocked, null(string(u.CustomerID)), null(string(u.Observation))); err != nil {
			return err
		}
	}
	_, err = rows.ExecContext(ctx) // the end of the rows
	return err
}

// LinkedCustomers returns up to limit customers that are active, by id and behind
// after ("": from the start).
func (s *Store) LinkedCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Linked, error) {
	if after == "" {
		after = firstID
	}
	var linked []customer.Linked
	err := s.read(ctx, "read who is linked", func(ctx context.Context) (err error) {
		linked, err = s.linkedCustomers(ctx, after, limit)
		return err
	})
	return linked, err
}

func (s *Store) linkedCustomers(ctx context.Context, after customer.ID, limit int) (linked []customer.Linked, err error) {
	rows, err := s.db.QueryContext(ctx, prepared+`
		select id::text, auth_user_id, coalesce(email_key, '')
		from customers
		where lifecycle = 'active' and id > $1
		order by customers.id
		limit $2`, string(after), limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	linked = make([]customer.Linked, 0, limit)
	for rows.Next() {
		var c customer.Linked
		if err := rows.Scan(&c.ID, &c.AuthUserID, &c.Key); err != nil {
			return nil, err
		}
		linked = append(linked, c)
	}
	return linked, rows.Err()
}

// Compare holds those of these customers that are linked against the full listing,
// and returns what is found about them, in the order of their ids.
func (s *Store) Compare(ctx context.Context, ids []customer.ID) (found []customer.Finding, err error) {
	var rows []struct {
		ID      string         `db:"id"`
		User    string         `db:"auth_user_id"`
		Carried sql.NullString `db:"carried_by"`
		What    string         `db:"what"`
	}
	err = s.read(ctx, "compare with listing", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select c.id, c.auth_user_id, l.carried_by,
			  case
			    when l.user_id is null then 'gone'
			    when l.carried_by <> '' then 'moved'
			    when l.blocked then 'blocked'
			    when l.email_key <> coalesce(c.email_key, '') then 'email_changed'
			    when not l.verified and l.email_key <> '' then 'unverified'
			    else ''
			  end as what
			from customers c
			left join lateral (
			  select *
			  from listed_users
			  where user_id = c.auth_user_id
			  order by carried_by
			  limit 1
			) l on true
			where c.id = any($1::uuid[]) and c.lifecycle = 'active'
			order by c.id`, pq.Array(ids))
	})
	for _, r := range rows {
		if r.What != "" {
			found = append(found, customer.Finding{
				Customer: customer.ID(r.ID), AuthUserID: r.User, What: customer.FindingKind(r.What), CarriedBy: r.Carried.String,
			})
		}
	}
	return found, err
}

// SoughtCustomers returns up to limit auth_pending customers, due or not, by id
// and behind after ("": from the start).
func (s *Store) SoughtCustomers(ctx context.Context, after customer.ID, limit int) ([]customer.Sought, error) {
	if after == "" {
		after = firstID
	}
	var rows []struct {
		ID  string         `db:"id"`
		Key sql.NullString `db:"email_key"`
	}
	err := s.read(ctx, "read who waits", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select id, email_key
			from customers
			where reason is not null and id > $1
			order by id
			limit $2`, string(after), limit)
	})
	waiting := make([]customer.Sought, len(rows))
	for i, r := range rows {
		waiting[i] = customer.Sought{ID: customer.ID(r.ID), Key: customer.EmailKey(r.Key.String)}
	}
	return waiting, err
}

// Met returns what the full listing keeps of the users that have one of these
// e-mail keys or name one of these customers. The table was filled just now and
// nobody knows yet what is in it: offset 0 keeps each probe one by the index.
func (s *Store) Met(ctx context.Context, keys []customer.EmailKey, ids []customer.ID) (observations [][]byte, err error) {
	err = s.read(ctx, "read who was met", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &observations, prepared+`
			select u.observation
			from unnest($1::text[]) k(key)
			cross join lateral (
			  select observation
			  from listed_users
			  where observation is not null and email_key = k.key
			  offset 0) u
			union all
			select u.observation
			from unnest($2::uuid[]) k(id)
			cross join lateral (
			  select observation
			  from listed_users
			  where customer_id = k.id and not email_key = any($1::text[])
			  offset 0) u`, pq.Array(keys), pq.Array(ids))
	})
	return observations, err
}

// DueByID returns the live ones of these customers, due or not.
func (s *Store) DueByID(ctx context.Context, ids []customer.ID) ([]customer.Due, error) {
	return s.due(ctx, prepared+`
		select `+dueColumns+`
		from customers
		where id = any($1::uuid[]) and lifecycle <> 'inactive'
		order by id`, pq.Array(ids))
}

// CountDue counts the customers that are due and were made before a time, up to
// limit.
func (s *Store) CountDue(ctx context.Context, madeBefore time.Time, limit int) (n int, err error) {
	err = s.read(ctx, "count due customers", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &n, `
			select count(*)
			from (select from customers where next_check_at <= now() and created_at <= $1 limit $2) due`, madeBefore, limit)
	})
	return n, err
}

// ExportJob returns the export job, made within that time, of a full reconcile
// that was cut off, and when it was made; "" if there is none.
func (s *Store) ExportJob(ctx context.Context, within time.Duration) (job string, made time.Time, err error) {
	err = s.read(ctx, "read export job", func(ctx context.Context) error {
		err := s.db.QueryRowContext(ctx, `
			select id, made_at
			from export_job
			where made_at > clock_timestamp() - $1 * interval '1 second'`, within.Seconds()).Scan(&job, &made)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return job, made.UTC(), err
}

// NoteExportJob keeps the job of the full reconcile that is under way; "" says
// that it has come to its end.
func (s *Store) NoteExportJob(ctx context.Context, fence int64, job string) error {
	return s.inTx(ctx, "note export job", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `delete from export_job`); err != nil || job == "" {
			return err
		}
		_, err := tx.ExecContext(ctx, `insert into export_job (id) values ($1)`, job)
		return err
	})
}
