package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Reason is why a customer is auth_pending. openapi.yaml has the list of them, and
// each comes with a sentence.
type Reason string

// The reasons.
const (
	Waiting              Reason = "waiting" // not looked up yet
	NotRegistered        Reason = "not_registered"
	EmailUnverified      Reason = "email_unverified"
	ConnectionNotTrusted Reason = "connection_not_trusted"
	UserBlocked          Reason = "user_blocked"
	SeveralUsers         Reason = "several_users" // a conflict
	UserTaken            Reason = "user_taken"    // a conflict
	EmailMissing         Reason = "email_missing"
	EmailUnmatchable     Reason = "email_unmatchable"
	Auth0Error           Reason = "auth0_error"
	Auth0Budget          Reason = "auth0_budget"
	UserGone             Reason = "user_gone"
	UserErased           Reason = "user_erased"
)

// Explanation is why a customer is in its state, for support. Times that never
// were are zero.
type Explanation struct {
	CustomerID         string      `json:"customer_id"`
	Lifecycle          Lifecycle   `json:"customer_lifecycle"`
	Reason             Reason      `json:"reason"` // "" unless it is auth_pending
	Sentence           string      `json:"sentence"`
	WhoActs            string      `json:"who_acts"`
	Then               string      `json:"then"`
	Auth0AskedAt       time.Time   `json:"auth0_asked_at"`
	NextLookAt         time.Time   `json:"next_look_at"`
	LooksWithoutChange int         `json:"looks_without_change"`
	Candidates         []Candidate `json:"candidates"` // of a conflict
	Looks              []Look      `json:"looks"`      // the newest of them, the oldest of these first
	History            []Entry     `json:"history"`
}

// Look is what one or more looks in a row at a customer came to.
type Look struct {
	Reason  Reason    `json:"reason"` // why it went on waiting
	By      string    `json:"by"`     // how the last of them asked: "look-up", "search", "export" or "delivery"
	Count   int       `json:"count"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
}

// Entry is one change of a customer in its history.
type Entry struct {
	Version       int64           `json:"version"`
	At            time.Time       `json:"at"`
	Change        string          `json:"change"`
	Field         string          `json:"field"`
	From          string          `json:"from"`
	To            string          `json:"to"`
	FromLifecycle Lifecycle       `json:"from_lifecycle"` // "" when it was made
	ToLifecycle   Lifecycle       `json:"to_lifecycle"`
	By            string          `json:"by"`
	Actor         string          `json:"actor"`
	RequestID     string          `json:"request_id"`
	Why           string          `json:"why"`
	Evidence      json.RawMessage `json:"evidence"` // what was seen of the Auth0 user
}

// Candidate is an Auth0 user that may be meant.
type Candidate struct {
	AuthUserID    string    `json:"auth_user_id"`
	Connections   []string  `json:"connections"`
	EmailVerified bool      `json:"email_verified"`
	CreatedAt     time.Time `json:"created_at"`
	HeldBy        string    `json:"held_by"` // customer_id of the live customer that has it
}

// Explain says why a customer is in its state, and what happened to it. It needs
// read:customers.
func (c *Client) Explain(ctx context.Context, id string, options ...Option) (Explanation, error) {
	r := aboutID(http.MethodGet, "customers/{customer_id}/explain", id, "customers", id, "explain")
	return answerOf[Explanation](ctx, c, r.with(options))
}

// Synced is what a look at Auth0 came to.
type Synced struct {
	CustomerID   string    `json:"customer_id"`
	Looked       bool      `json:"looked"`  // Auth0 has answered since the call
	Changed      bool      `json:"changed"` // and the customer or its reason is another
	Lifecycle    Lifecycle `json:"customer_lifecycle"`
	Reason       Reason    `json:"reason"`
	Sentence     string    `json:"sentence"`
	WhoActs      string    `json:"who_acts"`
	Then         string    `json:"then"`
	Auth0AskedAt time.Time `json:"auth0_asked_at"`
	NextLookAt   time.Time `json:"next_look_at"`
}

// Sync has Auth0 asked about a customer now, and waits up to ten seconds for what
// comes of it. The id may be Me.
func (c *Client) Sync(ctx context.Context, id string, options ...Option) (Synced, error) {
	r := aboutID(http.MethodPost, "customers/{customer_id}/sync", id, "customers", id, "sync")
	return answerOf[Synced](ctx, c, r.with(options))
}

// Conflict is a customer that only a person can settle.
type Conflict struct {
	CustomerID   string      `json:"customer_id"`
	EmailAddress string      `json:"email_address"`
	Reason       Reason      `json:"reason"` // SeveralUsers or UserTaken
	Sentence     string      `json:"sentence"`
	Then         string      `json:"then"`
	Auth0AskedAt time.Time   `json:"auth0_asked_at"`
	NextLookAt   time.Time   `json:"next_look_at"`
	Candidates   []Candidate `json:"candidates"`
}

// Resolution is what a person decided about a conflict. Why is for the history;
// LookAgain needs none.
type Resolution struct {
	AuthUserID string `json:"auth_user_id,omitempty"` // link this candidate; or else:
	Action     Action `json:"action,omitempty"`
	Why        string `json:"why,omitempty"`
}

// Action settles a conflict without a link.
type Action string

// The actions.
const (
	CloseCustomer Action = "close"
	LookAgain     Action = "look_again"
)

// Resolve settles a conflict. ErrNotInConflict if there is none, or none any more.
func (c *Client) Resolve(ctx context.Context, id string, decided Resolution, options ...Option) error {
	r := aboutID(http.MethodPost, "conflicts/{customer_id}/resolve", id, "conflicts", id, "resolve")
	r.body, r.once = decided, true
	_, err := c.do(ctx, r.with(options), &success{})
	return err
}

// EventType is what kind of thing happened.
type EventType string

// The types of events.
const (
	CustomerCreated   EventType = "customer.created"
	CustomerActivated EventType = "customer.activated"
	CustomerUpdated   EventType = "customer.updated"
	CustomerUnlinked  EventType = "customer.unlinked"
	CustomerClosed    EventType = "customer.closed"
	CustomerErased    EventType = "customer.erased"
)

// Event is something that happened to a customer, in the feed as in a delivery. It
// holds no personal data: read the customer for what it is now.
type Event struct {
	ID         string    `json:"event_id"` // the same whenever and however it is read
	Type       EventType `json:"type"`
	OccurredAt time.Time `json:"occurred_at"`
	CustomerID string    `json:"customer_id"`
	Version    int64     `json:"version"` // the next event of the customer has the next one
	Lifecycle  Lifecycle `json:"customer_lifecycle"`
	Field      string    `json:"field"` // that changed; "" if it is the whole
}
