package auth0sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// EventStream is ours in the tenant, as Auth0 tells of it.
type EventStream struct {
	ID      string
	Enabled bool
}

// ErrNoStream says that the tenant has no Event Stream that setup made.
var ErrNoStream = errors.New("the tenant has no Event Stream that setup made with our token")

// OurStream finds the Event Stream that SetUp made with one of our tokens, by its
// name. ErrForbidden: the scope read:event_streams is missing.
func (d *Directory) OurStream(ctx context.Context) (EventStream, error) {
	s, err := d.ourStream(ctx, "", d.config.StreamTokens)
	switch {
	case err != nil:
		return EventStream{}, fmt.Errorf("event stream: %w", needs(err, "read:event_streams"))
	case s == nil:
		return EventStream{}, ErrNoStream
	}
	return EventStream{ID: s.ID, Enabled: s.Status == "enabled"}, nil
}

// EnableStream has a stream deliver again. What happened while it was disabled it
// does not tell.
// https://auth0.com/docs/customize/events/events-best-practices
func (d *Directory) EnableStream(ctx context.Context, id string) error {
	var answer struct{}
	_, err := d.call(ctx, http.MethodPatch, []string{"event-streams", id}, nil, map[string]string{"status": "enabled"}, &answer)
	if err != nil {
		return fmt.Errorf("enable event stream: %w", needs(err, "update:event_streams"))
	}
	return nil
}

// FailedDeliveries are the ids of up to limit events since a time that a stream
// could not deliver, from the one that follows after; "" is from the first.
func (d *Directory) FailedDeliveries(ctx context.Context, stream string, since time.Time, after string, limit int) ([]string, error) {
	var found struct {
		Deliveries []struct {
			ID string `json:"id"`
		} `json:"deliveries"`
	}
	query := url.Values{"statuses": {"failed"}, "date_from": {since.UTC().Format(time.RFC3339)}, "take": {strconv.Itoa(limit)}}
	if after != "" {
		query.Set("from", after)
	}
	_, err := d.get(ctx, []string{"event-streams", stream, "deliveries"}, query, &found)
	if err != nil {
		return nil, fmt.Errorf("failed deliveries: %w", needs(err, "read:event_deliveries"))
	}
	ids := make([]string, 0, len(found.Deliveries))
	for _, one := range found.Deliveries {
		ids = append(ids, one.ID)
	}
	return ids, nil
}

// Redeliver asks for one more delivery of an event. One that cannot be, because it
// is under way or was taken meanwhile, is no error.
func (d *Directory) Redeliver(ctx context.Context, stream, event string) error {
	res, err := d.send(ctx, http.MethodPost, []string{"event-streams", stream, "redeliver", event}, nil, nil)
	if err != nil {
		return fmt.Errorf("redeliver: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // its status says it all
	if err := statusError(res.StatusCode); err != nil && !errors.Is(err, errConflict) && res.StatusCode != http.StatusNotFound {
		return fmt.Errorf("redeliver: %w", needs(err, "update:event_deliveries"))
	}
	return nil
}
