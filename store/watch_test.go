package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// listen runs the store's LISTEN connection for the length of the test.
func listen(t testing.TB, s *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var listener sync.WaitGroup
	listener.Go(func() { s.Listen(ctx, func() {}) })
	t.Cleanup(func() {
		cancel()
		listener.Wait()
	})
}

// wantTold waits for a word.
func wantTold(t testing.TB, told <-chan struct{}, of string) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Fatalf("never told of %s", of)
	}
}

func TestR18EveryRoadOutOfALifecycleIsTold(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	listen(t, s)
	untilListening(t, s)
	roads := map[string]func(id customer.ID) error{
		"a link by the worker": func(id customer.ID) error {
			_, err := s.Link(t.Context(), 0, []customer.Link{link(id, get(t, s, id).Email.Key, "auth0|"+string(id))}, byTest())
			return err
		},
		"a link by hand": func(id customer.ID) error {
			_, err := s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|" + string(id)}, 0, byTest())
			return err
		},
		"a closing": func(id customer.ID) error { return s.CloseCustomer(t.Context(), id, 0, byTest()) },
		"an update by hand": func(id customer.ID) error {
			_, err := db.ExecContext(t.Context(), `
				update customers
				set lifecycle = 'active', auth_user_id = 'auth0|byhand', reason = null, version = 2, updated_at = updated_at + interval '1 s'
				where id = $1`, string(id))
			return err
		},
	}
	for name, take := range roads {
		id := create(t, s, strings.ReplaceAll(name, " ", "-")+"@example.com")
		told, stop := s.Watch(id)
		must(t, take(id))
		wantTold(t, told, name)
		stop()
	}
	if n := store.Watching(s); n != 0 {
		t.Errorf("%d are still remembered", n)
	}
}

func TestR18OnlyWhoWatchesTheCustomerIsTold(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	one, other := create(t, s, "one@example.com"), create(t, s, "other@example.com")
	told, stop := s.Watch(one)
	defer stop()
	again, stopAgain := s.Watch(one)
	defer stopAgain()
	elsewhere, stopElsewhere := s.Watch(other)
	defer stopElsewhere()
	for range 3 { // nobody reads: it must not block
		store.Tell(s, one)
	}
	if len(told) != 1 || len(again) != 1 || len(elsewhere) != 0 {
		t.Errorf("told %d, %d and %d of another customer; want 1, 1, 0", len(told), len(again), len(elsewhere))
	}
}

// untilListening returns once LISTEN stands. The first word may be the one that
// goes to everybody when it does.
func untilListening(t testing.TB, s *store.Store) {
	t.Helper()
	for range 2 {
		id := create(t, s, "")
		told, stop := s.Watch(id)
		must(t, s.CloseCustomer(t.Context(), id, 0, byTest()))
		wantTold(t, told, "a probe")
		stop()
	}
}

func TestR18WhatIsMissedWhileTheConnectionIsDownIsToldAfter(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	listen(t, s)
	untilListening(t, s)
	id := create(t, s, "ada@example.com")
	told, stop := s.Watch(id)
	defer stop()
	_, err := db.ExecContext(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where query like 'LISTEN%' and datname = current_database()`)
	must(t, err)
	must(t, s.CloseCustomer(t.Context(), id, 0, byTest()))
	wantTold(t, told, "what happened while LISTEN was down")
	if got := get(t, s, id).Lifecycle; got != customer.Inactive {
		t.Errorf("it is %s", got)
	}
}

func TestR18BehindPgBouncerWatchersLookForThemselves(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Options{DSN: storetest.DSN(t), PgBouncer: true})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	listen(t, s)
	told, stop := s.Watch(create(t, s, "ada@example.com"))
	defer stop()
	wantTold(t, told, "nothing in particular")
}
