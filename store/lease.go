package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// Acquire takes a lease for ttl, by the database's clock, and returns its fence: a
// number that grows at each taking and is no other lease's. customer.ErrLeaseHeld
// if somebody has it. A taking that is under way when ctx ends is seen through, so
// that the lease can be given back: cut off, it may have been taken all the same, and
// nobody would work until it ran out.
func (s *Store) Acquire(ctx context.Context, name customer.LeaseName, holder string, ttl time.Duration) (fence int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = s.db.GetContext(named(context.WithoutCancel(ctx), "take lease"), &fence, `
		update leases
		set holder = $2, fence = nextval('lease_fences'), expires_at = clock_timestamp() + $3 * interval '1 second'
		where name = $1 and expires_at <= clock_timestamp()
		returning fence`, string(name), holder, ttl.Seconds())
	// Not retried: a taking whose answer was lost must run out, else two would hold it.
	if errors.Is(err, sql.ErrNoRows) {
		return 0, customer.ErrLeaseHeld
	}
	if err != nil {
		return 0, translate(err)
	}
	return fence, nil
}

// Renew prolongs a lease; customer.ErrLeaseLost if it was taken over.
func (s *Store) Renew(ctx context.Context, fence int64, ttl time.Duration) error {
	return s.ifHeld(ctx, "renew lease", `
		update leases
		set expires_at = clock_timestamp() + $2 * interval '1 second'
		where fence = $1
		returning fence`, fence, ttl.Seconds())
}

// Release gives a lease back; customer.ErrLeaseLost if it was taken over.
func (s *Store) Release(ctx context.Context, fence int64) error {
	return s.ifHeld(ctx, "release lease", `
		update leases
		set expires_at = '-infinity'
		where fence = $1
		returning fence`, fence)
}

func (s *Store) ifHeld(ctx context.Context, doing, query string, args ...any) error {
	return s.read(ctx, doing, func(ctx context.Context) error {
		var fence int64
		err := s.db.GetContext(ctx, &fence, query, args...)
		if errors.Is(err, sql.ErrNoRows) {
			return customer.ErrLeaseLost
		}
		return err
	})
}

// checkFence makes a transaction's writes depend on the lease: whoever takes it
// over waits until the transaction has ended. Fence 0 is a write that needs none.
func checkFence(ctx context.Context, tx *sqlx.Tx, fence int64) error {
	if fence == 0 {
		return nil
	}
	var held int64
	err := tx.GetContext(ctx, &held, `
		select fence
		from leases
		where fence = $1
		for key share`, fence)
	if errors.Is(err, sql.ErrNoRows) {
		return customer.ErrLeaseLost
	}
	return err
}
