package store

import (
	"cmp"
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// Patch changes one field and returns the customer as it then is. The value it
// already has changes nothing (R8). ifVersion, unless 0, must be the customer's
// version: else customer.ErrStale. Other errors: customer.ErrNotFound,
// ErrInactive, ErrAuthUserTaken.
//
// An auth_user_id links, "" unlinks (R9). An unlinked customer is looked up like
// any other: if the same user is still the only match, it is linked again.
func (s *Store) Patch(ctx context.Context, id customer.ID, p customer.Patch, ifVersion int64, cause customer.Cause) (customer.Customer, error) {
	if p.Field != customer.FieldAuthUserID {
		return s.rename(ctx, id, p, ifVersion, cause)
	}
	c := change{what: "linked", field: string(p.Field), to: p.Value}
	if p.Value == "" {
		c.what = "unlinked"
	}
	var after row
	err := s.inTx(ctx, "patch", func(tx *sqlx.Tx) error {
		before, done, err := lockVersion(ctx, tx, id, p.Seen, ifVersion, c, cause)
		switch {
		case err != nil:
			return err
		case done, before.AuthUserID.String == p.Value && before.Lifecycle != string(customer.Inactive):
			after = before
			return nil
		case before.Lifecycle == string(customer.Inactive):
			return customer.ErrInactive
		}
		c.from, c.before = before.AuthUserID.String, customer.Lifecycle(before.Lifecycle)
		if after, err = s.relink(ctx, tx, before, p.Value); err != nil {
			return err
		}
		return writeHistory(ctx, tx, after, c, cause)
	})
	return after.customer(), err
}

// lockVersion reads a customer for a change. done says that the change was made
// already: the answer to its commit got lost, and it is tried again.
func lockVersion(ctx context.Context, tx *sqlx.Tx, id customer.ID, seen, ifVersion int64, c change, cause customer.Cause) (r row, done bool, err error) {
	err = tx.GetContext(ctx, &r, prepared+`
		select `+columns+`
		from customers
		where id = $1
		for update`, string(id))
	since := cmp.Or(ifVersion, seen)
	if err != nil || since == 0 || r.Version == since {
		return r, false, err
	}
	done, err = madeSince(ctx, tx, id, since, c, cause)
	if err == nil && !done && ifVersion != 0 {
		err = customer.ErrStale
	}
	return r, done, err
}

// madeSince reports whether a change after a version was this very one. A request
// that another one repeats, to the id and the value, is no other.
func madeSince(ctx context.Context, q sqlx.QueryerContext, id customer.ID, since int64, c change, cause customer.Cause) (made bool, err error) {
	err = sqlx.GetContext(ctx, q, &made, `
		select exists (
		  select from history
		  where customer_id = $1 and version > $2 and change = $3 and field is not distinct from $4
		    and to_value is not distinct from $5 and request_id = $6 and actor = $7)`,
		string(id), since, c.what, null(c.field), null(c.to), cause.RequestID, cause.Actor)
	return made, err
}

// relink writes who the customer is linked to; "" is nobody.
func (s *Store) relink(ctx context.Context, tx *sqlx.Tx, before row, authUserID string) (row, error) {
	if authUserID == "" {
		return unlink(ctx, tx, before)
	}
	return s.linkByHand(ctx, tx, before, authUserID)
}

// moved is the part of an update that every change of a customer has.
const moved = `version = version + 1, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')`

// linkByHand links as somebody trusted said. A customer without an e-mail
// address is due at once, to get its user's. A user of an erased customer is brought
// back by that.
func (s *Store) linkByHand(ctx context.Context, tx *sqlx.Tx, before row, authUserID string) (row, error) {
	var after row
	err := tx.GetContext(ctx, &after, `
		update customers
		set auth_user_id = $2, lifecycle = 'active', reason = null, misses = 0, gone_at = null,
		  next_check_at = case when email_key is null then clock_timestamp() end,
		  hint_auth_user_id = null, hint_email = null, `+moved+`
		where id = $1
		returning `+columns, before.ID, authUserID)
	if err == nil && !after.Key.Valid {
		err = notify(ctx, tx)
	}
	if err == nil {
		err = s.erase.lift(ctx, tx, userName, authUserID)
	}
	return after, err
}

func unlink(ctx context.Context, tx *sqlx.Tx, before row) (row, error) {
	key := customer.EmailKey(before.Key.String)
	var after row
	err := tx.GetContext(ctx, &after, `
		update customers
		set auth_user_id = null, lifecycle = 'auth_pending', reason = $2, misses = 0, gone_at = null,
		  next_check_at = case when $3 then clock_timestamp() end, `+moved+`
		where id = $1
		returning `+columns, before.ID, string(firstReason(key)), key.Matchable())
	if err == nil && key.Matchable() {
		err = notify(ctx, tx)
	}
	return after, err
}

// CloseCustomer makes a customer inactive; one that is already so stays as it is
// (R8). Errors as with Patch.
func (s *Store) CloseCustomer(ctx context.Context, id customer.ID, ifVersion int64, cause customer.Cause) error {
	return s.inTx(ctx, "close", func(tx *sqlx.Tx) error {
		c := change{what: "closed"}
		before, done, err := lockVersion(ctx, tx, id, 0, ifVersion, c, cause)
		if err != nil || done || before.Lifecycle == string(customer.Inactive) {
			return err
		}
		c.before = customer.Lifecycle(before.Lifecycle)
		var after row
		err = tx.GetContext(ctx, &after, `
			update customers
			set lifecycle = 'inactive', reason = null, next_check_at = null,
			  hint_auth_user_id = null, hint_email = null, `+moved+`
			where id = $1
			returning `+columns, before.ID)
		if err != nil {
			return err
		}
		return writeHistory(ctx, tx, after, c, cause)
	})
}
