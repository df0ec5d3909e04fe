package auth0sim

import (
	"context"
	"net/http"
	"time"
)

// ConnectEventStream has user events sent to url with a bearer token.
func (t *Tenant) ConnectEventStream(url, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stream = &endpoint{url, token}
}

// events records an event about a user, and returns what the Event Stream sends
// about it; before is the user's former state, if it had one. Events are at least
// once and in no order. t.mu is held.
// https://auth0.com/docs/customize/events/events-best-practices
func (t *Tenant) events(kind string, u User, before *User) []delivery {
	e := t.record(kind, u, before)
	if t.stream == nil || t.faults.DropEvents {
		return nil
	}
	d := delivery{
		to: *t.stream, sign: bearer, id: e.id, body: encode(t.cloudEvent(e, feedStream)),
		attempts: []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second}, within: 10 * time.Second,
		final: func(status int) bool { return status >= 200 && status < 300 || status >= 400 && status < 500 },
	}
	if t.faults.ReorderEvents || t.o.Rude {
		t.reorder(&d)
	}
	if t.faults.DuplicateEvents || t.o.Rude {
		return []delivery{d, d}
	}
	return []delivery{d}
}

// reorder holds each second event back until the next has overtaken it. t.mu is
// held.
func (t *Tenant) reorder(d *delivery) {
	if t.held != nil {
		d.frees, t.held = t.held, nil
		return
	}
	until, free := context.WithCancel(t.running)
	t.held = &hold{until, free}
	d.hold = t.held
}

// feedStream is a0stream where there is no Event Stream: every event has one.
const feedStream = "est_simStream0000000000001"

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
	return map[string]any{
		"specversion": "1.0", "id": e.id, "source": "urn:auth0:" + t.o.Domain, "type": e.kind, "time": stamp(e.at),
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

func bearer(req *http.Request, d delivery, _ time.Time) error {
	req.Header.Set("Authorization", "Bearer "+d.to.secret)
	return nil
}
