package auth0sim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

func (c client) post(contentType, body string, basic ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/oauth/token", strings.NewReader(body))
	c.must(err)
	req.Header.Set("Content-Type", contentType)
	if len(basic) == 2 {
		req.SetBasicAuth(basic[0], basic[1])
	}
	res, err := http.DefaultClient.Do(req)
	c.must(err)
	defer func() { _ = res.Body.Close() }()
	a := answer{t: c.t, status: res.StatusCode, header: res.Header}
	c.must(json.NewDecoder(res.Body).Decode(&map[string]any{}))
	return a
}

func TestTokenRequest(t *testing.T) {
	t.Parallel()
	const form, asJSON = "application/x-www-form-urlencoded", "application/json"
	const audience = "&audience=https%3A%2F%2Fx%2Fapi%2Fv2%2F"
	c := serve(t, Options{})
	tests := map[string]struct {
		contentType, body string
		basic             []string
		status            int
	}{
		"form":              {form, "grant_type=client_credentials&client_id=sim-client&client_secret=sim-secret" + audience, nil, 200},
		"JSON":              {asJSON, `{"grant_type":"client_credentials","client_id":"sim-client","client_secret":"sim-secret","audience":"a"}`, nil, 200},
		"Basic":             {form, "grant_type=client_credentials" + audience, []string{"sim-client", "sim-secret"}, 200},
		"wrong secret":      {form, "grant_type=client_credentials&client_id=sim-client&client_secret=x" + audience, nil, 401},
		"wrong Basic":       {form, "grant_type=client_credentials" + audience, []string{"sim-client", "x"}, 401},
		"unknown client":    {form, "grant_type=client_credentials&client_id=x&client_secret=sim-secret" + audience, nil, 401},
		"nothing":           {form, "", nil, 401},
		"no JSON":           {asJSON, "{", nil, 401},
		"another grant":     {form, "grant_type=password&client_id=sim-client&client_secret=sim-secret" + audience, nil, 403},
		"without audience":  {form, "grant_type=client_credentials&client_id=sim-client&client_secret=sim-secret", nil, 403},
		"members not texts": {asJSON, `{"grant_type":1,"client_id":["sim-client"],"client_secret":null}`, nil, 401},
	}
	for name, test := range tests {
		if got := c.post(test.contentType, test.body, test.basic...); got.status != test.status {
			t.Errorf("%s: %d, want %d", name, got.status, test.status)
		}
	}
}

func TestManagementAPIWantsATokenOfItsOwnWithTheScope(t *testing.T) {
	t.Parallel()
	now := newClock()
	c := serve(t, Options{Now: now.now, Scopes: []string{"read:users"}})
	u := c.signUp(SignUp{Email: "ada@example.com"})
	c.do("GET", "/api/v2/users", "").want(200, "")
	if got := c.do("POST", "/api/v2/users", `{}`).want(403, "insufficient_scope"); got.object()["message"] != "Insufficient scope, expected any of: create:users" {
		t.Errorf("%s", got.body)
	}
	good := c.token
	for name, token := range map[string]string{
		"a user's token":                c.tenant.MintUserToken(u.ID, TokenOptions{}),
		"a token of the company's API":  c.tenant.MintMachineToken("sim-client", TokenOptions{}),
		"one that says the audience is": c.tenant.MintMachineToken("sim-client", TokenOptions{Audience: c.url + "/api/v2/"}),
		"no JWT":                        "x",
	} {
		c.token = token
		if got := c.do("GET", "/api/v2/users", ""); got.status != 401 {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	c.token = ""
	c.do("GET", "/api/v2/users", "").want(401, "")
	c.token = good
	c.tenant.Advance(tokenLifetime)
	c.do("GET", "/api/v2/users", "").want(401, "invalid_token")
	c.tenant.Advance(-time.Minute)
	c.do("GET", "/api/v2/users", "").want(200, "")
	c.tenant.RevokeGrants()
	c.do("GET", "/api/v2/users", "").want(401, "invalid_token")
}

// parse verifies a token by a library, against the JWKS as served.
func (c client) parse(token string) (jwt.MapClaims, *jwt.Token, error) {
	c.t.Helper()
	keys, err := keyfunc.NewJWKSetJSON(json.RawMessage(c.do("GET", "/.well-known/jwks.json", "").want(200, "").body))
	c.must(err)
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims, keys.KeyfuncCtx(context.Background()), jwt.WithValidMethods([]string{"RS256"}),
		jwt.WithIssuer(c.url+"/"), jwt.WithAudience("https://api.customersync.test"), jwt.WithTimeFunc(func() time.Time { return c.tenant.o.Now() }), jwt.WithExpirationRequired())
	return claims, parsed, err
}

func TestMintedTokens(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	claims, token, err := c.parse(c.tenant.MintUserToken("auth0|a", TokenOptions{Scope: "read:customers", Claims: map[string]any{"email": "a@x", "azp": nil}}))
	if err != nil || claims["sub"] != "auth0|a" || claims["scope"] != "openid profile email read:customers" || claims["email"] != "a@x" || claims["azp"] != nil {
		t.Errorf("user: %v %v", err, claims)
	}
	if token.Header["typ"] != "JWT" || token.Header["kid"] != "sim-key-1" {
		t.Errorf("header %v", token.Header)
	}
	claims, token, err = c.parse(c.tenant.MintMachineToken("app", TokenOptions{Permissions: []string{"a", "b"}, Header: map[string]any{"typ": "at+jwt"}}))
	if err != nil || claims["sub"] != "app@clients" || claims["gty"] != "client-credentials" || claims["scope"] != "a b" || token.Header["typ"] != "at+jwt" {
		t.Errorf("machine: %v %v", err, claims)
	}
	for name, o := range map[string]TokenOptions{
		"expired":          {Lifetime: -time.Second},
		"another audience": {Audience: "https://other.test"},
		"another issuer":   {Claims: map[string]any{"iss": "https://evil.test/"}},
		"unknown key":      {Header: map[string]any{"kid": "x"}},
		"stranger's key":   {Forgery: StrangerKey},
		"alg none":         {Forgery: AlgNone},
		"alg HMAC":         {Forgery: AlgHMAC},
	} {
		if _, _, err := c.parse(c.tenant.MintUserToken("auth0|a", o)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	before := c.tenant.MintUserToken("auth0|a", TokenOptions{})
	c.tenant.RotateKeys()
	after := c.tenant.MintUserToken("auth0|a", TokenOptions{})
	_, _, err1 := c.parse(before)
	_, token, err2 := c.parse(after)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	keys := c.do("GET", "/.well-known/jwks.json", "").object()["keys"].([]any)
	if first := keys[0].(map[string]any); len(keys) != 2 || first["kid"] != token.Header["kid"] || first["use"] != "sig" || first["alg"] != "RS256" {
		t.Errorf("keys %v", keys)
	}
	c.tenant.RevokeOldKeys()
	if _, _, err := c.parse(before); err == nil {
		t.Error("the revoked key's token is accepted")
	}
	if _, _, err := c.parse(after); err != nil {
		t.Error(err)
	}
}

func TestUserInfoTellsWhoseTokenItIs(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	u := c.signUp(SignUp{Email: "ada@example.com", Name: "Ada"})
	c.token = c.tenant.MintUserToken(u.ID, TokenOptions{})
	got := c.do("GET", "/userinfo", "").want(200, "").object()
	if got["sub"] != u.ID || got["email"] != "ada@example.com" || got["email_verified"] != false || got["name"] != "Ada" {
		t.Errorf("%v", got)
	}
	good := c.token
	for name, token := range map[string]string{
		"none": "", "a machine's": c.tenant.MintMachineToken("x", TokenOptions{}), "expired": c.tenant.MintUserToken(u.ID, TokenOptions{Lifetime: -time.Second}),
		"forged": c.tenant.MintUserToken(u.ID, TokenOptions{Forgery: StrangerKey}), "alg none": c.tenant.MintUserToken(u.ID, TokenOptions{Forgery: AlgNone}),
	} {
		c.token = token
		if got := c.do("GET", "/userinfo", ""); got.status != 401 {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	c.must(c.tenant.Delete(u.ID))
	c.token = good
	c.do("GET", "/userinfo", "").want(401, "")
}

func TestDiscoveryNamesWhatIsServed(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	got := c.do("GET", "/.well-known/openid-configuration", "").want(200, "").object()
	if got["issuer"] != c.url+"/" || got["issuer"] != c.tenant.Issuer() {
		t.Errorf("issuer %v", got["issuer"])
	}
	served := []string{}
	for _, r := range endpoints() {
		served = append(served, strings.Fields(r.pattern)[1])
	}
	for _, name := range []string{"jwks_uri", "token_endpoint", "userinfo_endpoint"} {
		u, err := url.Parse(got[name].(string))
		if err != nil || !slices.Contains(served, u.Path) {
			t.Errorf("%s %v is not served: %v", name, got[name], err)
		}
	}
}
