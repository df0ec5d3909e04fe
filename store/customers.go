package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/lib/pq"

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

// fields are where a scan of columns goes: sqlx would look each up by its name.
func (r *row) fields() []any {
	return []any{
		&r.ID, &r.CreatedAt, &r.UpdatedAt, &r.FirstName, &r.LastName, &r.AuthUserID, &r.Address, &r.Key,
		&r.Lifecycle, &r.Version, &r.CreatedBy,
	}
}

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

// nullInt is how a number that is not there is stored.
func nullInt(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }

// nullTime is how the zero time is stored.
func nullTime(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }

// Customer returns a customer by its id, or customer.ErrNotFound.
func (s *Store) Customer(ctx context.Context, id customer.ID) (customer.Customer, error) {
	return s.findOne(ctx, s.byID, string(id))
}

// CustomerByEmail returns the live customer with this e-mail key, else the one
// closed last (R13), else customer.ErrNotFound.
func (s *Store) CustomerByEmail(ctx context.Context, key customer.EmailKey) (customer.Customer, error) {
	return s.findOne(ctx, s.byEmail, string(key))
}

// CustomerByAuthUser returns the live customer linked to this Auth0 user, else
// the one closed last, else customer.ErrNotFound.
func (s *Store) CustomerByAuthUser(ctx context.Context, authUserID string) (customer.Customer, error) {
	return s.findOne(ctx, s.byAuthUser, authUserID)
}

// findOne waits for what a finder answers.
func (s *Store) findOne(ctx context.Context, by *together[string, *customer.Customer], what string) (customer.Customer, error) {
	defer s.traced(ctx, "find customer")()
	return one(by.ask(ctx, what))
}

func one(found *customer.Customer, err error) (customer.Customer, error) {
	switch {
	case err != nil:
		return customer.Customer{}, err
	case found == nil:
		return customer.Customer{}, customer.ErrNotFound
	}
	return *found, nil
}

// The queries that find customers by their names, many at once: each row has the
// place of its name in front.
const (
	findByID = prepared + `
		select k.place, ` + columns + `
		from unnest($1::uuid[]) with ordinality as k(name, place)
		join customers on id = k.name`
	findByEmail    = findFirst + `email_key` + orClosed + `email_key` + lastClosed
	findByAuthUser = findFirst + `auth_user_id` + orClosed + `auth_user_id` + lastClosed

	findFirst = prepared + `
		select k.place, c.*
		from unnest($1::text[]) with ordinality as k(name, place)
		cross join lateral (
		  (select ` + columns + `
		   from customers
		   where lifecycle <> 'inactive' and k.name = `
	orClosed = `)
		  union all
		  (select ` + columns + `
		   from customers
		   where lifecycle = 'inactive' and k.name = `
	lastClosed = `
		   order by updated_at desc
		   limit 1)
		  limit 1) c`
)

// finder answers one of these queries, for many who ask at the same time.
func (s *Store) finder(query string) *together[string, *customer.Customer] {
	return &together[string, *customer.Customer]{lanes: findLanes, most: findMost, within: s.patience, do: func(ctx context.Context, names []string) (found []*customer.Customer, err error) {
		err = s.read(ctx, "read customer", func(ctx context.Context) (err error) {
			found, err = s.find(ctx, query, names)
			return err
		})
		return found, err
	}}
}

const (
	// findLanes is how many of a finder's queries are under way at once: two keep a
	// server of two processors busy, and more make the rounds smaller.
	findLanes = 2
	// findMost bounds what one query asks for.
	findMost = 256
)

// find returns the customers in the order of their names, nil where there is none.
func (s *Store) find(ctx context.Context, query string, names []string) (found []*customer.Customer, err error) {
	rows, err := s.db.QueryContext(ctx, query, pq.Array(names))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found = make([]*customer.Customer, len(names))
	var place int
	var r row
	fields := append([]any{&place}, r.fields()...)
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return nil, err
		}
		c := r.customer()
		found[place-1] = &c
	}
	return found, rows.Err()
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
		var id string                       // as text already, or each would be copied once more
		var address sql.NullString
		for rows.Next() {
			if err := rows.Scan(&id, &address); err != nil {
				yield(customer.Listed{}, fmt.Errorf("list customers: %w", err))
				return
			}
			if !yield(customer.Listed{ID: customer.ID(id), Address: address.String}, nil) {
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
		select id::text, email_address
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
	query += ` order by customers.id`
	if f.Limit > 0 {
		query += ` limit ` + arg(f.Limit)
	}
	return query, args
}
