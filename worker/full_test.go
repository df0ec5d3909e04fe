package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
