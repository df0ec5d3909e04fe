package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/ahiko-io/customersync/customer"
)

// Create writes a new customer, and with it the link that was decided from the
// person's own token, if any (R11).
//
// The e-mail being on a live customer of the same caller, that customer is
// returned and created is false (R12); a pending one is linked now. Otherwise
// customer.ErrEmailTaken, or customer.ErrAuthUserTaken if the caller is on a
// live customer with another address; customer.ErrErased if the caller was erased
// since its token was issued. customer.ErrKeyReused and
// customer.ErrKeyInFlight are about the idempotency key; whatever else a request
// with a key came to is kept and answered again.
func (s *Store) Create(ctx context.Context, d customer.Draft, link *customer.Link, cause customer.Cause) (id customer.ID, created bool, err error) {
	if plain(d, link) {
		traced := s.traced(ctx, "create")
		made, err := s.making.ask(ctx, making{d, cause})
		traced()
		switch {
		case errors.Is(err, errMadeAlready):
			return d.ID, true, nil
		case err != nil:
			return "", false, err
		case made:
			return d.ID, true, nil
		}
	}
	return s.createAlone(ctx, d, link, cause)
}

// createAlone makes a customer in a transaction of its own.
func (s *Store) createAlone(ctx context.Context, d customer.Draft, link *customer.Link, cause customer.Cause) (id customer.ID, created bool, err error) {
	var came outcome
	// The first round writes without a look: mostly nobody has the address. If
	// somebody has, the second finds them; the third is for whoever takes it, or the
	// user, between that look and the write.
	for round := range 3 {
		err = s.inTx(ctx, "create", func(tx *sqlx.Tx) (err error) {
			came, err = once(ctx, tx, d.Idempotency, func() (outcome, error) {
				return s.create(ctx, tx, d, link, cause, round > 0)
			})
			return err
		})
		if !errors.Is(err, customer.ErrEmailTaken) && !errors.Is(err, customer.ErrAuthUserTaken) {
			break
		}
	}
	switch {
	case errors.Is(err, errMadeAlready):
		return d.ID, true, nil
	case err != nil:
		return "", false, err
	}
	switch came.what {
	case emailTaken:
		return "", false, customer.ErrEmailTaken
	case authUserTaken:
		return "", false, customer.ErrAuthUserTaken
	}
	return came.id, came.what == createdNew, nil
}

// outcome is what a request came to; refusals are outcomes too, so that they can
// be committed with their idempotency key.
type outcome struct {
	what string
	id   customer.ID
	kept bool // with its idempotency key
}

// What a request may come to, as idempotency_keys.outcome lists them.
const (
	createdNew    = "created"
	existing      = "existing"
	emailTaken    = "email_taken"
	authUserTaken = "auth_user_taken"
)

// once runs do unless the key has been used, and keeps what it came to in the
// same transaction.
//
// It also takes the lock that orders the making of customers with Absorb.
func once(ctx context.Context, tx *sqlx.Tx, key customer.Idempotency, do func() (outcome, error)) (outcome, error) {
	if key.Key == "" {
		if _, err := tx.ExecContext(ctx, prepared+`select pg_advisory_xact_lock_shared(`+absorbLock+`)`); err != nil {
			return outcome{}, err
		}
		return do()
	}
	var free bool
	if err := tx.GetContext(ctx, &free, prepared+`
		select pg_try_advisory_xact_lock(hashtextextended($1 || chr(31) || $2, 1))
		from (select pg_advisory_xact_lock_shared(`+absorbLock+`)) absorb`, key.Scope, key.Key); err != nil {
		return outcome{}, err
	}
	if !free {
		return outcome{}, customer.ErrKeyInFlight
	}
	var kept struct {
		Body    []byte         `db:"body_sha256"`
		Outcome string         `db:"outcome"`
		ID      sql.NullString `db:"customer_id"`
	}
	err := tx.GetContext(ctx, &kept, prepared+`
		select body_sha256, outcome, customer_id
		from idempotency_keys
		where scope = $1 and key = $2 and created_at > clock_timestamp() - interval '24 hours'`, key.Scope, key.Key)
	switch {
	case err == nil && subtle.ConstantTimeCompare(kept.Body, key.Body[:]) == 0:
		return outcome{}, customer.ErrKeyReused
	case err == nil:
		return outcome{kept.Outcome, customer.ID(kept.ID.String), true}, nil
	case !errors.Is(err, sql.ErrNoRows):
		return outcome{}, err
	}
	done, err := do()
	if err != nil || done.kept {
		return done, err
	}
	_, err = tx.ExecContext(ctx, prepared+`
		insert into idempotency_keys (scope, key, body_sha256, outcome, customer_id)
		values ($1, $2, $3, $4, $5) `+keptAnew,
		key.Scope, key.Key, key.Body[:], done.what, null(string(done.id)))
	return done, err
}

// keptAnew lets a key be used again when its day is over.
const keptAnew = `
		on conflict (scope, key) do update
		set body_sha256 = excluded.body_sha256, outcome = excluded.outcome,
		  customer_id = excluded.customer_id, created_at = excluded.created_at`

// create writes the customer; if it is told to look, only where nobody has the
// address. Without a look, customer.ErrEmailTaken says that somebody has.
func (s *Store) create(ctx context.Context, tx *sqlx.Tx, d customer.Draft, link *customer.Link, cause customer.Cause, look bool) (outcome, error) {
	if look {
		holder, err := liveByEmail(ctx, tx, d.Email.Key)
		switch {
		case err == nil:
			return s.again(ctx, tx, holder, d, link, cause)
		case !errors.Is(err, sql.ErrNoRows):
			return outcome{}, err
		}
	}
	if d.Subject != "" {
		taken, err := s.admit(ctx, tx, d)
		switch {
		case err != nil:
			return outcome{}, err
		case taken:
			return outcome{what: authUserTaken}, nil
		}
	}
	err := s.insert(ctx, tx, d, cause)
	if err == nil && link != nil {
		err = s.linkMade(ctx, tx, string(d.ID), *link, cause)
	}
	return outcome{createdNew, d.ID, true}, err
}

func liveByEmail(ctx context.Context, tx *sqlx.Tx, key customer.EmailKey) (row, error) {
	if key == "" {
		return row{}, sql.ErrNoRows
	}
	var r row
	err := tx.GetContext(ctx, &r, `
		select `+columns+`
		from customers
		where email_key = $1 and lifecycle <> 'inactive'
		for update`, string(key))
	return r, err
}

// admit reports whether a person who creates a customer is on a live one already. One
// who was erased is let in by a token that was issued since: it has come back by
// itself. An older one is of somebody who was still there.
func (s *Store) admit(ctx context.Context, tx *sqlx.Tx, d customer.Draft) (taken bool, err error) {
	var r struct {
		Taken  bool         `db:"taken"`
		Erased sql.NullTime `db:"erased"`
	}
	err = tx.GetContext(ctx, &r, prepared+`
		select exists (
		    select from customers
		    where auth_user_id = $1 and lifecycle <> 'inactive') as taken,
		  (select max(erased_at) from erased_names where hash = any($2)) as erased`,
		d.Subject, s.erase.hashes(userName, d.Subject))
	switch {
	case err != nil || !r.Erased.Valid:
		return r.Taken, err
	case !d.IssuedAt.After(r.Erased.Time):
		return false, customer.ErrErased
	}
	return r.Taken, s.erase.lift(ctx, tx, userName, d.Subject)
}

// again answers a request for an e-mail address that a live customer has.
func (s *Store) again(ctx context.Context, tx *sqlx.Tx, holder row, d customer.Draft, link *customer.Link, cause customer.Cause) (outcome, error) {
	if holder.ID == string(d.ID) {
		return outcome{}, errMadeAlready // an earlier commit whose answer was lost
	}
	own := holder.CreatedBy == d.CreatedBy || d.Subject != "" && holder.AuthUserID.String == d.Subject
	if !own {
		return outcome{what: emailTaken}, nil
	}
	if link != nil && holder.Lifecycle == string(customer.AuthPending) {
		if err := s.linkMade(ctx, tx, holder.ID, *link, cause); err != nil {
			return outcome{}, err
		}
	}
	return outcome{what: existing, id: customer.ID(holder.ID)}, nil
}

// linkMade links a customer of this transaction, unless the user is taken. What
// the decision stood on is not noted as Observed: a token tells when it was issued
// and not when its user last changed, which may be long before, so that all that
// Auth0 says of the user later would look older than the token.
func (s *Store) linkMade(ctx context.Context, tx *sqlx.Tx, id string, link customer.Link, cause customer.Cause) error {
	link.Customer = customer.ID(id)
	_, err := s.linkBatch(ctx, tx, []customer.Link{link}, cause)
	return err
}

// insert writes the customer with its history and its idempotency key, due at once if there is anything to
// look for; customer.ErrEmailTaken if a live customer has the address. Deliveries
// that came before the customer are settled, and the newest is followed now: then
// the worker is told. Others wait for the next tick, so that many made at once are
// looked up together.
//
// One statement, since each costs a round trip within a transaction that others may
// wait for. The lock that orders it with Absorb is taken before.
func (s *Store) insert(ctx context.Context, tx *sqlx.Tx, d customer.Draft, cause customer.Cause) error {
	arguments := []any{
		string(d.ID), d.FirstName, d.LastName, null(d.Email.Address), null(string(d.Email.Key)),
		d.CreatedBy, string(firstReason(d.Email.Key)), d.Email.Key.Matchable(),
		string(cause.Kind), cause.Actor, cause.RequestID, cause.Why,
		d.Idempotency.Scope, d.Idempotency.Key, d.Idempotency.Body[:],
	}
	lifted := ""
	if len(s.erase) > 0 { // the address of an erased customer is brought back by this
		lifted = `, lifted as (
		  delete from erased_names
		  where hash = any($16) and exists (select from made)
		)`
		arguments = append(arguments, s.erase.hashes(emailName, string(d.Email.Key)))
	}
	var told sql.NullString
	err := tx.GetContext(ctx, &told, prepared+`
		with kept as (
		  update inbox
		  set state = 'done'
		  where state = 'kept' and (hint_email_key = $5 or hint_customer_id = $1)
		  returning id, hint_auth_user_id, hint_email
		), newest as (
		  select hint_auth_user_id, hint_email
		  from kept
		  order by id desc
		  limit 1
		), made as (
		  insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key,
		    lifecycle, version, created_by, reason, next_check_at, hint_auth_user_id, hint_email)
		  select $1, t.now, t.now, $2, $3, $4, $5, 'auth_pending', 1, $6, $7,
		    case when $8 or n.hint_auth_user_id is not null then t.now end, n.hint_auth_user_id, n.hint_email
		  from (select clock_timestamp() as now) t
		  left join newest n on true
		  on conflict (email_key) where lifecycle <> 'inactive' do nothing
		  returning *
		), written as (
		  insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why)
		  select id, version, updated_at, $9, $10, $11, 'created', lifecycle, $12
		  from made
		), remembered as (
		  insert into idempotency_keys (scope, key, body_sha256, outcome, customer_id)
		  select $13, $14, $15, 'created', id
		  from made
		  where $14 <> '' `+keptAnew+`
		)`+lifted+`
		select case when hint_auth_user_id is not null then pg_notify('`+channel+`', '')::text end
		from made`, arguments...)
	if errors.Is(err, sql.ErrNoRows) {
		return customer.ErrEmailTaken
	}
	return err
}

// firstReason is why a customer that nobody looked up yet waits.
func firstReason(key customer.EmailKey) customer.Reason {
	switch {
	case key == "":
		return customer.EmailMissing
	case !key.Matchable():
		return customer.EmailUnmatchable
	}
	return customer.Waiting
}
