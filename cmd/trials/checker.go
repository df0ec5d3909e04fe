package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// findings are what the checker has to complain of, in words: acknowledged
// writes that are not there, and rows that contradict each other or the tenant.
type findings struct {
	lost, wrong []string
}

// rules are the invariants that the rows keep by themselves. Each query gives
// the customers or keys that break it.
var rules = []struct{ broken, query string }{
	{"history is not a chain from 1 to the customer's version", `
		select c.id::text
		from customers c
		left join history h on h.customer_id = c.id
		group by c.id
		having count(h.version) <> c.version or min(h.version) <> 1 or max(h.version) <> c.version`},
	{"history does not go from state to state", `
		select customer_id::text
		from (
		  select customer_id, change, from_lifecycle, lag(to_lifecycle) over (partition by customer_id order by version) as before
		  from history) h
		where from_lifecycle is distinct from before or (change = 'created') <> (before is null)`},
	{"history ends otherwise than the customer", `
		select c.id::text
		from customers c
		join history h on h.customer_id = c.id and h.version = c.version
		where h.to_lifecycle <> c.lifecycle or h.at <> c.updated_at`},
	{"the name is not the last one in its history", `
		select c.id::text
		from customers c
		join lateral (
		  select to_value
		  from history
		  where customer_id = c.id and field = 'first_name'
		  order by version desc
		  limit 1) h on true
		where h.to_value is distinct from c.first_name`},
	{"an Auth0 user is on two live customers", `
		select auth_user_id
		from customers
		where lifecycle <> 'inactive' and auth_user_id is not null
		group by auth_user_id
		having count(*) > 1`},
	{"a customer was linked twice, and nobody was unlinked", `
		select customer_id::text
		from history
		where change = 'linked'
		group by customer_id
		having count(*) > 1`},
	{"active and linked are not the same", `
		select id::text
		from customers
		where lifecycle <> 'inactive' and (lifecycle = 'active') <> (auth_user_id is not null)`},
	{"a link without kept evidence", `
		select c.id::text
		from customers c
		where c.auth_user_id is not null and not exists (
		  select from history h
		  where h.customer_id = c.id and h.change = 'linked' and h.to_value = c.auth_user_id
		    and (h.evidence ->> 'auth_user_id' = c.auth_user_id or h.why = 'changed through the API' and h.evidence is null))`},
	{"an idempotency key without its effect", `
		select k.key
		from idempotency_keys k
		where k.outcome = 'created' and not exists (
		  select from history h
		  where h.customer_id = k.customer_id and h.change = 'created')`},
	{"a customer without exactly one idempotency key", `
		select c.id::text
		from customers c
		left join idempotency_keys k on k.customer_id = c.id
		where c.first_name <> '` + keyless + `'
		group by c.id
		having count(k.key) <> 1`},
	{"an erased customer is there", `
		select e.customer_id::text
		from erasures e
		where exists (select from customers where id = e.customer_id)
		  or exists (select from history where customer_id = e.customer_id)
		  or exists (select from idempotency_keys where customer_id = e.customer_id)`},
}

// check holds the rows against each other, against the tenant and against what
// the clients were told. Nobody may be writing but the worker.
func check(ctx context.Context, db *sql.DB, states []auth0sim.State, told []account) (findings, error) {
	return checkRules(ctx, db, func(f *findings, tx *sql.Tx) error {
		rows, err := readRows(ctx, tx)
		if err != nil {
			return err
		}
		made, err := readDecisions(ctx, tx)
		if err != nil {
			return err
		}
		f.truth(made, states)
		f.kept(rows, told)
		return nil
	})
}

// checkRules holds the rows against each other, and against whatever else.
func checkRules(ctx context.Context, db *sql.DB, and func(f *findings, tx *sql.Tx) error) (f findings, err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return f, fmt.Errorf("check: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only read
	for _, r := range rules {
		if err := f.obey(ctx, tx, r.broken, r.query); err != nil {
			return f, err
		}
	}
	return f, and(&f, tx)
}

func (f *findings) obey(ctx context.Context, tx *sql.Tx, broken, query string) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("check that never %s: %w", broken, err)
	}
	defer func() { _ = rows.Close() }() // read to its end
	for rows.Next() {
		var what string
		if err := rows.Scan(&what); err != nil {
			return fmt.Errorf("check that never %s: %w", broken, err)
		}
		f.wrong = append(f.wrong, broken+": "+what)
	}
	return rows.Err()
}

// kept sees to it that what was acknowledged is there, once, and nothing else is.
func (f *findings) kept(rows map[customer.ID]row, told []account) {
	for _, a := range told {
		r, there := rows[a.id]
		if want := a.row(); !there || r.told() != want {
			f.lost = append(f.lost, fmt.Sprintf("customer %s: acknowledged %+v, there is %+v", a.id, want, r.told()))
		}
	}
	if len(rows) != len(told) {
		f.wrong = append(f.wrong, fmt.Sprintf("%d customers, but %d were acknowledged", len(rows), len(told)))
	}
}
