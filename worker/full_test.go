package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// noExports makes a full listing go by search.
func noExports() auth0sim.Fault {
	return auth0sim.Fault{Endpoint: "POST /api/v2/jobs/users-exports", Status: 403}
}

// byBothListings runs a test once for each way to list a tenant.
func byBothListings(t *testing.T, test func(t *testing.T, w world, lane string)) {
	t.Helper()
	for _, lane := range []string{"export", "windows"} {
		t.Run(lane, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, brief())
			if lane == "windows" {
				w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{noExports()}})
			}
			test(t, w, lane)
		})
	}
}

func TestAFullReconcileFindsWhatNoDeliveryTold(t *testing.T) {
	t.Parallel()
	byBothListings(t, func(t *testing.T, w world, lane string) {
		missed := w.signUp(t, auth0sim.SignUp{Email: "missed@example.com", EmailVerified: yes()})
		w.signUp(t, auth0sim.SignUp{Email: "unverified@example.com"})
		missedID, unverifiedID, nobodyID := w.enroll(t, "missed@example.com"), w.enroll(t, "unverified@example.com"), w.enroll(t, "nobody@example.com")
		namedID := w.enroll(t, "")
		named := w.signUp(t, auth0sim.SignUp{Email: "other@example.com", AppMetadata: map[string]any{"customer_id": string(namedID)}})
		goneID, gone := w.linked(t, "gone@example.com")
		movedID, moved := w.linked(t, "moved@example.com")
		keptID, kept := w.linked(t, "kept@example.com")
		primary := w.signUp(t, auth0sim.SignUp{Email: "primary@example.com"})
		must(t, w.tenant.Delete(gone))
		_, err := w.tenant.Link(primary.ID, moved)
		must(t, err)
		w.tenant.Advance(2 * time.Minute) // nothing is fresh any more

		first := w.runAs(t, worker.KindReconcile) // misses the user that is gone for the first time
		second := w.runAs(t, worker.KindReconcile)
		if first.Result != customer.RunOK || first.Lane != lane || first.Linked != 2 || first.Rebound != 1 || second.Unlinked != 1 {
			t.Errorf("runs %+v\n%+v", first, second)
		}
		got := map[string]string{}
		for name, id := range map[string]customer.ID{
			"missed": missedID, "unverified": unverifiedID, "nobody": nobodyID, "named": namedID, "gone": goneID, "moved": movedID, "kept": keptID,
		} {
			e := w.explain(t, id)
			got[name] = string(e.Lifecycle) + " " + e.AuthUserID + string(e.Reason)
		}
		if diff := cmp.Diff(map[string]string{
			"missed":     "active " + missed.ID,
			"unverified": "auth_pending email_unverified",
			"nobody":     "auth_pending not_registered",
			"named":      "active " + named.ID,
			"gone":       "auth_pending user_gone",
			"moved":      "active " + primary.ID,
			"kept":       "active " + kept,
		}, got); diff != "" {
			t.Error(diff)
		}
		if left, err := w.store.Met(t.Context(), []customer.EmailKey{"unverified@example.com"}, nil); err != nil || len(left) != 0 {
			t.Errorf("%d users are kept after the end, %v", len(left), err)
		}
	})
}

// Nothing changes for those who wait and of whom there is no news, and a full
// reconcile of a tenant in step costs a handful of calls.
func TestAFullReconcileOfATenantInStepWritesNothing(t *testing.T) {
	t.Parallel()
	byBothListings(t, func(t *testing.T, w world, _ string) {
		id, _ := w.linked(t, "ada@example.com")
		waits := w.enroll(t, "nobody@example.com")
		w.tenant.Advance(2 * time.Minute)
		w.run(t)
		before, waiting := w.explain(t, id), w.explain(t, waits)
		w.tenant.ResetCalls()
		r := w.runAs(t, worker.KindReconcile)
		if r.Result != customer.RunOK || r.Linked+r.Unlinked+r.Rebound+r.Filled+r.Errors != 0 {
			t.Errorf("run %+v", r)
		}
		if diff := cmp.Diff(before, w.explain(t, id)) + cmp.Diff(waiting, w.explain(t, waits)); diff != "" {
			t.Error(diff)
		}
		if calls := w.tenant.Calls(); calls["GET /api/v2/users/{id}"]+calls["GET /api/v2/users-by-email"] != 0 {
			t.Errorf("calls %v", calls)
		}
	})
}

func TestATruncatedListingIsAnErrorAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	for i := range 20 {
		w.linked(t, fmt.Sprintf("c%d@example.com", i))
	}
	w.tenant.SetFaults(auth0sim.Faults{TruncateExports: 5})
	for range 2 {
		r := w.runAs(t, worker.KindReconcile)
		if r.Result != customer.RunFailed || !strings.Contains(r.Note, "5 users listed of 20") || r.Auth0Calls > 12 {
			t.Errorf("run %+v", r)
		}
	}
	w.tenant.SetFaults(auth0sim.Faults{})
	if r := w.runAs(t, worker.KindReconcile); r.Result != customer.RunOK { // not by the same file again
		t.Errorf("after it: %+v", r)
	}
	for i := range 20 {
		if reason := w.reason(t, fmt.Sprintf("c%d@example.com", i)); reason != "" {
			t.Errorf("customer %d: %s", i, reason)
		}
	}
}

// A download that breaks off goes on by another link where it stopped.
func TestADownloadThatBreaksOffGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.tenant.Fill(3000)
	first, last := w.enroll(t, "user0@example.com"), w.enroll(t, "user2999@example.com")
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /users-exports/{job}/{file}", CutAfter: 40_000, Times: 2}}})
	if r := w.runAs(t, worker.KindReconcile); r.Result != customer.RunOK || r.Linked != 2 || r.Lane != "export" {
		t.Errorf("run %+v", r)
	}
	for _, id := range []customer.ID{first, last} {
		if c := w.get(t, id); c.Lifecycle != customer.Active {
			t.Errorf("%+v", c)
		}
	}
}

// A user that an export showed before it broke off for good, and the listing by search
// does not, is gone.
func TestWhatABrokenListingShowedDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.tenant.Fill(3000)
	id := w.enroll(t, "user0@example.com")
	w.runAs(t, worker.KindReconcile)
	user := w.get(t, id).AuthUserID
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /users-exports/{job}/{file}", CutAfter: 40_000}}})
	deleted := false
	var found []customer.Finding
	run, err := w.RunOnce(t.Context(), worker.Order{
		Kind: worker.KindReconcile,
		Progress: func(p worker.Progress) {
			if p.Users > 0 && !deleted {
				deleted = true
				must(t, w.tenant.Delete(user))
			}
		},
		Found: func(f customer.Finding) { found = append(found, f) },
	})
	if err != nil || run.Lane != "windows" || len(found) != 1 || found[0].Customer != id || found[0].What != customer.FoundGone {
		t.Errorf("found %+v by %+v, %v", found, run, err)
	}
}

// Whatever becomes of the job, nobody waits for ever and nothing is half done.
func TestExportsThatComeToNothing(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]auth0sim.Faults{
		"failed":       {FailExports: true},
		"endless":      {EndlessExports: true},
		"not there":    {Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/jobs/{id}", Status: 404}}},
		"no file":      {Requests: []auth0sim.Fault{{Endpoint: "GET /users-exports/{job}/{file}", Status: 403}}},
		"not a file":   {Requests: []auth0sim.Fault{{Endpoint: "GET /users-exports/{job}/{file}", Body: "<html>"}}},
		"cut for ever": {Requests: []auth0sim.Fault{{Endpoint: "GET /users-exports/{job}/{file}", CutAfter: 10}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{}, brief())
			id, _ := w.linked(t, "ada@example.com")
			w.signUp(t, auth0sim.SignUp{Email: "bob@example.com", EmailVerified: yes()})
			bob := w.enroll(t, "bob@example.com")
			w.tenant.Advance(2 * time.Minute)
			w.tenant.SetFaults(faults)
			// Where there is no export to be had, search lists the tenant.
			if r := w.runAs(t, worker.KindReconcile); r.Result != customer.RunOK || r.Lane != "windows" || r.Linked != 1 {
				t.Errorf("run %+v", r)
			}
			if w.get(t, id).Lifecycle != customer.Active || w.get(t, bob).Lifecycle != customer.Active {
				t.Errorf("%+v %+v", w.get(t, id), w.get(t, bob))
			}
		})
	}
}

func TestAFullReconcileOfAnEmptiedTenantUnlinksNobody(t *testing.T) {
	t.Parallel()
	byBothListings(t, func(t *testing.T, w world, _ string) {
		var ids []customer.ID
		for i := range 12 {
			id, user := w.linked(t, fmt.Sprintf("c%d@example.com", i))
			ids = append(ids, id)
			must(t, w.tenant.Delete(user))
		}
		w.tenant.ResetCalls()
		for range 2 {
			r := w.runAs(t, worker.KindReconcile)
			if r.Result != customer.RunPartial || !strings.Contains(r.Note, "nobody unlinked") {
				t.Errorf("run %+v", r)
			}
		}
		for _, id := range ids {
			if e := w.explain(t, id); e.Lifecycle != customer.Active || !e.GoneAt.IsZero() {
				t.Errorf("%+v", e)
			}
		}
		if n := w.tenant.Calls()["GET /api/v2/users/{id}"]; n != 0 {
			t.Errorf("%d users were asked for", n)
		}
	})
}

// More than a thousand users in a moment is more than search will tell of.
func TestWindowsNarrowUntilSearchTellsAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const all = 2500
	for i := range all {
		w.signUp(t, auth0sim.SignUp{Email: fmt.Sprintf("u%d@example.com", i), EmailVerified: yes(), CreatedAt: start.Add(time.Duration(i) * time.Second)})
	}
	id := w.enroll(t, fmt.Sprintf("u%d@example.com", all/2))
	w.tenant.Advance(2 * time.Minute)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{noExports()}})
	w.tenant.ResetCalls()
	r := w.runAs(t, worker.KindReconcile)
	if r.Result != customer.RunOK || r.Linked != 1 || w.get(t, id).Lifecycle != customer.Active {
		t.Errorf("run %+v", r)
	}
	if n := w.tenant.Calls()["GET /api/v2/users"]; n > all/100+60 {
		t.Errorf("%d searches for %d users", n, all)
	}
}

// plan runs a full reconcile that changes nothing, and returns what it proposes.
func (w world) plan(t *testing.T) []worker.Planned {
	t.Helper()
	var rows []worker.Planned
	r, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindPlan, Each: func(o worker.Outcome) {
		if o.Action != worker.ActionHold {
			rows = append(rows, worker.Planned{Customer: o.Customer.ID, Version: o.Customer.Version, Action: o.Action, AuthUserID: o.AuthUserID})
		}
	}})
	must(t, err)
	if r.Result != customer.RunOK {
		t.Fatalf("run %+v", r)
	}
	return rows
}

// apply carries a plan out, and returns the customers it was refused for.
func (w world) apply(t *testing.T, rows []worker.Planned) (customer.Run, map[customer.ID]string) {
	t.Helper()
	refused := map[customer.ID]string{}
	r, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindApply, Planned: rows, Refused: func(row worker.Planned, why string) {
		refused[row.Customer] = why
	}})
	must(t, err)
	return r, refused
}

func TestAPlanNamesWhatItsApplicationDoes(t *testing.T) {
	t.Parallel()
	byBothListings(t, func(t *testing.T, w world, _ string) {
		user := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
		ada, namedID := w.enroll(t, "ada@example.com"), w.enroll(t, "")
		named := w.signUp(t, auth0sim.SignUp{Email: "other@example.com", AppMetadata: map[string]any{"customer_id": string(namedID)}})
		movedID, moved := w.linked(t, "moved@example.com")
		primary := w.signUp(t, auth0sim.SignUp{Email: "primary@example.com"})
		_, err := w.tenant.Link(primary.ID, moved)
		must(t, err)
		var gone []customer.ID
		for i := range 11 { // more than would be unlinked without a person's word
			id, user := w.linked(t, fmt.Sprintf("gone%d@example.com", i))
			gone = append(gone, id)
			must(t, w.tenant.Delete(user))
		}
		w.tenant.Advance(2 * time.Minute)
		rows := w.plan(t)
		if len(rows) != 14 {
			t.Fatalf("plan %+v", rows)
		}
		if c := w.get(t, ada); c.Lifecycle != customer.AuthPending {
			t.Errorf("the plan changed %+v", c)
		}
		r, refused := w.apply(t, rows)
		if r.Result != customer.RunOK || len(refused) != 0 || r.Linked != 2 || r.Rebound != 1 || r.Unlinked != 11 {
			t.Errorf("run %+v, refused %v", r, refused)
		}
		if w.get(t, ada).AuthUserID != user.ID || w.get(t, namedID).AuthUserID != named.ID || w.get(t, movedID).AuthUserID != primary.ID {
			t.Errorf("%+v %+v %+v", w.get(t, ada), w.get(t, namedID), w.get(t, movedID))
		}
		for _, id := range gone {
			if c := w.get(t, id); c.Lifecycle != customer.AuthPending {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestAPlanIsRefusedWhereTheWorldHasMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, brief())
	blocked := w.signUp(t, auth0sim.SignUp{Email: "blocked@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "renamed@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "closed@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "several@example.com", EmailVerified: yes()})
	w.signUp(t, auth0sim.SignUp{Email: "same@example.com", EmailVerified: yes()})
	ids := map[string]customer.ID{}
	for _, name := range []string{"blocked", "renamed", "closed", "several", "same"} {
		ids[name] = w.enroll(t, name+"@example.com")
	}
	back, backUser := w.linked(t, "back@example.com")
	w.tenant.Advance(2 * time.Minute)
	rows := append(w.plan(t), worker.Planned{Customer: back, Version: w.get(t, back).Version, Action: worker.ActionUnlink, AuthUserID: backUser})
	if len(rows) != 6 {
		t.Fatalf("plan %+v", rows)
	}
	must(t, w.tenant.Block(blocked.ID, true))
	w.signUp(t, auth0sim.SignUp{Email: "several@example.com", Connection: auth0sim.Google})
	_, err := w.store.Patch(t.Context(), ids["renamed"], customer.Patch{Field: customer.FieldFirstName, Value: "Other"}, 0, customer.Cause{Kind: customer.ByAPI})
	must(t, err)
	must(t, w.store.CloseCustomer(t.Context(), ids["closed"], 0, customer.Cause{Kind: customer.ByAPI}))
	r, refused := w.apply(t, rows)
	if r.Result != customer.RunPartial || r.Linked != 1 || r.Unlinked != 0 || len(refused) != 5 || refused[ids["same"]] != "" {
		t.Errorf("run %+v, refused %v", r, refused)
	}
	if c := w.get(t, ids["same"]); c.Lifecycle != customer.Active {
		t.Errorf("%+v", c)
	}
}

// P is how many wait, T how large the tenant is.
func TestTheCheapestLaneIsChosen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		waiting int
		plan    auth0sim.Plan
		lane    string
		calls   int // at most
	}{
		"nobody waits":                      {0, auth0sim.PlanEnterpriseDev, "", 0},
		"a few, one by one":                 {3, auth0sim.PlanEnterpriseDev, "look-up", 3},
		"many, by search":                   {200, auth0sim.PlanEnterprise, "search", 4},
		"so many that an export is cheaper": {1000, auth0sim.PlanFree, "export", 12},
		"as many, where calls may be quick": {1000, auth0sim.PlanUnlimited, "search", 21},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, auth0sim.Options{Plan: test.plan}, auth0sync.Policy{})
			w.tenant.Fill(test.waiting)
			for i := range test.waiting {
				w.enroll(t, fmt.Sprintf("user%d@example.com", i))
			}
			w.tenant.ResetCalls()
			r := w.runAs(t, worker.KindSync) // which puts nobody off
			if worker.Left(r) {
				r = w.runAs(t, worker.KindReconcile)
			}
			calls := 0
			for endpoint, n := range w.tenant.Calls() {
				if strings.Contains(endpoint, "/api/v2/") {
					calls += n
				}
			}
			if r.Lane != test.lane || r.Linked != test.waiting || calls > test.calls || r.Result != customer.RunOK {
				t.Errorf("%d calls, at most %d; %v; run %+v", calls, test.calls, w.tenant.Calls(), r)
			}
		})
	}
}

// An export that was made before a lane missed something cannot make up for it.
func TestAnOlderExportDoesNotSettleAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	w.enroll(t, "ada@example.com")
	w.leaveExport(t)
	w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	w.tenant.Advance(2 * time.Minute)
	must(t, w.store.NoteGap(t.Context(), 0, "event_feed"))
	resumed, err := w.RunOnce(t.Context(), worker.Order{Kind: worker.KindReconcile, Resume: true})
	must(t, err)
	if owed, err := w.store.Owed(t.Context(), time.Time{}); err != nil || !owed || resumed.Linked != 0 {
		t.Errorf("the older export settled the gap: %v, %v, %+v", owed, err, resumed)
	}
	r := w.runAs(t, worker.KindReconcile)
	if owed, err := w.store.Owed(t.Context(), time.Time{}); err != nil || owed || r.Linked != 1 {
		t.Errorf("owed %v, %v, %+v", owed, err, r)
	}
}

// leaveExport makes an export job and leaves it, as a full reconcile does that is
// cut off.
func (w world) leaveExport(t *testing.T) {
	t.Helper()
	d := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: w.tenant.Issuer(), ClientID: "sim-client", ClientSecret: "sim-secret", Share: 1, Metrics: prometheus.NewRegistry(),
		Wait: func(ctx context.Context, d time.Duration) error { w.tenant.Advance(d); return ctx.Err() },
	})
	for _, err := range d.Export(t.Context(), "", func(job string) error { return w.store.NoteExportJob(t.Context(), 0, job) }) {
		must(t, err)
	}
}

// Search tells of a user that has changed since: it says nothing of when.
func TestAUserWithoutATimeIsConfirmedBeforeItIsLinked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{SearchLag: time.Hour}, auth0sync.Policy{})
	w.enroll(t, "ada@example.com")
	u := w.signUp(t, auth0sim.SignUp{Email: "ada@example.com", EmailVerified: yes()})
	must(t, w.tenant.Block(u.ID, true))
	nobody := auth0sim.Fault{Endpoint: "GET /api/v2/users-by-email", Body: "[]"}
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{nobody}})
	for range 2 {
		w.look(t, "ada@example.com")
	}
	stale := fmt.Sprintf(`{"start":0,"limit":100,"length":1,"total":1,"users":[{"user_id":%q,"email":"ada@example.com","email_verified":true,
		"identities":[{"provider":"auth0","connection":"Username-Password-Authentication","user_id":"1"}]}]}`, u.ID)
	w.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users", Body: stale}}})
	w.look(t, "ada@example.com") // the third look is a search
	if n := w.tenant.Calls()["GET /api/v2/users"]; n != 1 {
		t.Fatalf("%d searches", n)
	}
	if got := w.reason(t, "ada@example.com"); got != customer.UserBlocked {
		t.Errorf("reason %q", got)
	}
}

// Customers that are put off keep what is known of them.
func TestBeingPutOffDoesNotForgetTheReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, auth0sim.Options{}, auth0sync.Policy{})
	var ids []customer.ID
	for i := range 5 { // more than are looked up one by one, and too young for search
		address := fmt.Sprintf("c%d@example.com", i)
		ids = append(ids, w.enroll(t, address))
		w.signUp(t, auth0sim.SignUp{Email: address})
		w.look(t, address)
	}
	w.Worker = newWorker(t, later{w.store, 40 * time.Second}, w.tenant.Issuer(), auth0sync.Policy{})
	if r := w.run(t); r.Looked != 0 {
		t.Fatalf("they were not put off: %+v", r)
	}
	for i, id := range ids {
		if e := w.explain(t, id); e.Reason != customer.EmailUnverified {
			t.Errorf("customer %d: %s", i, e.Reason)
		}
	}
}
