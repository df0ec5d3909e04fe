package auth0sync

import (
	"cmp"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// OnUserGone says what becomes of a customer whose Auth0 user was deleted.
type OnUserGone string

// The choices. Zero means OnGonePending.
const (
	OnGonePending OnUserGone = "pending" // it is unlinked and waits for a new sign-up
	OnGoneClose   OnUserGone = "close"   // it is closed
	OnGoneKeep    OnUserGone = "keep"    // it stays as it is
)

// DefaultGoneGrace is how long a user must have been gone before that changes
// the customer.
const DefaultGoneGrace = 24 * time.Hour

// Bond is what DecideLinked says of a linked customer. At most one of Rebind and
// Unlink is set; without either the link stays.
type Bond struct {
	Fill   customer.Email   // address for a customer without one; zero: none
	Rebind *customer.Rebind // the user is an identity of another one now
	Unlink *customer.Unlink // the user is gone, and was for long enough
	Gone   bool             // the user is gone
}

// DecideLinked says what becomes of a customer that is active, given the users
// found that are its user or have it among their identities, and for how long
// Auth0 has been saying that there are none. It is as pure as Decide.
//
// A user that was linked into another one is followed there: account linking
// deletes the secondary user, which lives on in the primary's identities. If
// that one is on another live customer, or of an erased one, the user counts as gone.
// https://auth0.com/docs/manage-users/user-accounts/user-account-linking
func (p Policy) DecideLinked(c customer.Customer, found []User, w customer.World, gone time.Duration) Bond {
	// However old: a user who is seen at all is not gone.
	for _, u := range found {
		if u.ID == c.AuthUserID {
			if c.Email.Key != "" {
				return Bond{}
			}
			return Bond{Fill: FillFrom(u, w)}
		}
	}
	for _, u := range found {
		if u.HasIdentity(c.AuthUserID) && !heldByOther(c, u, w) && !erased(u, w) {
			return Bond{Rebind: &customer.Rebind{Customer: c.ID, From: c.AuthUserID, To: u.ID, Evidence: u.evidence("identity")}}
		}
	}
	if p.OnUserGone == OnGoneKeep || gone < p.Grace() {
		return Bond{Gone: true}
	}
	unlink := p.Unlink(c)
	return Bond{Gone: true, Unlink: &unlink}
}

// Unlink is how a customer loses a user that is gone.
func (p Policy) Unlink(c customer.Customer) customer.Unlink {
	return customer.Unlink{Customer: c.ID, AuthUserID: c.AuthUserID, Close: p.OnUserGone == OnGoneClose}
}

// Grace is how long a user must have been gone before that changes the customer.
func (p Policy) Grace() time.Duration { return cmp.Or(p.GoneGrace, DefaultGoneGrace) }
