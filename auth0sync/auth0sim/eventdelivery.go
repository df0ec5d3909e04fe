package auth0sim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// eventDelivery is one event on its way to one stream.
type eventDelivery struct {
	id       string // the event's
	stream   string
	kind     string
	at       time.Time
	event    map[string]any
	attempts []attempt
	failed   bool // else it is pending
}

// attempt is one try of a delivery.
type attempt struct {
	at      time.Time
	took    time.Duration
	failure string // "": it was taken
	again   bool   // no try at all, but the mark that somebody asked for more
}

func (s *eventStream) keep(id, kind string, at time.Time, event map[string]any) *eventDelivery {
	k := &eventDelivery{id: id, stream: s.id, kind: kind, at: at, event: event}
	s.kept = append(s.kept, k)
	return k
}

func (k *eventDelivery) shown() map[string]any {
	attempts := []map[string]any{}
	for _, a := range k.attempts {
		switch {
		case a.again:
			attempts = append(attempts, map[string]any{"status": "retrying", "timestamp": stamp(a.at)})
		default:
			attempts = append(attempts, map[string]any{
				"status": "failed", "error_message": a.failure, "timestamp": stamp(a.at), "duration": float64(a.took) / float64(time.Millisecond),
			})
		}
	}
	status := "pending"
	if k.failed {
		status = "failed"
	}
	return map[string]any{
		"id": k.id, "event_stream_id": k.stream, "event_type": k.kind, "status": status, "attempts": attempts, "event": k.event,
	}
}

// deliveryFilter chooses among the deliveries of a stream.
type deliveryFilter struct {
	Statuses   []string  `json:"statuses"`
	EventTypes []string  `json:"event_types"`
	DateFrom   time.Time `json:"date_from"`
	DateTo     time.Time `json:"date_to"`
}

func (f deliveryFilter) has(k *eventDelivery) bool {
	status := "pending"
	if k.failed {
		status = "failed"
	}
	return (len(f.Statuses) == 0 || slices.Contains(f.Statuses, status)) && (len(f.EventTypes) == 0 || slices.Contains(f.EventTypes, k.kind)) &&
		!k.at.Before(f.DateFrom) && (f.DateTo.IsZero() || !k.at.After(f.DateTo))
}

// filterOf reads a filter from a query, with lists by commas or by repetition, or
// answers 400.
func filterOf(w http.ResponseWriter, values url.Values) (f deliveryFilter, ok bool) {
	list := func(name string) []string {
		return strings.FieldsFunc(strings.Join(values[name], ","), func(r rune) bool { return r == ',' })
	}
	f.Statuses, f.EventTypes = list("statuses"), list("event_types")
	for name, at := range map[string]*time.Time{"date_from": &f.DateFrom, "date_to": &f.DateTo} {
		if text := values.Get(name); text != "" {
			var err error
			if *at, err = time.Parse(time.RFC3339, text); err != nil {
				badRequest(w, "Query validation error: 'Object didn't pass validation for format date-time' on property "+name+".", "invalid_query_string")
				return f, false
			}
		}
	}
	return f, true
}

// serveDeliveries lists what a stream has not taken yet, or never did.
func (t *Tenant) serveDeliveries(s *eventStream, w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	f, ok := filterOf(w, values)
	if !ok {
		return
	}
	take, ok := whole(w, values, "take", defaultPage, largestPage)
	if !ok {
		return
	}
	first := 1 + slices.IndexFunc(s.kept, func(k *eventDelivery) bool { return k.id == values.Get("from") })
	shown := []map[string]any{}
	for _, k := range s.kept[first:] {
		if f.has(k) && len(shown) < take {
			shown = append(shown, k.shown())
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"deliveries": shown})
}

// delivery finds the delivery of a path, or answers 404.
func (s *eventStream) delivery(w http.ResponseWriter, r *http.Request) *eventDelivery {
	at := slices.IndexFunc(s.kept, func(k *eventDelivery) bool { return k.id == r.PathValue("event") })
	if at < 0 {
		apiError(w, http.StatusNotFound, "Not Found", "The requested delivery does not exist.", "")
		return nil
	}
	return s.kept[at]
}

func (t *Tenant) serveDelivery(s *eventStream, w http.ResponseWriter, r *http.Request) {
	if k := s.delivery(w, r); k != nil {
		writeJSON(w, http.StatusOK, k.shown())
	}
}

// redeliver starts what failed anew. t.mu is held.
func (t *Tenant) redeliver(s *eventStream, k *eventDelivery) {
	if !k.failed {
		return
	}
	k.failed = false
	k.attempts = append(k.attempts, attempt{at: t.now(), again: true})
	t.sendNow([]delivery{t.pushed(s, k)})
}

func (t *Tenant) serveRedeliverMany(s *eventStream, w http.ResponseWriter, r *http.Request) {
	var f deliveryFilter
	if !readBody(w, r, &f) || !s.redelivers(w) {
		return
	}
	for _, k := range s.kept {
		if f.has(k) {
			t.redeliver(s, k)
		}
	}
	writeJSON(w, http.StatusAccepted, map[string]any{})
}

func (t *Tenant) serveRedeliver(s *eventStream, w http.ResponseWriter, r *http.Request) {
	k := s.delivery(w, r)
	switch {
	case k == nil:
	case !k.failed:
		notNow(w)
	case s.redelivers(w):
		t.redeliver(s, k)
		writeJSON(w, http.StatusAccepted, map[string]any{})
	}
}

// redelivers answers 409 for a disabled stream.
func (s *eventStream) redelivers(w http.ResponseWriter) bool {
	if !s.enabled {
		notNow(w)
	}
	return s.enabled
}

func notNow(w http.ResponseWriter) {
	apiError(w, http.StatusConflict, "Conflict", "The event is not in a state that allows redelivery.", "")
}

// serveTestStream sends an event that says that it is a test.
func (t *Tenant) serveTestStream(s *eventStream, w http.ResponseWriter, r *http.Request) {
	var b struct {
		EventType string         `json:"event_type"`
		Data      map[string]any `json:"data"`
	}
	if !readBody(w, r, &b) {
		return
	}
	if !eventTypes.MatchString(b.EventType) {
		badRequest(w, "Payload validation error: 'No enum match for: "+b.EventType+"' on property event_type.", "invalid_body")
		return
	}
	if b.Data == nil {
		b.Data = map[string]any{"object": eventObject(sample(t.now()))}
	}
	id := "evt_" + randomHex(11)
	event := t.envelope(id, b.EventType, t.now(), b.Data, s.id)
	event["a0purpose"] = "test"
	k := s.keep(id, b.EventType, t.now(), event)
	writeJSON(w, http.StatusAccepted, k.shown())
	t.sendNow([]delivery{t.pushed(s, k)})
}

// sample is nobody: the user of a test event.
func sample(at time.Time) User {
	return User{
		ID: "auth0|507f1f77bcf86cd799439020", Email: "john.doe@example.com", Name: "John Doe", Nickname: "john.doe", Picture: picture,
		Identities: []Identity{{Provider: "auth0", Connection: Database, UserID: "507f1f77bcf86cd799439020"}},
		CreatedAt:  at, UpdatedAt: at, AppMetadata: map[string]any{"plan": "pro"},
	}
}
