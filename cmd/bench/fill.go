package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jmoiron/sqlx"
)

// onePending is how many customers come to one that waits.
const onePending = 10

// fill makes n customers with their history, user0@example.com and so on, linked to
// the users that the simulator's fill makes; one in ten waits and is not due. A table that has them already is left as it is.
func fill(ctx context.Context, db *sqlx.DB, n int) error {
	var have int
	if err := db.GetContext(ctx, &have, `select count(*) from customers`); err != nil {
		return err
	}
	if have > 0 {
		return nil
	}
	started := time.Now()
	for _, step := range []string{
		// UUIDv7 by the time of making, as ours are: neighbours in time are neighbours in the index.
		`insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key, auth_user_id,
		   lifecycle, version, created_by, reason, next_check_at)
		 select id, at, at, 'First' || i, 'Last' || i, email, email,
		   case when not waits then 'auth0|' || lpad(i::text, 24, '0') end,
		   case when waits then 'auth_pending' else 'active' end, 1, 'app:bench',
		   case when waits then 'not_registered' end, case when waits then now() + interval '10 days' end
		 from (
		   select i, at, 'user' || i || '@example.com' as email, i % $2 = 0 as waits,
		     (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid as id
		   from (select i, now() - ($1 - i) * interval '1 second' as at from generate_series(0, $1 - 1) i) t) c`,
		`insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why)
		 select id, 1, created_at, 'api', created_by, 'fill', 'created', lifecycle, 'made for measuring'
		 from customers where $1 > 0 and $2 > 0`,
	} {
		if _, err := db.ExecContext(ctx, step, n, onePending); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	for _, settle := range []string{`vacuum analyze`, `checkpoint`} {
		if _, err := db.ExecContext(ctx, settle); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	fmt.Fprintf(os.Stderr, "filled %d customers in %.0f s\n", n, time.Since(started).Seconds())
	return nil
}
