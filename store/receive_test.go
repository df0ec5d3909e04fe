package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestOfDeliveriesAlikeTheFirstIsFresh(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	a, b := delivery("evt_a", "a@example.com"), delivery("evt_b", "b@example.com")
	for _, c := range []struct {
		deliveries []customer.Delivery
		fresh      []bool
	}{
		{nil, nil},
		{[]customer.Delivery{a, a, b, a}, []bool{true, false, true, false}},
		{[]customer.Delivery{b, delivery("evt_c", "c@example.com"), a}, []bool{false, true, false}},
	} {
		fresh, err := s.Receive(t.Context(), c.deliveries...)
		if err != nil || !slices.Equal(fresh, c.fresh) {
			t.Errorf("%d deliveries: fresh %v, expected %v, %v", len(c.deliveries), fresh, c.fresh, err)
		}
	}
}

// What comes at the same time is written together, and yet each request is
// answered for its own deliveries; one that the database refuses spoils no other.
func TestACrowdOfDeliveriesIsTakenInOneByOne(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	const requests = 200
	var all sync.WaitGroup
	for n := range requests {
		all.Go(func() {
			d := delivery(fmt.Sprintf("evt_%d", n/2), "ada@example.com") // each comes twice
			if n == 17 {
				d.Kind = "\x00"
			}
			fresh, err := s.Receive(t.Context(), d, delivery(fmt.Sprintf("own_%d", n), "ada@example.com"))
			switch {
			case n == 17 && err == nil:
				t.Error("a text that is none was taken")
			case n != 17 && (err != nil || !fresh[1]):
				t.Errorf("request %d: fresh %v, %v", n, fresh, err)
			}
		})
	}
	all.Wait()
	var rows, quarantined int
	must(t, db.QueryRowContext(t.Context(), `
		select count(*), count(*) filter (where body is not null) from inbox`).Scan(&rows, &quarantined))
	if rows != requests/2+requests-1 || quarantined != 0 {
		t.Errorf("%d rows, %d with a body", rows, quarantined)
	}
}

// Deliveries are acted on together, and yet as if one after the other: the newest
// says whom to ask for, and one may be about several customers.
func TestOfSeveralDeliveriesForACustomerTheNewestCounts(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ada := create(t, s, "ada@example.com")
	create(t, s, "bob@example.com")
	cy := create(t, s, "cy@example.com")
	must(t, s.CloseCustomer(t.Context(), cy, 0, byTest()))
	both := delivery("evt_2", "bob@example.com")
	both.Hint.CustomerID = ada
	_, err := s.Receive(t.Context(), delivery("evt_1", "ada@example.com"), both, delivery("evt_3", "bob@example.com"), delivery("evt_4", "cy@example.com"))
	must(t, err)
	absorbed, err := s.Absorb(t.Context(), 0, 10)
	if err != nil || absorbed != (customer.Absorbed{Rows: 4, Matched: 3, Kept: 1}) {
		t.Errorf("%+v, %v", absorbed, err)
	}
	for key, user := range map[customer.EmailKey]string{"ada@example.com": "auth0|evt_2", "bob@example.com": "auth0|evt_3"} {
		due, err := s.DueByEmail(t.Context(), key)
		if err != nil || len(due) != 1 || due[0].Hint.AuthUserID != user {
			t.Errorf("%s: %+v, %v", key, due, err)
		}
	}
}
