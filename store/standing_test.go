package store_test

import (
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestStandingCountsWhatWaits(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	empty, err := s.Standing(t.Context())
	must(t, err)
	if len(empty.Oldest) != 0 || !empty.Due.IsZero() || empty.Inbox.Count != 0 || len(empty.Lanes) != 0 {
		t.Errorf("of an empty database: %+v", empty)
	}
	first, second := get(t, s, create(t, s, "ada@example.com")), get(t, s, create(t, s, "grace@example.com"))
	_, err = s.Receive(t.Context(), customer.Delivery{
		Source: "action", EventID: "1", Kind: "user.created", Understood: true,
		Hint: customer.Hint{AuthUserID: "auth0|1", Email: "ada@example.com", Key: "ada@example.com", Verified: true},
	})
	must(t, err)
	must(t, s.NoteGap(t.Context(), 0, "event_feed"))
	got, err := s.Standing(t.Context())
	must(t, err)
	if oldest := got.Oldest[customer.Waiting]; !oldest.Equal(first.CreatedAt) {
		t.Errorf("waiting since %s, want %s", oldest, first.CreatedAt)
	}
	if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 1 || pending[customer.Waiting] != 2 {
		t.Errorf("pending: %v %v, want two waiting", pending, err)
	}
	if got.Due.IsZero() || got.Due.After(second.CreatedAt.Add(time.Minute)) {
		t.Errorf("next due at %s", got.Due)
	}
	if got.Inbox.Count != 1 || got.Inbox.Oldest.IsZero() {
		t.Errorf("inbox: %+v, want one", got.Inbox)
	}
	if len(got.Lanes) != 1 || got.Lanes[0].Gap.IsZero() {
		t.Errorf("lanes: %+v, want a gap", got.Lanes)
	}
}
