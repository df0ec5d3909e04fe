package auth0sim

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// eventStream pushes events to a webhook. Streams to other destinations are kept,
// and push nothing.
type eventStream struct {
	id       string
	name     string
	enabled  bool
	kinds    []string
	to       destination
	made     time.Time
	changed  time.Time
	failures int              // attempts in a row
	kept     []*eventDelivery // pending and failed ones, oldest first
	held     *hold            // of an event that waits for the next to overtake it
}

// connected is the id of the stream that ConnectEventStream makes, and a0stream
// of what the Events API tells: every event has one.
const connected = "est_simStream0000000000001"

// ConnectEventStream makes an Event Stream that sends user events to url with a
// bearer token, or replaces the one that it made before.
func (t *Tenant) ConnectEventStream(url, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropStream(connected)
	t.streams = append(t.streams, &eventStream{
		id: connected, name: "connected", enabled: true, kinds: []string{"user.created", "user.updated", "user.deleted"},
		to: destination{Type: webhook, Configuration: map[string]any{
			"webhook_endpoint": url, "webhook_authorization": map[string]any{"method": "bearer", "token": token},
		}},
		made: t.now(), changed: t.now(),
	})
}

func (t *Tenant) dropStream(id string) {
	t.streams = slices.DeleteFunc(t.streams, func(s *eventStream) bool {
		if s.id == id {
			s.enabled = false // and nothing more is tried
		}
		return s.id == id
	})
}

// stream finds a stream, or nil. t.mu is held.
func (t *Tenant) stream(id string) *eventStream {
	if i := slices.IndexFunc(t.streams, func(s *eventStream) bool { return s.id == id }); i >= 0 {
		return t.streams[i]
	}
	return nil
}

// events records an event about a user, and returns what the Event Streams send
// about it; before is the user's former state, if it had one. Events are at least
// once and in no order, and a disabled stream misses them. t.mu is held.
// https://auth0.com/docs/customize/events/events-best-practices
func (t *Tenant) events(kind string, u User, before *User) []delivery {
	e := t.record(kind, u, before)
	var out []delivery
	for _, s := range t.streams {
		if !s.enabled || t.faults.DropEvents || s.to.Type != webhook || !slices.Contains(s.kinds, kind) {
			continue
		}
		d := t.pushed(s, s.keep(e.id, kind, e.at, t.cloudEvent(e, s.id)))
		if t.faults.ReorderEvents || t.o.Rude {
			t.reorder(s, &d)
		}
		out = append(out, d)
		if t.faults.DuplicateEvents || t.o.Rude {
			out = append(out, d)
		}
	}
	return out
}

// pushed is the delivery of an event, with its attempts written down.
func (t *Tenant) pushed(s *eventStream, k *eventDelivery) delivery {
	return delivery{
		to: endpoint{url: s.to.endpoint()}, sign: s.to.authorize, id: k.id, body: encode(k.event),
		attempts: []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second}, within: 10 * time.Second,
		final: func(status int) bool { return status >= 200 && status < 300 || status >= 400 && status < 500 },
		wanted: func() bool {
			t.mu.Lock()
			defer t.mu.Unlock()
			return s.enabled
		},
		note: func(a attempt) { t.noteAttempt(s, k, a) },
		over: func() { t.endDelivery(s, k) },
	}
}

// noteAttempt counts failures, and disables a stream that has too many in a row.
func (t *Tenant) noteAttempt(s *eventStream, k *eventDelivery, a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k.attempts = append(k.attempts, a)
	if a.failure == "" {
		s.failures = 0
		return
	}
	if s.failures++; s.failures >= t.o.StreamGivesUp {
		s.enabled = false
	}
}

// endDelivery keeps what failed, to be asked for and delivered again.
func (t *Tenant) endDelivery(s *eventStream, k *eventDelivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(k.attempts); n > 0 && k.attempts[n-1].failure == "" && !k.attempts[n-1].again {
		s.kept = slices.DeleteFunc(s.kept, func(other *eventDelivery) bool { return other == k })
		return
	}
	k.failed = true
}

// reorder holds each second event of a stream back until the next has overtaken
// it. t.mu is held.
func (t *Tenant) reorder(s *eventStream, d *delivery) {
	if s.held != nil {
		d.frees, s.held = s.held, nil
		return
	}
	until, free := context.WithCancel(t.running)
	s.held = &hold{until, free}
	d.hold = s.held
}

// cloudEvent is an event as it is told. The schema of events has no text for
// email_verified.
func (t *Tenant) cloudEvent(e event, stream string) map[string]any {
	object := eventObject(e.user)
	if e.kind == "user.deleted" {
		object["deleted_at"] = stamp(e.at)
	}
	data := map[string]any{"object": object}
	if e.before != nil {
		data["previous_object"] = eventObject(*e.before)
	}
	return t.envelope(e.id, e.kind, e.at, data, stream)
}

func (t *Tenant) envelope(id, kind string, at time.Time, data any, stream string) map[string]any {
	return map[string]any{
		"specversion": "1.0", "id": id, "source": "urn:auth0:" + t.o.Domain, "type": kind, "time": stamp(at),
		"data": data, "a0tenant": t.o.Domain, "a0stream": stream,
	}
}

func eventObject(u User) map[string]any {
	object := profile(u)
	if u.Email != "" {
		object["email_verified"] = u.EmailVerified
	}
	return object
}

// authorize puts the destination's credentials on a request.
func (d destination) authorize(req *http.Request, _ delivery, _ time.Time) error {
	auth, _ := d.Configuration["webhook_authorization"].(map[string]any)
	text := func(name string) string { s, _ := auth[name].(string); return s }
	switch text("method") {
	case "bearer":
		req.Header.Set("Authorization", "Bearer "+text("token"))
	case "basic":
		req.SetBasicAuth(text("username"), text("password"))
	case "custom_header":
		req.Header.Set(text("header_key"), text("header_value"))
	}
	return nil
}
