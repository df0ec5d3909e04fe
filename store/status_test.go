package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestStatusCountsWhatThereIs(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	oldest := create(t, s, "torn@example.com")
	hold(t, s, oldest, customer.SeveralUsers, rivals)
	create(t, s, "due@example.com")
	must(t, s.CloseCustomer(t.Context(), create(t, s, "closed@example.com"), 0, byTest()))
	linked := create(t, s, "linked@example.com")
	_, err := s.Link(t.Context(), 0, []customer.Link{link(linked, "linked@example.com", "auth0|1")}, byTest())
	must(t, err)
	_, err = s.Receive(t.Context(), delivery("1", "eve@example.com"))
	must(t, err)
	_, err = s.Receive(t.Context(), customer.Delivery{Source: "event_stream", EventID: "2"})
	must(t, err)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "here:1", time.Hour)
	must(t, err)
	for _, result := range []customer.RunResult{customer.RunOK, customer.RunOK, customer.RunFailed} {
		id, err := s.StartRun(t.Context(), customer.Run{Kind: "promote"}, fence)
		must(t, err)
		must(t, s.FinishRun(t.Context(), id, customer.Run{Result: result, Tally: customer.Tally{Looked: int(id)}}))
	}
	_, err = s.StartRun(t.Context(), customer.Run{Kind: "inbox"}, fence)
	must(t, err)

	got, err := s.Status(t.Context())
	must(t, err)
	if diff := cmp.Diff(map[customer.Lifecycle]int{customer.AuthPending: 2, customer.Active: 1, customer.Inactive: 1}, got.Customers); diff != "" {
		t.Errorf("customers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[customer.Reason]int{customer.SeveralUsers: 1, customer.Waiting: 1}, got.Pending); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
	if got.Oldest.ID != oldest || got.Conflicts() != 1 || got.Due != 1 || got.DueSince.IsZero() || got.At.Before(got.DueSince) {
		t.Errorf("oldest %s, %d in conflict, %d due since %s at %s", got.Oldest.ID, got.Conflicts(), got.Due, got.DueSince, got.At)
	}
	if got.Inbox.New != 1 || got.Inbox.Quarantined != 1 || got.Inbox.Kept != 0 || got.Inbox.Oldest.IsZero() {
		t.Errorf("inbox %+v", got.Inbox)
	}
	if len(got.Runs) != 2 || got.Runs[0].Kind != "inbox" || got.Runs[0].Attempt.Result != "" || got.Runs[0].Success.ID != 0 {
		t.Fatalf("runs %+v", got.Runs)
	}
	if promote := got.Runs[1]; promote.Attempt.Result != customer.RunFailed || promote.Attempt.Looked != 3 || promote.Success.Looked != 2 {
		t.Errorf("promote: %+v", promote)
	}
	held := 0
	for _, l := range got.Leases {
		if l.Until.IsZero() {
			continue
		}
		held++
		if l.Name != customer.LeaseWorker || l.Holder != "here:1" {
			t.Errorf("lease %+v", l)
		}
	}
	if held != 1 {
		t.Errorf("%d leases held: %+v", held, got.Leases)
	}
}
