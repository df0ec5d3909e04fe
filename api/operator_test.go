package api_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/api"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
)

// verifying is the API as the operator page uses it, once it has an issuer's keys.
func verifying(t *testing.T, i *issuer, now func() time.Time) *api.Server {
	t.Helper()
	s, err := api.New(t.Context(), api.Config{Issuer: i.URL + "/", Audience: audience, Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry(), Now: now}, openStore(&service{t: t}), nil, nil)
	must(t, err)
	for deadline := time.Now().Add(time.Minute); s.Ready(t.Context()) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the issuer's keys did not come")
		}
	}
	return s
}

func TestAttackForgedIDTokensAreNobody(t *testing.T) {
	t.Parallel()
	at := time.Now()
	i := newIssuer(t)
	s := verifying(t, i, func() time.Time { return at })
	claims := func(change ...string) string {
		return i.claims(at, append([]string{"aud", `"web"`, "sub", `"auth0|sam"`, "nonce", `"n-1"`, "gty", "", "scope", ""}, change...)...)
	}
	for name, token := range map[string]string{
		"usual":               i.sign(usualHeader, claims()),
		"for two":             i.sign(usualHeader, claims("aud", `["web","other"]`, "azp", `"web"`)),
		"with a hash of code": i.sign(usualHeader, claims("c_hash", `"x"`)),
	} {
		if subject, err := s.Identity(t.Context(), token, "web", "n-1"); err != nil || subject != "auth0|sam" {
			t.Errorf("%s: %q, %v", name, subject, err)
		}
	}
	for name, token := range map[string]string{
		"none":                   "",
		"not signed":             unsigned(`{"alg":"none","kid":"k1"}`, claims()),
		"signed by a stranger":   signBy(newKey(t), usualHeader, claims()),
		"for another":            i.sign(usualHeader, claims("aud", `"other"`)),
		"for another by azp":     i.sign(usualHeader, claims("azp", `"other"`)),
		"of another issuer":      i.sign(usualHeader, claims("iss", `"https://evil/"`)),
		"expired":                i.sign(usualHeader, claims("exp", string(number(at.Add(-time.Minute).Unix())))),
		"without an end":         i.sign(usualHeader, claims("exp", "")),
		"of another sign-in":     i.sign(usualHeader, claims("nonce", `"n-2"`)),
		"of no sign-in":          i.sign(usualHeader, claims("nonce", "")),
		"with a nonce of 1":      i.sign(usualHeader, claims("nonce", "1")),
		"of nobody":              i.sign(usualHeader, claims("sub", "")),
		"of an empty name":       i.sign(usualHeader, claims("sub", `""`)),
		"of a name with a break": i.sign(usualHeader, claims("sub", `"a\nb"`)),
		"with crit":              i.sign(`{"alg":"RS256","typ":"JWT","kid":"k1","crit":["x"]}`, claims()),
		"with a claim twice":     i.sign(usualHeader, claims()[:len(claims())-1]+`,"sub":"auth0|eve"}`),
		"an access token":        i.sign(usualHeader, i.claims(at)),
	} {
		if subject, err := s.Identity(t.Context(), token, "web", "n-1"); err == nil || subject != "" || errors.Is(err, customer.ErrAuth0Away) {
			t.Errorf("%s: %q, %v", name, subject, err)
		}
	}
	if _, err := s.Identity(t.Context(), i.sign(usualHeader, claims("nonce", `""`)), "web", ""); err == nil {
		t.Error("no nonce matches no nonce")
	}
}

func TestAnOperatorHasWhatRolesGave(t *testing.T) {
	t.Parallel()
	at := time.Now()
	i := newIssuer(t)
	s := verifying(t, i, func() time.Time { return at })
	claims := func(change ...string) string {
		return i.claims(at, append([]string{"sub", `"auth0|sam"`, "gty", "", "azp", `"web"`, "scope", `"openid ops:pii"`, "permissions", `["ops:read"]`}, change...)...)
	}
	o, err := s.Operator(t.Context(), i.sign(usualHeader, claims()))
	if err != nil || o.Subject != "auth0|sam" || o.Application != "web" || len(o.Permissions) != 1 || o.Permissions[0] != "ops:read" || o.Expires.Unix() != at.Add(time.Hour).Unix() {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = s.Operator(t.Context(), i.sign(usualHeader, claims("azp", "", "client_id", `"web"`))); err != nil || o.Application != "web" {
		t.Errorf("by RFC 9068: %+v, %v", o, err)
	}
	for name, token := range map[string]string{
		"a machine's": i.sign(usualHeader, i.claims(at, "permissions", `["ops:read"]`)), "no token": "x", "a stranger's": signBy(newKey(t), usualHeader, claims()),
	} {
		if o, err := s.Operator(t.Context(), token); err == nil || errors.Is(err, customer.ErrAuth0Away) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	dark := httptest.NewServer(nil)
	dark.Close()
	s, err = api.New(t.Context(), api.Config{Issuer: dark.URL + "/", Audience: audience, Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry()}, openStore(&service{t: t}), nil, nil)
	must(t, err)
	_, err = s.Operator(t.Context(), i.sign(usualHeader, claims()))
	_, err2 := s.Identity(t.Context(), i.sign(usualHeader, claims()), "web", "n")
	if !errors.Is(err, customer.ErrAuth0Away) || !errors.Is(err2, customer.ErrAuth0Away) {
		t.Errorf("without keys: %v, %v", err, err2)
	}
}
