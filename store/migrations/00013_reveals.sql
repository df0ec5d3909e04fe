-- +goose Up

-- Who was shown a customer's address in full, when and why. It belongs to the history,
-- which shows it, and is no version of the customer: those move updated_at and the
-- ETag, go out as events, and end when the customer is closed.
create table reveals (
  customer_id uuid        not null references customers (id) on delete cascade, -- a replica that does not know this table erases too
  request_id  text        not null,
  version     bigint      not null, -- of the customer, as it was shown
  lifecycle   text        not null,
  at          timestamptz not null default clock_timestamp(),
  cause_kind  text        not null check (cause_kind in ('api', 'run', 'token', 'operator')),
  actor       text        not null,
  why         text        not null,
  primary key (customer_id, request_id)
);
-- +goose StatementBegin
create function guard_reveals() returns trigger language plpgsql as $$
begin
  raise exception 'history is not rewritten' using errcode = 'CS004';
end $$;
-- +goose StatementEnd
create trigger reveals_guard before update on reveals for each row execute function guard_reveals();

-- +goose Down
drop table reveals;
drop function guard_reveals;
