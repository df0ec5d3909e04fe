package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

func delivered(id string) customer.Delivery {
	return customer.Delivery{
		Source: "event_stream", EventID: id, Kind: "user.created", Understood: true,
		Hint: customer.Hint{AuthUserID: "auth0|" + id, Email: id + "@example.com", Key: customer.EmailKey(id + "@example.com"), Verified: true},
	}
}

func leased(t *testing.T, s *store.Store, ttl time.Duration) (fence int64) {
	t.Helper()
	fence, err := s.Acquire(t.Context(), customer.LeaseFollow, "here:1", ttl)
	must(t, err)
	return fence
}

func cursor(t *testing.T, s *store.Store) string {
	t.Helper()
	c, _, err := s.Cursor(t.Context(), "lane")
	must(t, err)
	return c
}

// Killed between two events, a lane goes on with the second: whatever is in the
// inbox is behind the cursor, and nothing else is.
func TestALaneTakesInADeliveryAndMovesItsCursorTogether(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	fence := leased(t, s, time.Hour)
	if c := cursor(t, s); c != "" {
		t.Errorf("a new lane is at %q", c)
	}
	fresh, err := s.Follow(t.Context(), fence, "lane", []customer.Delivery{delivered("a"), delivered("b"), delivered("a")}, "1")
	if err != nil || len(fresh) != 3 || !fresh[0] || !fresh[1] || fresh[2] {
		t.Errorf("%v, %v", fresh, err)
	}
	refused := delivered("d")
	refused.Hint.Email = "\x00" // the database does not take it
	if _, err := s.Follow(t.Context(), fence, "lane", []customer.Delivery{delivered("c"), refused}, "2"); err == nil {
		t.Error("taken in")
	}
	if c := cursor(t, s); c != "1" {
		t.Errorf("moved to %q by a delivery that was not taken in", c)
	}
	if fresh, err := s.Follow(t.Context(), fence, "lane", []customer.Delivery{delivered("b"), delivered("c")}, "2"); err != nil || fresh[0] || !fresh[1] {
		t.Errorf("%v, %v", fresh, err)
	}
	if fresh, err := s.Follow(t.Context(), fence, "lane", nil, "3"); err != nil || len(fresh) != 0 || cursor(t, s) != "3" {
		t.Errorf("a heartbeat: %v, %v", fresh, err)
	}
}

func TestWhoLostTheLeaseMovesNoLane(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	old := leased(t, s, time.Nanosecond) // it has run out at once
	fence := leased(t, s, time.Hour)
	_, err := s.Follow(t.Context(), fence, "lane", nil, "1")
	must(t, err)
	if _, err := s.Follow(t.Context(), old, "lane", []customer.Delivery{delivered("a")}, "2"); !errors.Is(err, customer.ErrLeaseLost) {
		t.Errorf("%v", err)
	}
	if err := s.NoteGap(t.Context(), old, "lane"); !errors.Is(err, customer.ErrLeaseLost) {
		t.Errorf("%v", err)
	}
	if err := s.SettleGaps(t.Context(), old, time.Now()); !errors.Is(err, customer.ErrLeaseLost) {
		t.Errorf("%v", err)
	}
	if fresh, err := s.Follow(t.Context(), fence, "lane", []customer.Delivery{delivered("a")}, cursor(t, s)); err != nil || !fresh[0] || cursor(t, s) != "1" {
		t.Errorf("%v, %v", fresh, err)
	}
}

// A full reconcile makes up for what was missed before it began, not for later.
func TestAGapIsOwedUntilAReconcileThatBeganAfterIt(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	fence := leased(t, s, time.Hour)
	owed := func() bool {
		t.Helper()
		owed, err := s.Owed(t.Context(), time.Time{})
		must(t, err)
		return owed
	}
	now := func() time.Time {
		t.Helper()
		now, err := s.Now(t.Context())
		must(t, err)
		return now
	}
	must(t, s.NoteGap(t.Context(), fence, "lane"))
	if owed() {
		t.Error("there was nobody to miss anything of")
	}
	create(t, s, "ada@example.com")
	_, err := s.Follow(t.Context(), fence, "lane", nil, "1")
	must(t, err)
	before := now()
	must(t, s.NoteGap(t.Context(), fence, "lane"))
	if !owed() || cursor(t, s) != "" {
		t.Errorf("owed: %t, at %q", owed(), cursor(t, s))
	}
	must(t, s.SettleGaps(t.Context(), fence, before))
	if !owed() {
		t.Error("settled by a reconcile that began before")
	}
	_, err = s.Follow(t.Context(), fence, "lane", nil, "2")
	must(t, err)
	if !owed() {
		t.Error("settled by going on")
	}
	must(t, s.SettleGaps(t.Context(), fence, now()))
	if owed() || cursor(t, s) != "2" {
		t.Errorf("owed: %t, at %q", owed(), cursor(t, s))
	}
	status, err := s.Status(t.Context())
	lanes := status.Lanes
	if err != nil || len(lanes) != 1 || lanes[0].Name != "lane" || !lanes[0].Gap.IsZero() || lanes[0].Moved.IsZero() {
		t.Errorf("%+v, %v", lanes, err)
	}
}

// A stranger who logs in each day is one row.
func TestADeliveryForACustomerToComeIsKeptOnce(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i := range 3 {
		d := delivered("ada")
		d.EventID = fmt.Sprintf("evt_%d", i)
		_, err := s.Receive(t.Context(), d)
		must(t, err)
		_, err = s.Absorb(t.Context(), 0, 10)
		must(t, err)
	}
	_, err := s.Receive(t.Context(), delivered("other"))
	must(t, err)
	_, err = s.Absorb(t.Context(), 0, 10)
	must(t, err)
	status, err := s.Status(t.Context())
	if err != nil || status.Inbox.Kept != 2 {
		t.Errorf("%+v, %v", status.Inbox, err)
	}
}
