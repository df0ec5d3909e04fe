package auth0sim

import (
	"cmp"
	"crypto/x509"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TokenOptions shape a minted access token of the company's API.
type TokenOptions struct {
	Permissions []string       // the permissions claim; for a machine the scope too, unless Scope is given
	Scope       string         //
	Audience    string         // default the tenant's
	Lifetime    time.Duration  // default 24 h; negative for an expired token
	Claims      map[string]any // added last; nil takes a claim away
	Header      map[string]any // added last, such as typ or kid; nil takes a member away
	Forgery     Forgery        // how the signature is wrong, if at all
}

// Forgery is a way to sign wrongly.
type Forgery string

// The forgeries: by a key that is not the tenant's under the name of one that is,
// with alg none, and by HMAC with the public key as the secret.
const (
	Genuine     Forgery = ""
	StrangerKey Forgery = "stranger-key"
	AlgNone     Forgery = "alg-none"
	AlgHMAC     Forgery = "alg-hmac"
)

const tokenLifetime = 24 * time.Hour

// MintUserToken signs an access token as a user gets it. Like Auth0's, it holds
// no e-mail address unless Claims say so.
func (t *Tenant) MintUserToken(userID string, o TokenOptions) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mint(userID, o, map[string]any{
		"azp":   t.o.ClientID,
		"scope": strings.TrimSpace("openid profile email " + o.Scope),
		"aud":   []string{cmp.Or(o.Audience, t.o.Audience), t.baseURL + "/userinfo"},
	})
}

// MintMachineToken signs an access token as a machine application gets it.
func (t *Tenant) MintMachineToken(clientID string, o TokenOptions) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mint(clientID+"@clients", o, map[string]any{
		"azp": clientID, "gty": "client-credentials",
		"scope": cmp.Or(o.Scope, strings.Join(o.Permissions, " ")),
		"aud":   cmp.Or(o.Audience, t.o.Audience),
	})
}

// mint signs claims and those that every token has. t.mu is held.
func (t *Tenant) mint(subject string, o TokenOptions, claims map[string]any) string {
	now := t.now()
	claims["iss"], claims["sub"] = t.baseURL+"/", subject
	claims["iat"], claims["exp"] = now.Unix(), now.Add(cmp.Or(o.Lifetime, tokenLifetime)).Unix()
	if o.Permissions != nil {
		claims["permissions"] = o.Permissions
	}
	overlay(claims, o.Claims)
	method, key := t.signer(o.Forgery)
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	token.Header["kid"] = t.keys[0].id
	overlay(token.Header, o.Header)
	signed, err := token.SignedString(key)
	if err != nil {
		panic(err) // claims that JSON cannot write: the caller's mistake
	}
	return signed
}

func overlay(on, with map[string]any) {
	for name, value := range with {
		on[name] = value
		if value == nil {
			delete(on, name)
		}
	}
}

// signer is the newest key, or a forger's. t.mu is held.
func (t *Tenant) signer(f Forgery) (jwt.SigningMethod, any) {
	switch f {
	case StrangerKey:
		return jwt.SigningMethodRS256, newSigningKey("").key
	case AlgNone:
		return jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
	case AlgHMAC:
		return jwt.SigningMethodHS256, x509.MarshalPKCS1PublicKey(&t.keys[0].key.PublicKey)
	case Genuine:
	}
	return jwt.SigningMethodRS256, t.keys[0].key
}
