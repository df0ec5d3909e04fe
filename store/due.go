package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// dueRow is a customer with the worker's notes.
type dueRow struct {
	row
	Reason    sql.NullString `db:"reason"`
	Misses    int            `db:"misses"`
	Next      sql.NullTime   `db:"next_check_at"`
	GoneAt    sql.NullTime   `db:"gone_at"`
	HintUser  sql.NullString `db:"hint_auth_user_id"`
	HintEmail sql.NullString `db:"hint_email"`
	Urgent    bool           `db:"urgent"`
}

const dueColumns = columns + `, reason, misses, next_check_at, gone_at, hint_auth_user_id, hint_email, ` + looking + ` as urgent`

func (r dueRow) due() customer.Due {
	due := customer.Due{
		Customer: r.customer(),
		Reason:   customer.Reason(r.Reason.String),
		Misses:   r.Misses,
		GoneAt:   utc(r.GoneAt),
		At:       utc(r.Next),
		Urgent:   r.Urgent,
		Hint:     customer.Hint{AuthUserID: r.HintUser.String, Email: r.HintEmail.String, Verified: r.HintUser.Valid},
	}
	if email, err := customer.ParseEmail(r.HintEmail.String); err == nil {
		due.Hint.Key = email.Key
	}
	return due
}

// Idle reports that nothing is due and the inbox holds nothing new: two index
// probes, whatever the number of customers. now() and not clock_timestamp(): a
// volatile function cannot bound an index scan.
func (s *Store) Idle(ctx context.Context) (idle bool, err error) {
	err = s.read(ctx, "probe for work", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &idle, Probe)
	})
	return idle, err
}

// Probe is the statement of Idle.
const Probe = `
	select not exists (select from customers where next_check_at <= now())
	  and not exists (select from inbox where state = 'new')
	  and not exists (select from inbox where state = 'ask')`

// Due returns up to limit customers that were due at before, longest due first,
// beginning behind after (nil: at the start); hinted leaves out those whom no
// delivery told of. They are auth_pending, or active
// without an e-mail address or with a user that may be gone.
func (s *Store) Due(ctx context.Context, before time.Time, after *customer.Due, hinted bool, limit int) ([]customer.Due, error) {
	from, id := time.Time{}, firstID
	if after != nil {
		from, id = after.At, string(after.ID)
	}
	return s.due(ctx, `
		select `+dueColumns+`
		from customers
		where next_check_at <= $1 and (next_check_at, id) > ($2, $3)
		  and (hint_auth_user_id is not null or not $5)
		order by next_check_at, id
		limit $4`, before, from, id, limit, hinted)
}

// DueByEmail returns the live customer with this key, due or not; else nothing.
func (s *Store) DueByEmail(ctx context.Context, key customer.EmailKey) ([]customer.Due, error) {
	return s.due(ctx, `
		select `+dueColumns+`
		from customers
		where email_key = $1 and lifecycle <> 'inactive'`, string(key))
}

func (s *Store) due(ctx context.Context, query string, args ...any) ([]customer.Due, error) {
	var rows []dueRow
	err := s.read(ctx, "read due customers", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, query, args...)
	})
	due := make([]customer.Due, len(rows))
	for i, r := range rows {
		due[i] = r.due()
	}
	return due, err
}

// Hold writes why customers go on waiting and when to look again, and returns how
// many it wrote. A customer that something made due again since it was read is
// left so, and a hint that Auth0 could not be asked about is
// kept. Nothing that other systems see changes, so there is no history row.
func (s *Store) Hold(ctx context.Context, fence int64, holds []customer.Hold) (done int, err error) {
	n := len(holds)
	if n == 0 {
		return 0, nil
	}
	ids, reasons, misses := make([]string, n), make([]string, n), make([]int64, n)
	next, due, asked := make([]sql.NullTime, n), make([]sql.NullTime, n), make([]bool, n)
	candidates, by := make([]sql.NullString, n), make([]string, n)
	for i, h := range holds {
		if candidates[i], err = candidatesJSON(h.Candidates); err != nil {
			return 0, err
		}
		ids[i], reasons[i], misses[i] = string(h.Customer), string(h.Reason), int64(h.Misses)
		next[i], due[i], asked[i], by[i] = nullTime(h.Next), nullTime(h.Due), h.Asked, h.By
	}
	err = s.inTx(ctx, "hold", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `
			update customers c
			set reason = h.reason, misses = h.misses, next_check_at = h.next,
			  checked_at = case when h.asked then clock_timestamp() else c.checked_at end,
			  hint_auth_user_id = case when not h.asked then c.hint_auth_user_id end,
			  hint_email = case when not h.asked then c.hint_email end,
			  candidates = case when h.reason in ('several_users', 'user_taken') then coalesce(h.candidates::jsonb, c.candidates) end,
			  looks = `+foldedLooks+`
			from unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::timestamptz[], $6::bool[], $7::text[], $8::text[])
			  as h(id, reason, misses, next, due, asked, candidates, by)
			where c.id = h.id and c.lifecycle = 'auth_pending' and c.next_check_at is not distinct from h.due`,
			pq.Array(ids), pq.Array(reasons), pq.Array(misses), pq.Array(next), pq.Array(due), pq.Array(asked), pq.Array(candidates), pq.Array(by))
		if err != nil {
			return err
		}
		affected, err := result.RowsAffected()
		done = int(affected)
		return err
	})
	return done, err
}

// World tells who holds what among live customers, of the users, customers and
// keys given. Lateral, so that no plan can be anything but a probe for each.
func (s *Store) World(ctx context.Context, userIDs []string, named []customer.ID, keys []customer.EmailKey) (customer.World, error) {
	w := customer.World{
		UserHolder:  map[string]customer.ID{},
		EmailHolder: map[customer.EmailKey]customer.ID{},
		Live:        map[customer.ID]bool{},
		Newest:      map[string]customer.Seen{},
		Erased:      map[string]bool{},
	}
	if len(userIDs)+len(named)+len(keys) == 0 {
		return w, nil
	}
	var rows []struct {
		Kind    string       `db:"kind"`
		Name    string       `db:"name"`
		ID      string       `db:"id"`
		Updated sql.NullTime `db:"updated_at"`
		Seen    sql.NullTime `db:"seen_at"`
	}
	suspects := s.erase.ask(userName, userIDs...)
	err := s.read(ctx, "read who holds what", func(ctx context.Context) error {
		return s.db.SelectContext(ctx, &rows, prepared+`
			select 'user' as kind, k.name, c.id::text as id, null::timestamptz as updated_at, null::timestamptz as seen_at
			from unnest($1::text[]) k(name)
			cross join lateral (
			  select id
			  from customers
			  where auth_user_id = k.name and lifecycle <> 'inactive'
			  limit 1) c
			union all
			select 'email', k.name, c.id::text, null, null
			from unnest($2::text[]) k(name)
			cross join lateral (
			  select id
			  from customers
			  where email_key = k.name and lifecycle <> 'inactive'
			  limit 1) c
			union all
			select 'live', '', c.id::text, null, null
			from unnest($3::uuid[]) k(id)
			cross join lateral (
			  select id
			  from customers
			  where id = k.id and lifecycle <> 'inactive'
			  limit 1) c
			union all
			select 'seen', k.name, '', o.updated_at, o.seen_at
			from unnest($1::text[]) k(name)
			cross join lateral (
			  select updated_at, seen_at
			  from auth0_observations
			  where auth_user_id = k.name
			  limit 1) o
			union all
			select 'erased', k.name, '', null, null
			from unnest($4::text[], $5::bytea[]) k(name, hash)
			join erased_names e on e.hash = k.hash`,
			pq.Array(userIDs), pq.Array(keys), pq.Array(named), suspects.names, suspects.hashes)
	})
	for _, r := range rows {
		switch r.Kind {
		case "user":
			w.UserHolder[r.Name] = customer.ID(r.ID)
		case "email":
			w.EmailHolder[customer.EmailKey(r.Name)] = customer.ID(r.ID)
		case "live":
			w.Live[customer.ID(r.ID)] = true
		case "erased":
			w.Erased[r.Name] = true
		case "seen":
			w.Newest[r.Name] = customer.Seen{UpdatedAt: r.Updated.Time, SeenAt: r.Seen.Time}
		}
	}
	return w, err
}
