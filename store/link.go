package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// batchSize is how many customers one transaction links: enough to spread the cost
// of its commit, few enough that nobody waits long for a locked row, or for the disk.
// With 500, a change of one customer that came meanwhile took 27 ms at the 99th
// percentile instead of 17: its commit waits for the log of the others, 2 MB a batch.
const batchSize = 100

// Link writes the links that still hold and returns the customers it linked. A
// customer that changed since the decision, or whose user was taken, is left
// alone: it stays due and is decided anew. An address to fill in that somebody
// else has is left out; the link does not suffer for it. fence is the worker's
// lease; 0 is none; customer.ErrLeaseLost if it was taken over.
func (s *Store) Link(ctx context.Context, fence int64, links []customer.Link, cause customer.Cause) (done []customer.ID, err error) {
	links = slices.Clone(links)
	slices.SortFunc(links, func(a, b customer.Link) int { return strings.Compare(string(a.Customer), string(b.Customer)) })
	for batch := range slices.Chunk(links, batchSize) {
		linked, err := s.linkTogether(ctx, fence, batch, cause)
		if errors.Is(err, customer.ErrAuthUserTaken) || errors.Is(err, customer.ErrEmailTaken) {
			linked, err = s.linkEach(ctx, fence, batch, cause)
		}
		done = append(done, linked...)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (s *Store) linkTogether(ctx context.Context, fence int64, batch []customer.Link, cause customer.Cause) (linked []customer.ID, err error) {
	err = s.inTx(ctx, "link", func(tx *sqlx.Tx) (err error) {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		linked, err = s.linkBatch(ctx, tx, batch, cause)
		return err
	})
	return linked, err
}

// linkEach is for a batch in which somebody was quicker: the others must not
// suffer for one.
func (s *Store) linkEach(ctx context.Context, fence int64, batch []customer.Link, cause customer.Cause) (linked []customer.ID, err error) {
	for _, link := range batch {
		one, err := s.linkTogether(ctx, fence, []customer.Link{link}, cause)
		if errors.Is(err, customer.ErrEmailTaken) {
			link.Fill = customer.Email{} // taken while we wrote
			one, err = s.linkTogether(ctx, fence, []customer.Link{link}, cause)
		}
		if errors.Is(err, customer.ErrAuthUserTaken) {
			continue
		}
		if err != nil {
			return linked, err
		}
		linked = append(linked, one...)
	}
	return linked, nil
}

// linkBatch repeats in its where clause all that the decisions stood on. How long
// customers waited is counted with it: what the page shows is true after a crash too.
func (s *Store) linkBatch(ctx context.Context, tx *sqlx.Tx, batch []customer.Link, cause customer.Cause) ([]customer.ID, error) {
	n := len(batch)
	ids, keys, users := make([]string, n), make([]string, n), make([]string, n)
	addresses, fillKeys, evidence := make([]string, n), make([]string, n), make([]string, n)
	since, finders := make([]sql.NullTime, n), make([]string, n)
	for i, l := range batch {
		ids[i], keys[i], users[i] = string(l.Customer), string(l.Key), l.AuthUserID
		addresses[i], fillKeys[i] = l.Fill.Address, string(l.Fill.Key)
		since[i], finders[i] = nullTime(l.Since), string(l.FoundBy)
		var err error
		if evidence[i], err = evidenceJSON(l.Evidence); err != nil {
			return nil, err
		}
	}
	suspects := s.erase.ask(userName, users...)
	var linked []customer.ID
	err := tx.SelectContext(ctx, &linked, prepared+`
		with barred as (
		  select a.name
		  from unnest($11::text[], $12::bytea[]) a(name, hash)
		  join erased_names e on e.hash = a.hash
		), decided as (
		  select d.id, d.key, d.auth_user_id, d.evidence, d.since, d.found_by,
		    case when holder.id is null then nullif(d.fill_address, '') end as fill_address,
		    case when holder.id is null then nullif(d.fill_key, '') end as fill_key
		  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
		      $14::timestamptz[], $15::text[]) as d(id, key, auth_user_id, fill_address, fill_key, evidence, since, found_by)
		  left join customers holder on holder.email_key = nullif(d.fill_key, '') and holder.lifecycle <> 'inactive'
		), linked as (
		  update customers c
		  set auth_user_id = d.auth_user_id, lifecycle = 'active', reason = null, misses = 0,
		    email_address = coalesce(c.email_address, d.fill_address),
		    email_key = coalesce(c.email_key, d.fill_key),
		    next_check_at = case when coalesce(c.email_key, d.fill_key) is null then clock_timestamp() end,
		    checked_at = clock_timestamp(), gone_at = null, hint_auth_user_id = null, hint_email = null,
		    version = c.version + 1,
		    updated_at = greatest(clock_timestamp(), c.updated_at + interval '1 microsecond')
		  from decided d
		  where c.id = d.id
		    and c.lifecycle = 'auth_pending'
		    and c.auth_user_id is null
		    and c.email_key is not distinct from nullif(d.key, '')
		    and not exists (
		      select from customers other
		      where other.auth_user_id = d.auth_user_id and other.lifecycle <> 'inactive')
		    and not exists (select from barred where name = d.auth_user_id)
		  returning c.id, c.version, c.updated_at, d.auth_user_id, d.evidence, d.since, d.found_by
		), counted as (
		  insert into lags as l (hour, found_by, below, customers)
		  select date_trunc('hour', updated_at, 'UTC'), found_by, below, count(*)
		  from (
		    select updated_at, found_by,
		      coalesce(($16::double precision[])[width_bucket(extract(epoch from updated_at - since)::double precision,
		        $16::double precision[]) + 1], 'infinity') as below
		    from linked
		    where found_by <> '' and since is not null) waited
		  group by 1, 2, 3
		  order by 1, 2, 3 -- so that two writers lock in the same order
		  on conflict (hour, found_by, below) do update
		  set customers = l.customers + excluded.customers
		)
		insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
		  to_value, from_lifecycle, to_lifecycle, why, evidence, run_id)
		select id, version, updated_at, $7, $8, $9, 'linked', 'auth_user_id',
		  auth_user_id, 'auth_pending', 'active', $10, evidence::jsonb, $13
		from linked
		returning customer_id`,
		pq.Array(ids), pq.Array(keys), pq.Array(users), pq.Array(addresses), pq.Array(fillKeys), pq.Array(evidence),
		string(cause.Kind), cause.Actor, cause.RequestID, cause.Why, suspects.names, suspects.hashes, nullInt(cause.Run),
		pq.Array(since), pq.Array(finders), pq.Array(customer.LagBounds()))
	return linked, err
}

// Observed notes how new the states were that decisions stood on.
func (s *Store) Observed(ctx context.Context, fence int64, seen map[string]customer.Seen) error {
	if len(seen) == 0 {
		return nil
	}
	return s.inTx(ctx, "note what was seen", func(tx *sqlx.Tx) error {
		if err := checkFence(ctx, tx, fence); err != nil {
			return err
		}
		return s.observe(ctx, tx, seen)
	})
}

// observe leaves out users of erased customers.
func (s *Store) observe(ctx context.Context, tx *sqlx.Tx, seen map[string]customer.Seen) error {
	users := make([]string, 0, len(seen))
	for user := range seen {
		users = append(users, user)
	}
	slices.Sort(users) // so that two writers lock in the same order
	updated, at := make([]string, len(users)), make([]string, len(users))
	for i, user := range users {
		updated[i], at[i] = seen[user].UpdatedAt.Format(time.RFC3339Nano), seen[user].SeenAt.Format(time.RFC3339Nano)
	}
	suspects := s.erase.ask(userName, users...)
	_, err := tx.ExecContext(ctx, prepared+`
		with barred as (
		  select a.name
		  from unnest($4::text[], $5::bytea[]) a(name, hash)
		  join erased_names e on e.hash = a.hash
		)
		insert into auth0_observations as o (auth_user_id, updated_at, seen_at)
		select *
		from unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) seen(auth_user_id, updated_at, seen_at)
		where not exists (select from barred where name = seen.auth_user_id)
		on conflict (auth_user_id) do update
		set updated_at = excluded.updated_at, seen_at = excluded.seen_at
		where (o.updated_at, o.seen_at) < (excluded.updated_at, excluded.seen_at)`,
		pq.Array(users), pq.Array(updated), pq.Array(at), suspects.names, suspects.hashes)
	return err
}
