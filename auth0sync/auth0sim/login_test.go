package auth0sim

import (
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

const callback, goodbye = "http://app.example/callback", "http://app.example/bye"

// browser follows no redirect by itself and keeps cookies.
type browser struct {
	c      client
	client *http.Client
}

func newBrowser(c client) browser {
	c.t.Helper()
	jar, err := cookiejar.New(nil)
	c.must(err)
	c.tenant.SetApplication([]string{callback}, []string{goodbye})
	return browser{c, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// shown is what the browser got: a page, or where it is sent.
type shown struct {
	status int
	body   string
	to     *url.URL
}

func (b browser) shows(req *http.Request, err error) shown {
	b.c.t.Helper()
	b.c.must(err)
	res, err := b.client.Do(req)
	b.c.must(err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	b.c.must(err)
	to, err := url.Parse(res.Header.Get("Location"))
	b.c.must(err)
	return shown{res.StatusCode, string(body), to}
}

func (b browser) open(path string, query url.Values) shown {
	b.c.t.Helper()
	return b.shows(http.NewRequestWithContext(b.c.t.Context(), http.MethodGet, b.c.url+path+"?"+query.Encode(), nil))
}

func (b browser) submits(to *url.URL, form url.Values) shown {
	b.c.t.Helper()
	req, err := http.NewRequestWithContext(b.c.t.Context(), http.MethodPost, b.c.url+to.RequestURI(), strings.NewReader(form.Encode()))
	b.c.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.shows(req, nil)
}

const verifier = "a-verifier-of-at-least-forty-three-characters-"

// asking is a request as an application makes it, changed.
func asking(change map[string]string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"sim-web"}, "redirect_uri": {callback}, "scope": {"openid"}, "audience": {"https://api.customersync.test"},
		"state": {"s1"}, "nonce": {"n1"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}
	for name, value := range change {
		q.Set(name, value)
		if value == "" {
			q.Del(name)
		}
	}
	return q
}

// signsIn goes through the login page, and returns the code.
func (b browser) signsIn(email string) string {
	b.c.t.Helper()
	page := b.open("/authorize", asking(nil))
	if page.status != 302 || page.to.Path != "/u/login" {
		b.c.t.Fatalf("%d to %s", page.status, page.to)
	}
	back := b.submits(page.to, url.Values{"username": {email}, "password": {Password}})
	if back.status != 302 || back.to.Host != "app.example" || back.to.Query().Get("state") != "s1" {
		b.c.t.Fatalf("%d to %s: %s", back.status, back.to, back.body)
	}
	return back.to.Query().Get("code")
}

func (c client) exchange(change map[string]string) answer {
	c.t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"sim-web"}, "client_secret": {"sim-web-secret"}, "redirect_uri": {callback}, "code_verifier": {verifier},
	}
	for name, value := range change {
		form.Set(name, value)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/oauth/token", strings.NewReader(form.Encode()))
	c.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	c.must(err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	c.must(err)
	return answer{c.t, res.StatusCode, res.Header, body}
}

func TestAPersonSignsInToTheApplication(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	b := newBrowser(c)
	u := c.signUp(SignUp{Email: "sam@acme.example"})
	c.tenant.SetPermissions(u.ID, "ops:read", "ops:act")
	page := b.open("/authorize", asking(map[string]string{"login_hint": "sam@acme.example"}))
	if form := b.open(page.to.Path, page.to.Query()); form.status != 200 || !strings.Contains(form.body, `value="sam@acme.example"`) {
		t.Errorf("%d %s", form.status, form.body)
	}
	if wrong := b.submits(page.to, url.Values{"username": {"sam@acme.example"}, "password": {"guess"}}); wrong.status != 400 || !strings.Contains(wrong.body, "Wrong email or password.") {
		t.Errorf("%d %s", wrong.status, wrong.body)
	}
	got := c.exchange(map[string]string{"code": b.signsIn("sam@acme.example")}).want(200, "").object()
	claims, _, err := c.parse(got["access_token"].(string))
	permissions, _ := claims["permissions"].([]any)
	if err != nil || claims["sub"] != u.ID || claims["azp"] != "sim-web" || claims["nonce"] != nil || !slices.Equal(permissions, []any{"ops:read", "ops:act"}) {
		t.Errorf("access token: %v %v", err, claims)
	}
	if _, _, err := c.parse(got["id_token"].(string)); err == nil {
		t.Error("the ID token is for the API")
	}
	id, err := c.tenant.verify(got["id_token"].(string))
	c.must(err)
	if m := id.Claims; mustSubject(t, m) != u.ID {
		t.Errorf("ID token: %v", m)
	}
	if again := b.open("/authorize", asking(map[string]string{"prompt": "none"})); again.to.Query().Get("code") == "" {
		t.Errorf("with a session: %d to %s", again.status, again.to)
	}
	if out := b.open("/v2/logout", url.Values{"client_id": {"sim-web"}, "returnTo": {goodbye}}); out.status != 302 || out.to.String() != goodbye {
		t.Errorf("logout: %d to %s", out.status, out.to)
	}
	if after := b.open("/authorize", asking(map[string]string{"prompt": "none"})); after.to.Query().Get("error") != "login_required" {
		t.Errorf("after the logout: %d to %s", after.status, after.to)
	}
}

func mustSubject(t *testing.T, claims interface{ GetSubject() (string, error) }) string {
	t.Helper()
	subject, err := claims.GetSubject()
	if err != nil {
		t.Fatal(err)
	}
	return subject
}

func TestAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	b := newBrowser(c)
	for name, test := range map[string]struct {
		change map[string]string
		says   string // the error that the application is told; "": the person is, and nobody else
	}{
		"an unknown application":   {map[string]string{"client_id": "other"}, ""},
		"an unknown callback":      {map[string]string{"redirect_uri": "http://evil.example/callback"}, ""},
		"a callback beneath":       {map[string]string{"redirect_uri": callback + "/x"}, ""},
		"no callback":              {map[string]string{"redirect_uri": ""}, ""},
		"no response type":         {map[string]string{"response_type": ""}, "invalid_request"},
		"tokens in the URL":        {map[string]string{"response_type": "token"}, "unsupported_response_type"},
		"a plain challenge":        {map[string]string{"code_challenge_method": "plain"}, "invalid_request"},
		"another API":              {map[string]string{"audience": "https://other"}, "access_denied"},
		"nobody, and no questions": {map[string]string{"prompt": "none"}, "login_required"},
	} {
		got := b.open("/authorize", asking(test.change))
		switch {
		case test.says == "" && (got.status != 403 || got.to.String() != ""):
			t.Errorf("%s: %d to %s", name, got.status, got.to)
		case test.says != "" && (got.to.Host != "app.example" || got.to.Query().Get("error") != test.says || got.to.Query().Get("state") != "s1"):
			t.Errorf("%s: %d to %s", name, got.status, got.to)
		}
	}
	blocked := c.signUp(SignUp{Email: "bob@acme.example", Blocked: true})
	page := b.open("/authorize", asking(nil))
	if got := b.submits(page.to, url.Values{"username": {blocked.Email}, "password": {Password}}); got.to.Query().Get("error") != "unauthorized" {
		t.Errorf("a blocked user: %d to %s", got.status, got.to)
	}
	if got := b.open("/v2/logout", url.Values{"client_id": {"sim-web"}, "returnTo": {"http://evil.example"}}); got.status != 400 {
		t.Errorf("a logout to elsewhere: %d to %s", got.status, got.to)
	}
	if got := b.open("/u/login", url.Values{"state": {"x"}}); got.status != 400 {
		t.Errorf("a page that was not asked for: %d", got.status)
	}
}

func TestACodeIsGoodOnceForThoseWhoAskedForIt(t *testing.T) {
	t.Parallel()
	now := newClock()
	c := serve(t, Options{Now: now.now})
	c.signUp(SignUp{Email: "sam@acme.example"})
	for name, test := range map[string]struct {
		change      map[string]string
		after       time.Duration
		status      int
		code, words string
	}{
		"wrong secret":     {map[string]string{"client_secret": "x"}, 0, 401, "access_denied", "Unauthorized"},
		"wrong verifier":   {map[string]string{"code_verifier": strings.Repeat("x", 43)}, 0, 403, "invalid_grant", "Failed to verify code verifier"},
		"no verifier":      {map[string]string{"code_verifier": ""}, 0, 403, "invalid_grant", "Failed to verify code verifier"},
		"another callback": {map[string]string{"redirect_uri": "http://evil.example/"}, 0, 403, "unauthorized_client", "The redirect URI is wrong. You sent http://evil.example/, and we expected " + callback},
		"a made-up code":   {map[string]string{"code": "x"}, 0, 403, "invalid_grant", "Invalid authorization code"},
		"too late":         {nil, 10 * time.Minute, 403, "invalid_grant", "Invalid authorization code"},
	} {
		code := newBrowser(c).signsIn("sam@acme.example")
		c.tenant.Advance(test.after)
		change := map[string]string{"code": code}
		maps.Copy(change, test.change)
		if got := c.exchange(change).want(test.status, "").object(); got["error"] != test.code || got["error_description"] != test.words {
			t.Errorf("%s: %v", name, got)
		}
	}
	code := map[string]string{"code": newBrowser(c).signsIn("sam@acme.example")}
	c.exchange(code).want(200, "")
	if got := c.exchange(code).want(403, "").object(); got["error"] != "invalid_grant" {
		t.Errorf("again: %v", got)
	}
}
