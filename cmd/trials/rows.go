package main

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// row is a customer as the database has it.
type row struct {
	acknowledgeable
	email, user string
	lifecycle   customer.Lifecycle
}

// acknowledgeable is what of a row a client was told.
type acknowledgeable struct {
	key                      string
	firstName                string
	closed                   bool
	created, patched, closes int // history rows
}

func (r row) told() acknowledgeable { return r.acknowledgeable }

// row is what must be there.
func (a account) row() acknowledgeable {
	want := acknowledgeable{key: a.key, firstName: a.firstName, closed: a.closed, created: 1, patched: a.patches}
	if a.closed {
		want.closes = 1
	}
	return want
}

func readRows(ctx context.Context, tx *sql.Tx) (map[customer.ID]row, error) {
	found, err := tx.QueryContext(ctx, `
		select c.id, coalesce(c.email_key, ''), coalesce(c.auth_user_id, ''), c.first_name, c.lifecycle, coalesce(k.key, ''),
		  count(*) filter (where h.change = 'created'),
		  count(*) filter (where h.change = 'patched'),
		  count(*) filter (where h.change = 'closed')
		from customers c
		left join idempotency_keys k on k.customer_id = c.id
		left join history h on h.customer_id = c.id
		group by c.id, k.key`)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	defer func() { _ = found.Close() }() // read to its end
	rows := map[customer.ID]row{}
	for found.Next() {
		var id customer.ID
		var r row
		if err := found.Scan(&id, &r.email, &r.user, &r.firstName, &r.lifecycle, &r.key, &r.created, &r.patched, &r.closes); err != nil {
			return nil, fmt.Errorf("read customers: %w", err)
		}
		r.closed = r.lifecycle == customer.Inactive
		rows[id] = r
	}
	return rows, found.Err()
}

// unlinked is how many who signed up and were not closed are not active; -1 if
// that could not be read. It is asked for again and again, of a database that has
// better things to do.
func (l *load) unlinked(ctx context.Context) int {
	found, err := l.w.db.QueryContext(ctx, "select id from customers where lifecycle = 'active'")
	if err != nil {
		return -1
	}
	defer func() { _ = found.Close() }() // read to its end
	active := map[customer.ID]bool{}
	for found.Next() {
		var id customer.ID
		if found.Scan(&id) != nil {
			return -1
		}
		active[id] = true
	}
	if found.Err() != nil {
		return -1
	}
	n := 0
	for _, a := range l.ledger.all() {
		if a.signedUp && !a.closed && !active[a.id] {
			n++
		}
	}
	return n
}

// allLinked waits until everybody who signed up is linked. How long it takes goes by
// how many they are, and by the machine: it must go on.
func (l *load) allLinked(ctx context.Context) error {
	fewest := math.MaxInt
	for end := time.Now().Add(linkWithin); ; {
		n := l.unlinked(ctx)
		switch {
		case n == 0:
			return nil
		case n > 0 && n < fewest:
			fewest, end = n, time.Now().Add(linkWithin)
		case time.Now().After(end):
			return fmt.Errorf("%d who signed up are not linked, and for %s nobody was", fewest, linkWithin)
		}
		if err := pause(ctx, time.Second/2); err != nil {
			return err
		}
	}
}

// links is how many links were made.
func (l *load) links(ctx context.Context) (n int, err error) {
	err = l.w.db.QueryRowContext(ctx, "select count(*) from history where change = 'linked'").Scan(&n)
	return n, err
}

// signedUp is how many should be linked in the end.
func (l *load) signedUp() int {
	n := 0
	for _, a := range l.ledger.all() {
		if a.signedUp && !a.closed {
			n++
		}
	}
	return n
}
