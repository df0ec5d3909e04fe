package auth0sim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// logSink is where a log stream of the type http goes.
type logSink struct {
	Endpoint      string    `json:"httpEndpoint"`
	Authorization string    `json:"httpAuthorization"`
	Format        LogFormat `json:"httpContentFormat"`
}

// logCategory is the group of entries that a log stream's filter names. Auth0's
// list is longer.
func logCategory(kind string) string {
	switch kind {
	case "ss":
		return "auth.signup.success"
	case "s":
		return "auth.login.success"
	case "fp", "fu":
		return "auth.login.fail"
	case "slo":
		return "auth.logout.success"
	case "sapi":
		return "management.success"
	}
	return "user.success"
}

// serveCreateLogStream makes a log stream. Those that do not go to a webhook are
// kept, and push nothing.
// https://auth0.com/docs/customize/log-streams/custom-log-streams
func (t *Tenant) serveCreateLogStream(w http.ResponseWriter, r *http.Request) {
	asked := map[string]any{}
	if !readBody(w, r, &asked) {
		return
	}
	var b struct {
		Name    string  `json:"name"`
		Type    string  `json:"type"`
		Sink    logSink `json:"sink"`
		Filters []struct {
			Name string `json:"name"`
		} `json:"filters"`
		PII struct {
			Fields []string `json:"log_fields"`
		} `json:"pii_config"`
	}
	if err := json.Unmarshal(encode(asked), &b); err != nil || b.Type == "" {
		badRequest(w, "Payload validation error: 'Missing required property: type'.", "invalid_body")
		return
	}
	format := cmp.Or(b.Sink.Format, JSONLines)
	secure := strings.HasPrefix(b.Sink.Endpoint, "https://") || t.o.AllowHTTP && strings.HasPrefix(b.Sink.Endpoint, "http://")
	if b.Type == "http" && (!secure || format.known() != nil) {
		badRequest(w, "Payload validation error: 'Invalid sink' on property sink.", "invalid_body")
		return
	}
	wanted := func(kind string) bool {
		return b.Type == "http" && (len(b.Filters) == 0 || slices.ContainsFunc(b.Filters, func(f struct {
			Name string `json:"name"`
		}) bool {
			return f.Name == logCategory(kind)
		}))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &logStream{
		asked: asked, to: endpoint{b.Sink.Endpoint, b.Sink.Authorization}, format: format, masks: slices.Contains(b.PII.Fields, "email"), kinds: wanted,
	}
	t.addLogStream(s)
	writeJSON(w, http.StatusOK, s.shown())
}

// shown is the stream as it was asked for, with its Authorization header too:
// Auth0 does not hide it.
func (s *logStream) shown() map[string]any {
	shown := map[string]any{
		"name": "connected", "type": "http", "isPriority": false,
		"sink": map[string]any{"httpEndpoint": s.to.url, "httpAuthorization": s.to.secret, "httpContentFormat": s.format},
	}
	if s.asked != nil {
		shown = s.asked
	}
	shown["id"], shown["status"] = s.id, s.status
	return shown
}

func (t *Tenant) serveLogStreams(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	shown := []map[string]any{}
	for _, s := range t.tenantLog.streams {
		shown = append(shown, s.shown())
	}
	writeJSON(w, http.StatusOK, shown)
}

func (t *Tenant) serveDeleteLogStream(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.tenantLog
	for _, s := range l.streams {
		if s.id == r.PathValue("id") {
			s.status = "paused" // and nothing more is tried
		}
	}
	l.streams = slices.DeleteFunc(l.streams, func(s *logStream) bool { return s.id == r.PathValue("id") })
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
}
