-- +goose Up

-- All users of the tenant as the last full listing saw them, to compare the
-- linked customers with. Rubbish after a crash, made anew by each listing: so it
-- is not logged. No primary key: a listing may show a user twice.
create unlogged table listed_users (
  user_id    text    not null,
  carried_by text    not null, -- the user that this one is an identity of; '' for users of their own
  email_key  text    not null, -- '' if it has none that is valid
  verified   boolean not null,
  blocked    boolean not null
);
create index listed_users_id on listed_users (user_id);

-- The export job of a full reconcile that has not come to its end; one row or none.
create table export_job (
  id       text        not null,
  made_at  timestamptz not null default clock_timestamp()
);
create unique index export_job_one on export_job ((true));

-- So that all that wait can be read in pages.
create index customers_waiting on customers (reason, id) where reason is not null;
drop index customers_pending_reason;

-- Several kinds of work, each done by one replica at a time. Fences come from one
-- sequence, so that a fence alone tells which lease it is of.
create sequence lease_fences;
select setval('lease_fences', (select max(fence) + 1 from leases));
insert into leases (name, holder, fence, expires_at)
values ('reconcile', '', -1, '-infinity'), ('follow', '', -2, '-infinity');
create unique index leases_fence on leases (fence);

-- +goose Down
drop index leases_fence;
delete from leases where name <> 'worker';
drop sequence lease_fences;
create index customers_pending_reason on customers (reason) where reason is not null;
drop index customers_waiting;
drop table export_job, listed_users;
