package auth0sim

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// export runs a job to its end and returns the lines of its file.
func (c client) export(request string) []map[string]any {
	c.t.Helper()
	return c.unpack(c.download(c.exportLink(request)).want(200, "").body)
}

func (c client) exportLink(request string) string {
	c.t.Helper()
	id := c.do("POST", "/api/v2/jobs/users-exports", request).want(200, "").object()["id"].(string)
	c.tenant.Advance(3 * time.Second)
	done := c.do("GET", "/api/v2/jobs/"+id, "").want(200, "").object()
	if done["status"] != "completed" {
		c.t.Fatalf("%v", done)
	}
	return done["location"].(string)
}

// download follows a link without a token.
func (c client) download(link string) answer {
	c.t.Helper()
	c.token = ""
	return c.do("GET", strings.TrimPrefix(link, c.url), "")
}

func (c client) unpack(file []byte) []map[string]any {
	c.t.Helper()
	unpacked, err := gzip.NewReader(bytes.NewReader(file))
	c.must(err)
	text, err := io.ReadAll(unpacked)
	c.must(err)
	var users []map[string]any
	for line := range strings.Lines(string(text)) {
		var u map[string]any
		c.must(json.Unmarshal([]byte(line), &u))
		users = append(users, u)
	}
	return users
}

func TestAnExportIsASnapshotWithTheFieldsAskedFor(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{Email: "ada@example.com", UserID: "auth0|a", AppMetadata: map[string]any{"customer_id": "x"}})
	c.signUp(SignUp{Connection: SMS, UserID: "sms|b"})
	gone := c.signUp(SignUp{Email: "gone@example.com"})
	c.must(c.tenant.Delete(gone.ID))
	request := `{"format":"json","fields":[{"name":"user_id"},{"name":"email"},{"name":"email_verified"},
		{"name":"app_metadata.customer_id","export_as":"customer_id"},{"name":"identities[0].connection","export_as":"provider"}]}`
	id := c.do("POST", "/api/v2/jobs/users-exports", request).want(200, "").object()["id"].(string)
	c.tenant.mu.Lock()
	built := c.tenant.jobs[id].built
	c.tenant.mu.Unlock()
	<-built
	c.must(c.tenant.ChangeEmail("auth0|a", "new@example.com"))
	for _, want := range []string{"pending", "processing", "completed"} {
		if got := c.do("GET", "/api/v2/jobs/"+id, "").want(200, "").object(); got["status"] != want {
			t.Fatalf("%v, want %s", got, want)
		}
		c.tenant.Advance(time.Second)
	}
	link := c.do("GET", "/api/v2/jobs/"+id, "").object()["location"].(string)
	users := c.unpack(c.download(link).want(200, "").body)
	slices.SortFunc(users, func(a, b map[string]any) int { return strings.Compare(a["user_id"].(string), b["user_id"].(string)) })
	if diff := gocmp.Diff([]map[string]any{
		{"user_id": "auth0|a", "email": "ada@example.com", "email_verified": false, "customer_id": "x", "provider": Database},
		{"user_id": "sms|b", "provider": SMS},
	}, users); diff != "" {
		t.Error(diff)
	}
}

func TestAnExportThatNamesNoFieldsHasNoIDs(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{Email: "ada@example.com"})
	users := c.export(`{"format":"json"}`)
	if len(users) != 1 || users[0]["email"] != "ada@example.com" || users[0]["user_id"] != nil {
		t.Errorf("%v", users)
	}
}

func TestALinkToAnExportIsGoodForAMinuteAndWithoutAToken(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	link := c.exportLink(`{}`)
	if got := c.do("GET", strings.TrimPrefix(link, c.url), "").want(400, ""); !strings.Contains(string(got.body), "Only one auth mechanism") {
		t.Errorf("with our token: %s", got.body)
	}
	c.download(link+"0").want(403, "")
	c.tenant.Advance(59 * time.Second)
	c.download(link).want(200, "")
	c.tenant.Advance(time.Second)
	c.download(link).want(403, "")
}

func TestAnExportIsKeptForADay(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	id := c.do("POST", "/api/v2/jobs/users-exports", `{}`).want(200, "").object()["id"].(string)
	c.tenant.Advance(24*time.Hour - time.Second)
	c.do("GET", "/api/v2/jobs/"+id, "").want(200, "")
	c.tenant.Advance(2 * time.Second)
	c.token = c.do("POST", "/oauth/token", `{"grant_type":"client_credentials","client_id":"sim-client","client_secret":"sim-secret","audience":"`+
		c.url+`/api/v2/"}`).object()["access_token"].(string) // that one was a day old too
	c.do("GET", "/api/v2/jobs/"+id, "").want(404, "inexistent_job")
}

func TestExportsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for request, code := range map[string]string{
		`{"connection_id":"con_none"}`: "inexistent_connection",
		`{"format":"csv"}`:             "invalid_body",
		`{"fields":[{}]}`:              "invalid_body",
		`{"fields":"all"}`:             "invalid_body",
		`{"limit":-1}`:                 "invalid_body",
	} {
		c.do("POST", "/api/v2/jobs/users-exports", request).want(400, code)
	}
	c.do("GET", "/api/v2/jobs/job_0", "").want(404, "inexistent_job")
}

func TestExportsThatGoWrong(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.tenant.Fill(20)
	id := c.do("POST", "/api/v2/jobs/users-exports", `{}`).want(200, "").object()["id"].(string)
	c.tenant.Advance(time.Hour)
	for fault, want := range map[string]string{`{"fail_exports":true}`: "failed", `{"endless_exports":true}`: "pending", `{}`: "completed"} {
		c.do("PUT", "/_sim/faults", fault).want(200, "")
		if got := c.do("GET", "/api/v2/jobs/"+id, "").want(200, "").object(); got["status"] != want {
			t.Errorf("%s: %v", fault, got)
		}
	}
	c.tenant.SetFaults(Faults{TruncateExports: 7})
	if users := c.export(`{}`); len(users) != 7 {
		t.Errorf("%d users", len(users))
	}
	c.tenant.SetFaults(Faults{})
	if users := c.export(`{"limit":5}`); len(users) != 5 {
		t.Errorf("%d users", len(users))
	}
}

// What is written fast is what the Management API shows.
func TestALineOfAnExportIsTheUser(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Rude: true}) // with its neighbours
	c.signUp(SignUp{Email: "ada@example.com", Name: "Ada \"\\ \u00e9 <b>\u2028", UserID: "auth0|a\x01", Blocked: true, AppMetadata: map[string]any{"customer_id": "x"}})
	c.signUp(SignUp{Email: "Bob@example.com", Connection: Google, UserID: "google-oauth2|b", AppMetadata: map[string]any{"plan": 1.0}})
	_, err := c.tenant.Link("auth0|a\x01", "google-oauth2|b")
	c.must(err)
	e := export{fields: []exportField{
		{Name: "user_id"}, {Name: "email"}, {Name: "email_verified"}, {Name: "blocked"}, {Name: "created_at"}, {Name: "updated_at"}, {Name: "identities"},
		{Name: "app_metadata.customer_id"}, {Name: "name", As: "called"}, {Name: "identities[1].user_id", As: "second"}, {Name: "username"},
	}}
	for id := range c.tenant.users {
		u, ok := c.tenant.User(id)
		if !ok {
			continue
		}
		want := map[string]any{}
		for _, f := range e.fields {
			if value := reach(profile(u), f.Name); value != nil {
				want[cmp.Or(f.As, f.Name)] = value
			}
		}
		if diff := gocmp.Diff(decodedLine(t, append(encode(want), '\n')), decodedLine(t, e.appendLine(nil, &u))); diff != "" {
			t.Errorf("%q: %s", id, diff)
		}
	}
}

func decodedLine(t *testing.T, line []byte) (u map[string]any) {
	t.Helper()
	if err := json.Unmarshal(line, &u); err != nil || !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%v in %s", err, line)
	}
	return u
}
