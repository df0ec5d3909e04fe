package auth0sim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newSigningKey(id string) signingKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return signingKey{id, key}
}

// RotateKeys signs with a new key from now on; the old one stays in the JWKS.
func (t *Tenant) RotateKeys() {
	key := newSigningKey("sim-key-" + randomHex(4))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append([]signingKey{key}, t.keys...)
}

func (t *Tenant) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := []map[string]any{}
	for _, k := range t.keys {
		keys = append(keys, map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

func (t *Tenant) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	issuer := t.Issuer()
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "authorize", "token_endpoint": issuer + "oauth/token",
		"userinfo_endpoint": issuer + "userinfo", "jwks_uri": issuer + ".well-known/jwks.json",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

// TokenOptions shape a minted access token of the company's API.
type TokenOptions struct {
	Permissions []string
	Scope       string
	Audience    string         // default the tenant's
	Lifetime    time.Duration  // default 24 h; negative for an expired token
	Claims      map[string]any // added last; nil takes a claim away
}

// MintUserToken signs an access token as a user gets it. Like Auth0's, it holds
// no e-mail address unless Claims say so.
func (t *Tenant) MintUserToken(userID string, o TokenOptions) string {
	return t.mint(userID, o, map[string]any{"azp": t.o.ClientID, "scope": strings.TrimSpace("openid profile email " + o.Scope)})
}

// MintMachineToken signs an access token as a machine application gets it.
func (t *Tenant) MintMachineToken(clientID string, o TokenOptions) string {
	scope := o.Scope
	if scope == "" {
		scope = strings.Join(o.Permissions, " ")
	}
	return t.mint(clientID+"@clients", o, map[string]any{"azp": clientID, "gty": "client-credentials", "scope": scope})
}

func (t *Tenant) mint(subject string, o TokenOptions, claims map[string]any) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if o.Lifetime == 0 {
		o.Lifetime = 24 * time.Hour
	}
	if o.Audience == "" {
		o.Audience = t.o.Audience
	}
	claims["iss"], claims["sub"] = t.baseURL+"/", subject
	claims["aud"] = []string{o.Audience, t.baseURL + "/userinfo"}
	claims["iat"], claims["exp"] = now.Unix(), now.Add(o.Lifetime).Unix()
	if o.Permissions != nil {
		claims["permissions"] = o.Permissions
	}
	for name, value := range o.Claims {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return t.sign(claims)
}

// sign is by the newest key. t.mu is held.
func (t *Tenant) sign(claims map[string]any) string {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	token.Header["kid"] = t.keys[0].id
	signed, err := token.SignedString(t.keys[0].key)
	if err != nil {
		panic(err) // the claims are plain values
	}
	return signed
}

// grant is what an access token of the Management API allows.
type grant struct {
	scopes  []string
	expires time.Time
}

const tokenLifetime = 24 * time.Hour

// serveToken is client_credentials, by form or JSON, credentials in the body or
// by HTTP Basic.
func (t *Tenant) serveToken(w http.ResponseWriter, r *http.Request) {
	id, secret, grantType, audience := tokenRequest(w, r)
	switch {
	case grantType != "client_credentials":
		oauthError(w, http.StatusForbidden, "unauthorized_client", "Grant type '"+grantType+"' not allowed for the client.")
		return
	case id != t.o.ClientID || secret != t.o.ClientSecret:
		oauthError(w, http.StatusUnauthorized, "access_denied", "Unauthorized")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.lastNumber++
	token := t.sign(map[string]any{
		"iss": t.baseURL + "/", "sub": id + "@clients", "aud": audience, "iat": now.Unix(),
		"exp": now.Add(tokenLifetime).Unix(), "azp": id, "gty": "client-credentials", "jti": t.lastNumber,
		"scope": strings.Join(t.o.Scopes, " "),
	})
	t.grants[token] = grant{t.o.Scopes, now.Add(tokenLifetime)}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "scope": strings.Join(t.o.Scopes, " "), "expires_in": int(tokenLifetime.Seconds()), "token_type": "Bearer",
	})
}

func tokenRequest(w http.ResponseWriter, r *http.Request) (id, secret, grantType, audience string) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	values := url.Values{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var body map[string]string
		_ = json.NewDecoder(r.Body).Decode(&body) // an empty request is refused below
		for name, value := range body {
			values.Set(name, value)
		}
	} else {
		_ = r.ParseForm() // an empty request is refused below
		values = r.PostForm
	}
	id, secret = values.Get("client_id"), values.Get("client_secret")
	if basicID, basicSecret, ok := r.BasicAuth(); ok {
		id, secret = basicID, basicSecret
	}
	return id, secret, values.Get("grant_type"), values.Get("audience")
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}

// RevokeGrants makes every access token of the Management API invalid, as a
// rotated signing key does.
func (t *Tenant) RevokeGrants() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.grants)
}

// SetScopes changes what the application is granted from the next token on.
func (t *Tenant) SetScopes(scopes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.o.Scopes = scopes
}

// authorise checks the Management API token, and answers if it does not do.
func (t *Tenant) authorise(w http.ResponseWriter, r *http.Request, scope string) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	g, known := t.grants[token]
	expired := !t.now().Before(g.expires)
	t.mu.Unlock()
	switch {
	case !ok:
		apiError(w, http.StatusUnauthorized, "Unauthorized", "Missing authentication", "")
	case !known:
		apiError(w, http.StatusUnauthorized, "Unauthorized", "Invalid token", "invalid_token")
	case expired:
		apiError(w, http.StatusUnauthorized, "Unauthorized", "Expired token received for JSON Web Token validation", "invalid_token")
	case !slices.Contains(g.scopes, scope):
		apiError(w, http.StatusForbidden, "Forbidden", "Insufficient scope, expected any of: "+scope, "insufficient_scope")
	default:
		return true
	}
	return false
}

// serveUserInfo answers for the bearer of a user token.
func (t *Tenant) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	text, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t.mu.Lock()
	defer t.mu.Unlock()
	token, err := jwt.Parse(text, func(token *jwt.Token) (any, error) {
		for _, k := range t.keys {
			if k.id == token.Header["kid"] {
				return &k.key.PublicKey, nil
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(t.now))
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	subject, _ := token.Claims.GetSubject()
	u, err := t.get(subject)
	if err != nil {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	info := map[string]any{"sub": u.ID, "name": u.Name, "nickname": u.Nickname, "picture": u.Picture, "updated_at": stamp(u.UpdatedAt)}
	if u.Email != "" {
		info["email"], info["email_verified"] = u.Email, profile(u)["email_verified"]
	}
	writeJSON(w, http.StatusOK, info)
}
