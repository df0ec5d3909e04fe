-- +goose Up

-- Proof that a customer was erased. There is nothing personal in it: the customer
-- had this id, and no row anywhere says whose it was.
create table erasures (
  customer_id uuid        primary key,
  version     bigint      not null, -- of the event: one more than the customer's last
  erased_at   timestamptz not null,
  actor       text        not null,
  request_id  text        not null,
  removed     jsonb       not null, -- rows by table
  others      uuid[]      not null, -- customers that had a name of this one's, and were left
  position    bigint -- in the feed of events
);
create unique index erasures_position on erasures (position) where position is not null;
create index erasures_unplaced on erasures (erased_at, customer_id) where position is null;

-- What erased customers were known by, so that none comes back by itself. Only who has
-- the key can tell whether a name is among them: addresses are too easily guessed for
-- a plain hash.
create table erased_names (
  hash      bytea       primary key check (octet_length(hash) = 32), -- HMAC-SHA256 of kind and name
  key_id    bytea       not null, -- tells the key and not more
  erased_at timestamptz not null
);
create index erased_names_key on erased_names (key_id);

-- One more reason to wait. Not validated: no row has it yet, and none may break it.
alter table customers drop constraint customers_reason_check;
alter table customers add constraint customers_reason_check check (reason in (
  'waiting', 'not_registered', 'email_unverified', 'connection_not_trusted', 'user_blocked', 'several_users',
  'user_taken', 'email_missing', 'email_unmatchable', 'auth0_error', 'auth0_budget', 'user_gone', 'user_erased')) not valid;

-- +goose Down
update customers set reason = 'not_registered' where reason = 'user_erased';
alter table customers drop constraint customers_reason_check;
alter table customers add constraint customers_reason_check check (reason in (
  'waiting', 'not_registered', 'email_unverified', 'connection_not_trusted', 'user_blocked', 'several_users',
  'user_taken', 'email_missing', 'email_unmatchable', 'auth0_error', 'auth0_budget', 'user_gone')) not valid;
drop table erased_names, erasures;
