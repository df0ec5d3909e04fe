package ops_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// does previews an action and confirms it, as the forms do.
func (d desk) does(id customer.ID, version string, fields ...string) (preview string, status int, said string) {
	d.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	before := d.ask("POST", "/ops/customers/"+string(id)+"/preview", form.Encode())
	form.Set("who", "Sam of support")
	form.Set("why", "they wrote to us")
	form.Set("version", version)
	after := d.ask("POST", "/ops/customers/"+string(id)+"/act", form.Encode())
	return before.Body.String(), after.Code, after.Body.String()
}

func (d desk) explain(id customer.ID) customer.Explanation {
	d.t.Helper()
	e, err := d.store.Explain(d.t.Context(), id)
	must(d.t, err)
	return e
}

func TestAPersonLinksClearsAndCloses(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	steps := []struct {
		do, user, version, shows string
		becomes                  customer.Lifecycle
		linked, what             string
	}{
		{"link", "auth0|1", "1", "<td><bdi>auth_pending</bdi></td><td><bdi>active</bdi></td>", customer.Active, "auth0|1", "linked"},
		{"unlink", "", "2", "<td><bdi>auth0|1</bdi></td><td>none</td>", customer.AuthPending, "", "unlinked"},
		{"close", "", "3", "<td><bdi>auth_pending</bdi></td><td><bdi>inactive</bdi></td>", customer.Inactive, "", "closed"},
	}
	for _, s := range steps {
		preview, status, said := d.does(id, s.version, "do", s.do, "user", s.user)
		if !strings.Contains(preview, s.shows) || !strings.Contains(preview, `name="version" value="`+s.version+`"`) {
			t.Errorf("%s: the preview does not show %q:\n%s", s.do, s.shows, preview)
		}
		e := d.explain(id)
		last := e.History[len(e.History)-1]
		if status != 303 || e.Lifecycle != s.becomes || e.AuthUserID != s.linked || last.What != s.what {
			t.Errorf("%s: %d %s\n%s, linked to %q, last change %s", s.do, status, said, e.Lifecycle, e.AuthUserID, last.What)
		}
		if c := last.Cause; c.Kind != customer.ByOperator || c.Actor != "Sam of support" || c.Why != "they wrote to us" {
			t.Errorf("%s: the history says %+v", s.do, c)
		}
	}
	if body := d.ask("GET", "/ops/customers/"+string(id), "").Body.String(); strings.Contains(body, "/preview") {
		t.Errorf("a closed customer is offered actions:\n%s", body)
	}
}

func TestWhatMustNotBeDoneIsNot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id, other, closed := d.made("Ada", "ada@example.com"), d.made("Eve", "eve@example.com"), d.made("Zoe", "zoe@example.com")
	d.does(other, "1", "do", "link", "user", "auth0|taken")
	d.does(closed, "1", "do", "close")
	tests := map[string]struct {
		id     customer.ID
		form   string
		header []string
		status int
	}{
		"of an older version":    {id, "do=close&version=7&who=Sam&why=x", nil, 409},
		"without a version":      {id, "do=close&who=Sam&why=x", nil, 422},
		"without a name":         {id, "do=close&version=1&who=+&why=x", nil, 422},
		"without a reason":       {id, "do=close&version=1&who=Sam&why=", nil, 422},
		"nothing":                {id, "version=1&who=Sam&why=x", nil, 422},
		"a user without a form":  {id, "do=link&user=nonsense&version=1&who=Sam&why=x", nil, 422},
		"a user who is taken":    {id, "do=link&user=auth0%7Ctaken&version=1&who=Sam&why=x", nil, 409},
		"on a closed customer":   {closed, "do=link&user=auth0%7C2&version=2&who=Sam&why=x", nil, 409},
		"on nobody":              {"018f0000-0000-7000-8000-000000000000", "do=close&version=1&who=Sam&why=x", nil, 404},
		"by another site's form": {id, "do=close&version=1&who=Sam&why=x", []string{"Sec-Fetch-Site", "cross-site"}, 403},
	}
	for name, test := range tests {
		if w := d.ask("POST", "/ops/customers/"+string(test.id)+"/act", test.form, test.header...); w.Code != test.status {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, test.status, w.Body)
		}
	}
	if e := d.explain(id); len(e.History) != 1 || e.Lifecycle != customer.AuthPending {
		t.Errorf("it was changed: %+v", e)
	}
	for path, status := range map[string]int{
		"/ops/customers/" + string(id) + "/preview?do=close":       422, // in the URL it is not asked for
		"/ops/customers/" + string(closed) + "/preview":            409,
		"/ops/customers/018f0000-0000-7000-8000-000000000000/look": 404,
	} {
		if w := d.ask("POST", path, "user="); w.Code != status {
			t.Errorf("%s: %d, want %d", path, w.Code, status)
		}
	}
}

func TestAPersonHasAuth0AskedNow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	if w := d.ask("POST", "/ops/customers/"+string(id)+"/look", "x="); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !d.explain(id).Looking {
		t.Error("nobody looks")
	}
}

// inConflict adds a customer that a run left to a person to settle.
func (d desk) inConflict(name, address string) customer.ID {
	d.t.Helper()
	id := d.made(name, address)
	fence, err := d.store.Acquire(d.t.Context(), customer.LeaseWorker, "here:1", time.Hour)
	must(d.t, err)
	due, err := d.store.DueByEmail(d.t.Context(), customer.EmailKey(address))
	must(d.t, err)
	_, err = d.store.Hold(d.t.Context(), fence, []customer.Hold{{
		Customer: id, Due: due[0].At, Reason: customer.SeveralUsers, Asked: true,
		Candidates: []customer.Candidate{{AuthUserID: "auth0|1", Connections: []string{"<db>"}}, {AuthUserID: "email|2", EmailVerified: true}},
	}})
	must(d.t, err)
	run, err := d.store.StartRun(d.t.Context(), customer.Run{Kind: "promote"}, fence)
	must(d.t, err)
	must(d.t, d.store.FinishRun(d.t.Context(), run, customer.Run{Result: customer.RunPartial, Tally: customer.Tally{Looked: 41, Auth0Calls: 7}, Note: "status 503 <html>"}))
	return id
}

func TestConflictsAndRunsAreListed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if body := d.ask("GET", "/ops/conflicts", "").Body.String(); !strings.Contains(body, "Nobody does.") {
		t.Errorf("no conflicts: %s", body)
	}
	id := d.inConflict("Ada", "ada@example.com")
	for path, says := range map[string][]string{
		"/ops/conflicts":               {string(id), "<bdi>auth0|1</bdi>", "<bdi>email|2</bdi>", "&lt;db&gt;", "a***@example.com", customer.SeveralUsers.Meaning().Sentence},
		"/ops/runs":                    {`<td>promote</td><td><span class="tag partial">partial</span></td>`, `<td class="n">41</td>`, `<td class="n">7</td>`},
		"/ops/customers/" + string(id): {`<option value="auth0|1">`},
	} {
		body := d.ask("GET", path, "").Body.String()
		for _, s := range says {
			if !strings.Contains(body, s) {
				t.Errorf("%s is without %q:\n%s", path, s, body)
			}
		}
		if strings.Contains(body, "ada@") {
			t.Errorf("%s shows the address", path)
		}
	}
}
