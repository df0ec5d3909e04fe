package worker_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const (
	actionSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	streamToken  = "a-bearer-token-for-tests"
	logToken     = "a-log-token-for-the-tests"
)

// world is a worker with a real database and a simulated tenant over HTTP.
type world struct {
	*worker.Worker
	store  *store.Store
	tenant *auth0sim.Tenant
}

func newWorld(t *testing.T, o auth0sim.Options, policy auth0sync.Policy) world {
	t.Helper()
	return newWorldOver(t, o, policy, func(s *store.Store) worker.Store { return s })
}

// newWorldOver has the worker see the store as over makes it.
func newWorldOver(t *testing.T, o auth0sim.Options, policy auth0sync.Policy, over func(*store.Store) worker.Store) world {
	t.Helper()
	tenant := auth0sim.New(o)
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	t.Cleanup(tenant.Close)
	tenant.SetBaseURL(server.URL)
	s := storetest.New(t)
	return world{newWorkerWaiting(t, over(s), server.URL, policy, tenant.Advance), s, tenant}
}

func newWorker(t *testing.T, s worker.Store, auth0 string, policy auth0sync.Policy) *worker.Worker {
	t.Helper()
	return newWorkerWaiting(t, s, auth0, policy, func(time.Duration) {})
}

// newWorkerWaiting makes a worker that lets the tenant's time pass instead of
// waiting for an export.
func newWorkerWaiting(t *testing.T, s worker.Store, auth0 string, policy auth0sync.Policy, pass func(time.Duration)) *worker.Worker {
	t.Helper()
	return newWorkerOf(t, s, auth0, worker.Config{Policy: policy}, pass)
}

// newWorkerOf makes a worker; what the configuration leaves out is filled in.
func newWorkerOf(t *testing.T, s worker.Store, auth0 string, c worker.Config, pass func(time.Duration)) *worker.Worker {
	t.Helper()
	metrics := c.Metrics
	if metrics == nil {
		metrics = prometheus.NewRegistry()
	}
	directory := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: auth0, ClientID: "sim-client", ClientSecret: "sim-secret", Share: 0.5, Metrics: metrics, StreamTokens: []string{streamToken},
		Wait: func(ctx context.Context, d time.Duration) error { pass(d); return ctx.Err() },
	})
	verifier, err := auth0sync.NewVerifier(auth0sync.Secrets{Actions: []string{actionSecret}, EventStreams: []string{streamToken}, LogStreams: []string{logToken}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c.Schedule, c.Holder, c.Logger, c.Metrics = "@every 1h", t.Name(), discreet.Logger(t, actionSecret, streamToken), metrics
	w, err := worker.New(c, s, directory, verifier)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// enroll makes a customer as a machine would.
func (w world) enroll(t *testing.T, address string) customer.ID {
	t.Helper()
	d := customer.Draft{
		ID: customer.ID(uuid.Must(uuid.NewV7()).String()), FirstName: "Ada", LastName: "Lovelace", CreatedBy: "app:test",
	}
	if address != "" {
		var err error
		if d.Email, err = customer.ParseEmail(address); err != nil {
			t.Fatal(err)
		}
	}
	id, _, err := w.Enroll(t.Context(), d, nil, customer.Cause{Kind: customer.ByAPI, Actor: "app:test", Why: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w world) signUp(t *testing.T, s auth0sim.SignUp) auth0sim.User {
	t.Helper()
	u, err := w.tenant.SignUp(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (w world) run(t *testing.T) customer.Run { return w.runAs(t, worker.KindPromote) }

func (w world) runAs(t *testing.T, kind string) customer.Run {
	t.Helper()
	r, err := w.RunOnce(t.Context(), worker.Order{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// look runs one customer whether it is due or not.
func (w world) look(t *testing.T, address string) customer.Run {
	t.Helper()
	email, err := customer.ParseEmail(address)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindSync, Only: email.Key})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w world) get(t *testing.T, id customer.ID) customer.Customer {
	t.Helper()
	c, err := w.store.Customer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reason is why a customer waits; "" if it does not.
func (w world) reason(t *testing.T, address string) customer.Reason {
	t.Helper()
	email, err := customer.ParseEmail(address)
	if err != nil {
		t.Fatal(err)
	}
	due, err := w.store.DueByEmail(t.Context(), email.Key)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) == 0 {
		return ""
	}
	return due[0].Reason
}

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func TestOneLookAtACustomerAndItsUsers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		signUps []auth0sim.SignUp
		policy  auth0sync.Policy
		after   func(*testing.T, world, []auth0sim.User)
		want    customer.Reason // "" is linked to the first user
	}{
		"nobody signed up":                {want: customer.NotRegistered},
		"a verified database user":        {signUps: []auth0sim.SignUp{{EmailVerified: yes()}}},
		"an unverified user":              {signUps: []auth0sim.SignUp{{EmailVerified: no()}}, want: customer.EmailUnverified},
		"a Google user":                   {signUps: []auth0sim.SignUp{{Connection: auth0sim.Google}}},
		"a verified but untrusted user":   {signUps: []auth0sim.SignUp{{Connection: auth0sim.Enterprise, EmailVerified: yes()}}, want: customer.ConnectionNotTrusted},
		"two linkable users":              {signUps: []auth0sim.SignUp{{EmailVerified: yes()}, {Connection: auth0sim.Google}}, want: customer.SeveralUsers},
		"one linkable and one look-alike": {signUps: []auth0sim.SignUp{{Connection: auth0sim.Google}, {EmailVerified: no()}}},
		"two linkable users and a priority": {
			signUps: []auth0sim.SignUp{{Connection: auth0sim.Google}, {EmailVerified: yes()}},
			policy:  auth0sync.Policy{ConnectionPriority: []string{auth0sim.Google}},
		},
		"a blocked user": {
			signUps: []auth0sim.SignUp{{EmailVerified: yes()}},
			after:   func(t *testing.T, w world, users []auth0sim.User) { must(t, w.tenant.Block(users[0].ID, true)) },
			want:    customer.UserBlocked,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, test.policy)
			id := w.enroll(t, "ada@example.com")
			var users []auth0sim.User
			for _, s := range test.signUps {
				s.Email = "ada@example.com"
				users = append(users, w.signUp(t, s))
			}
			if test.after != nil {
				test.after(t, w, users)
			}
			run := w.run(t)
			got := w.get(t, id)
			if run.Result != customer.RunOK || run.Looked != 1 {
				t.Errorf("run %+v", run)
			}
			if test.want != "" {
				if got.Lifecycle != customer.AuthPending || w.reason(t, "ada@example.com") != test.want {
					t.Errorf("is %s because %s, want pending because %s", got.Lifecycle, w.reason(t, "ada@example.com"), test.want)
				}
				return
			}
			if got.Lifecycle != customer.Active || got.AuthUserID != users[0].ID {
				t.Errorf("is %s with %q (%s), want active with %q", got.Lifecycle, got.AuthUserID, w.reason(t, "ada@example.com"), users[0].ID)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingDueCostsNoCallAndNoRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	if r := w.run(t); r.Result != customer.RunOK {
		t.Errorf("run %+v", r)
	}
	if calls := w.tenant.Calls(); len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}
	runs, err := w.store.Runs(t.Context(), 10)
	if err != nil || len(runs) != 0 {
		t.Errorf("runs %v, %v", runs, err)
	}
}

func TestAThousandPendingTakeTwentySearches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	for i := range 1000 {
		address := strings.Repeat("x", i%7) + uuid.NewString() + "@example.com"
		w.enroll(t, address)
		w.signUp(t, auth0sim.SignUp{Email: address, EmailVerified: yes()})
	}
	w.tenant.Advance(2 * time.Minute) // search has settled
	if run := w.run(t); run.Looked != 0 {
		t.Errorf("young ones were looked at: %+v", run)
	}
	if calls := w.tenant.Calls(); len(calls) != 0 {
		t.Errorf("calls %v", calls)
	}
	w.Worker = newWorker(t, later{w.store, 2 * time.Minute}, w.tenant.Issuer(), auth0sync.Policy{})
	run := w.run(t)
	if run.Linked != 1000 || run.Result != customer.RunOK {
		t.Errorf("run %+v", run)
	}
	if n := w.tenant.Calls()["GET /api/v2/users"]; n != 20 {
		t.Errorf("%d searches, calls %v", n, w.tenant.Calls())
	}
}

// later is the database some time from now.
type later struct {
	*store.Store
	by time.Duration
}

func (l later) Now(ctx context.Context) (time.Time, error) {
	now, err := l.Store.Now(ctx)
	return now.Add(l.by), err
}

func (later) Idle(context.Context) (bool, error) { return false, nil }

// deliver posts what the tenant sends to the worker, as the API would.
func (w world) connect(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := r.Body.Read(body); err != nil && err.Error() != "EOF" {
			t.Error(err)
		}
		if _, err := w.Deliver(r.Context(), r.Header, body); err != nil {
			rw.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	w.tenant.ConnectAction(server.URL, actionSecret)
	w.tenant.ConnectEventStream(server.URL, streamToken)
}

func TestADeliveryMakesItsCustomerDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.connect(t)
	id := w.enroll(t, "ada@example.com")
	w.run(t) // nobody there: not due again for half a minute
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Passwordless})
	w.tenant.Settle()
	w.tenant.ResetCalls()
	w.run(t)
	if got := w.get(t, id); got.Lifecycle != customer.Active {
		t.Errorf("is %s because %s", got.Lifecycle, w.reason(t, "ada@example.com"))
	}
	if calls := w.tenant.Calls(); calls["GET /api/v2/users-by-email"] != 1 || len(calls) != 1 {
		t.Errorf("calls %v, want one look-up", calls)
	}
}

func TestADeliveryThatComesBeforeItsCustomerIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.connect(t)
	w.signUp(t, auth0sim.SignUp{Email: "Ada@example.com", Connection: auth0sim.Google}) // only the stream tells, and mixed case is found by the hint alone
	w.tenant.Settle()
	w.run(t)
	id := w.enroll(t, "ada@example.com")
	w.run(t)
	if got := w.get(t, id); got.Lifecycle != customer.Active {
		t.Errorf("is %s because %s", got.Lifecycle, w.reason(t, "ada@example.com"))
	}
}

func TestAnAddressInOtherCapitalsIsFoundByTheThirdLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "ada@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "Ada@Example.COM", Connection: auth0sim.Google})
	for range 3 {
		w.look(t, "ada@example.com")
	}
	if got := w.get(t, id); got.Lifecycle != customer.Active {
		t.Errorf("is %s because %s", got.Lifecycle, w.reason(t, "ada@example.com"))
	}
}

func TestAnUnverifiedDeliveryCostsNoCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.connect(t)
	w.enroll(t, "ada@example.com")
	w.run(t)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com"})
	w.tenant.Settle()
	w.tenant.ResetCalls()
	if w.run(t); len(w.tenant.Calls()) != 0 {
		t.Errorf("calls %v", w.tenant.Calls())
	}
}

func TestALookThatADeliveryAskedForInVainDoesNotDelayTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.enroll(t, "ada@example.com")
	w.run(t)
	for i := range 20 {
		_, err := w.store.Receive(t.Context(), customer.Delivery{
			Source: auth0sync.SourceAction, EventID: uuid.NewString(), Kind: "post-login", Understood: true,
			Hint: customer.Hint{AuthUserID: "auth0|ghost", Email: "ada@example.com", Key: "ada@example.com", Verified: true},
		})
		must(t, err)
		w.tenant.ResetCalls()
		w.run(t)
		if n := w.tenant.Calls()["GET /api/v2/users-by-email"]; n != 1 {
			t.Fatalf("delivery %d cost %v", i, w.tenant.Calls())
		}
	}
	due, err := w.store.DueByEmail(t.Context(), "ada@example.com")
	must(t, err)
	if due[0].Misses != 1 {
		t.Errorf("%d misses", due[0].Misses)
	}
}

// hint puts a delivery into the inbox, past the webhook.
func (w world) hint(t *testing.T, h customer.Hint) {
	t.Helper()
	h.Verified = true
	_, err := w.store.Receive(t.Context(), customer.Delivery{
		Source: auth0sync.SourceAction, EventID: uuid.NewString(), Kind: "post-login", Understood: true, Hint: h,
	})
	must(t, err)
}

func TestDeliveriesThatWaitedAreFollowedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	for range 100 {
		address := uuid.NewString() + "@example.com"
		w.enroll(t, address)
		u := w.signUp(t, auth0sim.SignUp{Email: address, EmailVerified: yes()})
		w.hint(t, customer.Hint{AuthUserID: u.ID, Email: address, Key: customer.EmailKey(address)})
	}
	_, err := w.store.Absorb(t.Context(), 0, 1000)
	must(t, err)
	w.tenant.Advance(2 * time.Minute)
	w.Worker = newWorker(t, later{w.store, 2 * time.Minute}, w.tenant.Issuer(), auth0sync.Policy{})
	if run := w.run(t); run.Linked != 100 || w.tenant.Calls()["GET /api/v2/users"] != 2 || run.Auth0Calls != 2 {
		t.Errorf("run %+v, calls %v", run, w.tenant.Calls())
	}
}

func TestADeliveryThatProvesNothingDoesNotChangeTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "ada@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Google})
	other := w.signUp(t, auth0sim.SignUp{Email: "other@example.com", EmailVerified: yes()})
	w.run(t)
	w.hint(t, customer.Hint{AuthUserID: other.ID, CustomerID: id})
	w.run(t)
	w.hint(t, customer.Hint{AuthUserID: "auth0|ghost", Email: "ADA@example.com", Key: "ada@example.com"})
	w.run(t)
	if got := w.reason(t, "ada@example.com"); got != customer.SeveralUsers {
		t.Errorf("reason %s", got)
	}
}

func TestAHintOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "ada@example.com")
	u := w.signUp(t, auth0sim.SignUp{Email: "Ada@Example.com", Connection: auth0sim.Google})
	w.hint(t, customer.Hint{AuthUserID: u.ID, Email: u.Email, Key: "ada@example.com"})
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Status: 500}}})
	w.run(t)
	w.tenant.SetFaults(auth0sim.Faults{})
	w.look(t, "ada@example.com") // by its key alone nobody would be found
	if got := w.get(t, id); got.AuthUserID != u.ID {
		t.Errorf("%s because %s", got.Lifecycle, w.reason(t, "ada@example.com"))
	}
}

func TestALinkedCustomerWithoutAddressGetsItsUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "")
	u := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	_, err := w.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: u.ID}, 0,
		customer.Cause{Kind: customer.ByAPI, Actor: "app:test"})
	must(t, err)
	if r := w.run(t); r.Filled != 1 {
		t.Errorf("run %+v", r)
	}
	if got := w.get(t, id); got.Email.Key != "ada@example.com" {
		t.Errorf("address %+v", got.Email)
	}
}

func TestAUserThatNamesTheCustomerNeedsNoAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.connect(t)
	id := w.enroll(t, "")
	u := w.signUp(t, auth0sim.SignUp{
		Email: "ada@example.com", EmailVerified: yes(), AppMetadata: map[string]any{"customer_id": string(id)},
	})
	w.tenant.Settle()
	w.run(t)
	if got := w.get(t, id); got.AuthUserID != u.ID || got.Email.Key != "ada@example.com" {
		t.Errorf("got %+v", got)
	}
}

func TestDryRunWritesNothingAndNamesEveryCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	id := w.enroll(t, "ada@example.com")
	u := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	var outcomes []worker.Outcome
	_, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindSync, DryRun: true, Each: func(o worker.Outcome) { outcomes = append(outcomes, o) }})
	must(t, err)
	if len(outcomes) != 1 || outcomes[0].Customer.ID != id || outcomes[0].Action != worker.ActionLink || outcomes[0].AuthUserID != u.ID {
		t.Errorf("outcomes %+v", outcomes)
	}
	if got := w.get(t, id); got.Lifecycle != customer.AuthPending || got.Version != 1 {
		t.Errorf("customer %+v", got)
	}
}

func TestARunThatMeetsAnErrorIsNeverOK(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault auth0sim.Fault
		want  customer.Reason
	}{
		"server error":      {auth0sim.Fault{Status: 500}, customer.Auth0Error},
		"HTML":              {auth0sim.Fault{Status: 200, Body: "<html>", ContentType: "text/html"}, customer.Auth0Error},
		"null":              {auth0sim.Fault{Body: "null"}, customer.Auth0Error},
		"an object":         {auth0sim.Fault{Body: "{}"}, customer.Auth0Error},
		"a user without id": {auth0sim.Fault{Body: `[{"email":"ada@example.com","email_verified":true}]`}, customer.Auth0Error},
		"cut":               {auth0sim.Fault{CutAfter: 10}, customer.Auth0Error},
		"redirect":          {auth0sim.Fault{Location: "https://evil.example/"}, customer.Auth0Error},
		"missing scope":     {auth0sim.Fault{Status: 403}, customer.Auth0Error},
		"rate limited":      {auth0sim.Fault{Status: 429, RetryAfter: "3600"}, customer.Auth0Budget},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
			id := w.enroll(t, "ada@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
			w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{test.fault}})
			run := w.run(t)
			if run.Result != customer.RunFailed || run.Errors != 1 || run.Note == "" {
				t.Errorf("run %+v", run)
			}
			if strings.Contains(run.Note, "ada") {
				t.Errorf("note tells the address: %s", run.Note)
			}
			if got := w.reason(t, "ada@example.com"); got != test.want {
				t.Errorf("reason %s (%s)", got, run.Note)
			}
			w.tenant.SetFaults(auth0sim.Faults{})
			if test.want == customer.Auth0Budget { // this one does as the 429 asked, for minutes
				w.Worker = newWorker(t, w.store, strings.TrimSuffix(w.tenant.Issuer(), "/"), auth0sync.Policy{})
			}
			if r := w.look(t, "ada@example.com"); r.Linked != 1 || w.get(t, id).Lifecycle != customer.Active {
				t.Errorf("after healing: %+v", r)
			}
		})
	}
}

func TestTextTrueIsNotVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{Rude: true}, auth0sync.Policy{TrustedProviders: []string{"samlp"}})
	w.enroll(t, "ada@example.com")
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Enterprise, EmailVerified: yes()})
	w.run(t)
	if got := w.reason(t, "ada@example.com"); got != customer.EmailUnverified {
		t.Errorf("reason %q", got)
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.enroll(t, "ada@example.com")
	w.run(t)
	w.tenant.RevokeGrants()
	if r := w.look(t, "ada@example.com"); r.Result != customer.RunOK || w.tenant.Calls()["POST /oauth/token"] != 2 {
		t.Errorf("run %+v, calls %v", r, w.tenant.Calls())
	}
}

func TestSearchIsNotBelievedAboutAFreshUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{SearchLag: time.Minute}, auth0sync.Policy{})
	var users []auth0sim.User
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		w.enroll(t, name+"@example.com")
		users = append(users, w.signUp(t, auth0sim.SignUp{Email: name + "@example.com", EmailVerified: yes()}))
	}
	w.tenant.Advance(30 * time.Second)
	for _, u := range users { // search goes on showing them verified for a minute
		must(t, w.tenant.ChangeEmail(u.ID, "other-"+u.Email))
	}
	w.tenant.Advance(29 * time.Second)
	if r := w.runAs(t, worker.KindSync); r.Linked != 0 {
		t.Errorf("linked %d by a state that is no more", r.Linked)
	}
	w.tenant.Advance(20 * time.Second)
	if r := w.runAs(t, worker.KindSync); r.Linked != 0 {
		t.Errorf("linked %d by a state that is no more", r.Linked)
	}
}

func TestTwoWorkersLinkEachCustomerOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	var ids []customer.ID
	for range 40 {
		address := uuid.NewString() + "@example.com"
		ids = append(ids, w.enroll(t, address))
		w.signUp(t, auth0sim.SignUp{Email: address, EmailVerified: yes()})
	}
	w.tenant.Advance(2 * time.Minute)
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := w.RunOnce(context.WithoutCancel(t.Context()), worker.Order{Kind: worker.KindSync})
			done <- err
		}()
	}
	for range 4 {
		<-done // all but one find the lease held, or nothing left to do
	}
	for _, id := range ids {
		history, err := w.store.History(t.Context(), id)
		must(t, err)
		if len(history) != 2 || history[1].What != "linked" {
			t.Errorf("history %+v", history)
		}
	}
}
