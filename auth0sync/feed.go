package auth0sync

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tmaxmax/go-sse"

	"github.com/ahiko-io/customersync/customer"
)

// ErrCursor says that there is no going on from a cursor: what came after it may be
// lost.
var ErrCursor = errors.New("there is no going on from this cursor")

// LaterError is a refusal that says when to come again.
type LaterError struct {
	After time.Duration
	Err   error
}

func (e *LaterError) Error() string { return fmt.Sprintf("%v; again after %s", e.Err, e.After) }

// Unwrap returns the refusal.
func (e *LaterError) Unwrap() error { return e.Err }

// FeedItem is a message of the event feed.
type FeedItem struct {
	Cursor   string             // to go on behind it; "" if the connection has just been made
	Delivery *customer.Delivery // what happened; nil for a heartbeat
}

const (
	// feedQuiet is how long the feed may be silent, heartbeats included.
	feedQuiet = 90 * time.Second
	// longestEvent is the most bytes an event may have: a user.updated has the profile
	// twice, and Auth0 keeps profiles below 1 MB.
	longestEvent = 4 << 20
	// longestCursor is the most bytes a cursor may have: it has to go into an URL.
	longestCursor = 4 << 10
)

// Feed follows Auth0's event feed from behind a cursor, or with "" from now on.
// It first yields an item without a cursor, once the connection stands. Auth0 ends
// connections every few minutes, which is the end without an error. Errors:
// ErrCursor, ErrForbidden (the plan has no feed, or the scope read:events is
// missing), and all others of this package, after which another try may do.
// https://auth0.com/docs/customize/events/consume-events-with-events-api
func (d *Directory) Feed(ctx context.Context, cursor string) iter.Seq2[FeedItem, error] {
	return func(yield func(FeedItem, error) bool) {
		body, err := d.subscribe(ctx, cursor)
		if err != nil {
			yield(FeedItem{}, fmt.Errorf("event feed: %w", err))
			return
		}
		defer func() { _ = body.Close() }() // it may go on for ever
		if !yield(FeedItem{}, nil) {
			return
		}
		for item, err := range feedItems(body) {
			if !yield(item, err) {
				return
			}
		}
	}
}

// feedItems reads the messages of a connection, up to the first failure.
func feedItems(body io.Reader) iter.Seq2[FeedItem, error] {
	return func(yield func(FeedItem, error) bool) {
		for event, err := range sse.Read(body, &sse.ReadConfig{MaxEventSize: longestEvent}) {
			item, err := feedItem(event, err)
			if errors.Is(err, errNothing) {
				continue
			}
			if errors.Is(err, errOver) {
				return
			}
			if err != nil {
				err = fmt.Errorf("event feed: %w", err)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

func (d *Directory) subscribe(ctx context.Context, cursor string) (io.ReadCloser, error) {
	query := url.Values{"event_type": userEvents()}
	if cursor != "" {
		query.Set("from", cursor)
	}
	res, err := d.send(context.WithValue(ctx, quietKey{}, feedQuiet), http.MethodGet, []string{"events"}, query, nil)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // no type is a wrong one too
	if res.StatusCode == http.StatusOK && kind == "text/event-stream" {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }() // what matters has been read
	err = feedRefusal(res, cursor)
	if after, ok := retryAfter(res.Header); ok && after > 0 {
		return nil, &LaterError{After: after, Err: err}
	}
	return nil, err
}

// feedRefusal says why there is no feed. The only part of the question that may be
// wrong is the cursor.
func feedRefusal(res *http.Response, cursor string) error {
	var answer struct {
		Message string `json:"message"`
		Code    string `json:"errorCode"`
	}
	_ = json.NewDecoder(res.Body).Decode(&answer) // without it the status must do
	switch {
	case res.StatusCode == http.StatusOK:
		return fmt.Errorf("%w: the answer is not a stream of events", ErrUnavailable)
	case res.StatusCode == http.StatusBadRequest && cursor != "", res.StatusCode == http.StatusGone, answer.Code == "cursor_expired", answer.Code == "invalid_cursor":
		return ErrCursor
	case res.StatusCode == http.StatusForbidden && strings.Contains(strings.ToLower(answer.Message), "maximum concurrent"):
		return fmt.Errorf("%w: as many connections as the plan allows are in use", ErrRateLimited)
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: the tenant has no event feed", ErrForbidden)
	}
	return statusError(res.StatusCode)
}

// What a message may amount to beside an item and a failure.
var (
	errNothing = errors.New("nothing said")
	errOver    = errors.New("the connection has lasted long enough")
)

// feedItem reads a message. An event that is too large for us or for Auth0 would
// come again and again: there is no way but around it.
func feedItem(event sse.Event, err error) (FeedItem, error) {
	if errors.Is(err, bufio.ErrTooLong) {
		return FeedItem{}, fmt.Errorf("%w: the event behind it is too large", ErrCursor)
	}
	if err != nil {
		return FeedItem{}, fmt.Errorf("%w: broken off: %w", ErrUnavailable, err)
	}
	var message struct {
		Offset string          `json:"offset"`
		Event  json.RawMessage `json:"event"`
		Code   string          `json:"code"`
	}
	_ = json.Unmarshal([]byte(event.Data), &message) // what it lacks is seen below
	item := FeedItem{Cursor: event.LastEventID}
	if item.Cursor == "" {
		item.Cursor = message.Offset
	}
	switch {
	case event.Type == "error" && (message.Code == "cursor_expired" || message.Code == "invalid_cursor"):
		return FeedItem{}, ErrCursor
	case event.Type == "error" && message.Code == "payload_too_large":
		return FeedItem{}, fmt.Errorf("%w: the event behind it is too large", ErrCursor)
	case event.Type == "error" && (message.Code == "connection_timeout" || message.Code == "timeout"):
		return FeedItem{}, errOver
	case event.Type == "error":
		return FeedItem{}, fmt.Errorf("%w: the feed says %q", ErrUnavailable, message.Code)
	case item.Cursor == "":
		return FeedItem{}, errNothing
	case len(item.Cursor) > longestCursor || !utf8.ValidString(item.Cursor) || hasControl(item.Cursor):
		return FeedItem{}, fmt.Errorf("%w: a cursor that is no text", ErrUnavailable)
	case event.Type == "offset-only":
		return item, nil
	}
	if message.Event == nil { // not understood: kept aside as it came
		message.Event = json.RawMessage(event.Data)
	}
	delivery := readEvent(message.Event)
	item.Delivery = &delivery
	return item, nil
}

type quietKey struct{}
