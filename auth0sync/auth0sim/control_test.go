package auth0sim

import (
	"fmt"
	"testing"
)

func TestControlDrivesTheTenant(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.do("PUT", "/_sim/action", `{"url":"`+s.URL+`","secret":"`+testSecret+`","post_login":true}`).want(200, "")
	c.do("PUT", "/_sim/event-stream", `{"url":"`+s.URL+`","token":"t"}`).want(200, "")
	u := c.do("POST", "/_sim/signup", `{"email":"Ada@Example.com","name":"Ada","user_id":"auth0|a","created_at":"2026-01-02T03:04:05Z","app_metadata":{"customer_id":"c"}}`).want(200, "").object()
	if u["user_id"] != "auth0|a" || u["email"] != "ada@example.com" || u["email_verified"] != false || u["created_at"] != "2026-01-02T03:04:05.000Z" {
		t.Errorf("%v", u)
	}
	c.do("POST", "/_sim/signup", `{"email":"bob@example.com","connection":"google-oauth2","drop_deliveries":true,"email_verified":false,"user_id":"google-oauth2|b"}`).want(200, "")
	c.tenant.Settle()
	if n := len(s.all()); n != 2 {
		t.Errorf("%d deliveries of the first, and of the second that drops them", n)
	}
	steps := []struct{ path, body, member, want string }{
		{"verify", `{"email":"Ada@example.com"}`, "email_verified", "true"},
		{"block", `{"user_id":"auth0|a"}`, "blocked", "true"},
		{"block", `{"user_id":"auth0|a","undo":true}`, "blocked", "false"},
		{"login", `{"user_id":"auth0|a"}`, "logins_count", "1"},
		{"email", `{"email":"ada@example.com","new_email":"new@example.com"}`, "email", "new@example.com"},
		{"delete", `{"user_id":"auth0|a"}`, "ok", "true"},
	}
	for _, step := range steps {
		if got := c.do("POST", "/_sim/"+step.path, step.body).want(200, "").object(); fmt.Sprint(got[step.member]) != step.want {
			t.Errorf("%s %s: %v", step.path, step.body, got)
		}
	}
	c.do("POST", "/_sim/signup", `{"user_id":"auth0|p"}`).want(200, "")
	if got := c.do("POST", "/_sim/link", `{"primary":"auth0|p","secondary":"google-oauth2|b"}`).want(200, "").list(); len(got) != 2 {
		t.Errorf("identities %v", got)
	}
	if got := c.do("POST", "/_sim/clock", `{"advance":"90s"}`).want(200, "").object(); got["now"] != "2026-02-01T12:01:30.000Z" {
		t.Errorf("%v", got)
	}
	if n := len(c.tenant.Calls()); n != 0 {
		t.Errorf("control is counted: %v", c.tenant.Calls())
	}
}

func TestControlMintsTokens(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com"})
	for body, want := range map[string]string{
		`{"email":"ada@example.com","claims":{"email":"ada@example.com"}}`:                       "map[email:ada@example.com sub:auth0|a] 86400",
		`{"user_id":"auth0|a","scope":"read:customers"}`:                                         "map[sub:auth0|a] 86400",
		`{"client_id":"app","permissions":["read:customers"],"lifetime":"60s","claims":{"x":1}}`: "map[sub:app@clients] 60",
	} {
		got := c.do("POST", "/_sim/token", body).want(200, "").object()
		claims, _, err := c.parse(got["access_token"].(string))
		seen := map[string]any{"sub": claims["sub"]}
		if email, ok := claims["email"]; ok {
			seen["email"] = email
		}
		if fmt.Sprint(seen, got["expires_in"]) != want || err != nil || got["token_type"] != "Bearer" {
			t.Errorf("%s: %v %v %v", body, seen, got["expires_in"], err)
		}
	}
	c.do("POST", "/_sim/rotate-keys", "").want(200, "")
	if n := len(c.do("GET", "/.well-known/jwks.json", "").object()["keys"].([]any)); n != 2 {
		t.Errorf("%d keys", n)
	}
}

func TestControlCountsCallsAndSetsFaultsAndPlan(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.do("PUT", "/_sim/faults", `{"requests":[{"endpoint":"GET /api/v2/users","status":503,"times":1,"delay":"1ms"}]}`).want(200, "")
	c.do("GET", "/api/v2/users", "").want(503, "")
	c.do("GET", "/api/v2/users", "").want(200, "")
	c.do("GET", "/api/v2/users/auth0%7Cx", "").want(404, "")
	got := c.do("GET", "/_sim/calls", "").want(200, "").object()
	if fmt.Sprint(got) != "map[calls:map[GET /api/v2/users:2 GET /api/v2/users/{id}:1] total:3]" {
		t.Errorf("%v", got)
	}
	c.do("DELETE", "/_sim/calls", "").want(200, "")
	if got := c.do("GET", "/_sim/calls", "").object(); got["total"] != 0.0 {
		t.Errorf("%v", got)
	}
	c.do("PUT", "/_sim/faults", `{"requests":[{"status":500}]}`).want(200, "")
	c.do("PUT", "/_sim/faults", `{}`).want(200, "")
	c.do("PUT", "/_sim/plan", `{"plan":"free"}`).want(200, "")
	if got := c.do("GET", "/api/v2/users", "").want(200, ""); got.header.Get("X-Ratelimit-Limit") != "2" {
		t.Errorf("%v", got.header)
	}
}

func TestControlRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com"})
	c.signUp(SignUp{UserID: "apple|a", Email: "ada@example.com", Connection: Apple})
	for _, request := range [][3]string{
		{"POST", "/_sim/signup", `{"email":`},
		{"POST", "/_sim/signup", `{"e-mail":"x"}`},
		{"POST", "/_sim/signup", `{"email":"x@y"} {}`},
		{"POST", "/_sim/signup", `[]`},
		{"POST", "/_sim/signup", `{"email":"x@y","connection":"google"}`},
		{"POST", "/_sim/signup", `{"email":"ada@example.com"}`},
		{"POST", "/_sim/verify", `{"email":"nobody@example.com"}`},
		{"POST", "/_sim/verify", `{"email":"ada@example.com"}`}, // which of them
		{"POST", "/_sim/verify", ``},
		{"POST", "/_sim/link", `{"primary":"auth0|a","secondary":"auth0|a"}`},
		{"POST", "/_sim/token", `{}`},
		{"POST", "/_sim/token", `{"client_id":"x","lifetime":60}`},
		{"POST", "/_sim/token", `{"client_id":"x","forgery":"x"}`},
		{"POST", "/_sim/clock", `{"advance":"soon"}`},
		{"PUT", "/_sim/faults", `{"requests":[{"endpoint":"GET /users"}]}`},
		{"PUT", "/_sim/faults", `{"request":[]}`},
		{"PUT", "/_sim/plan", `{"plan":"gold"}`},
		{"PUT", "/_sim/action", `{"url":"http://127.0.0.1:1/","secret":"x"}`},
		{"PUT", "/_sim/action", `{"url":"127.0.0.1:1","secret":"` + testSecret + `"}`},
		{"PUT", "/_sim/event-stream", `{"url":"","token":"t"}`},
	} {
		got := c.do(request[0], request[1], request[2])
		if text, ok := got.object()["error"].(string); got.status != 400 || !ok || text == "" {
			t.Errorf("%v: %d %s", request, got.status, got.body)
		}
	}
	c.do("GET", "/_sim/signup", "").want(404, "")
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for addr, good := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:4000": true, "localhost:4000": true, "[::1]:4000": true,
		":4000": false, "0.0.0.0:4000": false, "[::]:4000": false, "192.168.1.2:4000": false, "example.com:4000": false, "127.0.0.1": false, "": false,
		"localhost.example.com:4000": false, "[::ffff:10.0.0.1]:1": false,
	} {
		if err := CheckAddr(addr); (err == nil) != good {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
