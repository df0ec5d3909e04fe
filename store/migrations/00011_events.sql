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
drop table event_feed;
drop index history_unplaced, history_position;
alter table history drop column position;
