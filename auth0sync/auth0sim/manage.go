package auth0sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the client is gone
}

// apiError is an error in the Management API's shape; code may be empty.
func apiError(w http.ResponseWriter, status int, name, message, code string) {
	body := map[string]any{"statusCode": status, "error": name, "message": message}
	if code != "" {
		body["errorCode"] = code
	}
	writeJSON(w, status, body)
}

func badRequest(w http.ResponseWriter, message, code string) {
	apiError(w, http.StatusBadRequest, "Bad Request", message, code)
}

// userError answers what a change of a user may fail with.
func userError(w http.ResponseWriter, err error) {
	if errors.Is(err, errExists) {
		apiError(w, http.StatusConflict, "Conflict", err.Error(), "auth0_idp_error")
		return
	}
	apiError(w, http.StatusNotFound, "Not Found", err.Error(), "inexistent_user")
}

func (t *Tenant) serveGetUser(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	u, err := t.get(r.PathValue("id"))
	t.mu.Unlock()
	if err != nil {
		userError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, selectFields(r, profile(u)))
}

// serveByEmail answers at once what is true now, by the exact spelling.
func (t *Tenant) serveByEmail(w http.ResponseWriter, r *http.Request) {
	email := r.URL.Query().Get("email")
	if email == "" {
		badRequest(w, "Query validation error: 'String' does not match pattern. Must be a valid email.", "invalid_query_string")
		return
	}
	t.mu.Lock()
	users := []User{}
	for id := range t.byEmail[email] {
		if u, err := t.get(id); err == nil {
			users = append(users, u)
		}
	}
	t.mu.Unlock()
	writeJSON(w, http.StatusOK, profiles(r, users))
}

func profiles(r *http.Request, users []User) []map[string]any {
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	out := make([]map[string]any, len(users))
	for i, u := range users {
		out[i] = selectFields(r, profile(u))
	}
	return out
}

// selectFields obeys fields and include_fields.
func selectFields(r *http.Request, p map[string]any) map[string]any {
	fields := r.URL.Query().Get("fields")
	if fields == "" {
		return p
	}
	include := r.URL.Query().Get("include_fields") != "false"
	named := strings.Split(fields, ",")
	for name := range p {
		if slices.Contains(named, name) != include {
			delete(p, name)
		}
	}
	return p
}

const (
	maxPage    = 100
	maxResults = 1000
	paging     = "You can only page through the first 1000 records. See https://auth0.com/docs/users/search/v3/view-search-results-by-page#limitation."
)

// serveSearch answers what was true one search lag ago.
func (t *Tenant) serveSearch(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	q, err := parse(values.Get("q"))
	if err != nil {
		badRequest(w, "Query validation error: invalid 'q'", "invalid_query_string")
		return
	}
	page, err1 := number(values.Get("page"), 0)
	size, err2 := number(values.Get("per_page"), 50)
	switch {
	case err1 != nil || err2 != nil || page < 0 || size < 0 || size > maxPage:
		badRequest(w, "Query validation error: page and per_page", "invalid_query_string")
		return
	case (page+1)*size > maxResults:
		badRequest(w, paging, "invalid_paging")
		return
	}
	t.mu.Lock()
	users := t.search(q)
	t.mu.Unlock()
	found := profiles(r, users)
	sortBy(found, values.Get("sort"))
	total := len(found)
	from := min(page*size, total)
	found = found[from:min(from+size, total)]
	if values.Get("include_totals") == "true" {
		writeJSON(w, http.StatusOK, map[string]any{"start": page * size, "limit": size, "length": len(found), "users": found, "total": total})
		return
	}
	writeJSON(w, http.StatusOK, found)
}

// search finds users in the index. t.mu is held.
func (t *Tenant) search(q query) []User {
	at := t.now().Add(-t.o.SearchLag)
	found := []User{}
	look := func(id string) {
		if u, live := t.users[id].asOf(at); live && q.matches(u) {
			found = append(found, u)
		}
	}
	emails, ok := q.emails()
	if !ok {
		for id := range t.users {
			look(id)
		}
		return found
	}
	slices.Sort(emails)
	for _, email := range slices.Compact(emails) {
		for id := range t.everEmail[email] {
			if u, _ := t.users[id].asOf(at); strings.EqualFold(u.Email, email) { // once, under its address of then
				look(id)
			}
		}
	}
	return found
}

// sortBy obeys sort=field:1 or field:-1 for the fields that are texts.
func sortBy(users []map[string]any, sort string) {
	field, direction, _ := strings.Cut(sort, ":")
	if field == "" {
		return
	}
	slices.SortStableFunc(users, func(a, b map[string]any) int {
		order := strings.Compare(fmt.Sprint(a[field]), fmt.Sprint(b[field]))
		if direction == "-1" {
			return -order
		}
		return order
	})
}

func number(s string, preset int) (int, error) {
	if s == "" {
		return preset, nil
	}
	return strconv.Atoi(s)
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

func readUser(w http.ResponseWriter, r *http.Request) (userBody, bool) {
	var b userBody
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&b); err != nil {
		badRequest(w, "Payload validation error: invalid JSON", "invalid_body")
		return b, false
	}
	return b, true
}

func (b userBody) apply(u *User) {
	for to, value := range map[*string]string{
		&u.Username: b.Username, &u.Name: b.Name, &u.GivenName: b.GivenName, &u.FamilyName: b.FamilyName,
		&u.Nickname: b.Nickname, &u.Picture: b.Picture,
	} {
		if value != "" {
			*to = value
		}
	}
	if b.Email != nil {
		u.Email, u.EmailVerified = *b.Email, false // a new address is unverified unless the caller says so
	}
	if b.EmailVerified != nil {
		u.EmailVerified = *b.EmailVerified
	}
	if b.Blocked != nil {
		u.Blocked = *b.Blocked
	}
	u.AppMetadata = merged(u.AppMetadata, b.AppMetadata)
	u.UserMetadata = merged(u.UserMetadata, b.UserMetadata)
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
	b, ok := readUser(w, r)
	if !ok {
		return
	}
	if b.Connection == "" {
		badRequest(w, "Payload validation error: 'Missing required property: connection'.", "invalid_body")
		return
	}
	s := SignUp{Connection: b.Connection, EmailVerified: b.EmailVerified, Username: b.Username}
	if b.Email != nil {
		s.Email = *b.Email
	}
	if b.UserID != "" {
		s.UserID = connectionOf(b.Connection).strategy + "|" + b.UserID
	}
	t.mu.Lock()
	u, err := t.signUp(s)
	var out []delivery
	if err == nil {
		verified := u.EmailVerified
		b.apply(&u)
		u.EmailVerified = verified
		if connectionOf(b.Connection).lowers {
			u.Email = strings.ToLower(u.Email)
		}
		t.put(u, false)
		out = append(t.actionCalls(u, b.Connection), t.events("user.created", u)...)
	}
	t.mu.Unlock()
	if err != nil {
		userError(w, err)
		return
	}
	t.send(out)
	body := profile(u)
	body["blocked"] = u.Blocked // shown when it was given
	if b.Blocked == nil {
		delete(body, "blocked")
	}
	writeJSON(w, http.StatusCreated, body)
}

func (t *Tenant) servePatchUser(w http.ResponseWriter, r *http.Request) {
	b, ok := readUser(w, r)
	if !ok {
		return
	}
	u, err := t.Change(r.PathValue("id"), func(u *User) { b.apply(u) })
	if err != nil {
		userError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, profile(u))
}

// serveDeleteUser answers 204 for a missing user too.
func (t *Tenant) serveDeleteUser(w http.ResponseWriter, r *http.Request) {
	_ = t.Delete(r.PathValue("id")) // gone is what was asked for
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
}

func (t *Tenant) serveLink(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Provider string `json:"provider"`
		UserID   string `json:"user_id"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&b); err != nil || b.UserID == "" {
		badRequest(w, "Payload validation error: invalid JSON", "invalid_body")
		return
	}
	secondary := b.UserID
	if !strings.HasPrefix(secondary, b.Provider+"|") { // both forms are accepted
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

func (t *Tenant) serveConnections(w http.ResponseWriter, r *http.Request) {
	found := []map[string]any{}
	for _, name := range []string{Database, Passwordless, Google, Apple, Enterprise} {
		if want := r.URL.Query().Get("name"); want == "" || want == name {
			c := connectionOf(name)
			found = append(found, map[string]any{
				"id": c.id, "name": name, "strategy": c.strategy, "options": map[string]any{},
				"is_domain_connection": false, "realms": []string{name}, "enabled_clients": []string{t.o.ClientID},
			})
		}
	}
	if r.URL.Query().Get("include_totals") == "true" {
		writeJSON(w, http.StatusOK, map[string]any{"total": len(found), "start": 0, "limit": 50, "connections": found})
		return
	}
	writeJSON(w, http.StatusOK, found)
}

// serveExport takes an export job on; it stays pending: the file itself is not
// simulated yet.
func (t *Tenant) serveExport(w http.ResponseWriter, r *http.Request) {
	job := map[string]any{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&job); err != nil {
		badRequest(w, "Payload validation error: invalid JSON", "invalid_body")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	job["type"], job["status"], job["created_at"] = "users_export", "pending", stamp(t.now())
	job["id"] = "job_" + randomHex(8)
	if id, ok := job["connection_id"]; ok {
		job["connection"] = Database
		_ = id
	}
	t.jobs[job["id"].(string)] = job //nolint:forcetypeassert // set above
	writeJSON(w, http.StatusOK, job)
}

func (t *Tenant) serveJob(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	job, ok := t.jobs[r.PathValue("id")]
	if !ok {
		apiError(w, http.StatusNotFound, "Not Found", "The job does not exist.", "inexistent_job")
		return
	}
	writeJSON(w, http.StatusOK, job)
}

// logSignUp adds the tenant log's entry: ss for database and passwordless
// sign-ups, s for a first login through a social connection.
func (t *Tenant) logSignUp(u User, via string) {
	kind, c := "ss", connectionOf(via)
	if !c.action {
		kind = "s"
	}
	t.lastNumber++
	id := fmt.Sprintf("900%s%036d", t.now().Format("20060102150405"), t.lastNumber)
	t.logs = append(t.logs, map[string]any{
		"_id": id, "log_id": id, "date": stamp(t.now()), "type": kind, "description": "",
		"connection": via, "connection_id": c.id, "organization_id": nil, "organization_name": nil,
		"client_id": t.o.ClientID, "client_name": "customersync", "ip": "127.0.0.1", "hostname": nil,
		"details": map[string]any{"body": map[string]any{"email": u.Email, "connection": via, "tenant": t.o.Domain}},
		"user_id": u.ID, "user_name": u.Email, "user_agent": "Other 0.0.0 / Other 0.0.0",
		"audience": nil, "strategy": c.strategy, "strategy_type": "database", "isMobile": false, "location_info": nil,
	})
}

// serveLogs answers a page, or what follows a checkpoint.
func (t *Tenant) serveLogs(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	take, err := number(values.Get("take"), 50)
	size, err2 := number(values.Get("per_page"), 50)
	page, err3 := number(values.Get("page"), 0)
	if err := errors.Join(err, err2, err3); err != nil || take < 1 || take > maxPage || size < 0 || size > maxPage || page < 0 {
		badRequest(w, "Query validation error: page, per_page or take", "invalid_query_string")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	from := page * size
	if checkpoint := values.Get("from"); checkpoint != "" {
		from = 1 + slices.IndexFunc(t.logs, func(l map[string]any) bool { return l["log_id"] == checkpoint })
		size = take
	}
	from = min(from, len(t.logs))
	found := append([]map[string]any{}, t.logs[from:min(from+size, len(t.logs))]...)
	writeJSON(w, http.StatusOK, found)
}
