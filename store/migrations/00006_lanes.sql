-- +goose Up

-- How far the lanes have come that follow Auth0 by a cursor: the event feed, the
-- tenant's logs. A cursor moves in the transaction that takes in what it stands for.
create table lanes (
  name     text        primary key,
  cursor   text        not null default '', -- '': start with what comes next
  moved_at timestamptz not null default clock_timestamp(),
  gap_at   timestamptz -- what happened before was missed, and no full reconcile has made up for it
);

-- +goose Down
drop table lanes;
