package api

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ahiko-io/customersync/customer"
)

// eventBody is an event, in the feed as in a delivery.
type eventBody struct {
	ID         string             `json:"event_id"`
	Type       customer.EventType `json:"type"`
	OccurredAt string             `json:"occurred_at"`
	Customer   customer.ID        `json:"customer_id"`
	Version    int64              `json:"version"`
	Lifecycle  customer.Lifecycle `json:"customer_lifecycle"`
	Field      *string            `json:"field"`
}

// events is the feed: what happened, in order, behind the place where the caller has
// come to. The answer says where to go on, so that there is one even at the end.
func (s *Server) events(c *call) error {
	if !c.principal.may(readCustomers) {
		return fail(codeForbidden)
	}
	values, err := c.query("after", "limit")
	if err != nil {
		return err
	}
	after, limit, err := placeIn(values)
	if err != nil {
		return err
	}
	found, err := s.customers.Events(c.r.Context(), after, limit)
	if err != nil {
		return err
	}
	bodies := make([]eventBody, 0, len(found))
	for _, e := range found {
		bodies = append(bodies, eventBody{
			e.ID(), e.Type, e.At.Format(customer.TimeFormat), e.Customer, e.Version, e.Lifecycle, orNull(e.Field),
		})
		after = e.Position
	}
	writeJSON(c.w, http.StatusOK, struct {
		Success bool        `json:"success"`
		Data    []eventBody `json:"data"`
		After   string      `json:"after"`
		More    bool        `json:"more"`
	}{true, bodies, feedCursor(after), len(found) == limit})
	return nil
}

// placeIn reads from where, and how much, a caller wants to know.
func placeIn(values url.Values) (after int64, limit int, err error) {
	if !values.Has("limit") {
		values.Set("limit", strconv.Itoa(usualPage))
	}
	page, err := filterOf(url.Values{"limit": values["limit"]})
	if err != nil {
		return 0, 0, err
	}
	if values.Has("after") {
		if after, err = parseFeedCursor(values.Get("after")); err != nil {
			return 0, 0, fail("invalid_query").about("after").saying("after must be one that the feed gave.")
		}
	}
	return after, page.Limit, nil
}

// feedCursor stands for a position in the feed. It is not for clients to count on.
func feedCursor(position int64) string {
	return base64.RawURLEncoding.EncodeToString(strconv.AppendInt([]byte("e"), position, 10))
}

func parseFeedCursor(s string) (int64, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) == 0 || raw[0] != 'e' {
		return 0, strconv.ErrSyntax
	}
	position, err := strconv.ParseUint(string(raw[1:]), 10, 63)
	return int64(position), err
}
