package auth0sim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// longestFeed is how many events are kept; older ones count as expired.
	longestFeed = 10_000
	feedBeat    = 15 * time.Second
	feedCycle   = 5 * time.Minute
	feedRetry   = 1000 // milliseconds that a client should wait before it comes back
)

// feedEvent is an event as the feed keeps it.
type feedEvent struct {
	number int64 // grows by one with each
	at     time.Time
	kind   string
	body   []byte // a CloudEvent
}

// feed is what GET /api/v2/events reads from.
type feed struct {
	events      []feedEvent
	last        int64         // number of the newest, there or not
	floor       int64         // offsets before this one have expired
	changed     chan struct{} // closed, and made anew, when there is more to say
	cycles      int           // moves when all connections are to end
	say         string        // code of an error that each connection is told; "": none
	connections int
}

// publish adds an event to the feed. t.mu is held.
func (t *Tenant) publish(kind string, body []byte) {
	t.feed.last++
	t.feed.events = append(t.feed.events, feedEvent{t.feed.last, t.now(), kind, body})
	if drop := len(t.feed.events) - longestFeed; drop > 0 {
		t.feed.floor = t.feed.events[drop-1].number
		t.feed.events = slices.Clone(t.feed.events[drop:])
	}
	t.wakeFeed()
}

// wakeFeed lets connections look again. t.mu is held.
func (t *Tenant) wakeFeed() {
	close(t.feed.changed)
	t.feed.changed = make(chan struct{})
}

// CycleFeed ends all connections of the event feed, as Auth0 does every few
// minutes.
func (t *Tenant) CycleFeed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.cycles++
	t.wakeFeed()
}

// ExpireFeed makes every offset that was given out too old, and all events so far
// unreachable.
func (t *Tenant) ExpireFeed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.last++ // so that the newest offset is old as well
	t.feed.floor, t.feed.events = t.feed.last, nil
	t.feed.cycles++
	t.wakeFeed()
}

// FailFeed ends all connections with an error message of this code.
func (t *Tenant) FailFeed(code string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.say = code
	t.feed.cycles++
	t.wakeFeed()
}

func offset(number int64) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "sim-%d", number))
}

func numberOf(offset string) (int64, bool) {
	text, err := base64.RawURLEncoding.DecodeString(offset)
	rest, ok := strings.CutPrefix(string(text), "sim-")
	number, err2 := strconv.ParseInt(rest, 10, 64)
	return number, ok && err == nil && err2 == nil
}

// serveEvents is the event feed.
// https://auth0.com/docs/customize/events/consume-events-with-events-api
func (t *Tenant) serveEvents(w http.ResponseWriter, r *http.Request) {
	c, ok := t.subscribe(w, r)
	if !ok {
		return
	}
	defer t.unsubscribe()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = fmt.Fprintf(w, ":connected\n\nretry: %d\n\n", feedRetry) // the client is gone: the context tells
	c.run(t, w, r)
}

// subscriber is one connection of the feed.
type subscriber struct {
	seen   int64 // number of the last event it was given
	cycle  int
	wanted []string // types of events; empty: all
}

// subscribe settles where a connection starts, or refuses it.
func (t *Tenant) subscribe(w http.ResponseWriter, r *http.Request) (*subscriber, bool) {
	q := r.URL.Query()
	from := q.Get("from")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		from = last
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &subscriber{seen: t.feed.last, cycle: t.feed.cycles, wanted: q["event_type"]}
	number, known := numberOf(from)
	since, timeErr := time.Parse(time.RFC3339, q.Get("from_timestamp"))
	switch {
	case t.o.NoEvents:
		apiError(w, http.StatusForbidden, "Forbidden", "Events are not enabled for this tenant.", "operation_not_supported")
		return nil, false
	case t.feed.connections >= t.o.FeedConnections:
		apiError(w, http.StatusForbidden, "Forbidden", "Maximum concurrent event stream connections reached", "")
		return nil, false
	case from != "" && (!known || number > t.feed.last), from == "" && q.Has("from_timestamp") && timeErr != nil:
		badRequest(w, "Query validation error: 'Invalid cursor' on property from.", "invalid_cursor")
		return nil, false
	case from != "" && number < t.expired():
		apiError(w, http.StatusGone, "Gone", "The offset has expired.", "cursor_expired")
		return nil, false
	case from != "":
		c.seen = number
		if t.o.Rude && number > t.feed.floor {
			c.seen-- // at least once
		}
	case q.Has("from_timestamp"):
		c.seen = t.numberBefore(since)
	}
	t.feed.connections++
	return c, true
}

// expired is the oldest offset that is still good. t.mu is held.
func (t *Tenant) expired() int64 {
	floor := t.feed.floor
	for _, e := range t.feed.events {
		if t.now().Sub(e.at) > t.o.FeedRetention {
			floor = e.number
		}
	}
	return floor
}

// numberBefore is the last event before a time. t.mu is held.
func (t *Tenant) numberBefore(since time.Time) int64 {
	number := t.expired()
	for _, e := range t.feed.events {
		if e.at.Before(since) {
			number = max(number, e.number)
		}
	}
	return number
}

func (t *Tenant) unsubscribe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.connections--
}

// run sends what there is, and what comes, until the connection is cycled.
func (c *subscriber) run(t *Tenant, w http.ResponseWriter, r *http.Request) {
	beat, end := time.NewTicker(feedBeat), time.After(feedCycle)
	defer beat.Stop()
	for {
		text, changed, over := c.next(t)
		if _, err := w.Write(text); err != nil || over { //nolint:gosec // the events are the tenant's own
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-t.running.Done():
			return
		case <-end:
			return
		case <-changed:
		case <-beat.C:
			c.beat(t, w)
		}
	}
}

// next is what a connection has not been told yet, and whether it is over.
func (c *subscriber) next(t *Tenant) (text []byte, changed chan struct{}, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.cycle != t.feed.cycles {
		if t.feed.say != "" {
			text = fmt.Appendf(text, "event: error\ndata: {\"code\":%q,\"message\":\"simulated\"}\n\n", t.feed.say)
			t.feed.say = ""
		}
		return text, nil, true
	}
	for _, e := range t.feed.events {
		if e.number <= c.seen {
			continue
		}
		c.seen = e.number
		if len(c.wanted) > 0 && !slices.Contains(c.wanted, e.kind) {
			continue
		}
		text = fmt.Appendf(text, "id: %s\nevent: %s\ndata: {\"type\":%q,\"offset\":%q,\"event\":%s}\n\n", offset(e.number), e.kind, e.kind, offset(e.number), e.body)
	}
	return text, t.feed.changed, false
}

// beat tells how far the feed is although nothing happens.
func (c *subscriber) beat(t *Tenant, w http.ResponseWriter) {
	t.mu.Lock()
	c.seen = max(c.seen, t.feed.floor)
	at := offset(c.seen)
	t.mu.Unlock()
	_, _ = fmt.Fprintf(w, "id: %s\nevent: offset-only\ndata: {\"type\":\"offset-only\",\"offset\":%q}\n\n", at, at) // the client is gone: the context tells
}

// FeedConnections is how many connections the event feed has.
func (t *Tenant) FeedConnections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.feed.connections
}
