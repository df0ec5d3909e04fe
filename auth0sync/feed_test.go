package auth0sync_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
)

// answering gives a token to whoever asks, and to every other call the same answer.
func answering(status int, contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/oauth/") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"t","token_type":"Bearer","expires_in":86400}`) // the client tells
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client tells
	})
}

// read follows the feed to the end of a connection.
func read(t *testing.T, h http.Handler, cursor string) (items []auth0sync.FeedItem, err error) {
	t.Helper()
	for item, err := range directory(t, h).Feed(t.Context(), cursor) {
		if err != nil {
			return items, err
		}
		items = append(items, item)
	}
	return items, nil
}

const stream = "text/event-stream; charset=utf-8"

const created = `{"id":"evt_1","type":"user.created","data":{"object":{"user_id":"auth0|1","email":"ada@example.com","email_verified":true}}}`

// The forms that the specification of Server-Sent Events allows, and those of Auth0.
func TestWhatTheFeedSays(t *testing.T) {
	t.Parallel()
	type message struct {
		cursor string
		event  string // its id; "": a heartbeat
	}
	event := `data: {"offset":"o1","event":` + created + "}\n\n"
	for name, test := range map[string]struct {
		body string
		want []message
	}{
		"an event":                   {"id: o1\nevent: user.created\n" + event, []message{{"o1", "evt_1"}}},
		"its cursor in it alone":     {"event: user.created\n" + event, []message{{"o1", "evt_1"}}},
		"a heartbeat":                {"id: o2\nevent: offset-only\ndata: {\"offset\":\"o2\"}\n\n", []message{{"o2", ""}}},
		"a heartbeat without data":   {"id: o2\nevent: offset-only\ndata:\n\n", []message{{"o2", ""}}},
		"returns and comments":       {":hello\r\n\r\nretry: 5\r\n\r\n" + strings.ReplaceAll("id: o1\n"+event, "\n", "\r\n"), []message{{"o1", "evt_1"}}},
		"data over several lines":    {"id: o1\ndata: {\"offset\":\"o1\",\ndata: \"event\":" + created + "}\n\n", []message{{"o1", "evt_1"}}},
		"cut before its end":         {"id: o1\n" + event + "id: o2\ndata: {\"off", []message{{"o1", "evt_1"}}},
		"ended as planned, in words": {"id: o1\n" + event + "event: error\ndata: {\"code\":\"connection_timeout\"}\n\n", []message{{"o1", "evt_1"}}},
		"nothing":                    {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items, err := read(t, answering(http.StatusOK, stream, test.body), "")
			if err != nil || len(items) != len(test.want)+1 || items[0] != (auth0sync.FeedItem{}) {
				t.Fatalf("%+v, %v", items, err)
			}
			for i, want := range test.want {
				got := items[i+1]
				if got.Cursor != want.cursor || (got.Delivery != nil) != (want.event != "") {
					t.Errorf("%+v", got)
				}
				if got.Delivery != nil && (got.Delivery.EventID != want.event || !got.Delivery.Understood) {
					t.Errorf("%+v", got.Delivery)
				}
			}
		})
	}
}

// What cannot be read must not stop the feed, nor pass unseen.
func TestAnEventThatIsNotUnderstoodIsKeptAside(t *testing.T) {
	t.Parallel()
	body := "id: o1\nevent: user.created\ndata: rubbish\n\n" +
		`data: {"offset":"o2","event":{"id":"evt_2","type":"user.created","data":{"object":{"user_id":"a\u0000b"}}}}` + "\n\n" +
		`data: {"offset":"o3","event":{"id":"evt_3","type":"connection.created"}}` + "\n\n"
	items, err := read(t, answering(http.StatusOK, stream, body), "")
	if err != nil || len(items) != 4 {
		t.Fatalf("%+v, %v", items, err)
	}
	if body := string(items[1].Delivery.Body); body != "rubbish" {
		t.Errorf("kept aside: %q", body)
	}
	for _, item := range items[1:] {
		if item.Delivery == nil || item.Delivery.Understood || item.Delivery.EventID == "" {
			t.Errorf("%+v", item)
		}
	}
}

func TestHowTheFeedFails(t *testing.T) {
	t.Parallel()
	refusal := func(code, message string) string { return `{"errorCode":"` + code + `","message":"` + message + `"}` }
	failure := func(code string) string { return "event: error\ndata: {\"code\":\"" + code + "\"}\n\n" }
	for name, test := range map[string]struct {
		status     int
		kind, body string
		want       error
	}{
		"the cursor is too old":     {http.StatusGone, "application/json", "{}", auth0sync.ErrCursor},
		"the cursor is wrong":       {http.StatusBadRequest, "application/json", refusal("invalid_cursor", ""), auth0sync.ErrCursor},
		"the cursor is of no form":  {http.StatusBadRequest, "application/json", "{}", auth0sync.ErrCursor},
		"no plan for it":            {http.StatusForbidden, "application/json", refusal("", "Not enabled"), auth0sync.ErrForbidden},
		"no such endpoint":          {http.StatusNotFound, "text/html", "<html>", auth0sync.ErrForbidden},
		"too many connections":      {http.StatusForbidden, "application/json", refusal("", "Maximum concurrent event stream connections reached"), auth0sync.ErrRateLimited},
		"not a stream":              {http.StatusOK, "text/html", "<html>", auth0sync.ErrUnavailable},
		"down":                      {http.StatusBadGateway, "text/html", "", auth0sync.ErrUnavailable},
		"told that it is too old":   {http.StatusOK, stream, failure("cursor_expired"), auth0sync.ErrCursor},
		"told that it is wrong":     {http.StatusOK, stream, failure("invalid_cursor"), auth0sync.ErrCursor},
		"told of trouble":           {http.StatusOK, stream, failure("processing_error"), auth0sync.ErrUnavailable},
		"an event too large for it": {http.StatusOK, stream, failure("payload_too_large"), auth0sync.ErrCursor},
		"an event too large for us": {http.StatusOK, stream, "data: " + strings.Repeat("x", 5<<20) + "\n\n", auth0sync.ErrCursor},
		"an event without end":      {http.StatusOK, stream, "data: " + strings.Repeat("x\ndata: ", 1<<20), auth0sync.ErrCursor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := read(t, answering(test.status, test.kind, test.body), "o1"); !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Auth0 says when to come again; that is for whoever calls, beyond some seconds.
func TestTheFeedSaysWhenToComeAgain(t *testing.T) {
	t.Parallel()
	next := answering(http.StatusTooManyRequests, "application/json", "{}")
	_, err := read(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "300")
		next.ServeHTTP(w, r)
	}), "")
	var later *auth0sync.LaterError
	if !errors.As(err, &later) || later.After != 5*time.Minute || !errors.Is(err, auth0sync.ErrRateLimited) {
		t.Errorf("%v", err)
	}
}
