package main

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const (
	ada  = "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11"
	alan = "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e12"
)

// whole is what a faultless round leaves: Ada is linked, Alan renamed. Nothing
// guards the rows, so that a test can break them.
const whole = `
	set time zone 'UTC';
	drop trigger customers_guard on customers;
	drop trigger history_guard on history;
	drop index customers_live_auth_user;
	alter table customers drop constraint customers_active_is_linked, drop constraint customers_pending_has_reason;
	insert into customers (id, created_at, updated_at, first_name, last_name, auth_user_id, email_address, email_key, lifecycle, version, created_by, reason) values
	  ('` + ada + `', '2026-01-01', '2026-01-02', 'Ada', 'L', 'email|ada', 'ada@example.com', 'ada@example.com', 'active', 2, 'x', null),
	  ('` + alan + `', '2026-01-01', '2026-01-02', 'Al', 'T', null, 'alan@example.com', 'alan@example.com', 'auth_pending', 2, 'x', 'waiting');
	insert into history (customer_id, version, at, cause_kind, actor, request_id, change, field, from_value, to_value, from_lifecycle, to_lifecycle, why, evidence) values
	  ('` + ada + `', 1, '2026-01-01', 'api', '', '', 'created', null, null, null, null, 'auth_pending', '', null),
	  ('` + ada + `', 2, '2026-01-02', 'run', '', '', 'linked', null, null, 'email|ada', 'auth_pending', 'active', '', '{"auth_user_id":"email|ada"}'),
	  ('` + alan + `', 1, '2026-01-01', 'api', '', '', 'created', null, null, null, null, 'auth_pending', '', null),
	  ('` + alan + `', 2, '2026-01-02', 'api', '', '', 'patched', 'first_name', 'Alan', 'Al', 'auth_pending', 'auth_pending', '', null);
	insert into idempotency_keys (scope, key, body_sha256, outcome, customer_id) values
	  ('s', 'k1', '', 'created', '` + ada + `'), ('s', 'k2', '', 'created', '` + alan + `')`

var told = []account{
	{id: ada, email: "ada@example.com", key: "k1", firstName: "Ada"},
	{id: alan, email: "alan@example.com", key: "k2", firstName: "Al", patches: 1},
}

// was is what a user was from a time on.
func was(from, id string, change ...func(*auth0sim.State)) auth0sim.State {
	at, _ := time.Parse(time.DateTime, from) // written here
	s := auth0sim.State{From: at, User: auth0sim.User{ID: id, Email: "ada@example.com", EmailVerified: true}}
	for _, c := range change {
		c(&s)
	}
	return s
}

func unproven(s *auth0sim.State) { s.User.EmailVerified = false }
func blocked(s *auth0sim.State)  { s.User.Blocked = true }
func gone(s *auth0sim.State)     { s.Gone = true }
func moved(s *auth0sim.State)    { s.User.Email = "ada@example.org" }

const early = "2026-01-01 00:00:00" // before anything happened to a customer

// broken is a database as whole leaves it, with one thing done to it.
func broken(t *testing.T, by string) *sql.DB {
	t.Helper()
	connector, err := pq.NewConnector(storetest.DSN(t))
	must(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Exec(whole + ";" + by)
	must(t, err)
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheCheckerComplainsOf(t *testing.T) {
	t.Parallel()
	var seen sync.Map // rules that were broken
	t.Cleanup(func() {
		for _, r := range rules {
			if _, ok := seen.Load(r.broken); !ok {
				t.Errorf("nothing breaks the rule that never %s", r.broken)
			}
		}
	})
	for name, c := range map[string]struct{ by, lost, wrong string }{
		"nothing in whole data":      {},
		"a gap in the history":       {by: "update history set version = 7 where version = 2 and change = 'linked'", wrong: "not a chain"},
		"a version without history":  {by: "update customers set version = 3 where first_name = 'Al'", wrong: "not a chain"},
		"history that jumps":         {by: "update history set from_lifecycle = 'inactive' where change = 'linked'", wrong: "from state to state"},
		"history with another end":   {by: "update history set to_lifecycle = 'inactive' where change = 'patched'", wrong: "ends otherwise"},
		"history of another time":    {by: "update customers set updated_at = '2026-02-02' where first_name = 'Al'", wrong: "ends otherwise"},
		"a name of no history":       {by: "update customers set first_name = 'Bob' where first_name = 'Al'", wrong: "not the last one", lost: alan},
		"a customer linked twice":    {by: "update history set change = 'linked' where customer_id = '" + ada + "'", wrong: "linked twice", lost: ada},
		"one user on two":            {by: "update customers set auth_user_id = 'email|ada', lifecycle = 'active'", wrong: "two live customers"},
		"active and not linked":      {by: "update customers set auth_user_id = null", wrong: "active and linked"},
		"linked and not active":      {by: "update customers set lifecycle = 'auth_pending'", wrong: "active and linked"},
		"a link without evidence":    {by: "update history set evidence = null", wrong: "without kept evidence"},
		"evidence of another user":   {by: `update history set evidence = '{"auth_user_id":"email|bob"}'`, wrong: "without kept evidence"},
		"a link to another user":     {by: "update customers set auth_user_id = 'email|bob' where lifecycle = 'active'", wrong: "without kept evidence"},
		"a link that was wrong":      {by: "update history set to_value = 'email|bob' where change = 'linked'", wrong: "was linked to email|bob"},
		"a closed one's wrong link":  {by: "update history set to_value = 'email|bob' where change = 'linked'; update customers set lifecycle = 'inactive'", wrong: "was linked to email|bob"},
		"a key without its effect":   {by: "update idempotency_keys set customer_id = gen_random_uuid() where key = 'k1'", wrong: "key without its effect", lost: ada},
		"an effect without its key":  {by: "delete from idempotency_keys where key = 'k2'", wrong: "without exactly one idempotency key", lost: alan},
		"a customer that is gone":    {by: "delete from history where customer_id = '" + alan + "'; delete from customers where id = '" + alan + "'", lost: alan, wrong: "1 customers"},
		"a change that is gone":      {by: "delete from history where change = 'patched'; update customers set version = 1, updated_at = '2026-01-01', first_name = 'Alan' where first_name = 'Al'", lost: alan},
		"a link by hand":             {by: "update history set evidence = null, why = 'changed through the API' where change = 'linked'"},
		"a link by hand to another":  {by: "update history set evidence = null, why = 'changed through the API', to_value = 'email|bob' where change = 'linked'", wrong: "without kept evidence"},
		"one who was erased":         {by: "insert into erasures (customer_id, version, erased_at, actor, request_id, removed, others) values ('" + alan + "', 3, now(), '', '', '{}', '{}')", wrong: "erased customer is there"},
		"a close that nobody wanted": {by: "update customers set lifecycle = 'inactive' where first_name = 'Al'", lost: alan},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := check(t.Context(), broken(t, c.by), []auth0sim.State{was(early, "email|ada")}, told)
			must(t, err)
			complains(t, "lost", got.lost, c.lost)
			complains(t, "wrong", got.wrong, c.wrong)
			for _, wrong := range got.wrong {
				broken, _, _ := strings.Cut(wrong, ": ")
				seen.Store(broken, true)
			}
			if c.lost+c.wrong == "" && len(got.lost)+len(got.wrong) > 0 {
				t.Errorf("complains of whole data: %+v", got)
			}
		})
	}
}

func complains(t *testing.T, kind string, got []string, of string) {
	t.Helper()
	if all := strings.Join(got, "\n"); !strings.Contains(all, of) {
		t.Errorf("%s: nothing of %q in %q", kind, of, all)
	}
}

// Ada's link was decided by a look at 23:59:58, and written at midnight.
func TestALinkMustBeToTheOneWhoHadVerifiedWhenItWasDecided(t *testing.T) {
	t.Parallel()
	db := broken(t, `update history set evidence = '{"auth_user_id":"email|ada","seen_at":"2026-01-01T23:59:58Z"}' where change = 'linked'`)
	const ada, before, within, after = "email|ada", "2026-01-01 12:00:00", "2026-01-01 23:59:59", "2026-01-02 00:00:01"
	for name, c := range map[string]struct {
		right  bool
		states []auth0sim.State
	}{
		"verified before":                {true, []auth0sim.State{was(early, ada)}},
		"verified meanwhile":             {true, []auth0sim.State{was(early, ada, unproven), was(within, ada)}},
		"blocked meanwhile":              {true, []auth0sim.State{was(early, ada), was(within, ada, blocked)}},
		"blocked afterwards":             {true, []auth0sim.State{was(early, ada), was(after, ada, blocked)}},
		"another address afterwards":     {true, []auth0sim.State{was(early, ada), was(after, ada, moved)}},
		"deleted afterwards":             {true, []auth0sim.State{was(early, ada), was(after, ada, gone)}},
		"a second one afterwards":        {true, []auth0sim.State{was(early, ada), was(after, "auth0|ada")}},
		"a second one, unproven":         {true, []auth0sim.State{was(early, ada), was(early, "auth0|ada", unproven)}},
		"a second one, by a stranger":    {true, []auth0sim.State{was(early, ada), was(early, "samlp|acme|ada")}},
		"a second one, gone before":      {true, []auth0sim.State{was(early, ada), was(early, "auth0|ada"), was(before, "auth0|ada", gone)}},
		"nobody":                         {false, nil},
		"unverified":                     {false, []auth0sim.State{was(early, ada, unproven)}},
		"verified afterwards":            {false, []auth0sim.State{was(early, ada, unproven), was(after, ada)}},
		"no more verified":               {false, []auth0sim.State{was(early, ada), was(before, ada, unproven)}},
		"blocked":                        {false, []auth0sim.State{was(early, ada, blocked)}},
		"unblocked afterwards":           {false, []auth0sim.State{was(early, ada, blocked), was(after, ada)}},
		"deleted before":                 {false, []auth0sim.State{was(early, ada), was(before, ada, gone)}},
		"another address":                {false, []auth0sim.State{was(early, ada, moved)}},
		"that address afterwards":        {false, []auth0sim.State{was(early, ada, moved), was(after, ada)}},
		"two":                            {false, []auth0sim.State{was(early, ada), was(early, "auth0|ada")}},
		"two, one of them gone after":    {false, []auth0sim.State{was(early, ada), was(early, "auth0|ada"), was(after, "auth0|ada", gone)}},
		"verified by whom nobody trusts": {false, []auth0sim.State{was(early, "samlp|acme|ada")}},
	} {
		got, err := check(t.Context(), db, c.states, told)
		must(t, err)
		if len(got.wrong) == 0 != c.right {
			t.Errorf("%s: %q", name, got.wrong)
		}
	}
}

func TestARoundThatDidNotStrikeShowsNothing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]result{
		"no rounds": {}, "one missed": {rounds: 2, injected: 1},
		"lost": {rounds: 1, injected: 1, lost: []string{"x"}}, "wrong": {rounds: 1, injected: 1, wrong: []string{"x"}},
		"late": {rounds: 1, injected: 1, within: 1, unavailable: []time.Duration{2}},
	} {
		if r.verdict("t") == nil {
			t.Errorf("%s: passed", name)
		}
	}
	if err := (result{rounds: 2, injected: 2}).verdict("t"); err != nil {
		t.Error(err)
	}
}

// A trial goes on when a request was answered badly, and the next check finds nothing.
func TestWhatWentWrongInARoundIsNotForgottenInTheNext(t *testing.T) {
	t.Parallel()
	l := &load{w: &world{db: broken(t, ""), tenant: auth0sim.New(auth0sim.Options{})}, ledger: newLedger()}
	t.Cleanup(l.w.tenant.Close)
	got := result{wrong: []string{"a request took a minute"}, lost: []string{"a customer"}}
	_ = l.check(t.Context(), &got) // it knows of no customer that is there
	if first(got.wrong)[0] != "a request took a minute" || got.lost[0] != "a customer" || len(got.wrong) < 2 {
		t.Errorf("%+v", got)
	}
}

func TestATrialThatIsNotThereIsNone(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-only", "kill,linea"}, t.Output()); err == nil {
		t.Error("nothing was tried, and it passed")
	}
}

func TestTrialsInShort(t *testing.T) {
	t.Parallel()
	binary, err := build(t.Context(), t.TempDir())
	must(t, err)
	var all sync.WaitGroup
	slots := make(chan struct{}, 4) // however few processors: most of the time a trial waits
	for _, trial := range trials() {
		if trial.name == "disk" {
			if err := mountable(t.Context(), t.TempDir()); err != nil {
				t.Logf("disk is left to a machine that lets root mount: %v", err)
				continue
			}
		}
		if trial.name == "upgrade" {
			if err := history(t.Context()); err != nil {
				t.Logf("upgrade is left to a clone of the repository: %v", err)
				continue
			}
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			got, err := trial.in(t.Context(), t.Output(), binary, trial.short, 1)
			got.within = 0 // how long is for make trials to judge: here all run at once
			if err := errors.Join(err, got.verdict(trial.name)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
