package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// erasureRow is a proof as the table holds it.
type erasureRow struct {
	ID        string         `db:"customer_id"`
	At        time.Time      `db:"erased_at"`
	Actor     string         `db:"actor"`
	RequestID string         `db:"request_id"`
	Removed   []byte         `db:"removed"`
	Others    pq.StringArray `db:"others"`
}

const erasureColumns = `customer_id, erased_at, actor, request_id, removed, others`

func (r erasureRow) erasure() (customer.Erasure, error) {
	e := customer.Erasure{Customer: customer.ID(r.ID), At: r.At.UTC(), Actor: r.Actor, RequestID: r.RequestID}
	for _, id := range r.Others {
		e.Others = append(e.Others, customer.ID(id))
	}
	if err := json.Unmarshal(r.Removed, &e.Removed); err != nil {
		return e, fmt.Errorf("read erasure: %w", err)
	}
	return e, nil
}

// Erase removes a customer and all that is known of its person from every table, and
// bars its Auth0 users and its address from coming back by themselves. What another
// live customer shares with it stays that one's. Erasing an erased customer returns
// the proof again. Errors: customer.ErrNotFound, ErrStale, ErrNoEraseKey.
//
// What is left are backups, the write-ahead log, and what Postgres has not vacuumed.
func (s *Store) Erase(ctx context.Context, id customer.ID, ifVersion int64, cause customer.Cause) (customer.Erasure, error) {
	if len(s.erase) == 0 {
		return customer.Erasure{}, fmt.Errorf("erase: %w", customer.ErrNoEraseKey)
	}
	err := s.inTx(ctx, "bar names", func(tx *sqlx.Tx) error {
		_, names, err := s.erased(ctx, tx, id, ifVersion)
		if err != nil {
			return err
		}
		return s.bar(ctx, tx, names)
	})
	if err == nil {
		err = s.settle(ctx)
	}
	if err == nil {
		err = s.inTx(ctx, "erase", func(tx *sqlx.Tx) error { return s.eraseAll(ctx, tx, id, ifVersion, cause) })
	}
	if err != nil && !errors.Is(err, customer.ErrNotFound) {
		return customer.Erasure{}, err
	}
	return s.Erasure(ctx, id) // made now, or before
}

// names are what a customer is known by. Those of another live customer are not among
// them.
type names struct {
	users   pq.StringArray // Auth0 users that it was linked to, or that a delivery named for it
	address string
	key     string
}

// erased locks a customer that is to be erased and reads its names.
func (s *Store) erased(ctx context.Context, tx *sqlx.Tx, id customer.ID, ifVersion int64) (row, names, error) {
	c, _, err := lockVersion(ctx, tx, id, 0, ifVersion, change{what: "erased"}, customer.Cause{})
	if err != nil {
		return row{}, names{}, err
	}
	n := names{address: c.Address.String, key: c.Key.String}
	var held bool
	if err := tx.GetContext(ctx, &held, `
		select exists (
		  select from customers
		  where email_key = $1 and lifecycle <> 'inactive' and id <> $2)`, n.key, c.ID); err != nil {
		return row{}, names{}, err
	}
	if held {
		n.address, n.key = "", ""
	}
	err = tx.SelectContext(ctx, &n.users, `
		select distinct u.id
		from (
		  select auth_user_id as id from customers where id = $1
		  union select hint_auth_user_id from customers where id = $1
		  union select from_value from history where customer_id = $1 and field = 'auth_user_id'
		  union select to_value from history where customer_id = $1 and field = 'auth_user_id'
		) u
		where u.id is not null and not exists (
		  select from customers
		  where auth_user_id = u.id and lifecycle <> 'inactive' and id <> $1)
		order by 1`, c.ID)
	return c, n, err
}

// bar keeps the hashes of names.
func (s *Store) bar(ctx context.Context, tx *sqlx.Tx, n names) error {
	key := s.erase[0]
	var hashes pq.ByteaArray
	for _, user := range n.users {
		hashes = append(hashes, hashed(key, userName, user))
	}
	if n.key != "" {
		hashes = append(hashes, hashed(key, emailName, n.key))
	}
	slices.SortFunc(hashes, slices.Compare) // so that two who bar lock in the same order
	_, err := tx.ExecContext(ctx, `
		insert into erased_names (hash, key_id, erased_at)
		select hash, $2, clock_timestamp()
		from unnest($1::bytea[]) as h(hash)
		on conflict (hash) do update
		set erased_at = excluded.erased_at`, hashes, keyID(key))
	return err
}

// settle waits until all have come to their end who may be writing names without
// knowing of a bar: a statement locks its tables before it takes its snapshot. A lock
// of our own would do as well, but everybody would queue up behind it.
func (s *Store) settle(ctx context.Context) error {
	const locks = `
		select coalesce(array_agg(distinct virtualtransaction), '{}')
		from pg_locks
		where (virtualtransaction = any($1) or $1::text[] is null)
		  and database = (select oid from pg_database where datname = current_database())
		  and relation in ('inbox'::regclass, 'auth0_observations'::regclass, 'customers'::regclass)
		  and mode = 'RowExclusiveLock'`
	var writers pq.StringArray // null: all there are now
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if err := s.read(ctx, "wait for writers", func(ctx context.Context) error {
			return s.db.GetContext(ctx, &writers, locks, writers)
		}); err != nil || len(writers) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for writers: %w", translate(ctx.Err()))
		case <-time.After(pause):
		}
	}
}

// eraseAll is the erasing itself. The names are barred by then.
func (s *Store) eraseAll(ctx context.Context, tx *sqlx.Tx, id customer.ID, ifVersion int64, cause customer.Cause) error {
	c, n, err := s.erased(ctx, tx, id, ifVersion)
	if err != nil {
		return err
	}
	if err := s.bar(ctx, tx, n); err != nil { // it may have got another since
		return err
	}
	others, err := sharers(ctx, tx, c, n)
	if err != nil {
		return err
	}
	removed := map[string]int64{}
	for _, part := range erasing {
		rows, err := updated(tx.ExecContext(ctx, part.query, part.arguments(c, n)...))
		if err != nil {
			return fmt.Errorf("%s: %w", part.table, err)
		}
		removed[part.table] += rows
	}
	return prove(ctx, tx, c, n, removed, others, cause)
}

// sharers are the customers, live or closed, with a name of this one's.
func sharers(ctx context.Context, tx *sqlx.Tx, c row, n names) (ids pq.StringArray, err error) {
	err = tx.SelectContext(ctx, &ids, `
		select id
		from (
		  select id from customers where lifecycle <> 'inactive' and email_key = $2
		  union select id from customers where lifecycle = 'inactive' and email_key = $2
		  union select id from customers where lifecycle <> 'inactive' and auth_user_id = any($3)
		  union select id from customers where lifecycle = 'inactive' and auth_user_id = any($3)
		) sharing
		where id <> $1
		order by id`, c.ID, c.Key, append(slices.Clone(n.users), c.AuthUserID.String))
	return ids, err
}

// erasing is where something of a customer may stand, in the order that foreign keys
// ask for. A delivery that was not understood is searched as a text.
var erasing = []struct { //nolint:gochecknoglobals // a table
	table, query string
	arguments    func(row, names) []any
}{
	{"event_deliveries", `delete from event_deliveries where customer_id = $1`, byID},
	{"plan_rows", `delete from plan_rows where customer_id = $1 or auth_user_id = any($2::text[])`, byUsers},
	{"history", `delete from history where customer_id = $1`, byID},
	{"reveals", `delete from reveals where customer_id = $1`, byID},
	{"customers", `delete from customers where id = $1`, byID},
	{"idempotency_keys", `
		delete from idempotency_keys
		where customer_id = $1 or exists (
		  select from unnest($2::text[]) u(id) where starts_with(scope, 'sub:' || u.id || ' '))`, byUsers},
	{"inbox", `
		delete from inbox
		where hint_customer_id = $1 or hint_auth_user_id = any($2::text[]) or hint_identities && $2::text[]
		  or hint_email_key = nullif($3, '') or hint_email = nullif($4, '')
		  or body is not null and exists (
		    select
		    from unnest($2::text[] || $1::uuid::text || nullif($3, '') || nullif($4, '')) name
		    where position(lower(name) in lower(encode(body, 'escape'))) > 0)`, byNames},
	{"auth0_observations", `delete from auth0_observations where auth_user_id = any($1::text[])`, onlyUsers},
	{"listed_users", `
		delete from listed_users
		where customer_id = $1 or user_id = any($2::text[]) or carried_by = any($2::text[]) or email_key = nullif($3, '')`, byKey},
	// Of others: who their conflicts were with, and whom deliveries named for them. They
	// are looked at anew.
	{"candidates", `
		update customers
		set candidates = null, next_check_at = least(next_check_at, clock_timestamp())
		where reason in ('several_users', 'user_taken') and exists (
		  select
		  from jsonb_array_elements(candidates) c
		  where c ->> 'auth_user_id' = any($2::text[]) or c ->> 'holder' = $1::uuid::text)`, byUsers},
	{"hints", `
		update customers
		set hint_auth_user_id = null, hint_email = null
		where next_check_at is not null and hint_auth_user_id = any($1::text[])`, onlyUsers},
}

func byID(c row, _ names) []any      { return []any{c.ID} }
func onlyUsers(_ row, n names) []any { return []any{n.users} }
func byUsers(c row, n names) []any   { return []any{c.ID, n.users} }
func byKey(c row, n names) []any     { return []any{c.ID, n.users, n.key} }
func byNames(c row, n names) []any   { return []any{c.ID, n.users, n.key, n.address} }

// prove writes what was done, which is also the event, and tells those who wait for
// the customer. One who erased itself is not named.
func prove(ctx context.Context, tx *sqlx.Tx, c row, n names, removed map[string]int64, others pq.StringArray, cause customer.Cause) error {
	counts, err := json.Marshal(removed)
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	actor := cause.Actor
	if slices.ContainsFunc(n.users, func(user string) bool { return actor == "sub:"+user }) {
		actor = "the customer"
	}
	if others == nil {
		others = pq.StringArray{}
	}
	_, err = tx.ExecContext(ctx, `
		insert into erasures (customer_id, version, erased_at, actor, request_id, removed, others)
		values ($1, $2, clock_timestamp(), $3, $4, $5, $6::uuid[])`,
		c.ID, c.Version+1, actor, cause.RequestID, string(counts), others)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `select pg_notify('`+watchChannel+`', $1)`, c.ID)
	return err
}
