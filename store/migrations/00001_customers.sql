-- +goose Up

-- One row a customer. Everything that other systems see is versioned: each
-- change of those columns adds one to version and writes one row of history.
-- The columns after "created_by" are the worker's own notes and are not.
create table customers (
  id            uuid        primary key,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,
  first_name    text        not null check (char_length(first_name) between 1 and 200),
  last_name     text        not null check (char_length(last_name) between 1 and 200),
  auth_user_id  text        check (auth_user_id ~ '^[^|]+[|].' and octet_length(auth_user_id) <= 512),
  email_address text        check (octet_length(email_address) <= 254),
  -- made by customer.ParseEmail and by nothing else; never by lower()
  email_key     text        check (octet_length(email_key) <= 254),
  lifecycle     text        not null check (lifecycle in ('auth_pending', 'active', 'inactive')),
  version       bigint      not null check (version >= 1),
  created_by    text        not null,

  reason            text check (reason in (
    'waiting', 'not_registered', 'email_unverified', 'connection_not_trusted', 'user_blocked', 'several_users',
    'user_taken', 'email_missing', 'email_unmatchable', 'auth0_error', 'auth0_budget', 'user_gone')),
  next_check_at     timestamptz, -- null: nothing to look for until something happens
  checked_at        timestamptz, -- when Auth0 last answered about this customer
  misses            integer not null default 0, -- looks in a row that changed nothing
  hint_auth_user_id text, -- whom a delivery told us to ask for
  hint_email        text, -- that user's address as Auth0 spells it

  constraint customers_email_with_key check ((email_address is null) = (email_key is null)),
  constraint customers_active_is_linked check (
    (lifecycle = 'active' and auth_user_id is not null)
    or (lifecycle = 'auth_pending' and auth_user_id is null)
    or lifecycle = 'inactive'),
  constraint customers_pending_has_reason check ((lifecycle = 'auth_pending') = (reason is not null)),
  constraint customers_closed_is_never_due check (lifecycle <> 'inactive' or next_check_at is null)
);

create unique index customers_live_email on customers (email_key) where lifecycle <> 'inactive';
create unique index customers_live_auth_user on customers (auth_user_id) where lifecycle <> 'inactive';
create index customers_closed_email on customers (email_key, updated_at) where lifecycle = 'inactive';
create index customers_closed_auth_user on customers (auth_user_id, updated_at) where lifecycle = 'inactive';
create index customers_due on customers (next_check_at, id) where next_check_at is not null;
create index customers_pending_reason on customers (reason) where reason is not null;

-- The lifecycle table of package customer, once more: what may not happen must
-- not happen by hand either.
-- +goose StatementBegin
create function guard_customer() returns trigger language plpgsql as $$
begin
  if (new.id, new.created_at, new.created_by) is distinct from (old.id, old.created_at, old.created_by) then
    raise exception 'a customer keeps its id and origin' using errcode = 'CS001';
  end if;
  if old.lifecycle = 'inactive' then
    raise exception 'a closed customer does not change' using errcode = 'CS002';
  end if;
  if (new.first_name, new.last_name, new.auth_user_id, new.email_address, new.email_key, new.lifecycle, new.updated_at)
     is distinct from
     (old.first_name, old.last_name, old.auth_user_id, old.email_address, old.email_key, old.lifecycle, old.updated_at) then
    if new.version <> old.version + 1 or new.updated_at <= old.updated_at then
      raise exception 'a change moves version by one and updated_at on' using errcode = 'CS003';
    end if;
  elsif new.version <> old.version then
    raise exception 'version moves only with a change' using errcode = 'CS003';
  end if;
  return new;
end $$;
-- +goose StatementEnd
create trigger customers_guard before update on customers for each row execute function guard_customer();

-- What happened to each customer: a chain without gaps, version by version.
create table history (
  customer_id    uuid        not null references customers (id),
  version        bigint      not null,
  at             timestamptz not null,
  cause_kind     text        not null check (cause_kind in ('api', 'run', 'token', 'operator')),
  actor          text        not null,
  request_id     text        not null,
  change         text        not null check (change in ('created', 'patched', 'linked', 'unlinked', 'email_filled', 'closed')),
  field          text, -- with patched
  from_value     text,
  to_value       text,
  from_lifecycle text,
  to_lifecycle   text        not null,
  why            text        not null,
  evidence       jsonb, -- with linked by the worker: what was seen of the Auth0 user
  primary key (customer_id, version)
);
-- +goose StatementBegin
create function guard_history() returns trigger language plpgsql as $$
begin
  raise exception 'history is not rewritten' using errcode = 'CS004';
end $$;
-- +goose StatementEnd
create trigger history_guard before update on history for each row execute function guard_history();

-- Deliveries from Auth0, each once. Not acted on when they come in, so that
-- taking them in is quick and certain.
create table inbox (
  id               bigint generated always as identity primary key,
  source           text        not null,
  event_id         text        not null,
  kind             text        not null,
  received_at      timestamptz not null default clock_timestamp(),
  -- new: not looked at; done: acted on or nothing to do; kept: names nobody we
  -- know yet; quarantined: authentic but not understood
  state            text        not null check (state in ('new', 'done', 'kept', 'quarantined')),
  hint_auth_user_id text,
  hint_email       text,
  hint_email_key   text,
  hint_customer_id uuid,
  actionable       boolean     not null, -- verified and not a deletion: somebody could be linked
  body             bytea, -- of quarantined deliveries
  constraint inbox_once unique (source, event_id)
);
create index inbox_new on inbox (id) where state = 'new';
create index inbox_kept_email on inbox (hint_email_key) where state = 'kept';
create index inbox_kept_customer on inbox (hint_customer_id) where state = 'kept';
create index inbox_received on inbox (received_at);

-- Answers to requests with an Idempotency-Key, written with what they did.
create table idempotency_keys (
  scope       text        not null,
  key         text        not null,
  body_sha256 bytea       not null,
  outcome     text        not null check (outcome in ('created', 'existing', 'email_taken', 'auth_user_taken')),
  customer_id uuid,
  created_at  timestamptz not null default clock_timestamp(),
  primary key (scope, key)
);
create index idempotency_keys_created on idempotency_keys (created_at);

-- Who works. fence grows at each taking, and every write of a worker checks it.
create table leases (
  name       text primary key,
  holder     text        not null,
  fence      bigint      not null,
  expires_at timestamptz not null
);
insert into leases (name, holder, fence, expires_at) values ('worker', '', 0, '-infinity');

create table runs (
  id          bigint generated always as identity primary key,
  kind        text        not null,
  fence       bigint      not null,
  started_at  timestamptz not null default clock_timestamp(),
  ended_at    timestamptz,
  result      text check (result in ('ok', 'partial', 'failed', 'aborted')),
  looked      integer not null default 0,
  linked      integer not null default 0,
  unlinked    integer not null default 0,
  filled      integer not null default 0,
  conflicts   integer not null default 0,
  errors      integer not null default 0,
  auth0_calls integer not null default 0,
  budget_wait_ms bigint not null default 0,
  note        text not null default '',
  constraint runs_ended_with_result check ((ended_at is null) = (result is null))
);
create index runs_open on runs (id) where ended_at is null;
create index runs_started on runs (started_at);

-- Application subscription keys. Only the hash is kept.
create table app_keys (
  id         text        primary key,
  name       text        not null,
  sha256     bytea       not null unique check (octet_length(sha256) = 32),
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz
);

-- The newest state of each Auth0 user that a decision stood on; older
-- observations that come in late are dropped.
create table auth0_observations (
  auth_user_id text        primary key,
  updated_at   timestamptz not null,
  seen_at      timestamptz not null
);

-- +goose Down
drop table auth0_observations, app_keys, runs, leases, idempotency_keys, inbox, history, customers;
drop function guard_customer, guard_history;
