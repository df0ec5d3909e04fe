package auth0sim

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// idTokenLifetime is Auth0's default.
const idTokenLifetime = 10 * time.Hour

// serveCode is the authorization_code grant: a code is good once, for the application,
// callback and PKCE challenge that it was asked for with.
func (t *Tenant) serveCode(w http.ResponseWriter, id, secret string, values url.Values) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id != t.o.WebClientID || secret != t.o.WebClientSecret {
		oauthError(w, http.StatusUnauthorized, "access_denied", "Unauthorized")
		return
	}
	a, known := t.signIns.codes[values.Get("code")]
	delete(t.signIns.codes, values.Get("code"))
	hash := sha256.Sum256([]byte(values.Get("code_verifier")))
	switch {
	case !known || !t.now().Before(a.expires):
		oauthError(w, http.StatusForbidden, "invalid_grant", "Invalid authorization code")
	case values.Get("redirect_uri") != a.redirectURI:
		oauthError(w, http.StatusForbidden, "unauthorized_client", "The redirect URI is wrong. You sent "+values.Get("redirect_uri")+", and we expected "+a.redirectURI)
	case a.challenge != "" && base64.RawURLEncoding.EncodeToString(hash[:]) != a.challenge:
		oauthError(w, http.StatusForbidden, "invalid_grant", "Failed to verify code verifier")
	default:
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, t.signedIn(a))
	}
}

// signedIn is the answer to a code. Without an audience the access token is opaque: it
// opens /userinfo at Auth0, and here nothing. t.mu is held.
func (t *Tenant) signedIn(a authorization) map[string]any {
	answer := map[string]any{"expires_in": int(tokenLifetime.Seconds()), "token_type": "Bearer", "scope": a.scope, "access_token": randomHex(16)}
	if a.audience != "" {
		permissions := append([]string{}, t.signIns.permissions[a.user]...)
		answer["access_token"] = t.mint(a.user, TokenOptions{Permissions: permissions}, map[string]any{
			"azp": t.o.WebClientID, "scope": a.scope, "aud": []string{a.audience, t.baseURL + "/userinfo"},
		})
	}
	if strings.Contains(" "+a.scope+" ", " openid ") {
		claims := map[string]any{"aud": t.o.WebClientID, "sid": randomHex(16)}
		if a.nonce != "" {
			claims["nonce"] = a.nonce
		}
		answer["id_token"] = t.mint(a.user, TokenOptions{Lifetime: idTokenLifetime}, claims)
	}
	return answer
}
