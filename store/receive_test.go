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
