-- +goose Up

-- Of the users in a full listing, those that may belong to a customer that waits
-- are kept whole: what the rule decides by. Memory then does not grow with them.
alter table listed_users
  add column customer_id uuid, -- that the user names, of those
  add column observation json; -- null for all others
create index listed_users_met_key on listed_users (email_key) where observation is not null;
create index listed_users_met_customer on listed_users (customer_id) where customer_id is not null;

-- +goose Down
drop index listed_users_met_customer, listed_users_met_key;
alter table listed_users drop column observation, drop column customer_id;
