package main

import (
	"context"
	"errors"
)

const writeConnections = 16

const luaCreate = `
function request()
  count = count + 1
  headers["Idempotency-Key"] = seed .. count
  return wrk.format("POST", "/customer/v1/customers", headers, string.format(
    '{"first_name":"Ada","last_name":"Lovelace","email_address":"%s-%d@example.com"}', seed, count))
end
`

// pgbench takes every colon for a variable, in quotes too.
//
// sqlCreate is what a POST with an idempotency key comes to: the statements of
// store.Create. The id is made of the time, as ours are.
const sqlCreate = `
\set i :i + 1
\set k :client_id * 100000000 + :i
begin;
select pg_try_advisory_xact_lock(hashtextextended('bench' || chr(31) || '{seed}-' || :k::bigint, 1))
from (select pg_advisory_xact_lock_shared(hashtextextended('customersync inbox', 2))) absorb;
select body_sha256, outcome, customer_id
from idempotency_keys
where scope = 'bench' and key = '{seed}-' || :k::bigint and created_at > clock_timestamp() - interval '24 hours';
with draft as (
  select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || substr(md5('{seed}' || :k::bigint), 1, 3)
    || '8' || substr(md5('{seed}' || :k::bigint), 4, 15))::uuid as id,
    'pgbench{seed}-' || :k::bigint || '@example.com' as email
), kept as (
  update inbox
  set state = 'done'
  where state = 'kept' and (hint_email_key = (select email from draft) or hint_customer_id = (select id from draft))
  returning id, hint_auth_user_id, hint_email
), newest as (
  select hint_auth_user_id, hint_email
  from kept
  order by id desc
  limit 1
), made as (
  insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key,
    lifecycle, version, created_by, reason, next_check_at, hint_auth_user_id, hint_email)
  select d.id, t.now, t.now, 'Ada', 'Lovelace', d.email, d.email, 'auth_pending', 1, 'bench', 'waiting',
    t.now, n.hint_auth_user_id, n.hint_email
  from draft d
  cross join (select clock_timestamp() as now) t
  left join newest n on true
  on conflict (email_key) where lifecycle <> 'inactive' do nothing
  returning *
), written as (
  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why)
  select id, version, updated_at, 'api', 'bench', 'b6a19ce2-5a2f-4d9e-a5f3-7dc0e1c9ff55', 'created', lifecycle, 'created through the API'
  from made
), remembered as (
  insert into idempotency_keys (scope, key, body_sha256, outcome, customer_id)
  select 'bench', '{seed}-' || :k::bigint, sha256('body'), 'created', id
  from made
  on conflict (scope, key) do update
  set body_sha256 = excluded.body_sha256, outcome = excluded.outcome,
    customer_id = excluded.customer_id, created_at = excluded.created_at
)
select case when hint_auth_user_id is not null then pg_notify('customersync', '')::text end
from made;
commit;
`

const luaPatch = `
local path = "/customer/v1/customers?email_address=user"
function request()
  count = count + 1
  return wrk.format("PATCH", path .. math.random(0, customers - 1) .. "%40example.com", headers, '{"first_name":"' .. seed .. count .. '"}')
end
`

const someColumns = `id, created_at, updated_at, first_name, last_name, auth_user_id, email_address, email_key, lifecycle, version, created_by`

// sqlPatch is what a PATCH of a name comes to.
const sqlPatch = `
\set i :i + 1
\set n random(0, :customers - 1)
(select ` + someColumns + `
 from customers where email_key = 'user' || :n::bigint || '@example.com' and lifecycle <> 'inactive')
union all
(select ` + someColumns + `
 from customers where email_key = 'user' || :n::bigint || '@example.com' and lifecycle = 'inactive'
 order by updated_at desc limit 1)
limit 1 \gset
with before as (
  select ` + someColumns + `
  from customers
  where id = :id
  for update
), after as (
  update customers c
  set first_name = case when 'first_name' = 'first_name' then 'pgbench{seed}' || :i::bigint else c.first_name end,
    last_name = case when 'first_name' = 'last_name' then 'pgbench{seed}' || :i::bigint else c.last_name end,
    version = c.version + 1, updated_at = greatest(clock_timestamp(), c.updated_at + interval '1 microsecond')
  from before b
  where c.id = b.id and b.lifecycle <> 'inactive' and 'pgbench{seed}' || :i::bigint <> b.first_name
  returning c.*
), written as (
  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
    from_value, to_value, from_lifecycle, to_lifecycle, why)
  select a.id, a.version, a.updated_at, 'api', 'bench', 'b6a19ce2-5a2f-4d9e-a5f3-7dc0e1c9ff55', 'patched', 'first_name',
    b.first_name, a.first_name, b.lifecycle, a.lifecycle, 'changed through the API'
  from after a
  join before b on b.id = a.id
)
select ` + someColumns + `, true as changed
from after
union all
select ` + someColumns + `, false
from before
where not exists (select from after);
`

func measureCreates(ctx context.Context, b *bench) ([]result, error) {
	return b.writes(ctx, "POST with history and idempotency, against pgbench", 0.75, luaCreate, sqlCreate)
}

func measurePatches(ctx context.Context, b *bench) ([]result, error) {
	return b.writes(ctx, "PATCH, against pgbench", 0.70, luaPatch, sqlPatch)
}

// writes compares requests with the same statements sent by pgbench.
func (b *bench) writes(ctx context.Context, what string, least float64, script, statements string) (results []result, err error) {
	daemon, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	var rates []round
	for range b.rounds {
		limit, err := b.pgbench(ctx, statements, writeConnections)
		if err != nil {
			return nil, err
		}
		ours, cost, err := costing(daemon, func() (httpFigures, error) {
			return b.wrk(ctx, httpLoad{url: apiURL, script: script, connections: writeConnections, each: b.each})
		})
		if err != nil {
			return nil, err
		}
		rates = append(rates, round{ours.rate(), limit, microseconds(cost)})
	}
	return []result{compared(what, "1/s", goal{AtLeast: least}, rates)}, nil
}
