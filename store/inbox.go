package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// inboxRow is an understood delivery.
type inboxRow struct {
	ID         int64          `db:"id"`
	User       sql.NullString `db:"hint_auth_user_id"`
	Email      sql.NullString `db:"hint_email"`
	Key        sql.NullString `db:"hint_email_key"`
	CustomerID sql.NullString `db:"hint_customer_id"`
	Identities pq.StringArray `db:"hint_identities"`
	Deleted    bool           `db:"deleted"`
	Actionable bool           `db:"actionable"`
	Partial    bool           `db:"partial"`
	Source     string         `db:"source"`
	Kind       string         `db:"kind"`
}

const inboxColumns = `id, hint_auth_user_id, hint_email, hint_email_key, hint_customer_id,
  hint_identities, deleted, actionable, partial, source, kind`

// absorbLock orders the taking-in of deliveries and the making of customers: one
// of the two sees the other. Create takes it shared, Absorb for itself.
const absorbLock = `hashtextextended('customersync inbox', 2)`

// Absorb takes up to limit deliveries out of the inbox, oldest first. One that
// says of a verified user makes the auth_pending customer it names due now and
// notes whom to ask for; if there is no such customer yet it is kept. One that
// says that a user was deleted, or has become an identity of another, makes the
// customer due that is linked to it. All others ask for nothing.
func (s *Store) Absorb(ctx context.Context, fence int64, limit int) (customer.Absorbed, error) {
	var a customer.Absorbed
	err := s.inTx(ctx, "absorb", func(tx *sqlx.Tx) error {
		a = customer.Absorbed{}
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock(`+absorbLock+`)`); err != nil {
			return err
		}
		var rows []inboxRow
		if err := tx.SelectContext(ctx, &rows, `
			select `+inboxColumns+`
			from inbox
			where state = 'new'
			order by id
			limit $1
			for update`, limit); err != nil {
			return err
		}
		a.Rows, a.Left = len(rows), len(rows) == limit
		return absorb(ctx, tx, rows, &a)
	})
	return a, err
}

func absorb(ctx context.Context, tx *sqlx.Tx, rows []inboxRow, a *customer.Absorbed) error {
	pointed, err := point(ctx, tx, rows)
	if err != nil {
		return err
	}
	ids, states := make([]int64, len(rows)), make([]string, len(rows))
	for i, r := range rows {
		state, due, err := act(ctx, tx, r, pointed[r.ID])
		if err != nil {
			return err
		}
		if due {
			a.Matched++
		}
		if state == "kept" {
			a.Kept++
		}
		ids[i], states[i] = r.ID, state
	}
	_, err = tx.ExecContext(ctx, `
		update inbox i
		set state = r.state
		from unnest($1::bigint[], $2::text[]) as r(id, state)
		where i.id = r.id`, pq.Array(ids), pq.Array(states))
	return err
}

// act does what a delivery asks for, and says what becomes of it and whether it
// made a customer due. A login of somebody we do not know is not kept: they come
// by the thousand, and whoever becomes a customer is looked up anyway.
func act(ctx context.Context, tx *sqlx.Tx, r inboxRow, at pointing) (state string, due bool, err error) {
	var doubted int64
	if r.Deleted || len(r.Identities) > 0 {
		if doubted, err = doubt(ctx, tx, r); err != nil {
			return "", false, err
		}
	}
	switch {
	case !r.Actionable:
		return "done", doubted > 0, nil
	case r.Partial:
		state, err = askOrDone(ctx, tx, r)
		return state, false, err
	}
	if due = at.due || doubted > 0; at.found || due || r.Kind == "s" {
		return "done", due, nil
	}
	state, err = keepOnce(ctx, tx, r)
	return state, false, err
}

// keepOnce keeps a delivery for a customer to come, unless one that says the same
// is kept: each login of a stranger sends one.
func keepOnce(ctx context.Context, tx *sqlx.Tx, r inboxRow) (state string, err error) {
	err = tx.GetContext(ctx, &state, prepared+`
		select case when exists (
		  select from inbox
		  where state = 'kept' and hint_auth_user_id = $1 and hint_email is not distinct from $2
		    and hint_customer_id is not distinct from $3) then 'done' else 'kept' end`, r.User, r.Email, r.CustomerID)
	return state, err
}

// askOrDone settles a delivery that names a user alone: of one who is on a
// customer only an account linking is news.
func askOrDone(ctx context.Context, tx *sqlx.Tx, r inboxRow) (state string, err error) {
	err = tx.GetContext(ctx, &state, prepared+`
		select case
		  when $2 <> 'sapi/identities' and exists (
		    select from customers where auth_user_id = $1 and lifecycle <> 'inactive') then 'done'
		  else 'ask'
		end`, r.User, r.Kind)
	return state, err
}

// Partial returns up to limit deliveries that Auth0 is to be asked about, the newest
// first: those that Auth0 has no answer for must not hold up what is news.
func (s *Store) Partial(ctx context.Context, limit int) ([]customer.Partial, error) {
	var rows []struct {
		ID   int64  `db:"id"`
		User string `db:"hint_auth_user_id"`
	}
	err := s.read(ctx, "read partial deliveries", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select id, hint_auth_user_id
			from inbox
			where state = 'ask'
			order by id desc
			limit $1`, limit)
	})
	all := make([]customer.Partial, len(rows))
	for i, r := range rows {
		all[i] = customer.Partial{ID: r.ID, AuthUserID: r.User}
	}
	return all, err
}

// Complete adds what Auth0 says of its user to a partial delivery, which is then
// like any other; nil says that there is no such user.
func (s *Store) Complete(ctx context.Context, fence int64, p customer.Partial, h *customer.Hint) error {
	if h == nil {
		h = &customer.Hint{}
	}
	return s.inTx(ctx, "complete delivery", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			update inbox
			set state = 'new', partial = false, hint_email = $2, hint_email_key = $3, hint_customer_id = $4,
			  hint_identities = $5, actionable = $6
			where id = $1 and state = 'ask'`,
			p.ID, null(h.Email), null(string(h.Key)), null(string(h.CustomerID)), pq.Array(h.Identities), h.Actionable())
		return err
	})
}

// pointing is what became of a delivery that names a verified user.
type pointing struct {
	found bool // a live customer is named
	due   bool // and it waits
}

// point makes the customers due that deliveries name, all at once; of several for
// one customer the newest says whom to ask for. A customer that is linked needs no
// hint.
func point(ctx context.Context, tx *sqlx.Tx, rows []inboxRow) (map[int64]pointing, error) {
	var ids []int64
	var keys, customers, users, emails []sql.NullString
	for _, r := range rows {
		if r.Actionable && !r.Partial {
			ids, keys, customers = append(ids, r.ID), append(keys, r.Key), append(customers, r.CustomerID)
			users, emails = append(users, r.User), append(emails, r.Email)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var named []struct {
		Row       int64  `db:"row"`
		Lifecycle string `db:"lifecycle"`
	}
	err := tx.SelectContext(ctx, &named, prepared+`
		with hints as materialized (
		  select *
		  from unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::text[]) as h(row, key, customer_id, auth_user_id, email)
		), matched as materialized (
		  select c.id, h.row, h.auth_user_id, h.email
		  from hints h
		  cross join lateral (
		    select id from customers where email_key = h.key and lifecycle <> 'inactive'
		    union
		    select id from customers where id = h.customer_id and lifecycle <> 'inactive'
		    union
		    select id from customers where auth_user_id = h.auth_user_id and lifecycle <> 'inactive') c
		), named as materialized (
		  select id, lifecycle
		  from customers
		  where id = any(array(select id from matched)) and lifecycle <> 'inactive'
		  order by id
		  for update
		), pointed as (
		  update customers c
		  set `+dueAgain+`, hint_auth_user_id = newest.auth_user_id, hint_email = newest.email
		  from (select distinct on (id) * from matched order by id, row desc) newest
		  join named n on n.id = newest.id
		  where c.id = n.id and n.lifecycle = 'auth_pending'
		)
		select m.row, n.lifecycle
		from matched m
		join named n on n.id = m.id`,
		pq.Array(ids), pq.Array(keys), pq.Array(customers), pq.Array(users), pq.Array(emails))
	pointed := map[int64]pointing{}
	for _, n := range named {
		pointed[n.Row] = pointing{found: true, due: pointed[n.Row].due || n.Lifecycle == string(customer.AuthPending)}
	}
	return pointed, err
}

// LastDeliveries is when the last delivery of each source came, of those that are
// still in the inbox. Samples say nothing of whether Auth0 sends anything.
func (s *Store) LastDeliveries(ctx context.Context) (map[string]time.Time, error) {
	var rows []struct {
		Source string    `db:"source"`
		At     time.Time `db:"at"`
	}
	err := s.read(ctx, "read last deliveries", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, `
			select source, max(received_at) as at
			from inbox
			where not starts_with(event_id, $1)
			group by source`, customer.SampleID)
	})
	last := map[string]time.Time{}
	for _, r := range rows {
		last[r.Source] = r.At.UTC()
	}
	return last, err
}
