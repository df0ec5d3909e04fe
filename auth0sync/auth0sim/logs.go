package auth0sim

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// logEntry is an entry of the tenant's log, written out only when it is asked
// for: a tenant may have 100,000 of them.
type logEntry struct {
	id     string
	at     time.Time
	kind   string // ss, s, sv, sce, sdu or sapi
	user   User   // whom it is about, but for sapi
	call   string // description of a Management API call
	method string
	path   string
	status int
}

// logID is unique and grows, as Auth0's do. t.mu is held.
func (t *Tenant) logID() string {
	t.lastNumber++
	return fmt.Sprintf("900%s%039d", t.now().Format("20060102150405"), t.lastNumber)
}

// logSignUp adds an ss for database and passwordless sign-ups, and an s for a
// first login through another connection. t.mu is held.
// https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes
func (t *Tenant) logSignUp(u User) {
	kind := "ss"
	if c, err := connectionOf(u.Identities[0].Connection); err == nil && !c.action {
		kind = "s"
	}
	t.logs = append(t.logs, logEntry{id: t.logID(), at: t.now(), kind: kind, user: u})
}

// logCall adds a write through the Management API.
func (t *Tenant) logCall(r *http.Request, description string, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logs = append(t.logs, logEntry{
		id: t.logID(), at: t.now(), kind: "sapi", call: description, method: r.Method, path: r.URL.EscapedPath(), status: status,
	})
}

func (l logEntry) json(t *Tenant) map[string]any {
	entry := map[string]any{
		"_id": l.id, "log_id": l.id, "date": stamp(l.at), "type": l.kind, "description": l.call,
		"client_id": t.o.ClientID, "client_name": "", "ip": "127.0.0.1", "user_agent": "Other 0.0.0 / Other 0.0.0", "isMobile": false,
	}
	for _, name := range []string{
		"connection", "connection_id", "organization_id", "organization_name", "hostname", "user_id", "user_name",
		"audience", "strategy", "strategy_type", "location_info",
	} {
		entry[name] = nil
	}
	if l.kind == "sapi" {
		entry["details"] = map[string]any{
			"request":  map[string]any{"method": l.method, "path": l.path, "query": map[string]any{}, "body": map[string]any{}, "channel": "api"},
			"response": map[string]any{"statusCode": l.status, "body": map[string]any{}},
		}
		return entry
	}
	l.describeUser(t, entry)
	return entry
}

func (l logEntry) describeUser(t *Tenant, entry map[string]any) {
	via := l.user.Identities[0].Connection
	c, _ := connectionOf(via) // the user signed up through it
	entry["connection"], entry["connection_id"] = via, c.id
	entry["strategy"], entry["strategy_type"] = c.strategy, c.kind
	entry["user_id"], entry["user_name"] = l.user.ID, l.user.Name
	body := map[string]any{"connection": via, "tenant": t.o.Domain, "client_id": t.o.ClientID, "email_verified": l.user.EmailVerified}
	if l.user.Email != "" {
		email := l.user.Email
		if t.o.MaskLogs {
			email = "***"
		}
		body["email"], entry["user_name"] = email, email
	}
	entry["details"] = map[string]any{"body": body}
}

// serveLogs answers a page, newest first, or what follows a checkpoint, oldest
// first. A checkpoint that is not known any more starts with the oldest.
func (t *Tenant) serveLogs(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	take, ok := whole(w, values, "take", defaultPage, largestPage)
	if !ok {
		return
	}
	page, ok := pageOf(w, values)
	if !ok {
		return
	}
	t.mu.Lock()
	entries := slices.Clone(t.logs)
	t.mu.Unlock()
	checkpoint := values.Get("from")
	switch {
	case values.Has("from") || values.Has("take"):
		after := 1 + slices.IndexFunc(entries, func(l logEntry) bool { return l.id == checkpoint })
		entries = entries[after:min(after+take, len(entries))]
		if t.o.Rude {
			slices.Reverse(entries)
		}
	case page.start()+page.size > searchable:
		badRequest(w, paging, "invalid_paging")
		return
	default:
		slices.Reverse(entries)
		entries = entries[page.from(len(entries)):page.to(len(entries))]
	}
	found := make([]map[string]any, len(entries))
	for i, entry := range entries {
		found[i] = entry.json(t)
	}
	writeJSON(w, http.StatusOK, found)
}
