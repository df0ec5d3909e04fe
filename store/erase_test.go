package store_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

var (
	eraseKey  = []byte("0123456789abcdef0123456789abcdef") //nolint:gochecknoglobals // a constant
	formerKey = []byte("fedcba9876543210fedcba9876543210") //nolint:gochecknoglobals // a constant
)

// erasing is a store that can erase.
func erasing(t testing.TB, dsn string, keys ...[]byte) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer(), QueryTimeout: 30 * time.Second, EraseKeys: keys})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

const (
	plantedEmail = "Planted.Person@Example.com"
	plantedKey   = "planted.person@example.com"
	plantedUser  = "auth0|plantedplantedplanted"
	plantedOld   = "google-oauth2|10000000planted"
)

// plant leaves a customer's traces wherever they may be.
func plant(t *testing.T, s *store.Store) customer.ID {
	t.Helper()
	ctx := t.Context()
	d := draft(t, plantedEmail)
	d.FirstName, d.LastName, d.CreatedBy = "Plantedfirst", "Plantedlast", "sub:"+plantedUser
	d.Idempotency = customer.Idempotency{Key: "k", Scope: "sub:" + plantedUser + " key_1"}
	id, _, err := s.Create(ctx, d, nil, customer.Cause{Kind: customer.ByToken, Actor: "sub:" + plantedUser, RequestID: "Plantedrequest"})
	must(t, err)
	for _, user := range []string{plantedOld, "", plantedUser} {
		_, err = s.Patch(ctx, id, customer.Patch{Field: customer.FieldAuthUserID, Value: user}, 0, byTest())
		must(t, err)
	}
	_, err = s.Patch(ctx, id, customer.Patch{Field: customer.FieldFirstName, Value: "Plantedother"}, 0, byTest())
	must(t, err)
	_, err = s.Reveal(ctx, id, customer.Cause{Kind: customer.ByOperator, Actor: "sub:" + plantedUser, RequestID: "Plantedreveal", Why: "Planted reason"})
	must(t, err)
	_, err = s.Receive(ctx,
		customer.Delivery{Source: "event_stream", EventID: "1", Understood: true, Hint: customer.Hint{AuthUserID: plantedUser, Email: plantedEmail, Key: plantedKey, Verified: true}},
		customer.Delivery{Source: "event_stream", EventID: "2", Understood: true, Hint: customer.Hint{AuthUserID: "auth0|other", Identities: []string{plantedOld}}},
		customer.Delivery{Source: "event_stream", EventID: "3", Understood: true, Hint: customer.Hint{AuthUserID: "auth0|other", CustomerID: id}},
		customer.Delivery{Source: "event_stream", EventID: "4", Body: []byte(`{"email":"PLANTED.person@example.com"}`)},
		customer.Delivery{Source: "event_stream", EventID: "5", Body: []byte(`{"email":"bob@example.com"}`)})
	must(t, err)
	must(t, s.Observed(ctx, 0, map[string]customer.Seen{plantedUser: {}, plantedOld: {}, "auth0|bob": {}}))
	must(t, s.List(ctx, 0, []customer.Sighting{
		{UserID: plantedUser, Key: plantedKey, Observation: []byte(`{"email":"` + plantedEmail + `"}`)}, {UserID: plantedOld, CarriedBy: plantedUser}, {UserID: "auth0|bob"},
	}))
	plan, err := s.StartPlan(ctx, "Joan", "test")
	must(t, err)
	must(t, s.AddToPlan(ctx, plan, []customer.PlanRow{
		{Place: 1, Customer: id, Action: "unlink", AuthUserID: plantedUser}, {Place: 2, Customer: create(t, s, "planned@example.com"), Action: "link", AuthUserID: plantedOld},
	}))
	// Another customer is in conflict with this one.
	rival := create(t, s, "rival@example.com")
	due, err := s.DueByEmail(ctx, "rival@example.com")
	must(t, err)
	_, err = s.Hold(ctx, 0, []customer.Hold{{Customer: rival, Reason: customer.UserTaken, Due: due[0].At, Asked: true, Candidates: []customer.Candidate{{AuthUserID: plantedUser, Holder: id}}}})
	must(t, err)
	return id
}

// traces are the ways that a customer shows in a dump.
func traces(dump string) (found []string) {
	for _, text := range []string{"planted", hex.EncodeToString([]byte("PLANTED")), hex.EncodeToString([]byte("planted"))} {
		for line := range strings.Lines(dump) {
			if strings.Contains(strings.ToLower(line), strings.ToLower(text)) {
				found = append(found, line)
			}
		}
	}
	return found
}

func TestNothingIsLeftOfAnErasedCustomer(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, eraseKey)
	must(t, s.AddEventTarget(t.Context(), "crm"))
	id := plant(t, s)
	work, err := s.EventWork(t.Context(), "crm", 100)
	must(t, err)
	must(t, s.SettleEvents(t.Context(), 0, "crm", customer.EventReport{From: work.Position, To: work.Fresh[len(work.Fresh)-1].Position, Behind: work.Fresh}))
	if before := traces(storetest.Dump(t, dsn)); len(before) < 15 {
		t.Fatalf("only %d traces to remove: %q", len(before), before)
	}
	proof, err := s.Erase(t.Context(), id, 0, customer.Cause{Kind: customer.ByAPI, Actor: "app:key_9", RequestID: "req-9"})
	must(t, err)
	dump := storetest.Dump(t, dsn)
	if left := traces(dump); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if !strings.Contains(dump, "auth0|bob") || !strings.Contains(dump, "rival@example.com") || !strings.Contains(dump, hex.EncodeToString([]byte("bob@example.com"))) {
		t.Error("what is of others went with it")
	}
	want := map[string]int{"customers": 1, "history": 5, "reveals": 1, "idempotency_keys": 1, "inbox": 4, "auth0_observations": 2, "listed_users": 2, "candidates": 1, "hints": 0, "event_deliveries": 5}
	for table, rows := range want {
		if proof.Removed[table] != rows {
			t.Errorf("%d of %s, want %d", proof.Removed[table], table, rows)
		}
	}
	if proof.Customer != id || proof.Actor != "app:key_9" || proof.RequestID != "req-9" || proof.At.IsZero() || len(proof.Others) != 0 {
		t.Errorf("proof %+v", proof)
	}
	if _, err := s.Customer(t.Context(), id); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("the customer: %v", err)
	}
	again, err := s.Erase(t.Context(), id, 0, byTest())
	if err != nil || !again.At.Equal(proof.At) || again.Actor != proof.Actor {
		t.Errorf("erased again: %+v, %v", again, err)
	}
	if got := told(feed(t, s, 0, 10)); !slices.Contains(got, "customer.erased v6 inactive") || slices.Contains(got, "customer.activated v2 active") {
		t.Errorf("the feed: %q", got)
	}
}

// Auth0 goes on telling of its user, and knows it still.
func TestAnErasedCustomerDoesNotComeBackByItself(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, eraseKey)
	ctx := t.Context()
	_, err := s.Erase(ctx, plant(t, s), 0, byTest())
	must(t, err)
	_, err = s.Receive(ctx,
		customer.Delivery{Source: "event_stream", EventID: "11", Understood: true, Hint: customer.Hint{AuthUserID: plantedUser, Email: plantedEmail, Key: plantedKey, Verified: true}},
		customer.Delivery{Source: "event_stream", EventID: "12", Understood: true, Hint: customer.Hint{AuthUserID: "auth0|new", Email: plantedEmail, Key: plantedKey, Verified: true}},
		customer.Delivery{Source: "log_stream", EventID: "13", Understood: true, Hint: customer.Hint{AuthUserID: plantedOld, Partial: true, Verified: true}},
		customer.Delivery{Source: "event_stream", EventID: "14", Understood: true, Hint: customer.Hint{AuthUserID: "auth0|carrier", Email: "c@example.com", Key: "c@example.com", Verified: true, Identities: []string{plantedOld, "sms|1"}}})
	must(t, err)
	must(t, s.Observed(ctx, 0, map[string]customer.Seen{plantedUser: {}}))
	dump := storetest.Dump(t, dsn)
	if left := traces(dump); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if !strings.Contains(dump, "auth0|carrier") || !strings.Contains(dump, "{sms|1}") {
		t.Error("a delivery about somebody else is not whole")
	}

	other := create(t, s, "other@example.com")
	if done, err := s.Link(ctx, 0, []customer.Link{link(other, "other@example.com", plantedUser)}, byTest()); err != nil || len(done) != 0 {
		t.Errorf("linked: %v, %v", done, err)
	}
	done, err := s.Link(ctx, 0, []customer.Link{link(other, "other@example.com", "auth0|fresh")}, byTest())
	if err != nil || len(done) != 1 {
		t.Fatalf("a user who is not barred: %v, %v", done, err)
	}
	if done, err := s.Rebind(ctx, 0, []customer.Rebind{{Customer: other, From: "auth0|fresh", To: plantedOld}}, byTest()); err != nil || len(done) != 0 {
		t.Errorf("rebound: %v, %v", done, err)
	}
	w, err := s.World(ctx, []string{plantedUser, "auth0|fresh"}, nil, nil)
	if err != nil || !w.Erased[plantedUser] || w.Erased["auth0|fresh"] {
		t.Errorf("world: %v, %v", w.Erased, err)
	}
}

func TestAnErasedPersonMayComeBack(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, eraseKey)
	ctx := t.Context()
	before, err := s.Now(ctx)
	must(t, err)
	_, err = s.Erase(ctx, plant(t, s), 0, byTest())
	must(t, err)

	d := draft(t, plantedEmail)
	d.Subject, d.CreatedBy, d.IssuedAt = plantedUser, "sub:"+plantedUser, before
	if _, _, err := s.Create(ctx, d, nil, byTest()); !errors.Is(err, customer.ErrErased) {
		t.Errorf("with a token from before: %v", err)
	}
	if left := traces(storetest.Dump(t, dsn)); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	d.IssuedAt = before.Add(time.Hour)
	l := link(d.ID, plantedKey, plantedUser)
	id, created, err := s.Create(ctx, d, &l, byTest())
	if err != nil || !created || get(t, s, id).AuthUserID != plantedUser {
		t.Errorf("with a new one: %v, %v", created, err)
	}

	// By an app that may: the other user is still barred until it is named.
	other := create(t, s, "other@example.com")
	_, err = s.Patch(ctx, other, customer.Patch{Field: customer.FieldAuthUserID, Value: plantedOld}, 0, byTest())
	must(t, err)
	w, err := s.World(ctx, []string{plantedUser, plantedOld}, nil, nil)
	if err != nil || len(w.Erased) != 0 {
		t.Errorf("barred still: %v, %v", w.Erased, err)
	}
	var names int
	must(t, raw(t, dsn).QueryRowContext(ctx, `select count(*) from erased_names`).Scan(&names))
	if names != 0 {
		t.Errorf("%d names are barred still", names)
	}
}

// An app that creates a customer with the address brings that back, along with others
// that are made at the same time.
func TestAnAppBringsAnErasedAddressBack(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, formerKey, eraseKey)
	_, err := s.Erase(t.Context(), create(t, s, plantedEmail), 0, byTest())
	must(t, err)
	made, err := store.MakeTogether(t.Context(), s, byTest(), draft(t, "other@example.com"), draft(t, plantedEmail))
	if err != nil || !slices.Equal(made, []bool{true, true}) {
		t.Fatalf("made %v, %v", made, err)
	}
	var names int
	must(t, raw(t, dsn).QueryRowContext(t.Context(), `select count(*) from erased_names`).Scan(&names))
	if names != 0 {
		t.Errorf("%d names are barred still", names)
	}
}

// A closed customer may share its address and user with the one that came after it.
func TestWhatALiveCustomerSharesStaysItsOwn(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, eraseKey)
	ctx := t.Context()
	closed := plant(t, s)
	must(t, s.CloseCustomer(ctx, closed, 0, byTest()))
	live := create(t, s, plantedEmail)
	_, err := s.Patch(ctx, live, customer.Patch{Field: customer.FieldAuthUserID, Value: plantedUser}, 0, byTest())
	must(t, err)
	proof, err := s.Erase(ctx, closed, 0, byTest())
	must(t, err)
	if len(proof.Others) != 1 || proof.Others[0] != live {
		t.Errorf("others: %v", proof.Others)
	}
	if c := get(t, s, live); c.AuthUserID != plantedUser || c.Email.Key != plantedKey {
		t.Errorf("the live one: %+v", c)
	}
	w, err := s.World(ctx, []string{plantedUser, plantedOld}, nil, nil)
	if err != nil || w.Erased[plantedUser] || !w.Erased[plantedOld] {
		t.Errorf("barred: %v, %v", w.Erased, err)
	}
	var deliveries int
	must(t, raw(t, dsn).QueryRowContext(ctx, `select count(*) from inbox where hint_auth_user_id = $1`, plantedUser).Scan(&deliveries))
	if deliveries != 1 {
		t.Errorf("%d deliveries of the live one", deliveries)
	}
}

func TestErasingNeedsItsKey(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	id := plant(t, open(t, dsn))
	if _, err := open(t, dsn).Erase(t.Context(), id, 0, byTest()); !errors.Is(err, customer.ErrNoEraseKey) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := erasing(t, dsn, formerKey).Erase(t.Context(), id, 99, byTest()); !errors.Is(err, customer.ErrStale) {
		t.Errorf("of another version: %v", err)
	}
	_, err := erasing(t, dsn, formerKey).Erase(t.Context(), id, 0, byTest())
	must(t, err)
	for name, test := range map[string]struct {
		s       *store.Store
		strange bool
	}{
		"its own key":       {erasing(t, dsn, formerKey), false},
		"with a new one":    {erasing(t, dsn, eraseKey, formerKey), false},
		"another key alone": {erasing(t, dsn, eraseKey), true},
		"none":              {open(t, dsn), true},
	} {
		n, err := test.s.StrangeEraseKeys(t.Context())
		must(t, err)
		w, err := test.s.World(t.Context(), []string{plantedUser}, nil, nil)
		must(t, err)
		if (n > 0) != test.strange || w.Erased[plantedUser] == test.strange {
			t.Errorf("%s: %d strange, known %v", name, n, w.Erased)
		}
	}
	if _, err := erasing(t, dsn, eraseKey).Erase(t.Context(), draft(t, "").ID, 0, byTest()); !errors.Is(err, customer.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// A delivery that is being written while its person is erased is waited for.
func TestErasingWaitsForThoseWhoDoNotKnow(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := erasing(t, dsn, eraseKey)
	id := plant(t, s)
	tx, err := raw(t, dsn).BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.ExecContext(t.Context(), `
		insert into inbox (source, event_id, kind, state, hint_auth_user_id, actionable) values ('event_stream', '99', '', 'new', $1, true)`, plantedUser)
	must(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := s.Erase(t.Context(), id, 0, byTest())
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(time.Second):
		must(t, tx.Commit())
		must(t, <-done)
	}
	if left := traces(storetest.Dump(t, dsn)); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
