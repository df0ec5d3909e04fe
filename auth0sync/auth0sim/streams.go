package auth0sim

import (
	"net/http"
	"slices"
)

// streamBody is what creating and patching an Event Stream take.
type streamBody struct {
	Name          *string `json:"name"`
	Status        *string `json:"status"`
	Subscriptions []struct {
		EventType string `json:"event_type"`
	} `json:"subscriptions"`
	Destination *destination `json:"destination"`
}

func (b streamBody) wrong(allowHTTP bool) string {
	for _, s := range b.Subscriptions {
		if !eventTypes.MatchString(s.EventType) {
			return "No enum match for: " + s.EventType + "' on property subscriptions.event_type"
		}
	}
	if b.Status != nil && *b.Status != "enabled" && *b.Status != "disabled" {
		return "No enum match for: " + *b.Status + "' on property status"
	}
	if b.Destination != nil {
		return b.Destination.wrong(allowHTTP)
	}
	return ""
}

// apply changes a stream; it tells whether that has enabled it.
func (b streamBody) apply(s *eventStream) (enabled bool) {
	if b.Name != nil {
		s.name = *b.Name
	}
	if b.Subscriptions != nil {
		s.kinds = nil
		for _, one := range b.Subscriptions {
			s.kinds = append(s.kinds, one.EventType)
		}
	}
	if b.Destination != nil {
		s.to = *b.Destination
	}
	if b.Status == nil {
		return false
	}
	enabled = !s.enabled && *b.Status == "enabled"
	if s.enabled = *b.Status == "enabled"; enabled {
		s.failures = 0
	}
	return enabled
}

func (s *eventStream) shown() map[string]any {
	subscriptions := []map[string]any{}
	for _, kind := range s.kinds {
		subscriptions = append(subscriptions, map[string]any{"event_type": kind})
	}
	status := "disabled"
	if s.enabled {
		status = "enabled"
	}
	return map[string]any{
		"id": s.id, "status": status, "name": s.name, "subscriptions": subscriptions,
		"created_at": stamp(s.made), "updated_at": stamp(s.changed), "destination": s.to.shown(),
	}
}

// readStream decodes a body, or answers 400.
func (t *Tenant) readStream(w http.ResponseWriter, r *http.Request) (b streamBody, ok bool) {
	if !readBody(w, r, &b) {
		return b, false
	}
	if message := b.wrong(t.o.AllowHTTP); message != "" {
		badRequest(w, "Payload validation error: '"+message+".", "invalid_body")
		return b, false
	}
	return b, true
}

// serveCreateStream makes an Event Stream, as many as the plan allows.
// https://auth0.com/docs/customize/events/create-an-event-stream
func (t *Tenant) serveCreateStream(w http.ResponseWriter, r *http.Request) {
	b, ok := t.readStream(w, r)
	if !ok {
		return
	}
	if len(b.Subscriptions) == 0 || b.Destination == nil {
		badRequest(w, "Payload validation error: 'Missing required property: subscriptions, destination'.", "invalid_body")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.streams) >= t.o.Plan.readers() {
		apiError(w, http.StatusConflict, "Conflict", "You have reached the maximum number of event streams for your account.", "")
		return
	}
	s := &eventStream{id: "est_" + randomHex(11), enabled: true, made: t.now(), changed: t.now()}
	b.apply(s)
	t.streams = append(t.streams, s)
	writeJSON(w, http.StatusCreated, s.shown())
}

// serveStreams lists them by from and take; next is there while there are more.
func (t *Tenant) serveStreams(w http.ResponseWriter, r *http.Request) {
	take, ok := whole(w, r.URL.Query(), "take", defaultPage, largestPage)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	from := r.URL.Query().Get("from")
	first := 1 + slices.IndexFunc(t.streams, func(s *eventStream) bool { return s.id == from })
	shown := []map[string]any{}
	answer := map[string]any{}
	for _, s := range t.streams[first:min(first+take, len(t.streams))] {
		shown = append(shown, s.shown())
	}
	if answer["eventStreams"] = shown; take > 0 && first+take < len(t.streams) {
		answer["next"] = t.streams[first+take-1].id
	}
	writeJSON(w, http.StatusOK, answer)
}

// onStream finds the stream of a path, or answers 404. t.mu is held while do runs.
func onStream(do func(*Tenant, *eventStream, http.ResponseWriter, *http.Request)) func(*Tenant, http.ResponseWriter, *http.Request) {
	return func(t *Tenant, w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		s := t.stream(r.PathValue("id"))
		if s == nil {
			apiError(w, http.StatusNotFound, "Not Found", "The requested stream does not exist.", "")
			return
		}
		do(t, s, w, r)
	}
}

func (t *Tenant) serveStream(s *eventStream, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.shown())
}

// servePatchStream changes a stream. One that is enabled again gets all that it
// has failed to take; what happened meanwhile it missed.
func (t *Tenant) servePatchStream(s *eventStream, w http.ResponseWriter, r *http.Request) {
	b, ok := t.readStream(w, r)
	if !ok {
		return
	}
	if s.changed = t.now(); b.apply(s) {
		for _, k := range s.kept {
			t.redeliver(s, k)
		}
	}
	writeJSON(w, http.StatusOK, s.shown())
}

// serveDeleteStream answers 204 for a missing stream too.
func (t *Tenant) serveDeleteStream(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropStream(r.PathValue("id"))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusNoContent)
}
