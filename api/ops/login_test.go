package ops_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ahiko-io/customersync/api"
	"github.com/ahiko-io/customersync/api/ops"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
)

const (
	site     = "https://ops.acme.example"
	session  = "__Host-customersync_ops"
	signIn   = "__Host-customersync_ops_login"
	audience = "https://api.customersync.test"
)

// gate is a desk where people sign in, at a simulated tenant, whose tokens the API
// itself verifies.
type gate struct {
	desk
	tenant *auth0sim.Tenant
	log    *observer.ObservedLogs
}

func newGate(t *testing.T) gate { return newGateAt(t, site) }

func newGateAt(t *testing.T, at string) gate {
	t.Helper()
	d := newDesk(t)
	tenant := auth0sim.New(auth0sim.Options{})
	server := httptest.NewServer(tenant)
	t.Cleanup(func() { server.Close(); tenant.Close() })
	tenant.SetBaseURL(server.URL)
	tenant.SetApplication([]string{at + "/ops/callback"}, []string{at + "/ops/signed-out"})
	core, log := observer.New(zapcore.DebugLevel)
	d.config = ops.PageConfig{Logger: zap.New(core), Login: &ops.Login{
		URL: parse(t, at), Issuer: tenant.Issuer(), ClientID: "sim-web", ClientSecret: "sim-web-secret", Audience: audience,
		Tokens: verifier(t, d, tenant.Issuer()),
	}}
	return gate{d, tenant, log}
}

// verifier is the API, ready to verify tokens of an issuer.
func verifier(t *testing.T, d desk, issuer string) *api.Server {
	t.Helper()
	s, err := api.New(t.Context(), api.Config{Issuer: issuer, Audience: audience, Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry()}, d.store, nil, nil)
	must(t, err)
	for deadline := time.Now().Add(time.Minute); s.Ready(t.Context()) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the issuer's keys did not come")
		}
	}
	return s
}

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	must(t, err)
	return u
}

// with asks as a browser with cookies does.
func (g gate) with(cookies, method, path, form string, header ...string) *httptest.ResponseRecorder {
	return g.ask(method, path, form, append([]string{"Host", "ops.acme.example", "Cookie", cookies}, header...)...)
}

// token is what somebody with these permissions has, changed.
func (g gate) token(o auth0sim.TokenOptions, permissions ...string) string {
	o.Permissions = permissions
	if o.Claims == nil {
		o.Claims = map[string]any{}
	}
	if _, ok := o.Claims["azp"]; !ok {
		o.Claims["azp"] = "sim-web"
	}
	return g.tenant.MintUserToken("auth0|sam", o)
}

// asksToSignIn reports whether an answer sends the browser to the tenant.
func (g gate) asksToSignIn(w *httptest.ResponseRecorder) bool {
	return w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), g.tenant.Issuer()+"authorize?")
}

// Who adds a route says here what it needs.
func TestEveryRouteNeedsItsPermission(t *testing.T) {
	t.Parallel()
	needs := map[string]string{
		"GET /ops/{$}":                     "ops:read",
		"POST /ops/find":                   "ops:read",
		"GET /ops/customers/{customer_id}": "ops:read",
		"GET /ops/conflicts":               "ops:read",
		"GET /ops/reasons/{reason}":        "ops:read", "GET /ops/runs/{run}": "ops:read", "GET /ops/plan": "ops:read",
		"POST /ops/plan": "ops:act", "POST /ops/plan/{plan}/apply": "ops:act", "POST /ops/due/preview": "ops:act", "POST /ops/due/act": "ops:act",
		"GET /ops/runs":                             "ops:read",
		"/ops/":                                     "ops:read",
		"POST /ops/customers/{customer_id}/look":    "ops:act",
		"POST /ops/customers/{customer_id}/act":     "ops:act",
		"POST /ops/customers/{customer_id}/reveal":  "ops:pii",
		"POST /ops/customers/{customer_id}/preview": "ops:act",
		"GET /ops/account":                          "signed in",
		"GET /ops/callback":                         "anybody",
		"POST /ops/logout":                          "anybody",
		"GET /ops/signed-out":                       "anybody",
		"GET /ops/style.css":                        "anybody",
	}
	if diff := cmp.Diff(needs, ops.Routes()); diff != "" {
		t.Fatalf("the routes and what they need: %s", diff)
	}
	g := newGate(t)
	id := g.made("Ada", "ada@example.com")
	for pattern, needed := range needs {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = "GET", pattern+"nothing"
		}
		path = strings.NewReplacer("{$}", "", "{customer_id}", string(id)).Replace(path)
		if w := g.with("", method, path, "q=x"); needed != "anybody" && !(method == "GET" && g.asksToSignIn(w)) && !(method == "POST" && w.Code == 403 && strings.Contains(w.Body.String(), "Sign in first")) {
			t.Errorf("%s, nobody: %d %s", pattern, w.Code, w.Body)
		}
		for _, has := range [][]string{{}, {"ops:read"}, {"ops:pii"}, {"ops:act"}, {"ops:read", "ops:pii"}, {"ops:read", "ops:act"}, {"ops:pii", "ops:act"}, {"ops:read ops:act"}, {"OPS:READ"}, {"read:customers", "update:customers"}} {
			missing := ""
			if strings.HasPrefix(needed, "ops:") {
				for _, one := range []string{needed, "ops:read"} {
					if !slices.Contains(has, one) {
						missing = one
					}
				}
			}
			w := g.with(session+"="+g.token(auth0sim.TokenOptions{}, has...), method, path, "q=x")
			refused := w.Code == 403 && strings.Contains(w.Body.String(), "This needs the permission")
			switch {
			case missing == "" && (refused || g.asksToSignIn(w)) && pattern != "GET /ops/callback":
				t.Errorf("%s with %v: %d %s", pattern, has, w.Code, w.Body)
			case missing != "" && (!refused || !strings.Contains(w.Body.String(), "permission "+missing+",")):
				t.Errorf("%s with %v: %d, and not that %s is missing: %s", pattern, has, w.Code, missing, w.Body)
			}
		}
	}
	if e := g.explain(id); len(e.History) != 1 {
		t.Errorf("something was done: %+v", e.History)
	}
}

// A page has the forms that its reader may send, and no others.
func TestAPageOffersWhatItsReaderMayDo(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	o := newOffice(g.desk)
	o.signUp("ada@example.com", true)
	id := o.made("Ada", "ada@example.com")
	planner := o.opens()
	must(t, planner.Make(t.Context(), "sam", "to see it"))
	planner.Wait()
	g.desk = o.desk
	plan, err := g.store.Plan(t.Context())
	must(t, err)
	customerPath, applyPath := "/ops/customers/"+string(id), fmt.Sprintf("/ops/plan/%d/apply", plan.ID)
	acts := []string{customerPath + "/look", customerPath + "/preview", "/ops/due/preview", "/ops/plan", applyPath}
	reveals := []string{customerPath + "/reveal"}
	form := regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	for _, has := range [][]string{{"ops:read"}, {"ops:read", "ops:pii"}, {"ops:read", "ops:act"}, {"ops:read", "ops:pii", "ops:act"}} {
		var offered []string
		for _, path := range []string{customerPath, "/ops/plan"} {
			w := g.with(session+"="+g.token(auth0sim.TokenOptions{}, has...), "GET", path, "")
			for _, action := range form.FindAllStringSubmatch(w.Body.String(), -1) {
				if action[1] != "/ops/find" {
					offered = append(offered, action[1])
				}
			}
			named := []string{"ops:act"}
			if path == customerPath {
				named = append(named, "ops:pii")
			}
			for _, permission := range named {
				if says := strings.Contains(w.Body.String(), "<code>"+permission+"</code>"); says == slices.Contains(has, permission) {
					t.Errorf("%s with %v, says that %s is missing: %t", path, has, permission, says)
				}
			}
		}
		slices.Sort(offered)
		var want []string
		if slices.Contains(has, "ops:act") {
			want = append(want, acts...)
		}
		if slices.Contains(has, "ops:pii") {
			want = append(want, reveals...)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Compact(offered)); diff != "" {
			t.Errorf("with %v: %s", has, diff)
		}
	}
}

func TestAttackForgedSessionsOpenNothing(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	id := g.made("Ada", "ada@example.com")
	all := []string{"ops:read", "ops:pii", "ops:act"}
	good := g.token(auth0sim.TokenOptions{}, all...)
	parts := strings.Split(good, ".")
	if w := g.with(session+"="+good, "GET", "/ops/", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "/ops/account") {
		t.Fatalf("a true session: %d %s", w.Code, w.Body)
	}
	for name, cookies := range map[string]string{
		"none":                              "",
		"of another name":                   "customersync_ops=" + good,
		"nothing":                           session + "=",
		"no token":                          session + "=admin",
		"expired":                           session + "=" + g.token(auth0sim.TokenOptions{Lifetime: -time.Minute}, all...),
		"for another API":                   session + "=" + g.token(auth0sim.TokenOptions{Audience: "https://other"}, all...),
		"signed by a stranger":              session + "=" + g.token(auth0sim.TokenOptions{Forgery: auth0sim.StrangerKey}, all...),
		"not signed":                        session + "=" + g.token(auth0sim.TokenOptions{Forgery: auth0sim.AlgNone}, all...),
		"signed with the public key":        session + "=" + g.token(auth0sim.TokenOptions{Forgery: auth0sim.AlgHMAC}, all...),
		"of another issuer":                 session + "=" + g.token(auth0sim.TokenOptions{Claims: map[string]any{"iss": "https://evil/"}}, all...),
		"an ID token":                       session + "=" + g.token(auth0sim.TokenOptions{Claims: map[string]any{"nonce": "n"}}, all...),
		"with more permissions than signed": session + "=" + parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"permissions":["ops:read"]}`)) + "." + parts[2],
		"of another application":            session + "=" + g.token(auth0sim.TokenOptions{Claims: map[string]any{"azp": "the-shop"}}, all...),
		"of no application":                 session + "=" + g.token(auth0sim.TokenOptions{Claims: map[string]any{"azp": nil}}, all...),
		"of a machine":                      session + "=" + g.tenant.MintMachineToken("sim-web", auth0sim.TokenOptions{Permissions: all}),
		"beside another":                    session + "=" + good + "; " + session + "=" + good,
	} {
		if w := g.with(cookies, "GET", "/ops/customers/"+string(id), ""); !g.asksToSignIn(w) || strings.Contains(w.Body.String(), "Ada") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := g.with(cookies, "POST", "/ops/customers/"+string(id)+"/reveal", "why=x&who=x"); w.Code != 403 || strings.Contains(w.Body.String(), "ada@") {
			t.Errorf("%s, a form: %d %s", name, w.Code, w.Body)
		}
	}
	// What an application asked for itself is no permission.
	scoped := g.token(auth0sim.TokenOptions{Scope: "ops:read ops:pii ops:act"})
	if w := g.with(session+"="+scoped, "GET", "/ops/", ""); w.Code != 403 || !strings.Contains(w.Body.String(), "ops:read") {
		t.Errorf("scopes: %d %s", w.Code, w.Body)
	}
	if w := g.with("Authorization=x", "GET", "/ops/", "", "Authorization", "Bearer "+good); !g.asksToSignIn(w) {
		t.Errorf("a header: %d", w.Code)
	}
	if e := g.explain(id); len(e.History) != 1 {
		t.Errorf("something was done: %+v", e.History)
	}
}

// underWay is a sign-in: what the browser holds and where it is sent.
type underWay struct {
	cookie *http.Cookie
	to     *url.URL // of the tenant
}

func (g gate) begin(path string) underWay {
	g.t.Helper()
	w := g.with("", "GET", path, "")
	if !g.asksToSignIn(w) {
		g.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return underWay{cookieOf(w, signIn), parse(g.t, w.Header().Get("Location"))}
}

// cookieOf is a cookie that an answer sets; nil if it does not.
func cookieOf(w *httptest.ResponseRecorder, name string) *http.Cookie {
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// comesBack signs somebody in at the tenant, and returns where the browser is sent
// then.
func (g gate) comesBack(u underWay, email string) *url.URL {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	must(g.t, err)
	var back *url.URL
	browser := http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "ops.acme.example" {
			back = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := browser.Get(u.to.String())
	must(g.t, err)
	must(g.t, page.Body.Close())
	res, err := browser.PostForm(page.Request.URL.String(), url.Values{"username": {email}, "password": {auth0sim.Password}})
	must(g.t, err)
	must(g.t, res.Body.Close())
	if back == nil {
		g.t.Fatalf("the tenant answers %s", res.Status)
	}
	return back
}

// person is somebody at the tenant.
func (g gate) person(email string, permissions ...string) auth0sim.User {
	g.t.Helper()
	u, err := g.tenant.SignUp(auth0sim.SignUp{Email: email})
	must(g.t, err)
	g.tenant.SetPermissions(u.ID, permissions...)
	return u
}

func TestAPersonSignsInAndComesBackToThePage(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	sam := g.person("sam@acme.example", "ops:read", "ops:act")
	id := g.made("Ada", "ada@example.com")
	u := g.begin("/ops/conflicts?after=" + string(id))
	if q := u.to.Query(); q.Get("response_type") != "code" || q.Get("scope") != "openid" || q.Get("audience") != audience || q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != site+"/ops/callback" || len(q.Get("state")) < 40 || len(q.Get("nonce")) < 40 {
		t.Errorf("asked for with %v", q)
	}
	w := g.with(u.cookie.Name+"="+u.cookie.Value, "GET", g.comesBack(u, sam.Email).RequestURI(), "", "Sec-Fetch-Site", "cross-site")
	got := cookieOf(w, session)
	if w.Code != 303 || w.Header().Get("Location") != "/ops/conflicts?after="+string(id) || got == nil {
		t.Fatalf("%d to %s: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	for _, c := range []*http.Cookie{got, u.cookie} {
		if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || c.MaxAge > 24*3600 {
			t.Errorf("cookie %+v", c)
		}
	}
	if done := cookieOf(w, signIn); done == nil || done.MaxAge >= 0 {
		t.Errorf("the sign-in goes on: %+v", done)
	}
	mine := session + "=" + got.Value
	if w := g.with(mine, "GET", "/ops/account", ""); w.Code != 200 || !strings.Contains(w.Body.String(), sam.ID) || !strings.Contains(w.Body.String(), "ops:act") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// Who it was is what the token says, whatever the form says.
	path := "/ops/customers/" + string(id)
	if w := g.with(mine, "POST", path+"/preview", "do=close"); w.Code != 200 || strings.Contains(w.Body.String(), `name="who"`) {
		t.Errorf("%d, asked who: %s", w.Code, w.Body)
	}
	if w := g.with(mine, "POST", path+"/act", "do=close&version=1&why=asked+to&who=Somebody"); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	history := g.explain(id).History
	if last := history[len(history)-1]; last.What != "closed" || last.Cause.Actor != "sub:"+sam.ID || last.Cause.Kind != customer.ByOperator {
		t.Errorf("the history says %+v", last)
	}
	out := g.with(mine, "POST", "/ops/logout", "x=", "Sec-Fetch-Site", "same-origin")
	if ended := cookieOf(out, session); out.Code != 200 || ended == nil || ended.MaxAge >= 0 || !strings.HasPrefix(out.Header().Get("Refresh"), "0; url="+g.tenant.Issuer()+"v2/logout?client_id=sim-web&returnTo=https%3A%2F%2Fops.acme.example%2Fops%2Fsigned-out") {
		t.Errorf("%d %v", out.Code, out.Header())
	}
	if w := g.with(mine, "POST", "/ops/logout", "x=", "Sec-Fetch-Site", "cross-site"); w.Code != 403 || cookieOf(w, session) != nil {
		t.Errorf("signed out by another site: %d", w.Code)
	}
}

func TestAttackASignInIsOfOneBrowserAndOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.person("eve@acme.example", "ops:read")
	g.person("sam@acme.example", "ops:read")
	begin := func() (underWay, *url.URL) {
		u := g.begin("/ops/")
		return u, g.comesBack(u, "eve@acme.example")
	}
	cookie := func(u underWay) string { return u.cookie.Name + "=" + u.cookie.Value }
	changed := func(u *url.URL, name, value string) string {
		q := u.Query()
		q.Set(name, value)
		return u.Path + "?" + q.Encode()
	}
	attackers, back := begin()
	victims, victimsBack := begin()
	const notBegun, refused = "<h1>Sign in again</h1>", "<h1>Not signed in</h1>"
	for name, test := range map[string]struct{ cookies, path, says string }{
		"the attacker's answer in the victim's browser":            {cookie(victims), back.RequestURI(), notBegun},
		"in a browser that signs nobody in":                        {"", back.RequestURI(), notBegun},
		"with an empty state":                                      {signIn + "=e30", changed(back, "state", ""), notBegun},
		"with a cookie of rubbish":                                 {signIn + "=%%%", back.RequestURI(), notBegun},
		"with another state":                                       {cookie(victims), changed(victimsBack, "state", "x"), notBegun},
		"with two cookies":                                         {cookie(attackers) + "; " + cookie(attackers), back.RequestURI(), notBegun},
		"the victim's code with the attacker's state and verifier": {cookie(attackers), changed(victimsBack, "state", back.Query().Get("state")), refused},
		"a made-up code":                                           {cookie(attackers), changed(back, "code", "x"), refused},
		"no code":                                                  {cookie(attackers), changed(back, "code", ""), refused},
	} {
		if w := g.with(test.cookies, "GET", test.path, ""); w.Code != 403 || cookieOf(w, session) != nil || !strings.Contains(w.Body.String(), test.says) {
			t.Errorf("%s: %d %s, cookies %v", name, w.Code, w.Body, w.Header()["Set-Cookie"])
		}
	}
	own, ownBack := begin()
	if w := g.with(cookie(own), "GET", ownBack.RequestURI(), ""); w.Code != 303 || cookieOf(w, session) == nil {
		t.Fatalf("a true one: %d %s", w.Code, w.Body)
	}
	if w := g.with(cookie(own), "GET", ownBack.RequestURI(), ""); w.Code != 403 || cookieOf(w, session) != nil {
		t.Errorf("the same again: %d %s", w.Code, w.Body)
	}
	denied := changed(ownBack, "error", "access_denied")
	if w := g.with(cookie(own), "GET", strings.Replace(denied, "code=", "no=", 1), ""); w.Code != 403 || !strings.Contains(g.log.All()[g.log.Len()-1].ContextMap()["error"].(string), "Auth0 says access_denied") {
		t.Errorf("denied: %d %s", w.Code, w.Body)
	}
	for _, entry := range g.log.All() {
		for _, secret := range []string{ownBack.Query().Get("code"), ownBack.Query().Get("state"), "sim-web-secret"} {
			if text, _ := json.Marshal(entry.ContextMap()); strings.Contains(string(text), secret) {
				t.Errorf("logged: %s", text)
			}
		}
	}
}

func TestAttackASignInEndsOnAPageOfOurs(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.person("sam@acme.example", "ops:read")
	for _, to := range []string{
		"https://evil.example/ops/", "//evil.example/ops/", "/\\evil.example", "\\\\evil.example/ops/", "javascript:alert(1)", "/", "", "evil.example/ops/",
		"/ops/../../evil", "/ops", "https:/ops/x", "//sam@evil.example/ops/", "/ops/\r\nX: y", "/ops/?" + strings.Repeat("x", 4000),
	} {
		u := g.begin("/ops/")
		back := g.comesBack(u, "sam@acme.example")
		raw, err := base64.RawURLEncoding.DecodeString(u.cookie.Value)
		must(t, err)
		var held map[string]string
		must(t, json.Unmarshal(raw, &held))
		held["return"] = to
		raw, err = json.Marshal(held)
		must(t, err)
		w := g.with(signIn+"="+base64.RawURLEncoding.EncodeToString(raw), "GET", back.RequestURI(), "")
		at := parse(t, w.Header().Get("Location"))
		if w.Code != 303 || at.Host != "" || at.Scheme != "" || !strings.HasPrefix(w.Header().Get("Location"), "/ops/") || w.Header().Get("X") != "" {
			t.Errorf("%q leads to %q", to, w.Header().Get("Location"))
		}
	}
	if u := g.begin("/ops/runs?x=" + strings.Repeat("x", 20_000)); len(u.cookie.Value) > 3000 {
		t.Errorf("a cookie of %d bytes", len(u.cookie.Value))
	}
}

func TestAttackThePageAnswersToItsOwnNameAlone(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	mine := session + "=" + g.token(auth0sim.TokenOptions{}, "ops:read")
	for host, status := range map[string]int{
		"ops.acme.example": 200, "OPS.acme.example": 200, "ops.acme.example:443": 200,
		"ops.acme.example:80": 403, "ops.acme.example.evil.example": 403, "evil.example": 403, "127.0.0.1:9090": 403, "localhost": 403, "": 403,
	} {
		w := g.ask("GET", "/ops/", "", "Host", host, "Cookie", mine)
		if host == "" {
			w = g.ask("GET", "/ops/", "", "Cookie", mine) // the address itself
		}
		if w.Code != status {
			t.Errorf("%q: %d", host, w.Code)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "form-action 'self'") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %v", host, w.Header())
		}
	}
	for name, header := range map[string][]string{
		"another site's form": {"Sec-Fetch-Site", "cross-site"}, "a neighbour's": {"Sec-Fetch-Site", "same-site"}, "one of an older browser": {"Origin", "https://evil.example"},
	} {
		if w := g.with(mine, "POST", "/ops/find", "q=ada%40example.com", header...); w.Code != 403 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w := g.with(mine, "POST", "/ops/find", "q=ada%40example.com", "Origin", site); w.Code != 404 {
		t.Errorf("our own form: %d", w.Code)
	}
}

// With a login configured it is asked for on this machine too.
func TestOnThisMachineALoginIsAskedForIfThereIsOne(t *testing.T) {
	t.Parallel()
	g := newGateAt(t, "http://127.0.0.1:9090")
	g.config.Loopback = true
	w := g.ask("GET", "/ops/", "")
	if c := cookieOf(w, "customersync_ops_login"); !g.asksToSignIn(w) || c == nil || c.Secure || !c.HttpOnly {
		t.Errorf("%d %s, cookie %+v", w.Code, w.Body, c)
	}
	if w := g.ask("GET", "/ops/", "", "Cookie", "customersync_ops="+g.token(auth0sim.TokenOptions{}, "ops:read")); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWithoutALoginNoneOfItsPagesAreThere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, path := range []string{"GET /ops/account", "GET /ops/callback?code=x&state=x", "POST /ops/logout", "GET /ops/signed-out"} {
		method, path, _ := strings.Cut(path, " ")
		if w := d.ask(method, path, ""); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestAnAuth0ThatDoesNotAnswerIsSaidPlainly(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.person("sam@acme.example", "ops:read")
	followed := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the secret was sent elsewhere") }))
	t.Cleanup(followed.Close)
	for name, fault := range map[string]auth0sim.Fault{
		"away": {Status: 503}, "silly": {Status: 200, Body: "<html>"}, "empty": {Status: 200, Body: "{}"}, "elsewhere": {Status: 307, Location: followed.URL}, "cut": {CutAfter: 20},
		"without an ID token": {Status: 200, Body: `{"access_token":"` + g.token(auth0sim.TokenOptions{}, "ops:read") + `","token_type":"Bearer"}`},
	} {
		u := g.begin("/ops/")
		back := g.comesBack(u, "sam@acme.example")
		fault.Endpoint, fault.Times = "POST /oauth/token", 1
		g.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{fault}})
		if w := g.with(u.cookie.Name+"="+u.cookie.Value, "GET", back.RequestURI(), ""); w.Code != 403 && w.Code != 503 || cookieOf(w, session) != nil {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	dark := httptest.NewServer(http.NotFoundHandler())
	dark.Close()
	s, err := api.New(t.Context(), api.Config{Issuer: dark.URL + "/", Audience: audience, Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry()}, g.store, nil, nil)
	must(t, err)
	g.config.Login.Tokens = s
	if w := g.with(session+"="+g.token(auth0sim.TokenOptions{}, "ops:read"), "GET", "/ops/", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "Auth0 does not answer") {
		t.Errorf("without keys: %d %s", w.Code, w.Body)
	}
}

func TestATokenThatNoCookieHoldsIsSaidPlainly(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	var many []string
	for n := range 300 {
		many = append(many, "permission:"+strings.Repeat("x", n%10))
	}
	g.person("sam@acme.example", append(many, "ops:read")...)
	u := g.begin("/ops/")
	if w := g.with(u.cookie.Name+"="+u.cookie.Value, "GET", g.comesBack(u, "sam@acme.example").RequestURI(), ""); w.Code != 403 || !strings.Contains(w.Body.String(), "longer than a cookie may be") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A code costs the tenant a call, and anybody can make one up.
func TestAttackMadeUpCodesCostTheTenantLittle(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	page := ops.NewPage(g.config, g.store)
	u := g.begin("/ops/")
	g.tenant.ResetCalls()
	for range 200 {
		r := httptest.NewRequest("GET", site+"/ops/callback?code=x&state="+u.to.Query().Get("state"), nil)
		r.AddCookie(u.cookie)
		page.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := g.tenant.Calls()["POST /oauth/token"]; n < 1 || n > 60 {
		t.Errorf("%d calls for 200 codes", n)
	}
}
