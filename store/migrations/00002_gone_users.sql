-- +goose Up

-- Since when Auth0 says that a linked customer's user is gone. Stays when that
-- ended the link, so that many such at once can be counted; a new link clears it.
alter table customers add column gone_at timestamptz;
create index customers_gone on customers (gone_at) where gone_at is not null;

-- The secondary identities of the user that a delivery is about, as user ids: a
-- customer may be linked to what has become one of them.
alter table inbox
  add column hint_identities text[],
  add column deleted boolean not null default false;

-- A rebound customer follows its user into the one that it was linked into.
alter table history drop constraint history_change_check;
alter table history add constraint history_change_check
  check (change in ('created', 'patched', 'linked', 'unlinked', 'rebound', 'email_filled', 'closed'));
alter table runs
  add column rebound integer not null default 0,
  add column lane text not null default '';

-- +goose Down
alter table runs drop column lane, drop column rebound;
alter table history drop constraint history_change_check;
alter table history add constraint history_change_check
  check (change in ('created', 'patched', 'linked', 'unlinked', 'email_filled', 'closed')) not valid;
alter table inbox drop column deleted, drop column hint_identities;
alter table customers drop column gone_at;
