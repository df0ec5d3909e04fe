package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// row is a customer as the table holds it.
type row struct {
	ID         string         `db:"id"`
	CreatedAt  time.Time      `db:"created_at"`
	UpdatedAt  time.Time      `db:"updated_at"`
	FirstName  string         `db:"first_name"`
	LastName   string         `db:"last_name"`
	AuthUserID sql.NullString `db:"auth_user_id"`
	Address    sql.NullString `db:"email_address"`
	Key        sql.NullString `db:"email_key"`
	Lifecycle  string         `db:"lifecycle"`
	Version    int64          `db:"version"`
	CreatedBy  string         `db:"created_by"`
}

// columns of row; every statement that fills one lists these.
const columns = `id, created_at, updated_at, first_name, last_name, auth_user_id, email_address, email_key,
  lifecycle, version, created_by`

func (r row) customer() customer.Customer {
	return customer.Customer{
		ID:         customer.ID(r.ID),
		CreatedAt:  r.CreatedAt.UTC(),
		UpdatedAt:  r.UpdatedAt.UTC(),
		FirstName:  r.FirstName,
		LastName:   r.LastName,
		AuthUserID: r.AuthUserID.String,
		Email:      customer.Email{Address: r.Address.String, Key: customer.EmailKey(r.Key.String)},
		Lifecycle:  customer.Lifecycle(r.Lifecycle),
		Version:    r.Version,
		CreatedBy:  r.CreatedBy,
	}
}

// null is how the empty string is stored where the API shows null.
func null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// nullTime is how the zero time is stored.
func nullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }

// Customer returns a customer by its id, or customer.ErrNotFound.
func (s *Store) Customer(ctx context.Context, id customer.ID) (customer.Customer, error) {
	return s.one(ctx, `
		select `+columns+`
		from customers
		where id = $1`, string(id))
}

// CustomerByEmail returns the live customer with this e-mail key, else the one
// closed last (R13), else customer.ErrNotFound.
func (s *Store) CustomerByEmail(ctx context.Context, key customer.EmailKey) (customer.Customer, error) {
	return s.one(ctx, `
		(select `+columns+`
		 from customers
		 where email_key = $1 and lifecycle <> 'inactive')
		union all
		(select `+columns+`
		 from customers
		 where email_key = $1 and lifecycle = 'inactive'
		 order by updated_at desc
		 limit 1)
		limit 1`, string(key))
}

// CustomerByAuthUser returns the live customer linked to this Auth0 user, else
// the one closed last, else customer.ErrNotFound.
func (s *Store) CustomerByAuthUser(ctx context.Context, authUserID string) (customer.Customer, error) {
	return s.one(ctx, `
		(select `+columns+`
		 from customers
		 where auth_user_id = $1 and lifecycle <> 'inactive')
		union all
		(select `+columns+`
		 from customers
		 where auth_user_id = $1 and lifecycle = 'inactive'
		 order by updated_at desc
		 limit 1)
		limit 1`, authUserID)
}

func (s *Store) one(ctx context.Context, query, arg string) (customer.Customer, error) {
	var r row
	err := s.read(ctx, "read customer", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &r, query, arg)
	})
	return r.customer(), err
}

// All streams the customers that a filter selects, in the order of their ids,
// with the memory of one row. The error, if any, comes last, with a zero Listed.
func (s *Store) All(ctx context.Context, f customer.Filter) iter.Seq2[customer.Listed, error] {
	return func(yield func(customer.Listed, error) bool) {
		query, args := listing(f)
		rows, err := s.db.QueryContext(ctx, query, args...)
		if err != nil {
			yield(customer.Listed{}, told(ctx, "list customers", err))
			return
		}
		defer func() { _ = rows.Close() }() // rows.Err below is what tells of trouble
		var id, address sql.RawBytes
		for rows.Next() {
			if err := rows.Scan(&id, &address); err != nil {
				yield(customer.Listed{}, fmt.Errorf("list customers: %w", err))
				return
			}
			if !yield(customer.Listed{ID: customer.ID(id), Address: string(address)}, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(customer.Listed{}, told(ctx, "list customers", err))
		}
	}
}

func listing(f customer.Filter) (query string, args []any) {
	query = `
		select id, email_address
		from customers
		where true`
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	switch f.Lifecycle { // as literals, so that partial indexes serve
	case customer.AuthPending:
		query += ` and lifecycle = 'auth_pending'`
	case customer.Active:
		query += ` and lifecycle = 'active'`
	case customer.Inactive:
		query += ` and lifecycle = 'inactive'`
	}
	if !f.UpdatedSince.IsZero() {
		query += ` and updated_at >= ` + arg(f.UpdatedSince)
	}
	if f.After != "" {
		query += ` and id > ` + arg(string(f.After))
	}
	query += ` order by id`
	if f.Limit > 0 {
		query += ` limit ` + arg(f.Limit)
	}
	return query, args
}
