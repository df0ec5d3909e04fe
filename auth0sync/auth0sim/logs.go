package auth0sim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// logEntry is an entry of the tenant's log, written out only when it is asked
// for: a tenant may have 100,000 of them.
type logEntry struct {
	id     string
	at     time.Time
	kind   string // by https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes
	user   User   // whom it is about; none for an unknown user, or a call that answers none
	name   string // that somebody unknown tried to log in with
	call   string // description of a Management API call
	method string
	path   string
	status int
	silent bool // log streams do not get it
}

// tenantLog is the log in the order of its ids, which grow. Dates need not.
type tenantLog struct {
	entries []logEntry
	held    *logEntry // is overtaken by the next
	heldAt  time.Time
	last    int64 // number in an id
	streams []*logStream
	made    int // streams
}

// log adds entries. t.mu is held.
func (t *Tenant) log(entries ...logEntry) {
	for _, e := range entries {
		e.at = t.now()
		if l := &t.tenantLog; l.held == nil && (t.o.Rude || t.o.LogsUnordered) {
			l.held, l.heldAt = &e, e.at
			continue
		}
		t.enter(e)
		t.enterHeld()
	}
	t.forgetLogs()
}

func (t *Tenant) enterHeld() {
	if l := &t.tenantLog; l.held != nil {
		e := *l.held
		l.held = nil
		t.enter(e)
	}
}

// enter gives an entry its id, which grows, as Auth0's do. t.mu is held.
func (t *Tenant) enter(e logEntry) {
	l := &t.tenantLog
	l.last++
	e.id = fmt.Sprintf("900%s%039d", t.now().Format("20060102150405"), l.last)
	l.entries = append(l.entries, e)
	for _, s := range l.streams {
		s.take(t, e)
	}
}

// forgetLogs drops what is older than the plan keeps. t.mu is held.
// https://auth0.com/docs/deploy-monitor/logs/log-data-retention
func (t *Tenant) forgetLogs() {
	l, oldest := &t.tenantLog, t.now().Add(-t.logsKept())
	young := slices.IndexFunc(l.entries, func(e logEntry) bool { return e.at.After(oldest) })
	if young < 0 {
		young = len(l.entries)
	}
	l.entries = l.entries[young:]
}

func (t *Tenant) logsKept() time.Duration {
	const day = 24 * time.Hour
	switch {
	case t.o.LogsKept != 0:
		return t.o.LogsKept
	case t.o.Plan == PlanFree:
		return day
	case t.o.Plan == PlanEssentials:
		return 5 * day
	}
	return 30 * day
}

// logSignUp adds an ss for database and passwordless sign-ups, and an s for a
// first login through another connection. t.mu is held.
func (t *Tenant) logSignUp(u User, silent bool) {
	kind := "ss"
	if c, err := connectionOf(u.Identities[0].Connection); err == nil && !c.action {
		kind = "s"
	}
	t.log(logEntry{kind: kind, user: u, silent: silent})
}

// apiCall is the entry of a write through the Management API; answer is the user
// that it answered with, if any.
func apiCall(description, method, path string, status int, answer User) logEntry {
	return logEntry{kind: "sapi", call: description, method: strings.ToLower(method), path: path, status: status, user: answer}
}

func userPath(id string) string { return "/api/v2/users/" + url.PathEscape(id) }

// logCall adds a write through the Management API.
func (t *Tenant) logCall(r *http.Request, description string, status int, answer User) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log(apiCall(description, r.Method, r.URL.EscapedPath(), status, answer))
}

// Logout adds a logout to the log. It changes nothing.
func (t *Tenant) Logout(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, err := t.get(id)
	if err == nil {
		t.log(logEntry{kind: "slo", user: u})
	}
	return err
}

// FailLogin adds a login that failed to the log: fp, a wrong password, for each
// user with this address, or else fu, an unknown user.
func (t *Tenant) FailLogin(email string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	users := t.withEmail(email)
	for _, u := range users {
		t.log(logEntry{kind: "fp", user: u})
	}
	if len(users) == 0 {
		t.log(logEntry{kind: "fu", name: email})
	}
}
