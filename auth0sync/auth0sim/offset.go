package auth0sim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// offset is a place in the event log. Auth0's are opaque: so are these on the
// wire.
type offset struct {
	epoch    int
	position int64     // of the next event
	at       time.Time // when it was handed out
}

const offsetForm = "sim-offset:%d:%d:%d"

func (o offset) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, offsetForm, o.epoch, o.position, o.at.UnixMilli()))
}

func parseOffset(text string) (offset, error) {
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return offset{}, err
	}
	var o offset
	var ms int64
	if _, err := fmt.Sscanf(string(plain), offsetForm, &o.epoch, &o.position, &ms); err != nil {
		return offset{}, err
	}
	o.at = time.UnixMilli(ms)
	if o.String() != text {
		return offset{}, errors.New("something follows the offset")
	}
	return o, nil
}

// What is wrong with where a reader wants to begin. Auth0's wording is not known.
var (
	errBadOffset     = errors.New("invalid_cursor")
	errExpiredOffset = errors.New("cursor_expired")
)

// start is where a reader begins: after Last-Event-ID, which reconnecting clients
// send, or from, or at from_timestamp; without any, with what comes. t.mu is
// held.
func (t *Tenant) start(header http.Header, values url.Values) (int64, error) {
	from := header.Get("Last-Event-Id")
	if from == "" {
		from = values.Get("from")
	}
	switch {
	case values.Has("from") && values.Has("from_timestamp"):
		return 0, errBadOffset
	case from != "":
		return t.startAt(from)
	case values.Has("from_timestamp"):
		return t.startOn(values.Get("from_timestamp"))
	}
	return t.eventLog.next(), nil
}

// startAt finds an offset. A rude tenant repeats the two events before it.
func (t *Tenant) startAt(text string) (int64, error) {
	l := &t.eventLog
	o, err := parseOffset(text)
	switch {
	case err != nil, o.epoch > l.epoch, o.position > l.next():
		return 0, errBadOffset
	case o.epoch < l.epoch, o.position < l.gone, o.at.Before(t.now().Add(-t.o.FeedRetention)):
		return 0, errExpiredOffset
	case t.o.Rude:
		return max(o.position-2, l.gone), nil
	}
	return o.position, nil
}

// startOn finds the first event that is not older.
func (t *Tenant) startOn(text string) (int64, error) {
	since, err := time.Parse(time.RFC3339, text)
	l := &t.eventLog
	switch {
	case err != nil:
		return 0, errBadOffset
	case since.Before(t.now().Add(-t.o.FeedRetention)):
		return 0, errExpiredOffset
	}
	for i, e := range l.kept {
		if !e.at.Before(since) {
			return l.gone + int64(i), nil
		}
	}
	return l.next(), nil
}

// eventTypes are those that Auth0 tells of, in kinds.
var eventTypes = regexp.MustCompile(`^(user\.(created|updated|deleted)|(organization|group|connection)(\.[a-z]+)+)$`)
