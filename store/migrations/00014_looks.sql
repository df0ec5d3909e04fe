-- +goose Up

-- What became of the looks at a customer, folded: a JSON list, oldest first, of
-- {reason, by, count, first, last}, where count looks in a row came to the same reason.
-- The newest 12 are kept. One of the worker's own notes: not versioned.
alter table customers add column looks jsonb;

-- Which run made a change, so that what a run did can be listed. Null: none, or it was
-- before this was noted.
alter table history add column run_id bigint;
create index history_run on history (run_id, customer_id, version) where run_id is not null;

-- Who had a run made, and why; '': the clock or a delivery did.
alter table runs
  add column asked_by text not null default '',
  add column why      text not null default '';
-- The last attempt and the last success of each kind of run.
create index runs_kind on runs (kind, id);
create index runs_kind_ok on runs (kind, id) where result = 'ok';

-- How long customers waited until they were linked, counted as they are: by the hour,
-- by what led to them, and by the bound of seconds that they stayed below, infinity
-- where there is none. Nothing personal is in it.
create table lags (
  hour      timestamptz      not null,
  found_by  text             not null,
  below     double precision not null,
  customers bigint           not null,
  primary key (hour, found_by, below)
);

-- So that those that were not understood are counted without reading all the others.
create index inbox_quarantined on inbox (id) where state = 'quarantined';

-- Plans of a full reconcile that were asked for on the operator page. Whoever makes or
-- carries out one says so every few seconds: silence means that its process is gone.
create table plans (
  id         bigint      generated always as identity primary key,
  asked_at   timestamptz not null default clock_timestamp(),
  asked_by   text        not null,
  why        text        not null,
  state      text        not null check (state in ('making', 'ready', 'failed', 'applying')),
  heard_at   timestamptz not null default clock_timestamp(),
  run_id     bigint, -- of the last making or carrying out
  users      integer     not null default 0, -- of the tenant, read so far
  total      integer     not null default 0, -- of them, as search counts
  note       text        not null default '' -- what went wrong
);
create unique index plans_busy on plans ((true)) where state in ('making', 'applying');

create table plan_rows (
  plan_id      bigint  not null references plans (id) on delete cascade,
  place        integer not null,
  customer_id  uuid    not null,
  version      bigint  not null, -- that the customer had
  action       text    not null,
  auth_user_id text    not null, -- to be linked to, or no longer
  outcome      text    not null default '', -- '': not asked for; 'chosen', 'done', or why it was refused
  primary key (plan_id, place)
);
create index plan_rows_customer on plan_rows (customer_id); -- for whoever is erased
create index plan_rows_chosen on plan_rows (plan_id, place) where outcome = 'chosen';

-- +goose Down
drop table plan_rows, plans, lags;
drop index inbox_quarantined, runs_kind_ok, runs_kind;
alter table runs drop column why, drop column asked_by;
drop index history_run;
alter table history drop column run_id;
alter table customers drop column looks;
