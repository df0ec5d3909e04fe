package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// feed reads on from a position to the end, a page at a time.
func feed(t testing.TB, s *store.Store, after int64, page int) []customer.Event {
	t.Helper()
	var all []customer.Event
	for {
		events, err := s.Events(t.Context(), after, page)
		must(t, err)
		all = append(all, events...)
		if len(events) < page {
			return all
		}
		after = events[len(events)-1].Position
	}
}

func told(events []customer.Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s v%d %s", e.Type, e.Version, e.Lifecycle))
	}
	return all
}

func TestEachChangeIsAnEvent(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	_, err := s.Link(t.Context(), 0, []customer.Link{link(id, "ada@example.com", "auth0|1")}, byTest())
	must(t, err)
	_, err = s.Rebind(t.Context(), 0, []customer.Rebind{{Customer: id, From: "auth0|1", To: "auth0|2"}}, byTest())
	must(t, err)
	_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: "Augusta"}, 0, byTest())
	must(t, err)
	_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: "Augusta"}, 0, byTest()) // changes nothing
	must(t, err)
	_, err = s.Unlink(t.Context(), 0, []customer.Unlink{{Customer: id, AuthUserID: "auth0|2"}}, byTest())
	must(t, err)
	_, err = s.Hold(t.Context(), 0, []customer.Hold{{Customer: id, Reason: customer.NotRegistered}}) // changes nothing that others see
	must(t, err)
	must(t, s.CloseCustomer(t.Context(), id, 0, byTest()))
	want := []string{
		"customer.created v1 auth_pending", "customer.activated v2 active", "customer.updated v3 active", "customer.updated v4 active",
		"customer.unlinked v5 auth_pending", "customer.closed v6 inactive",
	}
	got := feed(t, s, 0, 2)
	if !slices.Equal(told(got), want) {
		t.Errorf("got %q\nwant %q", told(got), want)
	}
	if got[2].Field != "auth_user_id" || got[3].Field != "first_name" || got[0].Field != "" || got[0].Customer != id {
		t.Errorf("fields: %+v", got)
	}
	if again := feed(t, s, 0, 100); !slices.Equal(again, got) {
		t.Errorf("read again: %+v", again)
	}
}

// What is written first may be committed last: it comes behind, and is not missed.
func TestAnEventThatIsCommittedLateIsNotMissed(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	slow, quick := create(t, s, "slow@example.com"), create(t, s, "quick@example.com")
	before := feed(t, s, 0, 100)
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.ExecContext(t.Context(), `
		with after as (
		  update customers
		  set first_name = 'Slow', version = 2, updated_at = clock_timestamp()
		  where id = $1
		  returning *)
		insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field, to_lifecycle, why)
		select id, 2, updated_at, 'api', '', '', 'patched', 'first_name', lifecycle, ''
		from after`, string(slow))
	must(t, err)
	_, err = s.Patch(t.Context(), quick, customer.Patch{Field: customer.FieldFirstName, Value: "Quick"}, 0, byTest())
	must(t, err)

	first := feed(t, s, before[1].Position, 100)
	if len(first) != 1 || first[0].Customer != quick {
		t.Fatalf("while the other is under way: %+v", first)
	}
	must(t, tx.Commit())
	late := feed(t, s, first[0].Position, 100)
	if len(late) != 1 || late[0].Customer != slow {
		t.Errorf("after it: %+v", late)
	}
}

// Many write, some read: each reader meets each event once, and those of a customer
// in their order.
func TestReadersOfTheFeedMissNothingAndMeetNothingTwice(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	const writers, customers, renames = 8, 5, 6
	ids := make([]customer.ID, customers)
	for i := range ids {
		ids[i] = create(t, s, fmt.Sprintf("c%d@example.com", i))
	}
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range renames * customers {
				name := customer.Patch{Field: customer.FieldLastName, Value: fmt.Sprintf("W%d-%d", w, i)}
				if _, err := s.Patch(t.Context(), ids[i%customers], name, 0, byTest()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	for range 3 {
		reading.Go(func() {
			seen, after := map[customer.ID]int64{}, int64(0)
			for last := false; ; {
				events, err := s.Events(t.Context(), after, 7)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					if e.Version != seen[e.Customer]+1 {
						t.Errorf("version %d after %d", e.Version, seen[e.Customer])
					}
					seen[e.Customer], after = e.Version, e.Position
				}
				if last && len(events) == 0 {
					break
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
			for _, id := range ids {
				if seen[id] != 1+writers*renames {
					t.Errorf("saw %d versions of %d", seen[id], 1+writers*renames)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
}

func TestAReaderAheadOfTheFeedIsTold(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	create(t, s, "ada@example.com")
	end := feed(t, s, 0, 10)[0].Position
	if events, err := s.Events(t.Context(), end, 10); err != nil || len(events) != 0 {
		t.Errorf("at the end: %v, %v", events, err)
	}
	if _, err := s.Events(t.Context(), end+1, 10); !errors.Is(err, customer.ErrFeedAhead) {
		t.Errorf("beyond it: %v", err)
	}
}

func TestAPlaceInTheFeedIsForEver(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	create(t, s, "ada@example.com")
	for name, statement := range map[string]string{
		"a place with another content": `update history set position = 7, why = 'x'`,
		"another content":              `update history set why = 'x'`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	feed(t, s, 0, 10)
	for _, statement := range []string{`update history set position = 7`, `update history set position = null`} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s was accepted", statement)
		}
	}
}
