-- +goose Up

-- What is due is probed every few seconds: an index of the time alone is a page less
-- high while 100,000 wait. Those due at one instant are put in order as they are read.
-- The old one goes last: until then customers can be read.
create index customers_due_at on customers (next_check_at) where next_check_at is not null;
drop index customers_due;
alter index customers_due_at rename to customers_due;

-- +goose Down
create index customers_due_at on customers (next_check_at, id) where next_check_at is not null;
drop index customers_due;
alter index customers_due_at rename to customers_due;
