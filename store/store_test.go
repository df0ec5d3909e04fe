package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raw is a plain connection to a store's database, for what no method does.
func raw(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	connector, err := pq.NewConnector(dsn)
	must(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func open(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: 30 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// link is the decision that a customer and a user are one person.
func link(id customer.ID, key customer.EmailKey, user string) customer.Link {
	return customer.Link{Customer: id, Key: key, AuthUserID: user, Evidence: customer.Evidence{AuthUserID: user, NamedBy: "email"}}
}

func get(t testing.TB, s *store.Store, id customer.ID) customer.Customer {
	t.Helper()
	c, err := s.Customer(t.Context(), id)
	must(t, err)
	return c
}

func TestTheDatabaseRefusesWhatTheLifecycleForbids(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	for _, from := range customer.Lifecycles() {
		for _, to := range customer.Lifecycles() {
			if from == to {
				continue
			}
			id := create(t, s, uuid.NewString()+"@example.com")
			if from == customer.Active {
				_, err := s.Link(t.Context(), 0, []customer.Link{link(id, get(t, s, id).Email.Key, "auth0|"+string(id))}, byTest())
				must(t, err)
			}
			if from == customer.Inactive {
				must(t, s.CloseCustomer(t.Context(), id, 0, byTest()))
			}
			_, err := db.ExecContext(t.Context(), `
				update customers
				set lifecycle = $2::text, version = version + 1, updated_at = updated_at + interval '1 second', next_check_at = null,
				  auth_user_id = case when $2 = 'active' then 'auth0|' || id end,
				  reason = case when $2 = 'auth_pending' then 'waiting' end
				where id = $1`, string(id), string(to))
			if allowed := err == nil; allowed != from.CanBecome(to) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}

func TestTheDatabaseRefusesWhatTheProgramRelysOnNotToBe(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	id := create(t, s, "ada@example.com")
	create(t, s, "bob@example.com")
	for name, statement := range map[string]string{
		"active without a user":         `update customers set lifecycle = 'active', reason = null, version = version + 1, updated_at = now() + interval '1 h' where id = $1`,
		"pending without a reason":      `update customers set reason = null where id = $1`,
		"a reason that is not listed":   `update customers set reason = 'because' where id = $1`,
		"an address without key":        `update customers set email_key = null, version = version + 1, updated_at = now() + interval '1 h' where id = $1`,
		"a key that is taken":           `update customers set email_key = 'bob@example.com', version = version + 1, updated_at = now() + interval '1 h' where id = $1`,
		"a change without version":      `update customers set first_name = 'X', updated_at = now() + interval '1 h' where id = $1`,
		"a version without change":      `update customers set version = version + 1 where id = $1`,
		"two versions at once":          `update customers set first_name = 'X', version = version + 2, updated_at = now() + interval '1 h' where id = $1`,
		"time running back":             `update customers set first_name = 'X', version = version + 1, updated_at = updated_at where id = $1`,
		"another id":                    `update customers set id = gen_random_uuid() where id = $1`,
		"another origin":                `update customers set created_by = 'me' where id = $1`,
		"an empty name":                 `update customers set first_name = '', version = version + 1, updated_at = now() + interval '1 h' where id = $1`,
		"rewriting history":             `update history set why = 'x' where customer_id = $1`,
		"history of a version twice":    `insert into history select * from history where customer_id = $1`,
		"history of nobody":             `insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why) select gen_random_uuid(), 1, now(), 'api', '', '', 'created', 'active', $1::text`,
		"deleting who has a history":    `delete from customers where id = $1`,
		"an unknown cause":              `insert into history (customer_id, version, at, cause_kind, actor, request_id, change, to_lifecycle, why) values ($1, 99, now(), 'magic', '', '', 'created', 'active', '')`,
		"a user id that is not one":     `update customers set auth_user_id = 'x', lifecycle = 'active', reason = null, next_check_at = null, version = version + 1, updated_at = now() + interval '1 h' where id = $1`,
		"a finished run without result": `insert into runs (kind, fence, ended_at, note) values ('x', 1, now(), $1)`,
	} {
		if _, err := db.ExecContext(t.Context(), statement, string(id)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestLinkWritesOnlyWhatStillHolds(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	holder, err := s.Patch(t.Context(), create(t, s, "holder@example.com"), customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|taken"}, 0, byTest())
	must(t, err)
	closed := create(t, s, "closed@example.com")
	must(t, s.CloseCustomer(t.Context(), closed, 0, byTest()))
	for name, l := range map[string]customer.Link{
		"another key":     link(create(t, s, "a@example.com"), "b@example.com", "auth0|1"),
		"no key any more": link(create(t, s, "c@example.com"), "", "auth0|2"),
		"a closed one":    link(closed, "closed@example.com", "auth0|3"),
		"a linked one":    link(holder.ID, "holder@example.com", "auth0|4"),
		"a taken user":    link(create(t, s, "d@example.com"), "d@example.com", "auth0|taken"),
		"nobody":          link(customer.ID(uuid.NewString()), "", "auth0|5"),
	} {
		done, err := s.Link(t.Context(), 0, []customer.Link{l}, byTest())
		if err != nil || len(done) != 0 {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
}

func TestOneConflictDoesNotFailTheBatch(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var links []customer.Link
	for i := range 600 {
		address := fmt.Sprintf("c%d@example.com", i)
		user := fmt.Sprintf("auth0|%d", i)
		if i == 300 {
			user = "auth0|299" // two customers for one user
		}
		links = append(links, link(create(t, s, address), customer.EmailKey(address), user))
	}
	done, err := s.Link(t.Context(), 0, links, byTest())
	if err != nil || len(done) != 599 {
		t.Errorf("%d linked, %v", len(done), err)
	}
	if c := get(t, s, done[0]); c.Lifecycle != customer.Active || c.Version != 2 || !c.UpdatedAt.After(c.CreatedAt) {
		t.Errorf("linked %+v", c)
	}
	history, err := s.History(t.Context(), done[0])
	must(t, err)
	if len(history) != 2 || history[1].What != "linked" || !strings.Contains(string(history[1].Evidence), `"named_by": "email"`) {
		t.Errorf("history %+v", history)
	}
}

func TestALostLeaseWritesNothing(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	old, err := s.Acquire(t.Context(), customer.LeaseWorker, "one", time.Nanosecond) // it has run out at once
	must(t, err)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "two", time.Minute)
	must(t, err)
	if fence <= old {
		t.Errorf("fence %d after %d", fence, old)
	}
	if _, err := s.Acquire(t.Context(), customer.LeaseWorker, "three", time.Minute); !errors.Is(err, customer.ErrLeaseHeld) {
		t.Errorf("a held lease was given away: %v", err)
	}
	_, err1 := s.Link(t.Context(), old, []customer.Link{link(id, "ada@example.com", "auth0|1")}, byTest())
	_, err2 := s.Hold(t.Context(), old, []customer.Hold{{Customer: id, Reason: customer.NotRegistered}})
	_, err3 := s.Absorb(t.Context(), old, 10)
	_, err4 := s.StartRun(t.Context(), customer.Run{Kind: "x"}, old)
	err5 := s.Observed(t.Context(), old, map[string]customer.Seen{"auth0|1": {}})
	for i, err := range []error{err1, err2, err3, err4, err5, s.Renew(t.Context(), old, time.Minute), s.Release(t.Context(), old)} {
		if !errors.Is(err, customer.ErrLeaseLost) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if get(t, s, id).Version != 1 {
		t.Error("something was written")
	}
	must(t, s.Release(t.Context(), fence))
	if _, err := s.Acquire(t.Context(), customer.LeaseWorker, "three", time.Minute); err != nil {
		t.Errorf("a released lease: %v", err)
	}
}

// Writes go on all the time, several at once: if a renewal waited for them, a lease
// would run out because it is used.
func TestAWriteUnderWayHoldsUpTheTakingOfItsLeaseAndNotItsRenewal(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	old, err := s.Acquire(t.Context(), customer.LeaseWorker, "one", time.Minute)
	must(t, err)
	taken := make(chan error, 1)
	var ended atomic.Bool
	must(t, store.UnderFence(t.Context(), s, old, func() error {
		if err := errors.Join(s.Renew(t.Context(), old, time.Minute), s.Release(t.Context(), old)); err != nil {
			return err
		}
		go func() {
			_, err := s.Acquire(t.Context(), customer.LeaseWorker, "two", time.Minute)
			if err == nil && !ended.Load() {
				err = errors.New("taken while its holder wrote")
			}
			taken <- err
		}()
		awaitLock(t, s)
		ended.Store(true)
		return nil
	}))
	must(t, <-taken)
}

// awaitLock returns once somebody waits for a lock.
func awaitLock(t *testing.T, s *store.Store) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		must(t, store.DB(s).GetContext(t.Context(), &waiting, `
			select count(*) from pg_locks l join pg_stat_activity a using (pid)
			where not l.granted and a.datname = current_database()`))
	}
}

func TestAHoldDoesNotUndoAHintThatCameInBetween(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	id := create(t, s, "ada@example.com")
	due, err := s.DueByEmail(t.Context(), "ada@example.com")
	must(t, err)
	_, err = s.Receive(t.Context(), delivery("evt_1", "ada@example.com"))
	must(t, err)
	absorbed, err := s.Absorb(t.Context(), 0, 10)
	if err != nil || absorbed.Matched != 1 {
		t.Fatalf("%+v, %v", absorbed, err)
	}
	held, err := s.Hold(t.Context(), 0, []customer.Hold{{
		Customer: id, Reason: customer.NotRegistered, Next: due[0].At.Add(time.Hour), Misses: 1, Due: due[0].At,
	}})
	if err != nil || held != 0 {
		t.Errorf("held %d, %v", held, err)
	}
	after, err := s.DueByEmail(t.Context(), "ada@example.com")
	must(t, err)
	if after[0].Hint.AuthUserID != "auth0|evt_1" || after[0].At.After(due[0].At.Add(time.Minute)) {
		t.Errorf("%+v", after[0])
	}
}

func delivery(id, address string) customer.Delivery {
	return customer.Delivery{
		Source: "event_stream", EventID: id, Kind: "user.updated", Understood: true,
		Hint: customer.Hint{AuthUserID: "auth0|" + id, Email: address, Key: customer.EmailKey(address), Verified: true},
	}
}

func TestADeliveryIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i := range 3 {
		fresh, err := s.Receive(t.Context(), delivery("evt_1", "ada@example.com"))
		if err != nil || fresh[0] != (i == 0) {
			t.Errorf("%d: fresh %v, %v", i, fresh, err)
		}
	}
	fresh, err := s.Receive(t.Context(), customer.Delivery{Source: "action", EventID: "x", Body: []byte("\xff\x00rubbish")})
	if err != nil || !fresh[0] {
		t.Errorf("quarantined: %v, %v", fresh, err)
	}
	absorbed, err := s.Absorb(t.Context(), 0, 10)
	if err != nil || absorbed != (customer.Absorbed{Rows: 1, Kept: 1}) {
		t.Errorf("%+v, %v", absorbed, err)
	}
}

// Whichever comes first, the customer or the delivery about it, and however
// closely: in the end the customer is due and knows whom to ask for.
func TestCreateAndAbsorbFindEachOther(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i := range 40 {
		address := fmt.Sprintf("c%d@example.com", i)
		_, err := s.Receive(t.Context(), delivery(fmt.Sprintf("evt_%d", i), address))
		must(t, err)
		var both sync.WaitGroup
		both.Go(func() { create(t, s, address) })
		both.Go(func() {
			if _, err := s.Absorb(t.Context(), 0, 10); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		due, err := s.DueByEmail(t.Context(), customer.EmailKey(address))
		if err != nil || len(due) != 1 || due[0].Hint.AuthUserID != fmt.Sprintf("auth0|evt_%d", i) {
			t.Fatalf("round %d: %+v, %v", i, due, err)
		}
	}
}

func TestManyAskingForOneAddressMakeOneCustomer(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	ids := make(chan customer.ID, 16)
	var all sync.WaitGroup
	for i := range 16 {
		d := draft(t, "ada@example.com")
		if i%2 == 0 {
			d.Idempotency = customer.Idempotency{Key: "k", Scope: "app:test"}
		}
		all.Go(func() {
			id, _, err := s.Create(t.Context(), d, nil, byTest())
			if errors.Is(err, customer.ErrKeyInFlight) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			ids <- id
		})
	}
	all.Wait()
	close(ids)
	different := map[customer.ID]bool{}
	for id := range ids {
		different[id] = true
	}
	if len(different) != 1 {
		t.Errorf("%d customers", len(different))
	}
}

// The answer to a commit may get lost; the same draft is then written again.
func TestTheSameDraftAgainIsTheSameCustomer(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for _, address := range []string{"", "ada@example.com"} {
		d := draft(t, address)
		for range 2 {
			id, _, err := s.Create(t.Context(), d, nil, byTest())
			if err != nil || id != d.ID {
				t.Errorf("%q: %s, %v", address, id, err)
			}
		}
	}
}

func TestListenWakes(t *testing.T) {
	t.Parallel()
	s := listening(t, storetest.Direct(t))
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		s.Listen(ctx, func() { woken <- struct{}{} })
	}()
	<-woken // once by itself, for what came before
	untilWoken(t, s, woken)
	cancel()
	<-ended
}

// polling is a Store that has no LISTEN, and asks often instead.
func polling(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: true, QueryTimeout: 30 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	store.PollEvery(s, 10*time.Millisecond)
	return s
}

func TestBehindPgBouncerThereIsAWakeWithoutListen(t *testing.T) {
	t.Parallel()
	s := polling(t, storetest.DSN(t))
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.Listen(ctx, func() {
			select {
			case woken <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	<-woken // once by itself, for what came before
	untilWoken(t, s, woken)
	cancel()
	<-ended
}

// A database that is away is told of once, not each second, and watchers are woken all
// the same.
func TestBehindPgBouncerAnOutageIsToldOfOnce(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.WarnLevel)
	s, err := store.Open(store.Options{DSN: storetest.DSN(t), PgBouncer: true, QueryTimeout: 30 * time.Second, Logger: zap.New(core)})
	must(t, err)
	store.PollEvery(s, time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		s.Listen(ctx, func() { woken <- struct{}{} })
	}()
	<-woken
	must(t, s.Close())
	told, stop := s.Watch("x")
	defer stop()
	for range 10 {
		<-told
	}
	cancel()
	<-ended
	if logged.Len() != 1 || !strings.HasPrefix(logged.All()[0].Message, "ask for news") {
		t.Errorf("%+v", logged.All())
	}
}

// News is what LISTEN would have told of: the others have their time.
func TestBehindPgBouncerNewsIsWhatIsNotifiedOf(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := polling(t, dsn), raw(t, dsn)
	patch := func(id customer.ID, user string) {
		t.Helper()
		_, err := s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: user}, 0, byTest())
		must(t, err)
	}
	linked, waiting, late := create(t, s, "linked@example.com"), create(t, s, "waiting@example.com"), create(t, s, "late@example.com")
	patch(linked, "auth0|linked")
	_, err := db.ExecContext(t.Context(), `update customers set next_check_at = clock_timestamp() + interval '1 day' where id in ($1, $2)`, waiting, late)
	must(t, err)
	steps := []struct {
		what string
		do   func()
		news bool
	}{
		{"nothing", func() {}, false},
		{"a customer that nobody told of", func() { create(t, s, "new@example.com") }, false},
		{"a customer whose time has come", func() {
			_, err := db.ExecContext(t.Context(), `update customers set next_check_at = clock_timestamp() where id = $1`, late)
			must(t, err)
		}, false},
		{"a name", func() {
			_, err := s.Patch(t.Context(), waiting, customer.Patch{Field: customer.FieldLastName, Value: "King"}, 0, byTest())
			must(t, err)
		}, false},
		{"a look that is asked for", func() { must(t, s.LookNow(t.Context(), waiting)) }, true},
		{"a link that is taken back", func() { patch(linked, "") }, true},
		{"a link of somebody without an address", func() { patch(create(t, s, ""), "auth0|nameless") }, true},
		{"a delivery", func() {
			_, err := s.Receive(t.Context(), delivery("evt", "told@example.com"))
			must(t, err)
		}, true},
	}
	for _, step := range steps {
		before, err := s.Now(t.Context())
		must(t, err)
		step.do()
		got, err := store.News(t.Context(), s, before)
		if err != nil || got != step.news {
			t.Errorf("%s: news %t, %v", step.what, got, err)
		}
	}
	_, err = db.ExecContext(t.Context(), `update inbox set state = 'kept'`)
	must(t, err)
	before, err := s.Now(t.Context())
	must(t, err)
	create(t, s, "told@example.com")
	if got, err := store.News(t.Context(), s, before); err != nil || !got {
		t.Errorf("a customer that a delivery told of before: news %t, %v", got, err)
	}
}

// listening is a Store that hears what Postgres notifies of, for which nothing may
// be between the two.
func listening(t testing.TB, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// untilWoken brings deliveries until LISTEN stands and tells of one.
func untilWoken(t testing.TB, s *store.Store, woken <-chan struct{}) {
	t.Helper()
	for i := range 200 {
		_, err := s.Receive(t.Context(), delivery(fmt.Sprint(i), "ada@example.com"))
		must(t, err)
		select {
		case <-woken:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("never woken")
}

func TestDueAndIdleAreIndexProbes(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	_, err := db.ExecContext(t.Context(), `
		insert into customers (id, created_at, updated_at, first_name, last_name, email_address, email_key, lifecycle, version,
		  created_by, auth_user_id)
		select gen_random_uuid(), now(), now(), 'A', 'B', i || '@x', i || '@x', 'active', 1, '', 'auth0|' || i
		from generate_series(1, 20000) i`)
	must(t, err)
	_, err = db.ExecContext(t.Context(), `
		insert into inbox (source, event_id, kind, state, actionable)
		select 'action', i, 'x', 'done', true
		from generate_series(1, 20000) i`)
	must(t, err)
	_, err = db.ExecContext(t.Context(), `analyze`)
	must(t, err)
	idle, err := s.Idle(t.Context())
	if err != nil || !idle {
		t.Fatalf("%v, %v", idle, err)
	}
	for _, query := range []string{
		store.Probe,
		`select id from customers where next_check_at <= now() and (next_check_at, id) > ('-infinity', '00000000-0000-0000-0000-000000000000') order by next_check_at, id limit 500`,
		`select id from customers where email_key = 'x' and lifecycle <> 'inactive'`,
		`select id from customers where auth_user_id = 'x' and lifecycle <> 'inactive'`,
		`select created_at from customers where reason = 'waiting' order by id limit 1`,
		`select min(next_check_at) from customers where next_check_at is not null`,
		`select count(*) from inbox where state = 'new'`,
	} {
		var plan string
		must(t, db.QueryRowContext(t.Context(), `explain (format json) `+query).Scan(&plan))
		if strings.Contains(plan, `"Seq Scan"`) {
			t.Errorf("%s\n%s", query, plan)
		}
	}
}

// A server that takes connections and then says nothing must not hold a caller.
func TestAFrozenServerIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	s, err := store.Open(store.Options{
		DSN: "postgres://u@" + listener.Addr().String() + "/d?sslmode=disable", QueryTimeout: 50 * time.Millisecond,
	})
	must(t, err)
	defer s.Close()
	if _, err := s.Customer(t.Context(), customer.ID(uuid.NewString())); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Options{DSN: "postgres://u@127.0.0.1:1/d?sslmode=disable"})
	must(t, err)
	defer s.Close()
	if err := s.Ready(t.Context()); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestADSNSaysWhetherItIsEncrypted(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u@db/d", "host=db", "", "mysql://u@db/d", "postgres://u:secret@db/%zz?sslmode=disable"} {
		if _, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer()}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

// A replica that is frozen within a transaction must not stop the others for ever.
func TestTheServerEndsATransactionThatSaysNothing(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := open(t, dsn)
	got, err := store.IdleInTransaction(t.Context(), s)
	if err != nil || got != "10s" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNoErrorRepeatsAValue(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	_, err1 := s.Customer(t.Context(), "a-secret-value")
	_, err2 := s.CustomerByEmail(t.Context(), "a-secret-value\x00")
	for _, err := range []error{err1, err2} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAnEmptyDatabaseIsNotReadyAndSaysWhy(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	db := raw(t, dsn)
	_, err := db.ExecContext(t.Context(), `drop schema public cascade; create schema public`)
	must(t, err)
	s := open(t, dsn)
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Customer(t.Context(), customer.ID(uuid.NewString())); !errors.Is(err, customer.ErrUnavailable) {
		t.Errorf("a query: %v", err)
	}
	var all sync.WaitGroup
	for range 4 { // replicas that start together
		all.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, s.Ready(t.Context()))
}

func TestAppKeysAreKeptAsHashesAndRevoked(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	id, key, err := s.CreateAppKey(t.Context(), "shop")
	must(t, err)
	if len(key) != 32 || strings.ContainsFunc(key, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", r)
	}) {
		t.Errorf("key %q", key)
	}
	var dump string
	must(t, db.QueryRowContext(t.Context(), `select string_agg(k::text, '') from app_keys k`).Scan(&dump))
	if strings.Contains(dump, key) {
		t.Error("the key itself is stored")
	}
	live, err := s.LiveAppKeys(t.Context())
	if err != nil || len(live) != 1 {
		t.Errorf("live %v, %v", live, err)
	}
	must(t, s.RevokeAppKey(t.Context(), id))
	must(t, s.RevokeAppKey(t.Context(), id))
	if live, err = s.LiveAppKeys(t.Context()); err != nil || len(live) != 0 {
		t.Errorf("live %v, %v", live, err)
	}
	if err := s.RevokeAppKey(t.Context(), "key_none"); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("nobody's key: %v", err)
	}
}

func TestARunThatWasKilledIsAborted(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	fence, err := s.Acquire(t.Context(), customer.LeaseWorker, "one", time.Nanosecond)
	must(t, err)
	killed, err := s.StartRun(t.Context(), customer.Run{Kind: "promote"}, fence)
	must(t, err)
	fence, err = s.Acquire(t.Context(), customer.LeaseWorker, "two", time.Minute)
	must(t, err)
	id, err := s.StartRun(t.Context(), customer.Run{Kind: "promote"}, fence)
	must(t, err)
	must(t, s.FinishRun(t.Context(), id, customer.Run{Result: customer.RunOK, Tally: customer.Tally{Linked: 3}}))
	runs, err := s.Runs(t.Context(), 10)
	if err != nil || len(runs) != 2 || runs[0].Linked != 3 || runs[1].ID != killed || runs[1].Result != customer.RunAborted {
		t.Errorf("runs %+v, %v", runs, err)
	}
}

func TestPruneKeepsWhatIsYoungOrOpen(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	_, err := s.Receive(t.Context(), delivery("settled", "a@example.com"))
	must(t, err)
	_, err = s.Absorb(t.Context(), 0, 10)
	must(t, err)
	_, err = s.Receive(t.Context(), delivery("open", "b@example.com"))
	must(t, err)
	now, err := s.Now(t.Context())
	must(t, err)
	if n, err := s.Prune(t.Context(), now.Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("young: %d, %v", n, err)
	}
	if n, err := s.Prune(t.Context(), now.Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("old: %d, %v", n, err)
	}
	if idle, err := s.Idle(t.Context()); idle || err != nil {
		t.Errorf("the open delivery is gone: %v", err)
	}
}

// Whatever is done, in whatever order: history is a gapless chain up to the
// version, nobody shares an address or a user, active is linked.
func TestWhateverIsDoneTheInvariantsHold(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	var ids []customer.ID
	rapid.Check(t, func(r *rapid.T) {
		addresses := []string{"a@example.com", "b@example.com", "c@example.com", ""}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			address := rapid.SampledFrom(addresses).Draw(r, "address")
			user := rapid.SampledFrom([]string{"auth0|1", "auth0|2", "auth0|3"}).Draw(r, "user")
			id := customer.ID(uuid.NewString())
			if len(ids) > 0 {
				id = ids[rapid.IntRange(0, len(ids)-1).Draw(r, "id")]
			}
			var err error
			switch rapid.IntRange(0, 6).Draw(r, "what") {
			case 0, 1:
				d := draft(t, address)
				var made bool
				if id, made, err = s.Create(t.Context(), d, nil, byTest()); made {
					ids = append(ids, id)
				}
			case 2:
				_, err = s.Link(t.Context(), 0, []customer.Link{link(id, customer.EmailKey(address), user)}, byTest())
			case 3:
				_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: user}, 0, byTest())
			case 4:
				_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID}, 0, byTest())
			case 5:
				err = s.CloseCustomer(t.Context(), id, 0, byTest())
			case 6:
				_, err = s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: user}, 0, byTest())
			}
			for _, expected := range []error{customer.ErrNotFound, customer.ErrInactive, customer.ErrAuthUserTaken, customer.ErrEmailTaken} {
				if errors.Is(err, expected) {
					err = nil
				}
			}
			if err != nil {
				r.Fatal(err)
			}
		}
		var broken int
		if err := db.QueryRowContext(t.Context(), `
			select (select count(*) from customers c
			        where version <> (select count(*) from history h where h.customer_id = c.id)
			           or version <> (select max(version) from history h where h.customer_id = c.id)
			           or lifecycle <> (select to_lifecycle from history h where h.customer_id = c.id and h.version = c.version)
			           or updated_at <> (select at from history h where h.customer_id = c.id and h.version = c.version))
			     + (select count(*) from history h join history n on n.customer_id = h.customer_id and n.version = h.version + 1
			        where n.from_lifecycle is distinct from h.to_lifecycle)
			     + (select count(*) from (select from customers where lifecycle <> 'inactive' and email_key is not null group by email_key having count(*) > 1) x)
			     + (select count(*) from (select from customers where lifecycle <> 'inactive' and auth_user_id is not null group by auth_user_id having count(*) > 1) x)
			     + (select count(*) from customers where (lifecycle = 'active') and auth_user_id is null)`).Scan(&broken); err != nil || broken != 0 {
			r.Fatalf("%d broken, %v", broken, err)
		}
	})
}

// Waiting for a row that somebody else has: a caller who leaves did not find the
// database unavailable, one whose time is up did.
func TestACallerWhoLeavesIsNotToldThatTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s, db := open(t, dsn), raw(t, dsn)
	id := create(t, s, "ada@example.com")
	holder, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(t.Context(), `select from customers for update`)
	must(t, err)
	for name, want := range map[string]error{"leaves": context.Canceled, "is late": customer.ErrUnavailable} {
		ctx, leave := context.WithCancel(t.Context())
		if name == "is late" {
			ctx, leave = context.WithTimeout(t.Context(), 100*time.Millisecond)
		} else {
			time.AfterFunc(100*time.Millisecond, leave) // the statement waits by then
		}
		_, err := s.Patch(ctx, id, customer.Patch{Field: customer.FieldFirstName, Value: "X"}, 0, byTest())
		leave()
		if !errors.Is(err, want) || errors.Is(err, context.Canceled) && errors.Is(err, customer.ErrUnavailable) {
			t.Errorf("who %s: got %v, want %v", name, err, want)
		}
	}
}

// Two links in one batch with one address to fill in, and one whose address
// somebody has: all are linked, the address goes to one.
func TestALinkDoesNotSufferForAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	create(t, s, "taken@example.com")
	var links []customer.Link
	for i, address := range []string{"taken@example.com", "free@example.com", "free@example.com"} {
		l := link(create(t, s, ""), "", fmt.Sprintf("auth0|%d", i))
		l.Fill = email(t, address)
		links = append(links, l)
	}
	done, err := s.Link(t.Context(), 0, links, byTest())
	if err != nil || len(done) != 3 {
		t.Fatalf("linked %v, %v", done, err)
	}
	filled := 0
	for _, id := range done {
		if c := get(t, s, id); c.Email.Key != "" {
			filled++
			if c.Email.Key != "free@example.com" {
				t.Errorf("got %+v", c)
			}
		}
	}
	if filled != 1 {
		t.Errorf("%d got the address", filled)
	}
}

// proxied gives a way to a database that can be frozen: then it takes everything
// and answers nothing.
func proxied(t testing.TB, dsn string) (through string, frozen *atomic.Bool) {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	socket := filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	frozen = &atomic.Bool{}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				_ = client.Close()
				continue
			}
			go relay(server, client, frozen)
			go relay(client, server, frozen)
		}
	}()
	return fmt.Sprintf("postgres://%s@%s%s?sslmode=disable", u.User.Username(), listener.Addr(), u.Path), frozen
}

func relay(to, from net.Conn, frozen *atomic.Bool) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if frozen.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// A connection that stood before the server froze must not hold a caller either,
// in a transaction or out of one; afterwards all is well by itself.
func TestAServerThatFreezesIsUnavailableAndHeals(t *testing.T) {
	t.Parallel()
	dsn, frozen := proxied(t, storetest.DSN(t))
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: 300 * time.Millisecond})
	must(t, err)
	defer s.Close()
	id := create(t, s, "ada@example.com")
	for name, call := range map[string]func() error{
		"a read": func() error {
			_, err := s.Customer(t.Context(), id)
			return err
		},
		"a transaction": func() error {
			_, err := s.Patch(t.Context(), id, customer.Patch{Field: customer.FieldFirstName, Value: "X"}, 0, byTest())
			return err
		},
	} {
		frozen.Store(true)
		if err := call(); !errors.Is(err, customer.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		frozen.Store(false)
		if err := call(); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
}

// One of several hosts that can be written to is found, each with its port.
func TestSeveralHostsWithTheirPorts(t *testing.T) {
	t.Parallel()
	dsn, _ := proxied(t, storetest.DSN(t))
	there, err := url.Parse(dsn)
	must(t, err)
	there.Host = "127.0.0.1:1," + there.Host
	there.RawQuery += "&target_session_attrs=read-write"
	s, err := store.Open(store.Options{DSN: there.String(), PgBouncer: storetest.PgBouncer()})
	must(t, err)
	defer s.Close()
	must(t, s.Ready(t.Context()))
}

// Whose time is up is told so though neither the statement nor its cancel is
// answered: not when the server's time is up too.
func TestACallerWhoseTimeIsUpIsNotHeldByAFrozenServer(t *testing.T) {
	t.Parallel()
	for _, pgbouncer := range []bool{storetest.PgBouncer(), true} {
		dsn, frozen := proxied(t, storetest.DSN(t))
		s, err := store.Open(store.Options{DSN: dsn, PgBouncer: pgbouncer, QueryTimeout: time.Hour})
		must(t, err)
		defer s.Close()
		id := create(t, s, "ada@example.com")
		link := func(ctx context.Context, user string) error { // in a transaction of its own
			_, err := s.Patch(ctx, id, customer.Patch{Field: customer.FieldAuthUserID, Value: user}, 0, byTest())
			return err
		}
		must(t, link(t.Context(), "auth0|1")) // its statements are prepared now
		frozen.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		told := make(chan error, 1)
		go func() { told <- link(ctx, "auth0|2") }()
		select {
		case err := <-told:
			if !errors.Is(err, customer.ErrUnavailable) {
				t.Errorf("with PgBouncer %t: %v", pgbouncer, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("with PgBouncer %t it was never told", pgbouncer)
		}
		frozen.Store(false)
		must(t, link(t.Context(), "auth0|3"))
	}
}

// lib/pq's listener holds the lock that its Close needs while it waits for the
// server, so a server that is frozen could keep the daemon from ending.
func TestListenEndsThoughTheServerIsFrozen(t *testing.T) {
	t.Parallel()
	dsn, frozen := proxied(t, storetest.Direct(t))
	s := listening(t, dsn)
	store.PingEvery(s, 10*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	ended, woken := make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(ended)
		s.Listen(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	untilWoken(t, s, woken)
	frozen.Store(true)
	time.AfterFunc(200*time.Millisecond, cancel) // pings are stuck by then
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it never ended")
	}
}
