-- +goose Up

-- Deliveries that tell whom to look at but not who that is, as log entries do:
-- state 'ask' says that Auth0 is to be asked for the user.
alter table inbox add column partial boolean not null default false;
alter table inbox drop constraint inbox_state_check;
alter table inbox add constraint inbox_state_check check (state in ('new', 'ask', 'done', 'kept', 'quarantined'));
create index inbox_ask on inbox (id) where state = 'ask';

-- +goose Down
update inbox set state = 'done' where state = 'ask';
drop index inbox_ask;
alter table inbox drop constraint inbox_state_check;
alter table inbox add constraint inbox_state_check check (state in ('new', 'done', 'kept', 'quarantined'));
alter table inbox drop column partial;
