package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// making is one customer to create, and why.
type making struct {
	draft customer.Draft
	cause customer.Cause
}

// plain reports whether a customer can be made along with others: it is linked to
// nobody, and nobody makes it for themselves.
func plain(d customer.Draft, link *customer.Link) bool { return link == nil && d.Subject == "" }

const (
	// makeLanes is two: one gathers while the other waits for the disk.
	makeLanes = 2
	makeMost  = 100
)

// maker makes customers that come at the same time in one transaction. Which of
// them it made it says in their order; the others are for Create to do alone:
// those whose address or idempotency key was seen before, and those that a
// delivery was kept for.
func (s *Store) maker() *together[making, bool] {
	return &together[making, bool]{lanes: makeLanes, most: makeMost, within: s.patience, do: func(ctx context.Context, all []making) (made []bool, err error) {
		err = s.inTx(ctx, "create", func(tx *sqlx.Tx) (err error) {
			if made, err = s.makeFirst(ctx, tx, all); err != nil {
				return err
			}
			var addresses []string
			for i, m := range all {
				if made[i] {
					addresses = append(addresses, string(m.draft.Email.Key))
				}
			}
			return s.erase.lift(ctx, tx, emailName, addresses...) // of erased customers: brought back by this
		})
		return made, err
	}}
}

// makeFirst makes those customers that are the first of their address and key.
func (s *Store) makeFirst(ctx context.Context, tx *sqlx.Tx, all []making) (made []bool, err error) {
	free, err := lockKeys(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	var c makingColumns
	for _, i := range inOrderOfKeys(all) {
		if free[i] {
			c.add(i, all[i])
		}
	}
	var places []int
	err = tx.SelectContext(ctx, &places, prepared+`
		with asked as (
		  select a.*, clock_timestamp() as now
		  from unnest($1::int[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
		    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bytea[])
		    as a(place, id, first_name, last_name, email, email_key, created_by, reason, matchable,
		    kind, actor, request_id, why, scope, key, body_sha256)
		), fresh as (
		  select *
		  from asked a
		  where not exists (select from idempotency_keys k where k.scope = a.scope and k.key = a.key)
		    and not exists (select from inbox i where i.state = 'kept' and i.hint_email_key = a.email_key)
		    and not exists (select from inbox i where i.state = 'kept' and i.hint_customer_id = a.id)
		), made as (
		  insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key,
		    lifecycle, version, created_by, reason, next_check_at)
		  select id, now, now, first_name, last_name, email, email_key,
		    'auth_pending', 1, created_by, reason, case when matchable then now end
		  from fresh
		  on conflict (email_key) where lifecycle <> 'inactive' do nothing
		  returning id, version, updated_at, lifecycle
		), written as (
		  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why)
		  select m.id, m.version, m.updated_at, f.kind, f.actor, f.request_id, 'created', m.lifecycle, f.why
		  from made m
		  join fresh f on f.id = m.id
		), remembered as (
		  insert into idempotency_keys (scope, key, body_sha256, outcome, customer_id)
		  select f.scope, f.key, f.body_sha256, 'created', f.id
		  from made m
		  join fresh f on f.id = m.id
		  where f.key <> ''
		)
		select f.place
		from made m
		join fresh f on f.id = m.id`, c.arguments()...)
	if err != nil {
		return nil, err
	}
	made = make([]bool, len(all))
	for _, i := range places {
		made[i] = true
	}
	return made, nil
}

// lockKeys locks the idempotency keys and says whose are free; of several alike the
// first is. It also takes the lock that orders the making of customers with Absorb,
// before the statement that looks what was kept.
func lockKeys(ctx context.Context, tx *sqlx.Tx, all []making) (free []bool, err error) {
	type name struct{ scope, key string }
	seen := map[name]bool{}
	scopes, keys, first := make([]string, len(all)), make([]string, len(all)), make([]bool, len(all))
	for i, m := range all {
		n := name{m.draft.Idempotency.Scope, m.draft.Idempotency.Key}
		scopes[i], keys[i], first[i] = n.scope, n.key, n.key == "" || !seen[n]
		seen[n] = true
	}
	var locked pq.BoolArray
	err = tx.GetContext(ctx, &locked, prepared+`
		select array_agg(key = '' or pg_try_advisory_xact_lock(hashtextextended(scope || chr(31) || key, 1)) order by place)
		from (select pg_advisory_xact_lock_shared(`+absorbLock+`)) absorb,
		  unnest($1::text[], $2::text[]) with ordinality as k(scope, key, place)`, pq.Array(scopes), pq.Array(keys))
	if err != nil {
		return nil, err
	}
	for i := range first {
		first[i] = first[i] && locked[i]
	}
	return first, nil
}

// inOrderOfKeys are the places in the order of e-mail keys: two transactions that
// write the same addresses in two orders would wait for each other.
func inOrderOfKeys(all []making) []int {
	places := make([]int, len(all))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int {
		return strings.Compare(string(all[a].draft.Email.Key), string(all[b].draft.Email.Key))
	})
	return places
}

// makingColumns are customers to make turned on their side.
type makingColumns struct {
	places                                         []int64
	ids, firstNames, lastNames, createdBy, reasons []string
	emails, emailKeys                              []sql.NullString
	matchable                                      []bool
	kinds, actors, requests, whys, scopes, keys    []string
	bodies                                         [][]byte
}

func (c *makingColumns) add(place int, m making) {
	d := m.draft
	c.places, c.ids = append(c.places, int64(place)), append(c.ids, string(d.ID))
	c.firstNames, c.lastNames = append(c.firstNames, d.FirstName), append(c.lastNames, d.LastName)
	c.emails, c.emailKeys = append(c.emails, null(d.Email.Address)), append(c.emailKeys, null(string(d.Email.Key)))
	c.createdBy, c.reasons = append(c.createdBy, d.CreatedBy), append(c.reasons, string(firstReason(d.Email.Key)))
	c.matchable = append(c.matchable, d.Email.Key.Matchable())
	c.kinds, c.actors = append(c.kinds, string(m.cause.Kind)), append(c.actors, m.cause.Actor)
	c.requests, c.whys = append(c.requests, m.cause.RequestID), append(c.whys, m.cause.Why)
	c.scopes, c.keys = append(c.scopes, d.Idempotency.Scope), append(c.keys, d.Idempotency.Key)
	c.bodies = append(c.bodies, d.Idempotency.Body[:])
}

func (c *makingColumns) arguments() []any {
	return []any{
		pq.Array(c.places), pq.Array(c.ids), pq.Array(c.firstNames), pq.Array(c.lastNames), pq.Array(c.emails), pq.Array(c.emailKeys),
		pq.Array(c.createdBy), pq.Array(c.reasons), pq.Array(c.matchable), pq.Array(c.kinds), pq.Array(c.actors),
		pq.Array(c.requests), pq.Array(c.whys), pq.Array(c.scopes), pq.Array(c.keys), pq.Array(c.bodies),
	}
}
