package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// Enroll makes a new customer, or gives the same caller the one it already has
// (R12). A claim is what the person's own token says: an observation of an Auth0
// user like any other, so the same rule decides, and a link it allows is written
// in the transaction that makes the customer (R11).
//
// Its errors are customer.ErrEmailTaken, ErrAuthUserTaken, ErrKeyReused,
// ErrKeyInFlight and ErrUnavailable.
func (w *Worker) Enroll(ctx context.Context, d customer.Draft, claim *customer.Claim, cause customer.Cause) (customer.ID, bool, error) {
	link, err := w.linkByClaim(ctx, d, claim)
	if err != nil {
		return "", false, err
	}
	id, created, err := w.store.Create(ctx, d, link, cause)
	if err != nil {
		return "", false, fmt.Errorf("create customer: %w", err)
	}
	return id, created, nil
}

func (w *Worker) linkByClaim(ctx context.Context, d customer.Draft, claim *customer.Claim) (*customer.Link, error) {
	if claim == nil {
		return nil, nil
	}
	user := userOf(*claim)
	world, err := w.store.World(ctx, []string{user.ID}, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("read who holds what: %w", err)
	}
	draft := customer.Customer{ID: d.ID, Email: d.Email, Lifecycle: customer.AuthPending}
	verdict := w.policy.Decide(draft, []auth0sync.User{user}, world)
	if verdict.Link != nil {
		verdict.Link.Evidence.NamedBy = "token"
	}
	return verdict.Link, nil
}

// Vouched reports whether an address is proven to be a person's by what its token
// says: verified, by a provider that the policy trusts. It asks nobody.
func (w *Worker) Vouched(claim customer.Claim) bool {
	user := userOf(claim)
	return user.EmailVerified && w.policy.Trusts(user)
}

// userOf reads a claim as an observation of the user it speaks for, as of the
// moment Auth0 issued the token. The provider is the part of the user id before
// the first "|".
func userOf(c customer.Claim) auth0sync.User {
	provider, id, _ := strings.Cut(c.AuthUserID, "|")
	return auth0sync.User{
		ID:            c.AuthUserID,
		Email:         c.Email.Address,
		EmailVerified: c.Verified,
		Identities:    []auth0sync.Identity{{Provider: provider, UserID: id}},
		UpdatedAt:     c.IssuedAt,
		SeenAt:        c.IssuedAt,
		Lane:          auth0sync.LaneToken,
	}
}

// DeleteUser deletes an Auth0 user, of whom nothing may be left. Its errors are
// customer.ErrAuth0Refuses and ErrAuth0Away.
func (w *Worker) DeleteUser(ctx context.Context, authUserID string) error {
	err := w.directory.DeleteUser(auth0sync.WithPriority(ctx, auth0sync.JIT), authUserID)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth0sync.ErrUnauthorized):
		return fmt.Errorf("%w: %w", customer.ErrAuth0Refuses, err)
	}
	return fmt.Errorf("%w: %w", customer.ErrAuth0Away, err)
}

// Admit says by its headers how many bytes of body a delivery may have; the error
// is customer.ErrForged.
func (w *Worker) Admit(h http.Header) (largest int64, err error) {
	if largest, err = w.verifier.Admit(h); err != nil {
		w.metrics.delivery("unknown", "forged")
		return 0, fmt.Errorf("verify: %w", err)
	}
	return largest, nil
}

// Deliver takes in a delivery from Auth0: verified, then durably in the inbox;
// acting on it comes later. The bool says whether it was understood; what is
// authentic but not understood is kept aside. Errors: customer.ErrForged and
// customer.ErrUnavailable.
func (w *Worker) Deliver(ctx context.Context, h http.Header, body []byte) (bool, error) {
	deliveries, err := w.verifier.Verify(h, body)
	if err != nil {
		w.metrics.delivery("unknown", "forged")
		return false, fmt.Errorf("verify: %w", err)
	}
	fresh, err := w.store.Receive(ctx, deliveries...)
	understood := true
	for i, d := range deliveries {
		if err != nil {
			w.metrics.delivery(d.Source, "not_stored")
			continue
		}
		w.metrics.delivery(d.Source, deliveryResult(d, fresh[i]))
		understood = understood && d.Understood
	}
	if err != nil {
		return false, fmt.Errorf("keep delivery: %w", err)
	}
	return understood, nil
}

func deliveryResult(d customer.Delivery, fresh bool) string {
	switch {
	case !fresh:
		return "duplicate"
	case !d.Understood:
		return "quarantined"
	default:
		return "accepted"
	}
}
