package auth0sim

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSignUpThroughEachConnection(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	tests := map[string]struct {
		email    string
		verified any
		provider string
		social   bool
	}{
		Database:     {"ada@example.com", false, "auth0", false},
		Passwordless: {"ada@example.com", true, "email", false},
		Google:       {"Ada@Example.com", true, "google-oauth2", true},
		Apple:        {"Ada@Example.com", true, "apple", true},
		Enterprise:   {"Ada@Example.com", false, "samlp", false},
	}
	for connection, want := range tests {
		u := c.signUp(SignUp{Email: "Ada@Example.com", Connection: connection})
		got := c.do("GET", "/api/v2/users/"+url.PathEscape(u.ID), "").want(200, "").object()
		identity := got["identities"].([]any)[0].(map[string]any)
		if got["email"] != want.email || got["email_verified"] != want.verified {
			t.Errorf("%s: %v %v", connection, got["email"], got["email_verified"])
		}
		if identity["provider"] != want.provider || identity["isSocial"] != want.social || identity["connection"] != connection {
			t.Errorf("%s: %v", connection, identity)
		}
		if u.ID != want.provider+"|"+identity["user_id"].(string) {
			t.Errorf("%s: id %q with %v", connection, u.ID, identity)
		}
	}
	if _, err := c.tenant.SignUp(SignUp{Connection: "gogle"}); err == nil {
		t.Error("an unknown connection is taken")
	}
	if _, err := c.tenant.SignUp(SignUp{Email: "ADA@example.com"}); err == nil {
		t.Error("the database takes an address twice")
	}
}

func TestUserIsCreatedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	created := c.do("POST", "/api/v2/users", `{"connection":"Username-Password-Authentication","user_id":"x y","email":"Ada@Example.com","email_verified":true,"app_metadata":{"a":1,"b":2}}`).want(201, "").object()
	if created["user_id"] != "auth0|x y" || created["email"] != "ada@example.com" || created["email_verified"] != true || created["blocked"] != nil {
		t.Errorf("created %v", created)
	}
	c.do("POST", "/api/v2/users", `{"connection":"Username-Password-Authentication","email":"ada@example.com"}`).want(409, "auth0_idp_error")
	c.do("POST", "/api/v2/users", `{"connection":"nothing","email":"bob@example.com"}`).want(400, "inexistent_connection")
	c.do("POST", "/api/v2/users", `{"email":"bob@example.com"}`).want(400, "invalid_body")
	c.do("POST", "/api/v2/users", `{"email":`).want(400, "invalid_body")
	c.tenant.Advance(time.Second)

	path := "/api/v2/users/auth0%7Cx%20y"
	changed := c.do("PATCH", path, `{"email":"New@example.com","blocked":false,"app_metadata":{"a":null,"c":3}}`).want(200, "").object()
	if changed["email"] != "new@example.com" || changed["email_verified"] != false || changed["blocked"] != false || changed["updated_at"] == changed["created_at"] {
		t.Errorf("changed %v", changed)
	}
	if diff := cmp.Diff(map[string]any{"b": 2.0, "c": 3.0}, changed["app_metadata"]); diff != "" {
		t.Errorf("app_metadata: %s", diff)
	}
	if got := c.do("GET", path, "").want(200, "").object(); !cmp.Equal(got, changed) {
		t.Errorf("read %v", got)
	}
	if got := c.do("GET", path+"?fields=email", "").object(); !cmp.Equal(got, map[string]any{"email": "new@example.com"}) {
		t.Errorf("one field: %v", got)
	}
	for range 2 { // the second time it is gone already
		if got := c.do("DELETE", path, "").want(204, ""); len(got.body) > 0 {
			t.Errorf("body %s", got.body)
		}
	}
	c.do("GET", path, "").want(404, "inexistent_user")
	c.do("PATCH", path, `{}`).want(404, "inexistent_user")
}

func TestLinkedUserIsAnIdentityUntilItIsUnlinked(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|p", Email: "p@example.com"})
	c.signUp(SignUp{UserID: "google-oauth2|s", Email: "s@example.com", Connection: Google})
	c.tenant.ConnectEventStream(s.URL, "token")

	linked := c.do("POST", "/api/v2/users/auth0%7Cp/identities", `{"provider":"google-oauth2","user_id":"s"}`).want(201, "").list()
	if len(linked) != 2 || linked[0]["user_id"] != "p" || linked[1]["user_id"] != "s" || linked[1]["profileData"].(map[string]any)["email"] != "s@example.com" {
		t.Fatalf("identities %v", linked)
	}
	c.tenant.Settle()
	checkEvents(t, s, map[string]string{"user.deleted": "google-oauth2|s", "user.updated": "auth0|p"})
	c.do("GET", "/api/v2/users/google-oauth2%7Cs", "").want(404, "inexistent_user")
	if got := c.do("GET", "/api/v2/users-by-email?email=s@example.com", "").ids(); got != "" {
		t.Errorf("the secondary's address finds %q", got)
	}
	if got := c.do("GET", find(`identities.user_id:"s"`), "").ids(); got != "auth0|p" {
		t.Errorf("the secondary's id finds %q", got)
	}

	alone := c.do("DELETE", "/api/v2/users/auth0%7Cp/identities/google-oauth2/s", "").want(200, "").list()
	if len(alone) != 1 {
		t.Errorf("identities %v", alone)
	}
	got := c.do("GET", "/api/v2/users/google-oauth2%7Cs", "").want(200, "").object()
	if got["email"] != "s@example.com" || got["email_verified"] != true || len(got["identities"].([]any)) != 1 {
		t.Errorf("restored %v", got)
	}
	c.do("POST", "/api/v2/users/auth0%7Cp/identities", `{"provider":"auth0","user_id":"p"}`).want(404, "")
	c.do("DELETE", "/api/v2/users/auth0%7Cp/identities/auth0/p", "").want(404, "")
	c.do("POST", "/api/v2/users/auth0%7Cp/identities", `{"provider":"auth0","user_id":"nobody"}`).want(404, "")
}

// checkEvents wants one event of each type, about that user.
func checkEvents(t *testing.T, s *sink, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, r := range s.all() {
		var e struct {
			Type string
			Data struct {
				Object map[string]any `json:"object"`
			}
		}
		if err := json.Unmarshal(r.body, &e); err != nil {
			t.Fatal(err)
		}
		got[e.Type] = e.Data.Object["user_id"].(string)
		if e.Type == "user.deleted" && e.Data.Object["deleted_at"] == nil {
			t.Error("user.deleted without deleted_at")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(s.all()) != len(want) {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestRudeTenantHasUsersAsTheyComeFromOtherConnections(t *testing.T) {
	t.Parallel()
	c := serve(t, Rude(Options{}))
	u := c.signUp(SignUp{Email: "Eva@Example.com", Connection: Enterprise, EmailVerified: yes()})
	got := c.do("GET", "/api/v2/users/"+url.PathEscape(u.ID), "").want(200, "").object()
	_, number := got["identities"].([]any)[0].(map[string]any)["user_id"].(float64)
	if got["email_verified"] != "true" || !number {
		t.Errorf("%v", got)
	}
	c.tenant.Advance(time.Minute)
	without := 0
	for _, u := range c.do("GET", "/api/v2/users", "").want(200, "").list() {
		if u["email"] == nil {
			without++
		}
	}
	if without < 2 {
		t.Errorf("%d users have no address", without)
	}
}

func TestLogsComeByPageAndByCheckpoint(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|a", Email: "a@example.com"})
	c.signUp(SignUp{UserID: "google-oauth2|b", Email: "b@example.com", Connection: Google})
	c.do("PATCH", "/api/v2/users/auth0%7Ca", `{"name":"A"}`).want(200, "")
	page := c.do("GET", "/api/v2/logs?per_page=2", "").want(200, "").list()
	if len(page) != 2 || page[0]["type"] != "sapi" || page[1]["type"] != "s" || page[1]["user_id"] != "google-oauth2|b" {
		t.Errorf("page %v", page)
	}
	first := c.do("GET", "/api/v2/logs?take=1", "").want(200, "").list()
	if len(first) != 1 || first[0]["type"] != "ss" {
		t.Errorf("first %v", first)
	}
	rest := c.do("GET", "/api/v2/logs?take=100&from="+first[0]["log_id"].(string), "").want(200, "").list()
	if len(rest) != 2 || rest[0]["type"] != "s" || rest[1]["type"] != "sapi" {
		t.Errorf("rest %v", rest)
	}
	if got := c.do("GET", "/api/v2/logs?from="+rest[1]["log_id"].(string), "").want(200, "").list(); len(got) != 0 {
		t.Errorf("after the last %v", got)
	}
	c.do("GET", "/api/v2/logs?take=101", "").want(400, "invalid_query_string")
	c.do("GET", "/api/v2/logs?page=20", "").want(400, "invalid_paging")
}

func TestUnknownPathIsNotFound(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for _, path := range []string{"/", "/api/v2/nothing", "/api/v1/users"} {
		if got := c.do("GET", path, "").want(404, "").object(); got["error"] != "Not Found" {
			t.Errorf("%v", got)
		}
	}
}
