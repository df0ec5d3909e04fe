package auth0sim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func find(q string) string { return "/api/v2/users?" + url.Values{"q": {q}}.Encode() }

func TestSearchFinds(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	at := func(day int) time.Time { return time.Date(2026, 1, day, 10, 0, 0, 0, time.UTC) }
	c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com", EmailVerified: yes(), CreatedAt: at(1), AppMetadata: map[string]any{"customer_id": "c-1", "plan": map[string]any{"tier": 2}}})
	c.signUp(SignUp{UserID: "google-oauth2|b", Email: "Bob@Example.com", Connection: Google, CreatedAt: at(2)})
	c.signUp(SignUp{UserID: "auth0|c d|e", Username: "carol", CreatedAt: at(3)})
	c.signUp(SignUp{UserID: "email|d", Email: "ada@example.com", Connection: Passwordless, Blocked: true, CreatedAt: at(4)})
	c.signUp(SignUp{UserID: "auth0|e", Email: `we"ird+*\x@example.org`, Name: "Eve Example", CreatedAt: at(5)})
	all := "auth0|a google-oauth2|b auth0|c d|e email|d auth0|e"
	for q, want := range map[string]string{
		``:                        all,
		`email:ada@example.com`:   "auth0|a email|d",
		`email:"ADA@example.COM"`: "auth0|a email|d",
		`email:("bob@example.com" OR "ada@example.com" OR "nobody@example.com" OR "ada@example.com")`: "auth0|a google-oauth2|b email|d",
		`email:"we\"ird+*\\x@example.org"`: "auth0|e",
		`email:"ad*"`:                      "",
		`email:ad*`:                        "auth0|a email|d",
		`email:*example.org`:               "auth0|e",
		`email.domain:"example.com"`:       "auth0|a google-oauth2|b email|d",
		`user_id:"auth0|c d|e"`:            "auth0|c d|e",
		`user_id:auth0|a`:                  "auth0|a",
		`user_id:AUTH0|A`:                  "",
		`username:"carol"`:                 "auth0|c d|e",
		`username:"Carol"`:                 "",
		`name:"eve example"`:               "auth0|e",
		`identities.user_id:"b"`:           "google-oauth2|b",
		`identities.connection:"email"`:    "email|d",
		`identities.provider:auth0 AND NOT email_verified:true`: "auth0|c d|e auth0|e",
		`blocked:true`: "email|d",
		`NOT blocked:true AND email_verified:true`:                          "auth0|a google-oauth2|b",
		`app_metadata.customer_id:"c-1"`:                                    "auth0|a",
		`app_metadata.plan.tier:2`:                                          "auth0|a",
		`app_metadata.plan:2`:                                               "",
		`_exists_:email AND NOT _exists_:app_metadata.customer_id`:          "google-oauth2|b email|d auth0|e",
		`username:carol OR blocked:true AND email:"ada@example.com"`:        "auth0|c d|e email|d",
		`(username:carol OR blocked:true) AND email:"ada@example.com"`:      "email|d",
		`email:"ada@example.com" AND (blocked:true)`:                        "email|d",
		`created_at:[2026-01-02 TO 2026-01-04}`:                             "google-oauth2|b auth0|c d|e",
		`created_at:[2026-01-02 TO 2026-01-04]`:                             "google-oauth2|b auth0|c d|e email|d",
		`created_at:{2026-01-02 TO *]`:                                      "auth0|c d|e email|d auth0|e",
		`created_at:[* TO 2026-01-02T10:00:00Z}`:                            "auth0|a",
		`created_at:[* TO "2026-01-02T10:00:00.000Z"]`:                      "auth0|a google-oauth2|b",
		`created_at:{2026-01-02T10:00:00.000Z TO 2026-01-03T10:00:00.000Z]`: "auth0|c d|e",
		`created_at:[2026-01-03T12:00:00+02:00 TO *]`:                       "auth0|c d|e email|d auth0|e",
		`updated_at:[2026-01-05 TO *]`:                                      "auth0|e",
		`last_login:[* TO *]`:                                               "google-oauth2|b",
		`nonsense:"x"`:                                                      "",
	} {
		if got := c.do("GET", find(q), "").want(200, "").ids(); got != want {
			t.Errorf("%s\n got %q\nwant %q", q, got, want)
		}
	}
}

func TestSearchRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for _, q := range []string{
		`ada`, `"ada@example.com"`, `email:`, `email:(`, `email:("a"`, `email:("a" OR)`, `email:("a" "b")`, `email:"a`, `email:a b`,
		`(email:a`, `email:a)`, `AND email:a`, `email:a OR`, `email:OR`, `NOT`, `email:[a TO b]`, `created_at:[2026 TO *]`, `created_at:[2026-01-01 TO`,
		`created_at:[2026-01-01 2026-01-02]`, `created_at:>=2026-01-01`, `-email:a`, `email:a?b`, `email:a\`, `:a`, strings.Repeat("(", 200), "email:\xff",
	} {
		if got := c.do("GET", find(q), ""); got.status != 400 || got.object()["errorCode"] != "invalid_query_string" {
			t.Errorf("%s: %d %s", q, got.status, got.body)
		}
	}
}

func TestSearchLagsAndLooksUpsDoNot(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{SearchLag: time.Minute})
	u := c.signUp(SignUp{Email: "ada@example.com"})
	byEmail := func(email string) string { return c.do("GET", "/api/v2/users-by-email?email="+email, "").ids() }
	search := func(q string) string { return c.do("GET", find(q), "").ids() }
	check := func(when, byOld, byNew, searchOld, searchNew string) {
		t.Helper()
		got := []string{byEmail("ada@example.com"), byEmail("new@example.com"), search(`email:"ada@example.com"`), search(`email:new@example.com`)}
		if want := []string{byOld, byNew, searchOld, searchNew}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	check("signed up", u.ID, "", "", "")
	c.tenant.Advance(time.Minute)
	check("a lag later", u.ID, "", u.ID, "")
	c.must(c.tenant.ChangeEmail(u.ID, "New@example.com"))
	check("another address", "", u.ID, u.ID, "")
	c.tenant.Advance(59 * time.Second)
	check("a second too early", "", u.ID, u.ID, "")
	c.tenant.Advance(time.Second)
	check("a lag later", "", u.ID, "", u.ID)
	c.must(c.tenant.Delete(u.ID))
	check("deleted", "", "", "", u.ID)
	c.tenant.Advance(time.Minute)
	check("a lag later", "", "", "", "")
}

func TestUsersByEmailMindsCaseAndFindsAll(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|a", Email: "Ada@Example.com"}) // the database keeps lower case
	c.signUp(SignUp{UserID: "google-oauth2|b", Email: "Ada@Example.com", Connection: Google})
	c.signUp(SignUp{UserID: "apple|c", Email: "ada@example.com", Connection: Apple})
	for email, want := range map[string]string{
		"ada@example.com": "auth0|a apple|c", "Ada@Example.com": "google-oauth2|b", "ADA@example.com": "", "a@b": "",
	} {
		if got := c.do("GET", "/api/v2/users-by-email?email="+email, "").ids(); got != want {
			t.Errorf("%s: %q, want %q", email, got, want)
		}
	}
	for _, query := range []string{"", "?email=", "?email=ada", "?mail=ada@example.com"} {
		c.do("GET", "/api/v2/users-by-email"+query, "").want(400, "invalid_query_string")
	}
}

func TestSearchPages(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for i := range 1205 {
		c.signUp(SignUp{UserID: fmt.Sprintf("auth0|%04d", i), Email: fmt.Sprintf("u%04d@example.com", i)})
	}
	seen := 0
	for page := range 10 {
		got := c.do("GET", fmt.Sprintf("/api/v2/users?page=%d&per_page=100&include_totals=true", page), "").want(200, "").object()
		if got["total"] != 1205.0 || got["length"] != 100.0 || got["start"] != float64(100*page) || got["limit"] != 100.0 {
			t.Errorf("page %d: %v %v %v %v", page, got["total"], got["length"], got["start"], got["limit"])
		}
		first := got["users"].([]any)[0].(map[string]any)["user_id"]
		if first != fmt.Sprintf("auth0|%04d", seen) {
			t.Errorf("page %d begins with %v", page, first)
		}
		seen += 100
	}
	for query, code := range map[string]string{
		"page=10&per_page=100":                  "invalid_paging",
		"page=20":                               "invalid_paging",
		"page=1000000000":                       "invalid_paging",
		"per_page=101":                          "invalid_query_string",
		"per_page=-1":                           "invalid_query_string",
		"page=-1":                               "invalid_query_string",
		"page=x":                                "invalid_query_string",
		"page=9223372036854775807&per_page=100": "invalid_query_string",
		"cursor=1":                              "invalid_query_string",
	} {
		got := c.do("GET", "/api/v2/users?"+query, "").want(400, code)
		if code == "invalid_paging" && got.object()["message"] != paging {
			t.Errorf("%s: %s", query, got.body)
		}
	}
	if n := len(c.do("GET", "/api/v2/users?page=19", "").list()); n != 50 {
		t.Errorf("default page has %d", n)
	}
	if got := c.do("GET", "/api/v2/users?sort=email:-1&per_page=2&fields=user_id,email", "").list(); got[0]["email"] != "u1204@example.com" || len(got[0]) != 2 {
		t.Errorf("sorted and shortened: %v", got)
	}
	if got := c.do("GET", "/api/v2/users?per_page=1&fields=email&include_fields=false", "").list(); got[0]["email"] != nil || got[0]["user_id"] == nil {
		t.Errorf("without address: %v", got)
	}
}

func TestSearchThatIsTooLongOrTooSlowFails(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{MaxURL: 2000, MaxTerms: 10})
	group := func(n int, domain string) string {
		terms := []string{}
		for i := range n {
			terms = append(terms, fmt.Sprintf(`"u%d@%s"`, i, domain))
		}
		return find("email:(" + strings.Join(terms, " OR ") + ")")
	}
	c.do("GET", group(10, "a.example"), "").want(200, "")
	if got := c.do("GET", group(11, "a.example"), "").want(503, ""); got.object()["message"] != timedOut {
		t.Errorf("%s", got.body)
	}
	c.do("GET", group(40, strings.Repeat("a", 60)+".example"), "").want(414, "")
	if n := c.tenant.Calls()["GET /api/v2/users"]; n != 3 {
		t.Errorf("%d calls are counted", n)
	}
}

func TestIDsMayHoldAnything(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for _, id := range []string{"auth0|a b", "samlp|x|y z", "adfs|john@fabrikam.com", "oidc|a/b", "auth0|%41", "auth0|ä?#&+"} {
		c.signUp(SignUp{UserID: id})
		got := c.do("GET", "/api/v2/users/"+url.PathEscape(id), "").want(200, "").object()
		if got["user_id"] != id {
			t.Errorf("%q: %v", id, got["user_id"])
		}
		if _, has := got["email"]; has {
			t.Errorf("%q has an address", id)
		}
		if got := c.do("GET", find(`user_id:"`+id+`"`), "").ids(); got != id {
			t.Errorf("search for %q finds %q", id, got)
		}
	}
}

// The e-mail index is a short cut and must not change what is found.
func TestSearchByIndexFindsWhatAFullScanFinds(t *testing.T) {
	t.Parallel()
	now := newClock()
	tenant := New(Options{SearchLag: time.Minute, Now: now.now})
	t.Cleanup(tenant.Close)
	rapid.Check(t, func(r *rapid.T) {
		tenant.users, tenant.byEmail, tenant.everEmail = map[string]*record{}, map[string][]string{}, map[string][]string{}
		change(r, tenant)
		q, err := parse(someQuery(r))
		if err != nil {
			r.Fatal(err)
		}
		got := []string{}
		for _, u := range tenant.search(q) {
			got = append(got, u.ID)
		}
		slices.Sort(got)
		want := []string{}
		for id, record := range tenant.users {
			if u, live := record.asOf(tenant.now().Add(-time.Minute)); live && q.matches(u) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			r.Errorf("found %q, a scan finds %q", got, want)
		}
	})
}

func someAddress(r *rapid.T) string {
	return rapid.SampledFrom([]string{"a@x", "A@x", "b@x", "\u212a@x", "k@x", "\u0130@x", "i@x", ""}).Draw(r, "address")
}

func change(r *rapid.T, tenant *Tenant) {
	for range rapid.IntRange(1, 12).Draw(r, "changes") {
		id := rapid.SampledFrom([]string{"1", "2", "3"}).Draw(r, "id")
		_, exists := tenant.User(id)
		switch {
		case !exists:
			if _, err := tenant.SignUp(SignUp{UserID: id, Email: someAddress(r), Connection: Google}); err != nil {
				r.Fatal(err)
			}
		case rapid.Bool().Draw(r, "delete"):
			_ = tenant.Delete(id)
		default:
			_ = tenant.ChangeEmail(id, someAddress(r))
		}
		tenant.Advance(time.Duration(rapid.IntRange(0, 90).Draw(r, "seconds")) * time.Second)
	}
}

func someQuery(r *rapid.T) string {
	terms := []string{}
	for range rapid.IntRange(1, 3).Draw(r, "terms") {
		terms = append(terms, fmt.Sprintf("%q", someAddress(r)))
	}
	return "email:(" + strings.Join(terms, " OR ") + ")" + rapid.SampledFrom([]string{"", ` AND user_id:"1"`, ` OR user_id:"2"`, ` AND NOT email:"a@x"`}).Draw(r, "rest")
}

func FuzzParseQuery(f *testing.F) {
	for _, q := range []string{
		``, `email:("a@x" OR "b@x")`, `email:a* AND NOT (blocked:true OR email_verified:false)`, `created_at:[2026-01-01 TO *}`,
		`updated_at:{2026-01-01T00:00:00.000Z TO 2026-01-02T00:00:00+01:00]`, `_exists_:email`, `app_metadata.customer_id:"x\"y\\"`, `((`, `a:b:c`, `email:"`, `x:\`,
	} {
		f.Add(q)
	}
	u := User{ID: "auth0|1", Email: "a@x", EmailVerified: true, AppMetadata: map[string]any{"customer_id": "x"}, Identities: []Identity{{UserID: "1"}}, CreatedAt: newClock().at}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parse(text)
		if err != nil {
			return
		}
		matches := q.matches(&u)
		if (not{q}).matches(&u) == matches {
			t.Error("neither the query matches nor its opposite, or both")
		}
		// What the index is asked for must include every match.
		if list, ok := q.emails(); ok && matches && !slices.Contains(list, strings.ToLower(u.Email)) {
			t.Errorf("matches a user whose address is not in %q", list)
		}
		if q.terms() < 0 || q.terms() > len(text) {
			t.Errorf("%d terms", q.terms())
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	tenant := New(Options{})
	defer tenant.Close()
	terms := []string{}
	for i := range 100_000 {
		email := fmt.Sprintf("user%d@example.com", i)
		if _, err := tenant.SignUp(SignUp{Email: email}); err != nil {
			b.Fatal(err)
		}
		if i%2000 == 0 {
			terms = append(terms, `"`+strings.ToUpper(email)+`"`)
		}
	}
	for name, text := range map[string]string{
		"50 addresses of 100000 users": "email:(" + strings.Join(terms, " OR ") + ")",
		"all of 100000 users by scan":  "created_at:[2020-01-01 TO *]",
	} {
		b.Run(name, func(b *testing.B) {
			q, err := parse(text)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				tenant.mu.Lock()
				n := len(tenant.search(q))
				tenant.mu.Unlock()
				if n < 50 {
					b.Fatal(n)
				}
			}
		})
	}
}
