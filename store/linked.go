package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// Keep writes what was learned of customers that stay linked, and gives those
// without an e-mail address their user's. Returned are those that got one. One
// whose address was taken meanwhile is left due.
func (s *Store) Keep(ctx context.Context, fence int64, keeps []customer.Keep, cause customer.Cause) (filled []customer.ID, err error) {
	return each(ctx, s, fence, "keep", keeps, func(tx *sqlx.Tx, k customer.Keep) (customer.ID, bool, error) {
		done, err := keep(ctx, tx, k, cause)
		return k.Customer, done, err
	})
}

// Rebind lets customers follow their user into the one it was linked into, and
// returns those that did. One that changed since, or whose new user was taken, is
// left alone: it stays due.
func (s *Store) Rebind(ctx context.Context, fence int64, rebinds []customer.Rebind, cause customer.Cause) (done []customer.ID, err error) {
	return each(ctx, s, fence, "rebind", rebinds, func(tx *sqlx.Tx, r customer.Rebind) (customer.ID, bool, error) {
		done, err := s.rebind(ctx, tx, r, cause)
		return r.Customer, done, err
	})
}

// Unlink takes their user from customers, which makes them auth_pending, or
// closes them, and returns those it was done to. One that changed since is left
// alone.
func (s *Store) Unlink(ctx context.Context, fence int64, unlinks []customer.Unlink, cause customer.Cause) (done []customer.ID, err error) {
	return each(ctx, s, fence, "unlink", unlinks, func(tx *sqlx.Tx, u customer.Unlink) (customer.ID, bool, error) {
		done, err := unlinkGone(ctx, tx, u, cause)
		return u.Customer, done, err
	})
}

// each writes decisions one by one, each in a transaction of its own: linked
// customers seldom change, and one in conflict must not spoil the others.
func each[D any](ctx context.Context, s *Store, fence int64, doing string, decisions []D, write func(*sqlx.Tx, D) (customer.ID, bool, error)) (done []customer.ID, err error) {
	for _, d := range decisions {
		var id customer.ID
		var changed bool
		err := s.inTx(ctx, doing, func(tx *sqlx.Tx) (err error) {
			if err := checkFence(ctx, tx, fence); err != nil {
				return err
			}
			id, changed, err = write(tx, d)
			return err
		})
		switch {
		case errors.Is(err, customer.ErrEmailTaken), errors.Is(err, customer.ErrAuthUserTaken):
			continue
		case err != nil:
			return done, err
		case changed:
			done = append(done, id)
		}
	}
	return done, nil
}

func keep(ctx context.Context, tx *sqlx.Tx, k customer.Keep, cause customer.Cause) (filled bool, err error) {
	if k.Email.Key != "" {
		return fill(ctx, tx, k, cause)
	}
	_, err = tx.ExecContext(ctx, `
		update customers
		set next_check_at = $4, misses = $5,
		  checked_at = case when $6 then clock_timestamp() else checked_at end,
		  gone_at = case when not $6 then gone_at when $7 then coalesce(gone_at, clock_timestamp()) end,
		  hint_auth_user_id = case when not $6 then hint_auth_user_id end,
		  hint_email = case when not $6 then hint_email end
		where id = $1 and lifecycle = 'active' and auth_user_id = $2 and next_check_at is not distinct from $3`,
		string(k.Customer), k.AuthUserID, nullTime(k.Due), nullTime(k.Next), k.Misses, k.Asked, k.Gone)
	return false, err
}

func fill(ctx context.Context, tx *sqlx.Tx, k customer.Keep, cause customer.Cause) (filled bool, err error) {
	var after []row
	err = tx.SelectContext(ctx, &after, `
		update customers
		set email_address = $3, email_key = $4, next_check_at = null, misses = 0, checked_at = clock_timestamp(),
		  gone_at = null, hint_auth_user_id = null, hint_email = null, `+moved+`
		where id = $1 and lifecycle = 'active' and auth_user_id = $2 and email_key is null
		returning `+columns, string(k.Customer), k.AuthUserID, k.Email.Address, string(k.Email.Key))
	if err != nil || len(after) == 0 {
		return false, err
	}
	c := change{what: "email_filled", field: "email_address", to: k.Email.Address, before: customer.Active}
	return true, writeHistory(ctx, tx, after[0], c, cause)
}

func (s *Store) rebind(ctx context.Context, tx *sqlx.Tx, r customer.Rebind, cause customer.Cause) (bool, error) {
	evidence, err := evidenceJSON(r.Evidence)
	if err != nil {
		return false, err
	}
	var after []row
	err = tx.SelectContext(ctx, &after, `
		update customers c
		set auth_user_id = $3, misses = 0, checked_at = clock_timestamp(), gone_at = null,
		  next_check_at = case when email_key is null then clock_timestamp() end,
		  hint_auth_user_id = null, hint_email = null, `+moved+`
		where id = $1 and lifecycle = 'active' and auth_user_id = $2
		  and not exists (
		    select from customers other
		    where other.auth_user_id = $3 and other.lifecycle <> 'inactive')
		  and not exists (select from erased_names where hash = any($4))
		returning `+columns, string(r.Customer), r.From, r.To, s.erase.hashes(userName, r.To))
	if err != nil || len(after) == 0 {
		return false, err
	}
	c := change{what: "rebound", field: "auth_user_id", from: r.From, to: r.To, before: customer.Active, evidence: evidence}
	return true, writeHistory(ctx, tx, after[0], c, cause)
}

func unlinkGone(ctx context.Context, tx *sqlx.Tx, u customer.Unlink, cause customer.Cause) (bool, error) {
	query, what := `
		update customers
		set auth_user_id = null, lifecycle = 'auth_pending', reason = 'user_gone', misses = 0,
		  checked_at = clock_timestamp(), gone_at = coalesce(gone_at, clock_timestamp()),
		  next_check_at = clock_timestamp() + interval '1 minute',
		  hint_auth_user_id = null, hint_email = null, `+moved+`
		where id = $1 and lifecycle = 'active' and auth_user_id = $2
		returning `+columns, "unlinked"
	if u.Close {
		query, what = `
		update customers
		set lifecycle = 'inactive', next_check_at = null,
		  checked_at = clock_timestamp(), gone_at = coalesce(gone_at, clock_timestamp()),
		  hint_auth_user_id = null, hint_email = null, `+moved+`
		where id = $1 and lifecycle = 'active' and auth_user_id = $2
		returning `+columns, "closed"
	}
	var after []row
	err := tx.SelectContext(ctx, &after, query, string(u.Customer), u.AuthUserID)
	if err != nil || len(after) == 0 {
		return false, err
	}
	c := change{what: what, field: "auth_user_id", from: u.AuthUserID, before: customer.Active}
	return true, writeHistory(ctx, tx, after[0], c, cause)
}

// Gone counts the linked customers whose users Auth0 says are gone, with those
// that lost their link for it and were first missed since; and all that are, or
// were, linked.
func (s *Store) Gone(ctx context.Context, since time.Time) (gone, linked int, err error) {
	var counts struct {
		Gone   int `db:"gone"`
		Lost   int `db:"lost"`
		Active int `db:"active"`
	}
	err = s.read(ctx, "count customers whose user is gone", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &counts, `
			select
			  count(*) filter (where lifecycle = 'active') as gone,
			  count(*) filter (where lifecycle <> 'active' and gone_at > $1) as lost,
			  (select count(*) from customers where lifecycle = 'active') as active
			from customers
			where gone_at is not null`, since)
	})
	return counts.Gone + counts.Lost, counts.Active + counts.Lost, err
}

// doubt makes the linked customers due whose user a delivery reports as deleted,
// or as an identity of another user. It returns how many.
func doubt(ctx context.Context, tx *sqlx.Tx, r inboxRow) (int64, error) {
	if r.Deleted {
		return updated(tx.ExecContext(ctx, prepared+`
			update customers
			set `+dueAgain+`
			where auth_user_id = $1 and lifecycle = 'active'`, r.User))
	}
	return updated(tx.ExecContext(ctx, `
		update customers
		set `+dueAgain+`, hint_auth_user_id = $1
		where auth_user_id = any($2::text[]) and lifecycle = 'active'`, r.User, pq.Array(r.Identities)))
}

// updated is how many rows a statement changed.
func updated(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
