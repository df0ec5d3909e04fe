-- +goose Up

-- Two more of the worker's own notes: neither is versioned.
alter table customers
  add column look_now_at timestamptz, -- when somebody last asked for a look at once
  -- the Auth0 users that a conflict is between, as they were seen
  add column candidates jsonb check (candidates is null or reason in ('several_users', 'user_taken'));

create index customers_conflicts on customers (id) where reason in ('several_users', 'user_taken');

-- Whatever road a customer takes out of a conflict, the candidates stay behind.
-- +goose StatementBegin
create function forget_candidates() returns trigger language plpgsql as $$
begin
  new.candidates := null;
  return new;
end $$;
-- +goose StatementEnd
create trigger customers_forget_candidates before update on customers for each row
  when (old.candidates is not null and new.candidates is not distinct from old.candidates
    and new.reason is distinct from old.reason)
  execute function forget_candidates();

-- Requests wait for two things: that the customer's lifecycle moves, by whatever
-- road, and that a look which somebody asked for has been made. Told when the
-- change commits. By row and not by statement: an update that does neither, which
-- most are, costs no more than the condition.
-- +goose StatementBegin
create function tell_watchers() returns trigger language plpgsql as $$
begin
  perform pg_notify('customersync_watch', new.id::text);
  return null;
end $$;
-- +goose StatementEnd
create trigger customers_watched after update on customers for each row
  when (old.lifecycle <> new.lifecycle
    or old.next_check_at <= old.look_now_at and (new.next_check_at is null or new.next_check_at > new.look_now_at))
  execute function tell_watchers();

-- +goose Down
drop trigger customers_watched on customers;
drop trigger customers_forget_candidates on customers;
drop function tell_watchers, forget_candidates;
drop index customers_conflicts;
alter table customers drop column candidates, drop column look_now_at;
