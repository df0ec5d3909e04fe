package auth0sim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sseFrame is what the Events API sends between two blank lines.
type sseFrame struct {
	id, event, retry string
	data             struct {
		Offset, Code string
		Event        struct {
			ID, Type, Time, A0stream string
			Data                     struct {
				Object         map[string]any
				PreviousObject map[string]any `json:"previous_object"`
			}
		}
	}
}

// feed is an open connection of the Events API.
type feed struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

func (c client) feed(query string, header ...string) *feed {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", c.url+"/api/v2/events"+query, nil)
	c.must(err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	c.must(err)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		c.t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	f := &feed{c.t, bufio.NewScanner(res.Body), func() { cancel(); _ = res.Body.Close() }}
	f.lines.Buffer(nil, 1<<20)
	c.t.Cleanup(f.close)
	return f
}

// frame is the next one; ok is false at the end of the connection.
func (f *feed) frame() (s sseFrame, ok bool) {
	f.t.Helper()
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch name {
		case "":
			return s, true
		case "id":
			s.id = value
		case "event":
			s.event = value
		case "retry":
			s.retry = value
		case "data":
			if err := json.Unmarshal([]byte(value), &s.data); err != nil {
				f.t.Fatal(err)
			}
		}
	}
	return s, false
}

// want is the next frame that is not a retry; it must be of this kind.
func (f *feed) want(kind string) sseFrame {
	f.t.Helper()
	s, ok := f.frame()
	if ok && s.retry != "" {
		s, ok = f.frame()
	}
	if !ok || s.event != kind || s.id != s.data.Offset {
		f.t.Fatalf("%v %+v, want %s", ok, s, kind)
	}
	return s
}

func (f *feed) wantEnd() {
	f.t.Helper()
	if s, ok := f.frame(); ok {
		f.t.Fatalf("%+v, want the end", s)
	}
}

func TestFeedTellsWhatHappensAndResumes(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{FeedRetry: 7 * time.Millisecond})
	c.signUp(SignUp{UserID: "auth0|before", Email: "before@example.com"})
	f := c.feed("")
	if s, _ := f.frame(); s.retry != "7" {
		t.Errorf("%+v", s)
	}
	f.want("offset-only")
	u := c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com", DropDeliveries: true})
	created := f.want("user.created")
	if e := created.data.Event; len(e.ID) != 26 || !strings.HasPrefix(e.ID, "evt_") || e.Type != created.event || e.A0stream == "" ||
		e.Data.Object["user_id"] != "auth0|a" || e.Data.Object["email"] != "ada@example.com" {
		t.Errorf("%+v", e)
	}
	c.must(c.tenant.ChangeEmail(u.ID, "new@example.com"))
	if e := f.want("user.updated").data.Event; e.Data.Object["email"] != "new@example.com" || e.Data.PreviousObject["email"] != "ada@example.com" {
		t.Errorf("%+v", e)
	}
	f.close()
	c.must(c.tenant.Delete(u.ID))
	for _, resumed := range []*feed{
		c.feed("?from=" + created.id),
		c.feed("?from=anything", "Last-Event-ID", created.id), // a client that reconnects by itself keeps its query
	} {
		resumed.want("user.updated")
		if e := resumed.want("user.deleted").data.Event; e.Data.Object["deleted_at"] == nil || e.Data.Object["email"] != "new@example.com" {
			t.Errorf("%+v", e)
		}
		resumed.close()
	}
}

func TestFeedBeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	k := newClock()
	c := serve(t, Options{Now: k.now})
	c.signUp(SignUp{UserID: "auth0|a"})
	c.tenant.Advance(time.Hour)
	c.signUp(SignUp{UserID: "auth0|b"})
	c.must(c.tenant.Verify("auth0|a"))
	f := c.feed("?from_timestamp=2026-02-01T12:30:00Z&event_type=user.created&event_type=user.deleted")
	if s := f.want("user.created"); s.data.Event.Data.Object["user_id"] != "auth0|b" {
		t.Errorf("%+v", s)
	}
	c.must(c.tenant.Delete("auth0|a"))
	f.want("user.deleted")
}

func TestFeedBeatsAndIsClosedByTheClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		goodbye bool
	}{"silently": {false}, "with an error frame": {true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, Options{FeedBeats: time.Minute, FeedLasts: 5 * time.Minute, FeedSaysGoodbye: test.goodbye})
			f := c.feed("")
			first := f.want("offset-only")
			c.tenant.Advance(time.Minute)
			if second := f.want("offset-only"); second.id == first.id {
				t.Errorf("%s again", second.id)
			}
			c.tenant.Advance(4 * time.Minute)
			if test.goodbye {
				if s, _ := f.frame(); s.event != "error" || s.data.Code != "connection_timeout" {
					t.Errorf("%+v", s)
				}
			}
			f.wantEnd()
		})
	}
}

func TestFeedIsEndedOnDemand(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	f := c.feed("")
	f.want("offset-only")
	if n := c.do("POST", "/_sim/feed", `{"cycle":true}`).want(200, "").object()["connections"]; n != 1.0 {
		t.Errorf("%v connections", n)
	}
	f.wantEnd()
	f = c.feed("")
	f.want("offset-only")
	c.do("POST", "/_sim/feed", `{"error":"processing_error"}`).want(200, "")
	if s, _ := f.frame(); s.event != "error" || s.data.Code != "processing_error" {
		t.Errorf("%+v", s)
	}
	f.wantEnd()
	c.feed("").want("offset-only")
}

func TestOffsetsExpire(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(client)
	}{
		"with time":          {func(c client) { c.tenant.Advance(2*time.Hour + time.Millisecond) }},
		"with their events":  {func(c client) { c.tenant.Advance(2*time.Hour + time.Millisecond); c.signUp(SignUp{}) }},
		"all, on a whim":     {func(c client) { c.do("POST", "/_sim/feed", `{"expire":true}`).want(200, "") }},
		"all, and more came": {func(c client) { c.tenant.ExpireFeed(); c.signUp(SignUp{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, Options{FeedRetention: 2 * time.Hour})
			c.signUp(SignUp{})
			at := c.feed("").want("offset-only").id
			again := c.feed("?from=" + at)
			again.want("offset-only")
			again.close()
			test.spoil(c)
			c.do("GET", "/api/v2/events?from="+at, "").want(410, "cursor_expired")
			c.feed("").want("offset-only")
		})
	}
}

func TestFeedRefuses(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	for query, code := range map[string]string{
		"?from=x":                                     "invalid_cursor",
		"?from=c2ltLW9mZnNldDowOjk6MA":                "invalid_cursor", // the future
		"?from_timestamp=yesterday":                   "invalid_cursor",
		"?from=x&from_timestamp=2026-02-01T12:00:00Z": "invalid_cursor",
		"?event_type=user.blocked":                    "invalid_query_string",
		"?take=1":                                     "invalid_query_string",
	} {
		c.do("GET", "/api/v2/events"+query, "").want(400, code)
	}
	c.do("GET", "/api/v2/events?from_timestamp=2025-02-01T12:00:00Z", "").want(410, "cursor_expired")
	for status, code := range map[int]string{403: "operation_not_supported", 404: ""} {
		c.do("POST", "/_sim/feed", fmt.Sprintf(`{"refuse":%d}`, status)).want(200, "")
		c.do("GET", "/api/v2/events", "").want(status, code)
	}
	c.do("POST", "/_sim/feed", `{"refuse":0}`).want(200, "")
	c.feed("").want("offset-only")
	narrow := serve(t, Options{Scopes: []string{"read:users"}})
	narrow.do("GET", "/api/v2/events", "").want(403, "insufficient_scope")
}

func TestFeedHasSoManyConnectionsByPlan(t *testing.T) {
	t.Parallel()
	for plan, most := range map[Plan]int{PlanFree: 1, PlanEssentials: 4, PlanEnterprise: 8} {
		t.Run(string(plan), func(t *testing.T) {
			t.Parallel()
			c := serve(t, Options{Plan: plan})
			var last *feed
			for range most {
				last = c.feed("")
				last.want("offset-only")
			}
			if got := c.do("GET", "/api/v2/events", "").want(403, "").object(); got["message"] != "Maximum concurrent event stream connections reached" {
				t.Errorf("%v", got)
			}
			if plan == PlanFree {
				if got := c.do("GET", "/api/v2/events", "").want(429, "too_many_requests"); got.header.Get("Retry-After") != "1" {
					t.Errorf("%v", got.header)
				}
			}
			c.tenant.CycleFeed()
			last.wantEnd()
		})
	}
}

func TestRudeFeedRepeatsAndReorders(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Rude: true})
	f := c.feed("") // the neighbours made no events
	f.want("offset-only")
	c.signUp(SignUp{UserID: "auth0|a"})
	c.must(c.tenant.Verify("auth0|a"))
	updated := f.want("user.updated")
	created := f.want("user.created")
	f.close()
	again := c.feed("?from=" + created.id)
	if s := again.want("user.updated"); s.id != updated.id || s.data.Event.ID != updated.data.Event.ID {
		t.Errorf("%+v", s)
	}
	again.want("user.created")
	c.must(c.tenant.Block("auth0|a", true)) // held back, with nothing to overtake it
	c.tenant.Advance(longestHold)
	again.want("user.updated")
}

func TestFeedIsCutAndRepeatsWhatItsFaultsSay(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.do("PUT", "/_sim/faults", `{"duplicate_events":true,"requests":[{"endpoint":"GET /api/v2/events","cut_after":160,"times":1}]}`).want(200, "")
	f := c.feed("")
	f.want("offset-only")
	c.signUp(SignUp{})
	f.wantEnd()
	f = c.feed("?from_timestamp=2026-02-01T12:00:00Z")
	first := f.want("user.created")
	if second := f.want("user.created"); first.id != second.id {
		t.Error("another one")
	}
}
