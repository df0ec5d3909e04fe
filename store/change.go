package store

import (
	"context"
	"fmt"

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
	var after row
	err := s.inTx(ctx, "patch", func(tx *sqlx.Tx) error {
		before, err := lockVersion(ctx, tx, id, ifVersion)
		if err != nil {
			return err
		}
		if before.Lifecycle == string(customer.Inactive) {
			return customer.ErrInactive
		}
		current := before.AuthUserID.String
		if current == p.Value {
			after = before
			return nil
		}
		c := change{field: string(p.Field), from: current, to: p.Value, before: customer.Lifecycle(before.Lifecycle)}
		after, err = s.patch(ctx, tx, before, p, &c)
		if err != nil {
			return err
		}
		return writeHistory(ctx, tx, after, c, cause)
	})
	return after.customer(), err
}

// lockVersion reads a customer for a change.
func lockVersion(ctx context.Context, tx *sqlx.Tx, id customer.ID, ifVersion int64) (row, error) {
	var r row
	err := tx.GetContext(ctx, &r, prepared+`
		select `+columns+`
		from customers
		where id = $1
		for update`, string(id))
	if err == nil && ifVersion != 0 && ifVersion != r.Version {
		return row{}, customer.ErrStale
	}
	return r, err
}

// patch writes who the customer is linked to and says in c what kind of change
// that is.
func (s *Store) patch(ctx context.Context, tx *sqlx.Tx, before row, p customer.Patch, c *change) (row, error) {
	if p.Value == "" {
		c.what = "unlinked"
		return unlink(ctx, tx, before)
	}
	c.what = "linked"
	return s.linkByHand(ctx, tx, before, p.Value)
}

// moved is the part of an update that every change of a customer has.
const moved = `version = version + 1, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')`

// rename changes a name in one statement: the row is not locked while anything is
// on the wire. What it finds once it has the lock is the newest version, and so is
// what it changes.
func (s *Store) rename(ctx context.Context, id customer.ID, p customer.Patch, ifVersion int64, cause customer.Cause) (customer.Customer, error) {
	var now struct {
		row
		Changed bool `db:"changed"`
	}
	err := s.read(ctx, "patch", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &now, prepared+`
			with before as (
			  select `+columns+`
			  from customers
			  where id = $1
			  for update
			), after as (
			  update customers c
			  set first_name = case when $2 = 'first_name' then $3 else c.first_name end,
			    last_name = case when $2 = 'last_name' then $3 else c.last_name end,
			    version = c.version + 1, updated_at = greatest(clock_timestamp(), c.updated_at + interval '1 microsecond')
			  from before b
			  where c.id = b.id and b.lifecycle <> 'inactive' and ($4 = 0 or b.version = $4)
			    and $3 <> case when $2 = 'first_name' then b.first_name else b.last_name end
			  returning c.*
			), written as (
			  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field,
			    from_value, to_value, from_lifecycle, to_lifecycle, why)
			  select a.id, a.version, a.updated_at, $5, $6, $7, 'patched', $2,
			    case when $2 = 'first_name' then b.first_name else b.last_name end, $3, b.lifecycle, a.lifecycle, $8
			  from after a
			  join before b on b.id = a.id
			)
			select `+columns+`, true as changed
			from after
			union all
			select `+columns+`, false
			from before
			where not exists (select from after)`,
			string(id), string(p.Field), p.Value, ifVersion, string(cause.Kind), cause.Actor, cause.RequestID, cause.Why)
	})
	switch {
	case err != nil:
		return customer.Customer{}, err
	case !now.Changed && ifVersion != 0 && now.Version != ifVersion:
		return customer.Customer{}, fmt.Errorf("patch: %w", customer.ErrStale)
	case !now.Changed && now.Lifecycle == string(customer.Inactive):
		return customer.Customer{}, fmt.Errorf("patch: %w", customer.ErrInactive)
	}
	return now.customer(), nil
}

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
		before, err := lockVersion(ctx, tx, id, ifVersion)
		if err != nil || before.Lifecycle == string(customer.Inactive) {
			return err
		}
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
		return writeHistory(ctx, tx, after, change{what: "closed", before: customer.Lifecycle(before.Lifecycle)}, cause)
	})
}
