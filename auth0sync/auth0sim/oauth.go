package auth0sim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// grant is what an access token of the Management API allows.
type grant struct {
	scopes  []string
	expires time.Time
}

// serveToken is the client_credentials grant, by form or JSON, credentials in the
// body or by HTTP Basic, and the authorization_code grant, which serveCode is. Only a token for the audience that ends in /api/v2/ opens
// the Management API.
// https://auth0.com/docs/get-started/authentication-and-authorization-flow/client-credentials-flow
func (t *Tenant) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	id, secret, values := tokenRequest(w, r)
	grantType, audience := values.Get("grant_type"), values.Get("audience")
	switch {
	case grantType == "authorization_code":
		t.serveCode(w, id, secret, values)
		return
	case id != t.o.ClientID || secret != t.o.ClientSecret:
		oauthError(w, http.StatusUnauthorized, "access_denied", "Unauthorized")
		return
	case grantType != "client_credentials":
		oauthError(w, http.StatusForbidden, "unauthorized_client", "Grant type '"+grantType+"' not allowed for the client.")
		return
	case audience == "":
		oauthError(w, http.StatusForbidden, "access_denied", "No audience parameter was provided, and no default audience has been configured")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	answer := map[string]any{"expires_in": int(tokenLifetime.Seconds()), "token_type": "Bearer"}
	scope := ""
	management := strings.HasSuffix(audience, "/api/v2/")
	if management && len(t.o.Scopes) > 0 {
		scope = strings.Join(t.o.Scopes, " ")
		answer["scope"] = scope
	}
	token := t.mint(id+"@clients", TokenOptions{}, map[string]any{
		"aud": audience, "azp": id, "gty": "client-credentials", "scope": scope, "jti": randomHex(12),
	})
	if management {
		t.grants[token] = grant{t.o.Scopes, t.now().Add(tokenLifetime)}
	}
	answer["access_token"] = token
	writeJSON(w, http.StatusOK, answer)
}

func tokenRequest(w http.ResponseWriter, r *http.Request) (id, secret string, values url.Values) {
	r.Body = http.MaxBytesReader(w, r.Body, largestBody)
	values = url.Values{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body) // an empty request is refused by the caller
		for name, value := range body {
			if text, ok := value.(string); ok {
				values.Set(name, text)
			}
		}
	} else {
		_ = r.ParseForm() // an empty request is refused by the caller
		values = r.PostForm
	}
	id, secret = values.Get("client_id"), values.Get("client_secret")
	if basicID, basicSecret, ok := r.BasicAuth(); ok {
		id, secret = basicID, basicSecret
	}
	return id, secret, values
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
	t.o.Scopes = slices.Clone(scopes)
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
	case !slices.ContainsFunc(strings.Fields(scope), func(one string) bool { return slices.Contains(g.scopes, one) }):
		expected := strings.ReplaceAll(scope, " ", ",")
		apiError(w, http.StatusForbidden, "Forbidden", "Insufficient scope, expected any of: "+expected, "insufficient_scope")
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
	subject := ""
	token, err := t.verify(text)
	if err == nil {
		subject, err = token.Claims.GetSubject()
	}
	u, err2 := t.get(subject)
	if err != nil || err2 != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	info := map[string]any{"sub": u.ID, "name": u.Name, "nickname": u.Nickname, "picture": u.Picture, "updated_at": stamp(u.UpdatedAt)}
	if u.Email != "" {
		info["email"], info["email_verified"] = u.Email, profile(u)["email_verified"]
	}
	writeJSON(w, http.StatusOK, info)
}
