package auth0sim

import (
	"net/http"
	"strings"
)

func (t *Tenant) serveGetUser(w http.ResponseWriter, r *http.Request) {
	u, ok := t.User(r.PathValue("id"))
	if !ok {
		userError(w, errNoUser)
		return
	}
	writeJSON(w, http.StatusOK, selectFields(r, profile(u)))
}

// serveByEmail answers at once what is true now, by the exact spelling.
func (t *Tenant) serveByEmail(w http.ResponseWriter, r *http.Request) {
	email := r.URL.Query().Get("email")
	if !strings.Contains(email, "@") {
		badRequest(w, "Query validation error: 'Object didn't pass validation for format email' on property email.", "invalid_query_string")
		return
	}
	t.mu.Lock()
	users := t.withEmail(email)
	t.mu.Unlock()
	writeJSON(w, http.StatusOK, profiles(r, users))
}

// userBody is what creating and patching take.
type userBody struct {
	Connection    string         `json:"connection"`
	UserID        string         `json:"user_id"`
	Email         *string        `json:"email"`
	EmailVerified *bool          `json:"email_verified"`
	Blocked       *bool          `json:"blocked"`
	Username      string         `json:"username"`
	Name          string         `json:"name"`
	GivenName     string         `json:"given_name"`
	FamilyName    string         `json:"family_name"`
	Nickname      string         `json:"nickname"`
	Picture       string         `json:"picture"`
	AppMetadata   map[string]any `json:"app_metadata"`
	UserMetadata  map[string]any `json:"user_metadata"`
}

// setEmail gives a user another address: unverified, in lower case in Auth0's own
// store.
func (u *User) setEmail(email string) {
	if c, err := connectionOf(u.Identities[0].Connection); err == nil && c.lowers {
		email = strings.ToLower(email)
	}
	u.Email, u.EmailVerified = email, false
}

// apply patches a user. A new address is unverified unless the caller says so.
func (b userBody) apply(u *User) {
	if b.Email != nil && *b.Email != u.Email {
		u.setEmail(*b.Email)
	}
	if b.EmailVerified != nil {
		u.EmailVerified = *b.EmailVerified
	}
	if b.Blocked != nil {
		u.Blocked, u.showsBlocked = *b.Blocked, true
	}
	b.applyTexts(u)
	u.AppMetadata = merged(u.AppMetadata, b.AppMetadata)
	u.UserMetadata = merged(u.UserMetadata, b.UserMetadata)
}

func (b userBody) applyTexts(u *User) {
	for to, value := range map[*string]string{
		&u.Username: b.Username, &u.Name: b.Name, &u.GivenName: b.GivenName, &u.FamilyName: b.FamilyName,
		&u.Nickname: b.Nickname, &u.Picture: b.Picture,
	} {
		if value != "" {
			*to = value
		}
	}
}

// merged is how Auth0 patches metadata: by first-level member, null deletes.
func merged(old, change map[string]any) map[string]any {
	if old == nil {
		old = map[string]any{}
	}
	for name, value := range change {
		old[name] = value
		if value == nil {
			delete(old, name)
		}
	}
	return old
}

func (t *Tenant) serveCreateUser(w http.ResponseWriter, r *http.Request) {
	var b userBody
	if !readBody(w, r, &b) {
		return
	}
	if b.Connection == "" {
		badRequest(w, "Payload validation error: 'Missing required property: connection'.", "invalid_body")
		return
	}
	s := SignUp{Connection: b.Connection, Username: b.Username}
	if b.Email != nil {
		s.Email = *b.Email
		b.Email = nil // taken
	}
	if c, err := connectionOf(b.Connection); err == nil && b.UserID != "" {
		s.UserID = c.strategy + "|" + b.UserID
	}
	u, err := t.create(s, b.apply)
	if err != nil {
		userError(w, err)
		return
	}
	t.logCall(r, "Create a User", http.StatusCreated, u)
	writeJSON(w, http.StatusCreated, profile(u))
}

func (t *Tenant) servePatchUser(w http.ResponseWriter, r *http.Request) {
	var b userBody
	if !readBody(w, r, &b) {
		return
	}
	u, err := t.change(r.PathValue("id"), b.apply, func(u User) []logEntry {
		entries := []logEntry{apiCall("Update a User", r.Method, r.URL.EscapedPath(), http.StatusOK, u)}
		if b.Username != "" {
			entries = append(logged("scu")(u), entries...)
		}
		return entries
	})
	if err != nil {
		userError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, profile(u))
}

// serveDeleteUser answers 204 for a missing user too.
func (t *Tenant) serveDeleteUser(w http.ResponseWriter, r *http.Request) {
	if t.Delete(r.PathValue("id")) == nil {
		t.logCall(r, "Delete a User", http.StatusNoContent, User{})
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
}

// serveLink takes the secondary user's id with its provider or without.
func (t *Tenant) serveLink(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Provider string `json:"provider"`
		UserID   string `json:"user_id"`
	}
	if !readBody(w, r, &b) {
		return
	}
	secondary := b.UserID
	if !strings.HasPrefix(secondary, b.Provider+"|") {
		secondary = b.Provider + "|" + secondary
	}
	all, err := t.Link(r.PathValue("id"), secondary)
	if err != nil {
		userError(w, err)
		return
	}
	writeJSON(w, http.StatusCreated, identities(all))
}

func (t *Tenant) serveUnlink(w http.ResponseWriter, r *http.Request) {
	all, err := t.Unlink(r.PathValue("id"), r.PathValue("provider"), r.PathValue("user_id"))
	if err != nil {
		userError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, identities(all))
}
