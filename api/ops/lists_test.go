package ops_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

func TestWhoWaitsForAReasonIsListedPageByPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	all := map[string]bool{}
	for i := range 51 { // one more than a page
		all[string(d.made("Ada", fmt.Sprintf("secret%d@example.com", i)))] = true
	}
	link := regexp.MustCompile(`/ops/customers/([0-9a-f-]{36})`)
	path, pages := "/ops/reasons/waiting", 0
	for path != "" {
		body := d.page(path)
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			if !all[m[1]] {
				t.Errorf("%s is on two pages", m[1])
			}
			delete(all, m[1])
		}
		d.says(path, body, "s***@example.com", customer.Waiting.Meaning().Sentence)
		if strings.Contains(body, "secret") {
			t.Fatalf("it shows addresses:\n%s", body)
		}
		path = regexp.MustCompile(`/ops/reasons/waiting\?after=[0-9a-f-]+`).FindString(body)
		pages++
	}
	if len(all) != 0 || pages != 2 {
		t.Errorf("%d are on none of %d pages", len(all), pages)
	}
	d.says("a reason that nobody waits for", d.page("/ops/reasons/user_gone"), "Nobody waits for this reason.")
	d.says("a place that is none", d.page("/ops/reasons/waiting?after=x"), "The oldest first")
}

func TestARunHasAPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.inConflict("Ada", "ada@example.com") // and a run that met an error
	body := d.page("/ops/runs")
	path := regexp.MustCompile(`/ops/runs/\d+`).FindString(body)
	d.says("the run", d.page(path), `<span class="tag partial">partial</span>`, "status 503 &lt;html&gt;", "What to do: Auth0 failed.", "<dt>looked at</dt><dd>41</dd>", "Nobody, as far as the histories tell")
	fence, err := d.store.Acquire(t.Context(), customer.LeaseReconcile, "here:1", time.Hour)
	must(t, err)
	run, err := d.store.StartRun(t.Context(), customer.Run{Kind: "reconcile"}, fence)
	must(t, err)
	_, err = d.store.Link(t.Context(), fence, []customer.Link{{Customer: id, Key: "ada@example.com", AuthUserID: "auth0|<b>"}}, customer.Cause{Kind: customer.ByRun, Actor: "reconcile", Run: run})
	must(t, err)
	body = d.page(fmt.Sprintf("/ops/runs/%d", run))
	d.says("a run that is under way", body, "under way", "so far", "<dt>Ended</dt><dd>not yet</dd>", string(id), "auth0|&lt;b&gt;")
	for path, status := range map[string]int{"/ops/runs/77": 404, "/ops/runs/x": 404, "/ops/runs/99999999999999999999": 404, "/ops/reasons/nonsense": 404, "/ops/runs?before=x": 200, fmt.Sprintf("/ops/runs/%d?after=x.y", run): 200} {
		if w := d.ask("GET", path, ""); w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// What acts is no address that a browser may open by itself, nor another site's form.
func TestNothingIsDoneByOpeningAPage(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	o.signUp("ada@example.com", true)
	id := o.made("Ada", "ada@example.com")
	for _, path := range []string{"/ops/due/preview", "/ops/due/act", "/ops/plan/1/apply"} {
		if w := o.ask("GET", path+"?"+sam("do", "all").Encode(), ""); w.Code != 404 {
			t.Errorf("GET %s: %d", path, w.Code)
		}
		if w := o.ask("POST", path, sam("do", "all").Encode(), "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
			t.Errorf("another site's form to %s: %d", path, w.Code)
		}
		if w := o.ask("POST", path+"?"+sam("do", "all").Encode(), "x="); path != "/ops/due/preview" && w.Code != 422 {
			t.Errorf("who and why in the address of %s: %d", path, w.Code)
		}
	}
	if e := o.explain(id); e.Lifecycle != customer.AuthPending || len(e.History) != 1 {
		t.Errorf("%+v", e)
	}
}
