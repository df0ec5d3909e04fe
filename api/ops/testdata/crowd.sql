-- What BenchmarkPages measures with: statements parted by empty lines, :n customers.
-- UUIDv7 by the time of making, as ours are: neighbours in time are neighbours in the index.
insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key, auth_user_id,
  lifecycle, version, created_by, reason, next_check_at, checked_at, misses, looks, gone_at)
select id, at, at, 'First' || i, 'Last' || i, 'user' || i || '@example.com', 'user' || i || '@example.com',
  case when state <> 'auth_pending' then 'auth0|' || lpad(i::text, 24, '0') end, state, 2, 'app:bench',
  case when state = 'auth_pending' then (array['not_registered', 'not_registered', 'not_registered', 'not_registered', 'email_unverified',
    'connection_not_trusted', 'waiting', 'auth0_budget', 'user_gone', 'several_users'])[1 + i / 10 % 10] end,
  case when state = 'auth_pending' then now() + (i % 2000 - 100) * interval '1 minute' end,
  case when state = 'auth_pending' then now() - interval '1 hour' end, 7,
  case when state = 'auth_pending' then jsonb_build_array(jsonb_build_object(
    'reason', 'not_registered', 'by', 'search', 'count', 7, 'first', at, 'last', at + interval '1 hour')) end,
  case when state = 'active' and i % 1000 = 1 then now() end
from (
  select i, at, case when i % 10 = 0 then 'auth_pending' when i % 50 = 1 then 'inactive' else 'active' end as state,
    (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid as id
  from (select i, now() - (:n - i) * interval '2 seconds' as at from generate_series(0, :n - 1) i) t) c;

insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why)
select id, 1, created_at, 'api', created_by, 'fill', 'created', 'auth_pending', 'made for measuring'
from customers;

-- The first run linked half of them, the others a few each.
insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field, to_value, from_lifecycle, to_lifecycle, why, evidence, run_id)
select id, 2, created_at + interval '1 second', 'run', 'reconcile', '', 'linked', 'auth_user_id', auth_user_id, 'auth_pending', 'active', 'matched with an Auth0 user',
  jsonb_build_object('auth_user_id', auth_user_id, 'email_verified', true, 'providers', jsonb_build_array('auth0'), 'named_by', 'email', 'updated_at', created_at, 'seen_at', created_at),
  case when n % 2 = 0 then 1 else 2 + n % 86000 end
from (select *, row_number() over (order by id) as n from customers where lifecycle <> 'auth_pending') c;

insert into runs (kind, fence, started_at, ended_at, result, looked, linked, lane)
select case when i = 1 then 'reconcile' when i % 2880 = 0 then 'reconcile' when i % 3 = 0 then 'inbox' else 'promote' end, i, at, at + interval '1 second',
  case when i % 500 = 0 then 'partial' else 'ok' end, 50, 10, 'search'
from (select i, now() - (86000 - i) * interval '30 seconds' as at from generate_series(1, 86000) i) t;

insert into inbox (source, event_id, kind, received_at, state, hint_auth_user_id, hint_email_key, actionable)
select case when i % 10 = 0 then 'action' else 'event_feed' end, 'e' || i, 'user.created', now() - (300000 - i) * interval '1 second',
  case when i % 7 = 0 then 'kept' when i % 5000 = 1 then 'quarantined' else 'done' end, 'auth0|x' || i, 'x' || i || '@example.com', true
from generate_series(1, 300000) i;

insert into lags (hour, found_by, below, customers)
select date_trunc('hour', now(), 'UTC') - h * interval '1 hour', f, b, 10
from generate_series(0, 720) h, unnest(array['delivery', 'cron', 'reconcile', 'request']) f,
  unnest(array[.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 21600, 86400, 'infinity']::float8[]) b;

insert into plans (asked_by, why, state, run_id)
values ('bench', 'measuring', 'ready', 1);

insert into plan_rows (plan_id, place, customer_id, version, action, auth_user_id)
select (select id from plans), row_number() over (order by id), id, 2, 'unlink', auth_user_id
from (select * from customers where lifecycle = 'active' limit 20000) c;

vacuum analyze;
