-- +goose Up

-- What is due is probed every few seconds: an index of the time alone is a page less
-- high while 100,000 wait. Those due at one instant are put in order as they are read.
drop index customers_due;
create index customers_due on customers (next_check_at) where next_check_at is not null;

-- +goose Down
drop index customers_due;
create index customers_due on customers (next_check_at, id) where next_check_at is not null;
