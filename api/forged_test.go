package api_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

// refused checks that an answer is one of R3: 403, a challenge, the code.
func (a answer) refused(t *testing.T, name, code string) {
	t.Helper()
	if got := a.code(t); a.status != http.StatusForbidden || got != code || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer error="`) {
		t.Errorf("%s: %d %q, want 403 %q; WWW-Authenticate %q", name, a.status, got, code, a.header.Get("WWW-Authenticate"))
	}
}

func TestAttackForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	at := time.Now()
	i := newIssuer(t)
	i.publish(t, jwk(&i.key.PublicKey, "k1"), jwk(&i.key.PublicKey, "any", "alg", nil))
	s := newServiceTrusting(t, i, func() time.Time { return at })
	var fetchedElsewhere atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetchedElsewhere.Add(1) }))
	t.Cleanup(evil.Close)
	stranger := newKey(t)
	strangers, err := json.Marshal(jwk(&stranger.PublicKey, "k1"))
	must(t, err)
	claims := func(change ...string) string { return i.claims(at, change...) }
	later := string(number(at.Add(time.Minute).Unix()))
	good := i.sign(usualHeader, claims())
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"usual":               good,
		"no typ":              i.sign(`{"alg":"RS256","kid":"k1"}`, claims()),
		"at+jwt":              i.sign(`{"alg":"RS256","typ":"at+jwt","kid":"k1"}`, claims()),
		"a list of audiences": i.sign(usualHeader, claims("aud", `["https://other","`+audience+`"]`)),
		"within the leeway":   i.sign(usualHeader, claims("iat", string(number(at.Add(9*time.Second).Unix())))),
	} {
		if a := s.bearing("Bearer " + token); a.status != http.StatusOK {
			t.Errorf("control %s: %d %s", name, a.status, a.body)
		}
	}
	tests := map[string]struct{ token, code string }{
		"alg none":             {unsigned(`{"alg":"none","kid":"k1"}`, claims()), "token_invalid"},
		"alg None":             {unsigned(`{"alg":"None","kid":"k1"}`, claims()), "token_invalid"},
		"alg none, signed":     {i.sign(`{"alg":"none","kid":"k1"}`, claims()), "token_invalid"},
		"no alg":               {i.sign(`{"kid":"k1"}`, claims()), "token_invalid"},
		"alg a number":         {i.sign(`{"alg":256,"kid":"k1"}`, claims()), "token_invalid"},
		"RS512":                {signWith(i.key, crypto.SHA512, `{"alg":"RS512","kid":"k1"}`, claims()), "token_invalid"},
		"RS512, key for any":   {signWith(i.key, crypto.SHA512, `{"alg":"RS512","kid":"any"}`, claims()), "token_invalid"},
		"rs256":                {i.sign(`{"alg":"rs256","kid":"k1"}`, claims()), "token_invalid"},
		"a stranger's key":     {signBy(stranger, usualHeader, claims()), "token_invalid"},
		"an unknown key":       {signBy(stranger, `{"alg":"RS256","kid":"k2"}`, claims()), "token_invalid"},
		"no key":               {i.sign(`{"alg":"RS256"}`, claims()), "token_invalid"},
		"an empty key":         {i.sign(`{"alg":"RS256","kid":""}`, claims()), "token_invalid"},
		"a key that is null":   {i.sign(`{"alg":"RS256","kid":null}`, claims()), "token_invalid"},
		"a key by path":        {i.sign(`{"alg":"RS256","kid":"../k1"}`, claims()), "token_invalid"},
		"its own key":          {signBy(stranger, `{"alg":"RS256","kid":"k2","jwk":`+string(strangers)+`}`, claims()), "token_invalid"},
		"its own key, our kid": {signBy(stranger, `{"alg":"RS256","kid":"k1","jwk":`+string(strangers)+`}`, claims()), "token_invalid"},
		"jku":                  {signBy(stranger, `{"alg":"RS256","kid":"k2","jku":"`+evil.URL+`"}`, claims()), "token_invalid"},
		"x5u":                  {signBy(stranger, `{"alg":"RS256","kid":"k2","x5u":"`+evil.URL+`"}`, claims()), "token_invalid"},
		"crit":                 {i.sign(`{"alg":"RS256","kid":"k1","crit":["exp"]}`, claims()), "token_invalid"},
		"an empty crit":        {i.sign(`{"alg":"RS256","kid":"k1","crit":[]}`, claims()), "token_invalid"},
		"another typ":          {i.sign(`{"alg":"RS256","kid":"k1","typ":"logout+jwt"}`, claims()), "token_invalid"},
		"typ a number":         {i.sign(`{"alg":"RS256","kid":"k1","typ":1}`, claims()), "token_invalid"},
		"an ID token":          {i.sign(usualHeader, claims("aud", `"client"`, "nonce", `"n"`)), "token_audience"},
		"an ID token for us":   {i.sign(usualHeader, claims("at_hash", `"n"`)), "token_invalid"},
		"another issuer":       {i.sign(usualHeader, claims("iss", `"https://evil/"`)), "token_invalid"},
		"the issuer less /":    {i.sign(usualHeader, claims("iss", string(quoted(i.URL)))), "token_invalid"},
		"no issuer":            {i.sign(usualHeader, claims("iss", "")), "token_invalid"},
		"issuers":              {i.sign(usualHeader, claims("iss", `["`+i.URL+`/"]`)), "token_invalid"},
		"another audience":     {i.sign(usualHeader, claims("aud", `"https://other"`)), "token_audience"},
		"an audience beneath":  {i.sign(usualHeader, claims("aud", `"`+audience+`/x"`)), "token_audience"},
		"no audience":          {i.sign(usualHeader, claims("aud", "")), "token_invalid"},
		"an audience in parts": {i.sign(usualHeader, claims("aud", `{"a":"`+audience+`"}`)), "token_invalid"},
		"expired":              {i.sign(usualHeader, claims("exp", string(number(at.Add(-11*time.Second).Unix())))), "token_expired"},
		"no expiry":            {i.sign(usualHeader, claims("exp", "")), "token_invalid"},
		"expiry a text":        {i.sign(usualHeader, claims("exp", `"`+later+`"`)), "token_invalid"},
		"expiry null":          {i.sign(usualHeader, claims("exp", `null`)), "token_invalid"},
		"nbf":                  {i.sign(usualHeader, claims("nbf", later)), "token_invalid"},
		"iat":                  {i.sign(usualHeader, claims("iat", later)), "token_invalid"},
		"no subject":           {i.sign(usualHeader, claims("sub", "")), "token_invalid"},
		"subject a number":     {i.sign(usualHeader, claims("sub", "1")), "token_invalid"},
		"subject with NUL":     {i.sign(usualHeader, claims("sub", `"a\u0000@clients"`)), "token_invalid"},
		"subject with a bell":  {i.sign(usualHeader, claims("sub", `"a\u0007@clients"`)), "token_invalid"},
		"a user without bar":   {i.sign(usualHeader, claims("sub", `"ada"`, "gty", "")), "token_invalid"},
		"claims twice":         {i.sign(usualHeader, strings.Replace(claims(), `{`, `{"sub":"auth0|1",`, 1)), "token_invalid"},
		"a claim twice, else":  {i.sign(usualHeader, strings.Replace(claims(), `{`, `{"s\u0075b":"auth0|1",`, 1)), "token_invalid"},
		"twice further down":   {i.sign(usualHeader, claims("x", `{"a":1,"a":2}`)), "token_invalid"},
		"alg twice":            {i.sign(`{"alg":"none","alg":"RS256","kid":"k1"}`, claims()), "token_invalid"},
		"kid twice":            {i.sign(`{"alg":"RS256","kid":"k2","kid":"k1"}`, claims()), "token_invalid"},
		"crit, hidden":         {i.sign(`{"alg":"RS256","kid":"k1","typ":"x","typ":"JWT"}`, claims()), "token_invalid"},
		"a list as payload":    {i.sign(usualHeader, `[`+claims()+`]`), "token_invalid"},
		"null as payload":      {i.sign(usualHeader, `null`), "token_invalid"},
		"two payloads":         {i.sign(usualHeader, claims()+claims()), "token_invalid"},
		"half a surrogate":     {i.sign(usualHeader, claims("x", `"\ud800"`)), "token_invalid"},
		"not UTF-8":            {i.sign(usualHeader, claims("sub", "\"\xff@clients\"")), "token_invalid"},
		"without signature":    {parts[0] + "." + parts[1] + ".", "token_invalid"},
		"two parts":            {parts[0] + "." + parts[1], "token_invalid"},
		"four parts":           {good + ".", "token_invalid"},
		"five parts":           {good + "." + parts[1] + "." + parts[2], "token_invalid"},
		"padded":               {good + "==", "token_invalid"},
		"a line break":         {good + "\n", "token_invalid"},
		"over-long":            {i.sign(usualHeader, claims("x", `"`+strings.Repeat("x", 8<<10)+`"`)), "token_invalid"},
		"two tokens in one":    {good + "," + good, "token_invalid"},
		"two with a space":     {good + " " + good, "token_invalid"},
	}
	for form, secret := range publicForms(t, i) {
		tests["HS256 by "+form] = struct{ token, code string }{hmacSigned(secret, claims()), "token_invalid"}
	}
	for name, test := range tests {
		s.bearing("Bearer "+test.token).refused(t, name, test.code)
	}
	s.bearing("Bearer "+good, "Bearer "+good).refused(t, "two headers", "token_missing")
	s.bearing(good).refused(t, "no scheme", "token_missing")
	s.bearing().refused(t, "no header", "token_missing")
	s.bearing("DPoP "+good).refused(t, "another scheme", "token_missing")
	if n := fetchedElsewhere.Load(); n != 0 {
		t.Errorf("%d requests to where a token said", n)
	}
}

// publicForms are the texts that a public key is passed on in.
func publicForms(t *testing.T, i *issuer) map[string][]byte {
	t.Helper()
	pkix, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	must(t, err)
	pkcs1 := x509.MarshalPKCS1PublicKey(&i.key.PublicKey)
	set, err := json.Marshal(jwk(&i.key.PublicKey, "k1"))
	must(t, err)
	return map[string][]byte{
		"PKIX": pkix, "PKCS #1": pkcs1, "modulus": i.key.N.Bytes(), "JWK": set, "nothing": nil,
		"PKIX in PEM":    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"PKCS #1 in PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
	}
}

func hmacSigned(secret []byte, payload string) string {
	text := strings.TrimSuffix(unsigned(`{"alg":"HS256","typ":"JWT","kid":"k1"}`, payload), ".")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func unsigned(header, payload string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "."
}

func TestAttackNoBitOfATokenMayChange(t *testing.T) {
	t.Parallel()
	at := time.Now()
	i := newIssuer(t)
	s := newServiceTrusting(t, i, func() time.Time { return at })
	good := i.sign(usualHeader, i.claims(at))
	s.bearing("Bearer "+good).want(t, http.StatusOK, "")
	for n := range len(good) * 8 {
		changed := []byte(good)
		changed[n/8] ^= 1 << (n % 8)
		s.bearing("Bearer "+string(changed)).refused(t, fmt.Sprintf("bit %d", n), "token_invalid")
	}
}

func TestAttackKeysThatAreNotForSigningSignNothing(t *testing.T) {
	t.Parallel()
	at := time.Now()
	i := newIssuer(t)
	other := newKey(t)
	bad := map[string][]any{
		"enc":        {"use", "enc"},
		"RSA-OAEP":   {"alg", "RSA-OAEP"},
		"encrypt":    {"key_ops", []string{"encrypt", "wrapKey"}},
		"sign":       {"key_ops", []string{"sign"}},
		"use a list": {"use", "sig enc"},
		"PS256":      {"alg", "PS256"},
	}
	fine := map[string][]any{"no use": {"use", nil, "alg", nil}, "verify": {"use", nil, "key_ops", []string{"verify"}}}
	keys := []map[string]any{jwk(&i.key.PublicKey, "k1")}
	for _, some := range []map[string][]any{bad, fine} {
		for kid, more := range some {
			keys = append(keys, jwk(&other.PublicKey, kid, more...))
		}
	}
	i.publish(t, keys...)
	s := newServiceTrusting(t, i, func() time.Time { return at })
	token := func(kid string) string {
		return "Bearer " + signBy(other, `{"alg":"RS256","kid":"`+kid+`"}`, i.claims(at))
	}
	for kid := range bad {
		s.bearing(token(kid)).refused(t, kid, "token_invalid")
	}
	for kid := range fine {
		s.bearing(token(kid)).want(t, http.StatusOK, "")
	}
}

func TestAttackARedirectTakesNoTokenElsewhere(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	s := newService(t)
	_, ada := s.person("ada@example.com", true)
	s.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{
		{Endpoint: "GET /userinfo", Status: 307, Location: elsewhere.URL},
		{Endpoint: "GET /.well-known/jwks.json", Status: 302, Location: elsewhere.URL},
	}})
	s.do("GET", customers+"/me", ada, "").want(t, http.StatusServiceUnavailable, "userinfo_unavailable")
	s.tenant.RotateKeys()
	s.do("GET", customers, s.machine(), "").refused(t, "a key that cannot be had", "token_invalid")
	if n := followed.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestAttackARememberedTokenExpiresAllTheSame(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	token := "Bearer " + i.sign(usualHeader, i.claims(c.now(), "exp", string(number(c.now().Add(30*time.Second).Unix()))))
	s.bearing(token).want(t, http.StatusOK, "")
	c.advance(29 * time.Second)
	s.bearing(token).want(t, http.StatusOK, "")
	c.advance(12 * time.Second)
	s.bearing(token).refused(t, "expired since", "token_expired")
}
