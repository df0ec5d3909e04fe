package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// renaming is one name to change.
type renaming struct {
	id      customer.ID
	patch   customer.Patch
	version int64 // that it must have
	cause   customer.Cause
}

// renamed is the customer as it then is.
type renamed struct {
	now     customer.Customer
	changed bool
}

// rename changes a name in the version that was seen, or else in the one that it has
// become, unless that was by this very change. So a change whose answer gets lost is
// made once, by whichever try comes first: lib/pq (v1.12.3) reports such an answer as
// a bad connection, on which database/sql sends the statement again by itself.
func (s *Store) rename(ctx context.Context, id customer.ID, p customer.Patch, ifVersion int64, cause customer.Cause) (customer.Customer, error) {
	r := renaming{id, p, cmp.Or(ifVersion, p.Seen), cause}
	if r.version == 0 {
		found, err := s.Customer(ctx, id)
		if err != nil {
			return customer.Customer{}, fmt.Errorf("patch: %w", err)
		}
		r.version = found.Version
	}
	for {
		done, err := s.renameVersion(ctx, r)
		switch {
		case err != nil:
			return customer.Customer{}, err
		case done.changed:
			return done.now, nil
		case done.now.Version == r.version && done.now.Lifecycle == customer.Inactive:
			return customer.Customer{}, fmt.Errorf("patch: %w", customer.ErrInactive)
		case done.now.Version == r.version:
			return done.now, nil // it has this name
		}
		made := false
		err = s.read(ctx, "patch", func(ctx context.Context) error {
			made, err = madeSince(ctx, s.db, id, r.version, change{what: "patched", field: string(p.Field), to: p.Value}, cause)
			return err
		})
		switch {
		case err != nil:
			return customer.Customer{}, err
		case made:
			return done.now, nil
		case ifVersion != 0:
			return customer.Customer{}, fmt.Errorf("patch: %w", customer.ErrStale)
		}
		r.version = done.now.Version
	}
}

// renameVersion changes a name if the customer has this version, in one statement
// with all that come at the same time.
//
// One whose row somebody else holds, whose customer another of the same round
// changes, or that names nobody, is left out there and done by itself: nobody
// waits for the row of another.
func (s *Store) renameVersion(ctx context.Context, r renaming) (renamed, error) {
	defer s.traced(ctx, "patch")()
	done, err := s.renaming.ask(ctx, r)
	if err == nil && done == nil {
		err = s.read(ctx, "patch", func(ctx context.Context) error {
			all, err := rename(ctx, s.db, []renaming{r}, waitForRow)
			if err != nil {
				return err
			}
			if done = all[0]; done == nil {
				return customer.ErrNotFound
			}
			return nil
		})
	}
	if err != nil {
		return renamed{}, err
	}
	return *done, nil
}

const (
	// renameLanes is two: one gathers while the other waits for the disk.
	renameLanes = 2
	renameMost  = 100
)

func (s *Store) renamer() *together[renaming, *renamed] {
	return &together[renaming, *renamed]{lanes: renameLanes, most: renameMost, within: s.patience, do: func(ctx context.Context, all []renaming) (done []*renamed, err error) {
		err = s.read(ctx, "patch", func(ctx context.Context) (err error) {
			done, err = rename(ctx, s.db, all, passByRow)
			return err
		})
		return done, err
	}}
}

// What to do about a row that another transaction holds.
const (
	waitForRow = `for update of c`
	passByRow  = `for update of c skip locked` //nolint:gosec // no password
)

// rename changes names in one statement: no row is locked while anything is on the
// wire. What it finds once it has a lock is the newest version, and so is what it
// changes. The answers are in the order asked for, nil where there is no such row
// or it was not to be had.
func rename(ctx context.Context, db sqlx.QueryerContext, all []renaming, held string) (done []*renamed, err error) {
	var c renamingColumns
	for _, r := range all {
		c.add(r)
	}
	rows, err := db.QueryxContext(ctx, prepared+`
		with asked as (
		  select distinct on (id) *
		  from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
		    with ordinality as a(id, field, name, at_version, kind, actor, request_id, why, place)
		  order by id, place
		), before as (
		  select c.*, a.place, a.field, a.name, a.at_version, a.kind, a.actor, a.request_id, a.why,
		    case a.field when 'first_name' then c.first_name else c.last_name end as old_name
		  from asked a
		  join customers c on c.id = a.id
		  `+held+`
		), after as (
		  update customers c
		  set first_name = case b.field when 'first_name' then b.name else c.first_name end,
		    last_name = case b.field when 'last_name' then b.name else c.last_name end,
		    version = c.version + 1, updated_at = greatest(clock_timestamp(), c.updated_at + interval '1 microsecond')
		  from before b
		  where c.id = b.id and b.lifecycle <> 'inactive' and b.version = b.at_version
		    and b.name <> b.old_name
		  returning b.place, c.*
		), written as (
		  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
		    from_value, to_value, from_lifecycle, to_lifecycle, why)
		  select a.id, a.version, a.updated_at, b.kind, b.actor, b.request_id, 'patched', b.field,
		    b.old_name, b.name, b.lifecycle, a.lifecycle, b.why
		  from after a
		  join before b on b.place = a.place
		)
		select place, true, `+columns+`
		from after
		union all
		select place, false, `+columns+`
		from before
		where place not in (select place from after)`, c.arguments()...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	done = make([]*renamed, len(all))
	var place int
	var changed bool
	var r row
	fields := append([]any{&place, &changed}, r.fields()...)
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return nil, err
		}
		done[place-1] = &renamed{r.customer(), changed}
	}
	return done, rows.Err()
}

// renamingColumns are renamings turned on their side.
type renamingColumns struct {
	ids, fields, names, kinds, actors, requests, whys []string
	versions                                          []int64
}

func (c *renamingColumns) add(r renaming) {
	c.ids, c.versions = append(c.ids, string(r.id)), append(c.versions, r.version)
	c.fields, c.names = append(c.fields, string(r.patch.Field)), append(c.names, r.patch.Value)
	c.kinds, c.actors = append(c.kinds, string(r.cause.Kind)), append(c.actors, r.cause.Actor)
	c.requests, c.whys = append(c.requests, r.cause.RequestID), append(c.whys, r.cause.Why)
}

func (c *renamingColumns) arguments() []any {
	return []any{
		pq.Array(c.ids), pq.Array(c.fields), pq.Array(c.names), pq.Array(c.versions),
		pq.Array(c.kinds), pq.Array(c.actors), pq.Array(c.requests), pq.Array(c.whys),
	}
}
