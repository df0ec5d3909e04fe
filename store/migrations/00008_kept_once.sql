-- +goose Up

-- One delivery about a user nobody knows yet is enough to keep.
create index inbox_kept_user on inbox (hint_auth_user_id) where state = 'kept';

-- +goose Down
drop index inbox_kept_user;
