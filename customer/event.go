package customer

import (
	"fmt"
	"strings"
	"time"
)

// Event tells other systems that a customer has changed. It says what kind of change
// that was and not what the customer is now: whoever needs that asks, and gets it as
// it is then. So no event holds personal data.
type Event struct {
	Position  int64 // in the feed; later ones have greater ones
	Type      EventType
	At        time.Time
	Customer  ID
	Version   int64 // of the customer after the change; grows by one with each of its events
	Lifecycle Lifecycle
	Field     string // the field that changed, as the API spells it; "" if it is the whole
}

// EventType is the kind of an event.
type EventType string

// All kinds.
const (
	EventCreated   EventType = "customer.created"
	EventActivated EventType = "customer.activated" // linked to its Auth0 user
	EventUpdated   EventType = "customer.updated"   // a field changed, the lifecycle did not
	EventUnlinked  EventType = "customer.unlinked"  // auth_pending again
	EventClosed    EventType = "customer.closed"
	EventErased    EventType = "customer.erased" // the last; those before it are gone from the feed
)

// EventOf is the kind of event that a change of the history is to others.
func EventOf(change string) EventType {
	switch change {
	case "created":
		return EventCreated
	case "linked":
		return EventActivated
	case "unlinked":
		return EventUnlinked
	case "closed":
		return EventClosed
	case "erased":
		return EventErased
	}
	return EventUpdated // patched, rebound, email_filled
}

// ID names the event, the same each time it is read or delivered.
func (e Event) ID() string {
	return fmt.Sprintf("evt_%s_%d", strings.ReplaceAll(string(e.Customer), "-", ""), e.Version)
}
