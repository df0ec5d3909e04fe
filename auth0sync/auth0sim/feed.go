package auth0sim

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// reader is an open connection of the Events API.
type reader struct {
	types    []string // none: all
	position int64    // of the next event
	ended    int      // of the log, as it was when this one began
	began    time.Time
	spoke    time.Time
}

// readers is how many connections of the Events API a plan allows at once.
// https://auth0.com/docs/customize/events/consume-events-with-events-api
func (p Plan) readers() int {
	switch p {
	case PlanFree:
		return 1
	case PlanEssentials:
		return 4
	case PlanUnlimited, PlanEnterprise, PlanEnterpriseDev:
	}
	return 8
}

// serveEvents is the Events API: events as they happen, by Server-Sent Events.
// https://auth0.com/docs/customize/events/consume-events-with-events-api
func (t *Tenant) serveEvents(w http.ResponseWriter, r *http.Request) {
	s := t.subscribe(w, r)
	if s == nil {
		return
	}
	defer t.unsubscribe()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	hello := fmt.Appendf(nil, "retry: %d\n\n", t.o.FeedRetry.Milliseconds())
	for out := hello; ; {
		if !flush(w, out) {
			return
		}
		more, wait, changed := t.due(s)
		if wait == 0 {
			flush(w, more)
			return
		}
		if out = more; len(out) > 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.Context().Done():
		case <-t.running.Done():
		}
		timer.Stop()
		if r.Context().Err() != nil || t.running.Err() != nil {
			return
		}
	}
}

// flush writes at once; false if nobody reads any more or the connection is to be
// cut here.
func flush(w http.ResponseWriter, b []byte) bool {
	_, err := w.Write(b) //nolint:gosec // the events are the tenant's own
	if c, cut := w.(*cutter); cut {
		return err == nil && c.left > 0 // it flushes by itself
	}
	return errors.Join(err, http.NewResponseController(w).Flush()) == nil
}

// refusesEvents answers for a tenant without events. Auth0's words for it are not
// known.
func (t *Tenant) refusesEvents(w http.ResponseWriter) bool {
	t.mu.Lock()
	none, status := t.o.NoEvents, t.o.NoEventsStatus
	t.mu.Unlock()
	switch {
	case none && status == http.StatusNotFound:
		apiError(w, status, "Not Found", "Not Found", "")
	case none:
		apiError(w, http.StatusForbidden, "Forbidden", "Events are not enabled for this tenant.", "operation_not_supported")
	}
	return none
}

// withEvents is a route that a tenant without events does not have.
func withEvents(serve func(*Tenant, http.ResponseWriter, *http.Request)) func(*Tenant, http.ResponseWriter, *http.Request) {
	return func(t *Tenant, w http.ResponseWriter, r *http.Request) {
		if !t.refusesEvents(w) {
			serve(t, w, r)
		}
	}
}

// subscribe takes a reader on, or answers why not.
func (t *Tenant) subscribe(w http.ResponseWriter, r *http.Request) *reader {
	values := r.URL.Query()
	for _, kind := range values["event_type"] {
		if !eventTypes.MatchString(kind) {
			badRequest(w, "Query validation error: 'No enum match for: "+kind+"' on property event_type.", "invalid_query_string")
			return nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetEvents()
	position, err := t.start(r.Header, values)
	l, now := &t.eventLog, t.now()
	switch {
	case errors.Is(err, errExpiredOffset):
		apiError(w, http.StatusGone, "Gone", "The offset has expired.", err.Error())
		return nil
	case err != nil:
		badRequest(w, "The offset is invalid.", err.Error())
		return nil
	case l.readers >= cmp.Or(t.o.FeedConnections, t.o.Plan.readers()):
		apiError(w, http.StatusForbidden, "Forbidden", "Maximum concurrent event stream connections reached", "")
		return nil
	}
	l.readers++
	return &reader{types: values["event_type"], position: position, ended: l.ended, began: now}
}

func (t *Tenant) unsubscribe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eventLog.readers--
}

// burst is how many events a reader gets before it is looked after again.
const burst = 100

// due is what a reader is to be sent now, and how long to wait, for changed, when
// that is nothing. A wait of 0 ends the connection. The first thing that a reader
// hears, and the last of a silence, is where it stands.
func (t *Tenant) due(s *reader) (out []byte, wait time.Duration, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, now := &t.eventLog, t.now()
	lasts, quiet := s.began.Add(t.o.FeedLasts).Sub(now), s.spoke.Add(t.o.FeedBeats).Sub(now)
	held := quiet
	if l.held != nil {
		if held = l.heldAt.Add(longestHold).Sub(now); held <= 0 {
			t.letIn()
			held = quiet
		}
	}
	switch {
	case s.ended != l.ended && l.failure != "":
		return failureFrame(l.failure), 0, nil
	case s.ended != l.ended:
		return nil, 0, nil
	case lasts <= 0 && t.o.FeedSaysGoodbye:
		return failureFrame("connection_timeout"), 0, nil
	case lasts <= 0:
		return nil, 0, nil
	case s.position < l.gone: // too slow for what is kept
		return failureFrame(errExpiredOffset.Error()), 0, nil
	}
	if out = t.unread(s); len(out) == 0 && quiet <= 0 {
		o := offset{l.epoch, s.position, now}.String()
		out = frame(o, "offset-only", map[string]any{"offset": o})
	}
	if len(out) > 0 {
		s.spoke = now
	}
	return out, max(min(lasts, quiet, held), time.Millisecond), l.changed
}

// unread are the frames of the next events. t.mu is held.
func (t *Tenant) unread(s *reader) []byte {
	l := &t.eventLog
	var out []byte
	for n := 0; s.position < l.next() && n < burst; {
		e := l.kept[s.position-l.gone]
		s.position++
		if len(s.types) > 0 && !slices.Contains(s.types, e.kind) {
			continue
		}
		n++
		o := offset{l.epoch, s.position, e.at}.String()
		one := frame(o, e.kind, map[string]any{"offset": o, "event": t.cloudEvent(e, connected)})
		out = append(out, one...)
		if t.faults.DuplicateEvents {
			out = append(out, one...)
		}
	}
	return out
}

func frame(id, kind string, data any) []byte {
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, encode(data))
	return b.Bytes()
}

func failureFrame(code string) []byte { return frame("", "error", map[string]any{"code": code}) }
