package ops_test

import (
	"context"
	"database/sql"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker"
	"github.com/ahiko-io/customersync/worker/planning"
)

// office is a desk with a worker behind it, before a simulated tenant.
type office struct {
	desk
	tenant *auth0sim.Tenant
	worker *worker.Worker
}

// newOffice gives a desk a worker.
func newOffice(d desk) *office {
	t := d.t
	t.Helper()
	tenant := auth0sim.New(auth0sim.Options{})
	server := httptest.NewServer(tenant)
	t.Cleanup(server.Close)
	t.Cleanup(tenant.Close)
	tenant.SetBaseURL(server.URL)
	directory := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: server.URL, ClientID: "sim-client", ClientSecret: "sim-secret", Share: 0.5, Metrics: prometheus.NewRegistry(),
		Wait: func(ctx context.Context, d time.Duration) error { tenant.Advance(d); return ctx.Err() },
	})
	verifier, err := auth0sync.NewVerifier(auth0sync.Secrets{}, time.Now)
	must(t, err)
	w, err := worker.New(worker.Config{Schedule: "@every 1h", Holder: t.Name(), Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry()}, d.store, directory, verifier)
	must(t, err)
	o := &office{d, tenant, w}
	o.config.Self = w
	o.opens()
	return o
}

// opens gives the page a planner, and returns what waits for its work.
func (o *office) opens() *planning.Planner {
	p := planning.New(context.WithoutCancel(o.t.Context()), o.store, o.worker, discreet.Logger(o.t))
	o.config.Planner = p
	return p
}

// settled has something asked of the page and waits until it has come to its end.
func (o *office) settled(path string, form url.Values) *httptest.ResponseRecorder {
	o.t.Helper()
	p := o.opens()
	w := o.ask("POST", path, form.Encode())
	p.Wait()
	o.opens()
	return w
}

func (o *office) signUp(address string, verified bool) auth0sim.User {
	o.t.Helper()
	u, err := o.tenant.SignUp(auth0sim.SignUp{Email: address, EmailVerified: &verified})
	must(o.t, err)
	return u
}

// linked adds a customer that is linked to a user of this address.
func (o *office) linked(name, address string) (customer.ID, auth0sim.User) {
	o.t.Helper()
	u, id := o.signUp(address, true), o.made(name, address)
	email, err := customer.ParseEmail(address)
	must(o.t, err)
	_, err = o.worker.RunOnce(o.t.Context(), worker.Order{Kind: worker.KindSync, Only: email.Key})
	must(o.t, err)
	return id, u
}

func sam(more ...string) url.Values {
	form := url.Values{"who": {"Sam of support"}, "why": {"they wrote to us"}}
	for i := 0; i < len(more); i += 2 {
		form.Add(more[i], more[i+1])
	}
	return form
}

func (d desk) page(path string) string {
	d.t.Helper()
	w := d.ask("GET", path, "")
	if w.Code != 200 {
		d.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

func (d desk) says(what, body string, all ...string) {
	d.t.Helper()
	for _, s := range all {
		if !strings.Contains(body, s) {
			d.t.Errorf("%s is without %q:\n%s", what, s, body)
		}
	}
}

// A dry run tells what would happen and does none of it; what is confirmed is done, and
// the history says who wanted it.
func TestWhoIsDueIsSeenBeforeItIsDone(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	user := o.signUp("ada@example.com", true)
	ada, eve := o.made("Ada", "ada@example.com"), o.made("Eve", "eve@example.com")
	o.says("the plan page", o.page("/ops/plan"), "2 customers are due")
	dry := o.ask("POST", "/ops/due/preview", "x=").Body.String()
	o.says("the dry run", dry, "2 customers", `<span class="tag link">link</span>`, user.ID, `<code>not_registered</code>`, "a***@example.com", "Nothing is done yet")
	if strings.Contains(dry, "ada@") {
		t.Errorf("it shows the address:\n%s", dry)
	}
	for _, id := range []customer.ID{ada, eve} {
		if e := o.explain(id); len(e.History) != 1 || e.Reason != customer.Waiting || len(e.Looks) != 0 {
			t.Fatalf("the dry run did something: %+v", e)
		}
	}
	w := o.ask("POST", "/ops/due/act", sam().Encode())
	if w.Code != 303 || !regexp.MustCompile(`^/ops/runs/\d+$`).MatchString(w.Header().Get("Location")) {
		t.Fatalf("%d to %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	e := o.explain(ada)
	last := e.History[len(e.History)-1]
	if e.AuthUserID != user.ID || last.Cause.Kind != customer.ByOperator || last.Cause.Actor != "Sam of support" || !strings.Contains(last.Cause.Why, "they wrote to us") {
		t.Errorf("linked to %q, %+v", e.AuthUserID, last.Cause)
	}
	o.says("the run", o.page(w.Header().Get("Location")), "Sam of support", "they wrote to us", string(ada), `<dt>linked</dt><dd>1</dd>`, `<dt>looked at</dt><dd>2</dd>`, "one by one")
	o.says("the customer", o.page("/ops/customers/"+string(ada)), `href="`+w.Header().Get("Location")+`"`, "What the link stands on", "the e-mail address")
}

// goneAndNew is a tenant that a full reconcile would link one of and unlink another.
func goneAndNew(o *office) (gone, fresh customer.ID, user auth0sim.User) {
	gone, old := o.linked("Gone", "gone@example.com")
	must(o.t, o.tenant.Delete(old.ID))
	user, fresh = o.signUp("fresh@example.com", true), o.made("Fresh", "fresh@example.com")
	o.tenant.Advance(2 * time.Minute)
	return gone, fresh, user
}

func TestAPlanIsMadeReadAndAppliedInPart(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	gone, fresh, user := goneAndNew(o)
	if w := o.settled("/ops/plan", sam()); w.Code != 303 || w.Header().Get("Location") != "/ops/plan" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	body := o.page("/ops/plan")
	o.says("the plan", body, "2 changes", "Sam of support", `<span class="tag link">link</span>`, `<span class="tag unlink">unlink</span>`, string(gone), string(fresh), "f***@example.com", "Apply all 2")
	if e := o.explain(gone); e.Lifecycle != customer.Active {
		t.Fatalf("the plan did something: %s", e.Lifecycle)
	}
	row := regexp.MustCompile(`value="(\d+)" id="row-\d+" aria-label="Row \d+"></td><th scope="row" class="text"><a href="/ops/customers/` + string(gone)).FindStringSubmatch(body)
	plan := regexp.MustCompile(`/ops/plan/\d+/apply`).FindString(body)
	if row == nil || plan == "" {
		t.Fatalf("no row of the one whose user is gone:\n%s", body)
	}
	if w := o.settled(plan, sam("do", "ticked", "row", row[1])); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	e := o.explain(gone)
	last := e.History[len(e.History)-1]
	if e.Lifecycle != customer.AuthPending || last.Cause.Actor != "Sam of support" || last.Cause.Kind != customer.ByOperator {
		t.Errorf("%s, %+v", e.Lifecycle, last)
	}
	if e := o.explain(fresh); e.Lifecycle != customer.AuthPending {
		t.Errorf("the one that was not ticked: %s", e.Lifecycle)
	}
	o.says("the plan", o.page("/ops/plan"), "Apply all 1", "<dt>done</dt><dd>1</dd>", "<dt>open</dt><dd>1</dd>")
	must(t, o.tenant.Block(user.ID, true)) // the world moves
	if w := o.settled(plan, sam("do", "all")); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	o.says("the plan", o.page("/ops/plan"), "refused: Auth0 does not say the same any more", "<dt>refused</dt><dd>1</dd>", "<dt>open</dt><dd>0</dd>")
}

func TestWhatCannotBePlannedIsSaid(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	d := deskOver(t, dsn)
	o := newOffice(d)
	goneAndNew(o)
	for name, test := range map[string]struct {
		path   string
		form   url.Values
		status int
		says   string
	}{
		"without a name":       {"/ops/plan", url.Values{"why": {"x"}}, 422, "who must be"},
		"without a reason":     {"/ops/due/act", url.Values{"who": {"x"}}, 422, "why must"},
		"a plan that is not":   {"/ops/plan/77/apply", sam("do", "all"), 404, "Another one has been made"},
		"nothing of it":        {"/ops/plan/77/apply", sam(), 422, "Nothing to do"},
		"no row of it":         {"/ops/plan/77/apply", sam("do", "ticked"), 422, "row must be ticked"},
		"a row that is none":   {"/ops/plan/77/apply", sam("do", "ticked", "row", "x"), 422, "row must be one"},
		"a plan without a key": {"/ops/plan/x/apply", sam("do", "all"), 404, "Another one"},
	} {
		if w := o.ask("POST", test.path, test.form.Encode()); w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d, want %d and %q:\n%s", name, w.Code, test.status, test.says, w.Body)
		}
	}
	if w := d.ask("POST", "/ops/due/preview", "x="); w.Code != 503 || !strings.Contains(w.Body.String(), "customersync sync") {
		t.Errorf("from a process that does no work: %d %s", w.Code, w.Body)
	}
	// Another run holds the lease: the plan says so, and nothing hangs.
	_, err := o.store.Acquire(t.Context(), customer.LeaseReconcile, "another:1", time.Hour)
	must(t, err)
	if w := o.settled("/ops/plan", sam()); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	o.says("the plan", o.page("/ops/plan"), "came to nothing", "another full reconcile is under way")

	// Another replica makes one.
	_, err = o.store.StartPlan(t.Context(), "Joan", "the night shift")
	must(t, err)
	w := o.ask("GET", "/ops/plan", "")
	o.says("the plan", w.Body.String(), "A plan is being made", "Joan")
	if w.Header().Get("Refresh") == "" || strings.Contains(w.Body.String(), "Make a") {
		t.Errorf("it does not come again, or offers another one:\n%s", w.Body)
	}
	if w := o.ask("POST", "/ops/plan", sam().Encode()); w.Code != 409 {
		t.Errorf("a second one: %d", w.Code)
	}
	// That replica was killed.
	db, err := sql.Open("postgres", dsn)
	must(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), `update plans set heard_at = heard_at - interval '1 minute'`)
	must(t, err)
	w = o.ask("GET", "/ops/plan", "")
	o.says("the plan", w.Body.String(), "was broken off", "Make a new plan")
	if w.Header().Get("Refresh") != "" {
		t.Error("it goes on being shown as under way")
	}
}
