package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// Lifecycle is where a customer stands.
type Lifecycle string

// The lifecycles.
const (
	AuthPending Lifecycle = "auth_pending" // not linked to an Auth0 user yet, or not any more
	Active      Lifecycle = "active"       // linked
	Inactive    Lifecycle = "inactive"     // closed, for good
)

// Customer is a customer as the API has it. Texts are "" where the API has null.
type Customer struct {
	ID           string            `json:"customer_id"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	FirstName    string            `json:"first_name"`
	LastName     string            `json:"last_name"`
	AuthUserID   string            `json:"auth_user_id"` // connection|id
	EmailAddress string            `json:"email_address"`
	Lifecycle    Lifecycle         `json:"customer_lifecycle"`
	PropertyList []json.RawMessage `json:"property_list"` // of the Location API; empty here
	ETag         string            `json:"-"`             // for IfMatch and IfNoneMatch
}

// Me stands for the customer_id of the person that an access token is for.
const Me = "me"

// Ref says which customer a call is about.
type Ref struct{ id, email string }

// ByID is the customer with this customer_id; it may be Me.
func ByID(id string) Ref { return Ref{id: id} }

// ByEmail is the customer with this address: the live one, else the one closed last.
func ByEmail(address string) Ref { return Ref{email: address} }

// about is a request about a customer.
func about(method string, who Ref) *request {
	if who.id == "" && who.email != "" {
		r := newRequest(method, "customers", "customers")
		r.query.Set("email_address", who.email)
		return r
	}
	return aboutID(method, "customers/{customer_id}", who.id, "customers", who.id)
}

// aboutID is a request with an id in its path, which must not lead elsewhere.
func aboutID(method, route, id string, path ...string) *request {
	r := newRequest(method, route, path...)
	if id == "" || strings.ContainsFunc(id, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-')
	}) {
		r.err = errors.New("customersync: " + method + " " + r.route + ": expected a customer_id")
	}
	return r
}

// Customer returns one customer. ErrCustomerNotFound if there is none, or none that
// the token may see.
func (c *Client) Customer(ctx context.Context, who Ref, options ...Option) (Customer, error) {
	return c.customer(ctx, about(http.MethodGet, who).with(options))
}

// WaitActive returns a customer as soon as it is active or closed, or the time, at
// most 60 seconds, is up: then as it is. It is held by the API, which needs no
// polling: the first page after a sign-up calls it.
func (c *Client) WaitActive(ctx context.Context, who Ref, most time.Duration, options ...Option) (Customer, error) {
	r := about(http.MethodGet, who).with(options)
	r.query.Set("wait_for", string(Active))
	r.query.Set("timeout", most.String())
	return c.customer(ctx, r)
}

func (c *Client) customer(ctx context.Context, r *request) (Customer, error) {
	var answer struct {
		Data Customer `json:"data"`
	}
	header, err := c.do(ctx, r, &answer)
	if err != nil {
		return Customer{}, err
	}
	answer.Data.ETag = header.Get("ETag")
	return answer.Data, nil
}

// NewCustomer is a customer to be made. With a person's own token the address is
// the token's, and may be left out here; without one otherwise, the customer waits
// until it is linked by hand.
type NewCustomer struct {
	FirstName    string `json:"first_name"`
	LastName     string `json:"last_name"`
	EmailAddress string `json:"email_address,omitempty"`
}

// Create makes a customer and returns its customer_id. However often the request
// has to be sent, it makes one. The same caller asking again for the address of a
// live customer gets that one; another gets ErrEmailTaken.
func (c *Client) Create(ctx context.Context, n NewCustomer, options ...Option) (id string, err error) {
	r := newRequest(http.MethodPost, "customers", "customers")
	r.header.Set(idempotencyHeader, rand.Text())
	r.body = n
	var answer struct {
		ID string `json:"customer_id"`
	}
	_, err = c.do(ctx, r.with(options), &answer)
	return answer.ID, err
}

// Change is a new value for one field of a customer.
type Change struct {
	field string
	value *string // nil: null
}

// FirstName is another first name.
func FirstName(name string) Change { return Change{"first_name", &name} }

// LastName is another last name.
func LastName(name string) Change { return Change{"last_name", &name} }

// Link links the customer to an Auth0 user, connection|id, whatever its address. It
// needs update:customers; ErrAuthUserIDTaken if another live customer has that user.
func Link(authUserID string) Change { return Change{"auth_user_id", &authUserID} }

// Unlink takes the Auth0 user away: the customer is auth_pending, and looked up anew.
func Unlink() Change { return Change{"auth_user_id", nil} }

// Update changes one field. ErrCustomerInactive if the customer is closed. Without
// IfMatch the last one who writes wins.
func (c *Client) Update(ctx context.Context, who Ref, change Change, options ...Option) error {
	r := about(http.MethodPatch, who).with(options)
	r.body = map[string]*string{change.field: change.value}
	_, err := c.do(ctx, r, &success{})
	return err
}

// Close closes the account: the customer is inactive, for good. Closing it again is
// no error.
func (c *Client) Close(ctx context.Context, who Ref, options ...Option) error {
	_, err := c.do(ctx, about(http.MethodDelete, who).with(options), &success{})
	return err
}

// Erasure is the proof that a customer was erased. There is nothing personal in it.
type Erasure struct {
	CustomerID string         `json:"customer_id"`
	ErasedAt   time.Time      `json:"erased_at"`
	Actor      string         `json:"actor"`
	RequestID  string         `json:"request_id"`
	Removed    map[string]int `json:"removed"` // rows deleted or emptied, by table
	Others     []string       `json:"others"`  // customers with the same address or Auth0 user, left alone
}

// AndAuth0User has Erase delete the customer's Auth0 user first. If that fails
// nothing is erased.
func AndAuth0User() Option {
	return func(r *request) { r.query.Set("auth0", "true") }
}

// Erase removes all that is known of a customer, for good, and returns the proof of
// it; asked again, the same one. It needs erase:customers.
func (c *Client) Erase(ctx context.Context, who Ref, options ...Option) (Erasure, error) {
	r := about(http.MethodDelete, who).with(options)
	r.query.Set("erase", "true")
	return answerOf[Erasure](ctx, c, r)
}

// Erasure returns the proof that a customer was erased, or ErrCustomerNotFound.
func (c *Client) Erasure(ctx context.Context, id string, options ...Option) (Erasure, error) {
	return answerOf[Erasure](ctx, c, aboutID(http.MethodGet, "erasures/{customer_id}", id, "erasures", id).with(options))
}

// answerOf makes a call whose answer has what matters in data.
func answerOf[T any](ctx context.Context, c *Client, r *request) (T, error) {
	var answer struct {
		Data T `json:"data"`
	}
	_, err := c.do(ctx, r, &answer)
	return answer.Data, err
}
