-- +goose Up

-- The feed of events is the history in an order of its own. Neither time nor a
-- sequence will do for that: a change with an earlier number may be committed later,
-- and who has read on would miss it. So places are given afterwards, to changes that
-- are committed, by one at a time, and only once somebody reads.
alter table history add column position bigint;
create unique index history_position on history (position) where position is not null;
-- Those without one. "at" grows with a customer's versions, so the order by it keeps
-- theirs. What kinds of change are events, package customer says.
create index history_unplaced on history (at, customer_id, version)
  where position is null and change in ('created', 'patched', 'linked', 'unlinked', 'rebound', 'email_filled', 'closed');

-- The last position given. Whoever gives more locks the row. No sequence: what it
-- gives does not wait for the commit, and it counts on if that fails.
create table event_feed (
  only_row boolean primary key default true check (only_row),
  last     bigint  not null
);
insert into event_feed (last) values (0);
-- To find where a time is in the feed. The history grows with time, so this is tiny.
create index history_at on history using brin (at);

-- Where events are delivered to, and how far the feed was read for it: each event up
-- to there was delivered, or has a row below.
create table event_targets (
  name     text   primary key,
  position bigint not null
);
-- Events that could not be delivered at once, and those behind them: a customer's
-- events are delivered in their order. One is the head: it has next_at.
create table event_deliveries (
  target      text        not null references event_targets (name),
  customer_id uuid        not null,
  version     bigint      not null,
  position    bigint      not null,
  at          timestamptz not null,
  attempts    integer     not null default 0,
  first_at    timestamptz, -- of the attempts
  next_at     timestamptz, -- null: dead, or behind another
  dead_at     timestamptz, -- given up then
  note        text        not null default '', -- why the last attempt failed
  primary key (target, customer_id, version),
  constraint event_deliveries_dead_are_not_due check (dead_at is null or next_at is null)
);
create index event_deliveries_due on event_deliveries (target, next_at) where next_at is not null;
create index event_deliveries_dead on event_deliveries (dead_at) where dead_at is not null;
create index event_deliveries_customer on event_deliveries (customer_id);
insert into leases (name, holder, fence, expires_at) values ('events', '', -3, '-infinity');

-- +goose StatementBegin
create or replace function guard_history() returns trigger language plpgsql as $$
declare
  placed history := old;
begin
  placed.position := new.position;
  if old.position is null and placed is not distinct from new then
    return new;
  end if;
  raise exception 'history is not rewritten' using errcode = 'CS004';
end $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
create or replace function guard_history() returns trigger language plpgsql as $$
begin
  raise exception 'history is not rewritten' using errcode = 'CS004';
end $$;
-- +goose StatementEnd
delete from leases where name = 'events';
drop table event_deliveries, event_targets, event_feed;
drop index history_at, history_unplaced, history_position;
alter table history drop column position;
