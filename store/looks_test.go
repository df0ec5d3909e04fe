package store_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// look writes what a look came to, as the worker does.
func look(t testing.TB, s *store.Store, id customer.ID, reason customer.Reason, by string) {
	t.Helper()
	due, err := s.DueByID(t.Context(), []customer.ID{id})
	must(t, err)
	n, err := s.Hold(t.Context(), 0, []customer.Hold{{Customer: id, Reason: reason, Due: due[0].At, Next: time.Now().Add(time.Hour), By: by}})
	if err != nil || n != 1 {
		t.Fatalf("held %d: %v", n, err)
	}
}

func TestLooksAreFoldedAndTheNewestKept(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	for range 14 {
		look(t, s, id, customer.NotRegistered, "look-up")
	}
	look(t, s, id, customer.NotRegistered, "search")
	look(t, s, id, customer.NotRegistered, "") // put off: nobody was asked
	look(t, s, id, customer.EmailUnverified, "delivery")
	e, err := s.Explain(t.Context(), id)
	must(t, err)
	if len(e.Looks) != 2 {
		t.Fatalf("%+v", e.Looks)
	}
	first, second := e.Looks[0], e.Looks[1]
	if first.Reason != customer.NotRegistered || first.Count != 15 || first.By != "search" || !first.First.Before(first.Last) {
		t.Errorf("folded to %+v", first)
	}
	if second.Reason != customer.EmailUnverified || second.Count != 1 || second.By != "delivery" || second.First.Before(first.Last) {
		t.Errorf("then %+v", second)
	}
	for i := range 30 {
		look(t, s, id, []customer.Reason{customer.UserBlocked, customer.EmailUnverified}[i%2], "search")
	}
	e, err = s.Explain(t.Context(), id)
	must(t, err)
	if len(e.Looks) != 12 || e.Looks[11].Reason != customer.EmailUnverified {
		t.Errorf("%d are kept, the last %+v", len(e.Looks), e.Looks[len(e.Looks)-1])
	}
	_, err = s.Link(t.Context(), 0, []customer.Link{link(id, "ada@example.com", "auth0|1")}, byTest())
	must(t, err)
	if e, err = s.Explain(t.Context(), id); err != nil || len(e.Looks) != 12 {
		t.Errorf("after the link %d: %v", len(e.Looks), err)
	}
}

func TestLagsAreCountedWithTheLinks(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var links []customer.Link
	add := func(n int, by customer.Finder, ago time.Duration) {
		for range n {
			address := fmt.Sprintf("c%d@example.com", len(links))
			l := link(create(t, s, address), customer.EmailKey(address), "auth0|"+address)
			l.FoundBy, l.Since = by, time.Now().Add(-ago)
			links = append(links, l)
		}
	}
	add(2, customer.FoundByDelivery, 7*time.Second)
	add(1, customer.FoundByDelivery, 200*24*time.Hour)
	add(3, customer.FoundByCron, 20*time.Minute)
	add(1, customer.FoundByCron, -time.Hour) // Auth0's clock is ahead
	add(1, "", time.Hour)                    // nobody says what led to it
	stale := links[0]
	_, err := s.Link(t.Context(), 0, links[:5], byTest())
	must(t, err)
	_, err = s.Link(t.Context(), 0, append(links[5:], stale), byTest()) // linked already: counted once
	must(t, err)
	lags, err := s.Lags(t.Context(), time.Now().Add(-time.Hour))
	must(t, err)
	want := []customer.Lag{
		{FoundBy: customer.FoundByCron, Below: .1, Customers: 1}, {FoundBy: customer.FoundByCron, Below: 3600, Customers: 3},
		{FoundBy: customer.FoundByDelivery, Below: 10, Customers: 2}, {FoundBy: customer.FoundByDelivery, Below: math.Inf(1), Customers: 1},
	}
	if diff := cmp.Diff(want, lags); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if lags, err = s.Lags(t.Context(), time.Now().Add(2*time.Hour)); err != nil || len(lags) != 0 {
		t.Errorf("of a time to come: %v, %v", lags, err)
	}
	_, err = s.Prune(t.Context(), time.Now().Add(2*time.Hour))
	must(t, err)
	if lags, err = s.Lags(t.Context(), time.Time{}); err != nil || len(lags) != 0 {
		t.Errorf("after all were pruned: %v, %v", lags, err)
	}
}

func TestARunTellsWhomItChanged(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "here:1", time.Hour)
	must(t, err)
	run, err := s.StartRun(t.Context(), customer.Run{Kind: "promote", AskedBy: "Joan", Why: "now"}, fence)
	must(t, err)
	cause := customer.Cause{Kind: customer.ByRun, Actor: "promote", Run: run, Why: "test"}
	var ids []customer.ID
	for i := range 5 {
		address := fmt.Sprintf("c%d@example.com", i)
		id := create(t, s, address)
		_, err := s.Link(t.Context(), fence, []customer.Link{link(id, customer.EmailKey(address), "auth0|"+address)}, cause)
		must(t, err)
		_, err = s.Unlink(t.Context(), fence, []customer.Unlink{{Customer: id, AuthUserID: "auth0|" + address}}, cause)
		must(t, err)
		ids = append(ids, id)
	}
	other := create(t, s, "other@example.com") // by nobody's run
	slices.Sort(ids)
	var got []string
	after, version := customer.ID(""), int64(0)
	for {
		page, err := s.RunChanges(t.Context(), run, after, version, 3) // three do not go into pairs: nobody may be lost between pages
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, string(c.Customer)+" "+c.What)
			if c.Customer == other || c.Cause.Run != run {
				t.Errorf("%+v", c)
			}
		}
		after, version = page[len(page)-1].Customer, page[len(page)-1].Version
	}
	var want []string
	for _, id := range ids {
		want = append(want, string(id)+" linked", string(id)+" unlinked")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r, err := s.Run(t.Context(), run)
	if err != nil || r.AskedBy != "Joan" || r.Why != "now" || r.Kind != "promote" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Run(t.Context(), 77); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("no such run: %v", err)
	}
}

// The last run of each kind is found whatever their order.
func TestTheLastOfEachKindOfRun(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "here:1", time.Hour)
	must(t, err)
	last := map[string][2]int64{}
	for _, r := range []struct {
		kind   string
		result customer.RunResult
	}{{"promote", customer.RunOK}, {"apply", customer.RunFailed}, {"watchdog", customer.RunOK}, {"promote", customer.RunOK}, {"watchdog", customer.RunPartial}, {"inbox", customer.RunOK}} {
		id, err := s.StartRun(t.Context(), customer.Run{Kind: r.kind}, fence)
		must(t, err)
		must(t, s.FinishRun(t.Context(), id, customer.Run{Result: r.result}))
		ids := last[r.kind]
		ids[0] = id
		if r.result == customer.RunOK {
			ids[1] = id
		}
		last[r.kind] = ids
	}
	st, err := s.Glance(t.Context())
	must(t, err)
	got := map[string][2]int64{}
	for _, r := range st.Runs {
		got[r.Kind] = [2]int64{r.Attempt.ID, r.Success.ID}
	}
	if diff := cmp.Diff(last, got); diff != "" {
		t.Errorf("attempts and successes (-want +got):\n%s", diff)
	}
}

func TestAGlanceIsTheStatusWithoutCounts(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	hold(t, s, create(t, s, "eve@example.com"), customer.SeveralUsers, rivals)
	_, err := s.Receive(t.Context(), customer.Delivery{Source: "action", EventID: "1", Kind: "x"})
	must(t, err)
	whole, err := s.Status(t.Context())
	must(t, err)
	glance, err := s.Glance(t.Context())
	must(t, err)
	counts, err := s.Counts(t.Context())
	must(t, err)
	if glance.Customers != nil || glance.Pending != nil || glance.Oldest.ID != id || glance.Inbox.Quarantined != 1 {
		t.Errorf("%+v", glance)
	}
	glance.Customers, glance.Pending, glance.At = counts.Customers, counts.Pending, whole.At
	if diff := cmp.Diff(whole, glance); diff != "" {
		t.Errorf("together they are not the whole (-want +got):\n%s", diff)
	}
}

func TestWhoWaitsIsReadInPages(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var want []customer.ID
	for i := range 7 {
		want = append(want, create(t, s, fmt.Sprintf("c%d@example.com", i)))
	}
	hold(t, s, create(t, s, "other@example.com"), customer.NotRegistered, nil)
	slices.Sort(want)
	var got []customer.ID
	for after := customer.ID(""); ; {
		page, err := s.Waiting(t.Context(), customer.Waiting, after, 3)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			got = append(got, w.ID)
		}
		after = got[len(got)-1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEachSourceIsToldWhenItWasLastHeard(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i, source := range []string{"action", "event_feed", "action"} {
		_, err := s.Receive(t.Context(), customer.Delivery{Source: source, EventID: fmt.Sprint(i), Kind: "x", Understood: true})
		must(t, err)
	}
	heard, err := s.Heard(t.Context())
	must(t, err)
	if len(heard) != 2 || heard[0].Source != "action" || heard[1].Source != "event_feed" || !heard[0].At.After(heard[1].At) {
		t.Errorf("%+v", heard)
	}
}
