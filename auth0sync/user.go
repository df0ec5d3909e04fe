// Package auth0sync holds all that knows about Auth0: how to ask it for users,
// how to verify what it sends, and the rule that says which Auth0 user is which
// customer.
package auth0sync

import (
	"slices"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// User is one observation of an Auth0 user: what Auth0 said, and when.
type User struct {
	ID            string // "provider|id", compared byte by byte; "" if Unread for its sake
	Unread        bool   // in part not as Auth0 promises it: nobody to link, but not nobody either
	Email         string // as Auth0 spells it; "" if it has none
	EmailVerified bool   // Auth0 said JSON true, nothing else counts
	Blocked       bool   // by an administrator; brute-force blocks do not show here
	Identities    []Identity
	CustomerID    customer.ID // from app_metadata.customer_id; "" if none or not a UUID
	CreatedAt     time.Time
	UpdatedAt     time.Time // moves at every login too
	SeenAt        time.Time // when Auth0 said so, by its own clock where it told (Date header)
	Lane          string    // which look-up it came from: one of the Lane constants
}

// Identity is one way a user signs in. The first identity is the primary one.
type Identity struct {
	Provider   string // "auth0", "google-oauth2", …
	Connection string // the connection's name
	UserID     string // the part of the user id after the first "|"
	// OtherEmail says of a linked identity that it does not stand behind the user's
	// address: it came with another one, with none, or with that one unverified.
	OtherEmail bool
}

// emailKey is the key of the user's address, or "" if it has none that is valid.
func (u User) emailKey() customer.EmailKey {
	email, err := customer.ParseEmail(u.Email)
	if err != nil {
		return ""
	}
	return email.Key
}

// Hint is what the user amounts to as a delivery, without what no customer is
// found by.
func (u User) Hint() *customer.Hint {
	h := &customer.Hint{AuthUserID: u.ID, Key: u.emailKey(), Verified: u.EmailVerified, CustomerID: u.CustomerID}
	if h.Key != "" {
		h.Email = u.Email
	}
	for _, i := range u.Identities {
		if id := i.userID(); id != u.ID && !hasControl(id) {
			h.Identities = append(h.Identities, id)
		}
	}
	return h
}

// Sighting is the user as a listing keeps it.
func (u User) Sighting() customer.Sighting {
	return customer.Sighting{UserID: u.ID, Key: u.emailKey(), Verified: u.EmailVerified, Blocked: u.Blocked}
}

// Carried are the user's linked identities as a listing keeps them; of is its own
// Sighting.
func (u User) Carried(of customer.Sighting) []customer.Sighting {
	var all []customer.Sighting
	for _, i := range u.Identities {
		if id := i.userID(); id != u.ID && len(id) <= longestIdentity && !hasControl(id) {
			all = append(all, customer.Sighting{UserID: id, CarriedBy: u.ID, Key: of.Key, Verified: of.Verified, Blocked: of.Blocked})
		}
	}
	return all
}

// longestIdentity is the most bytes that a customer's auth_user_id has.
const longestIdentity = 512

// Seen is how old the observation is.
func (u User) Seen() customer.Seen {
	return customer.Seen{UpdatedAt: u.UpdatedAt, SeenAt: u.SeenAt}
}

// Fresh reports whether the user changed so shortly before it was seen that
// Auth0's search, which is eventually consistent, may have shown an older state.
// One that does not tell when it changed may have done so just now.
func (u User) Fresh() bool { return u.UpdatedAt.IsZero() || u.SeenAt.Sub(u.UpdatedAt) < SearchLag }

// SearchLag is how long a change may take to reach Auth0's search index.
const SearchLag = 60 * time.Second

// SettledAt is when a Fresh user stops being so, by Auth0's clock.
func (u User) SettledAt() time.Time {
	if u.UpdatedAt.IsZero() {
		return u.SeenAt.Add(SearchLag)
	}
	return u.UpdatedAt.Add(SearchLag)
}

func (u User) evidence(namedBy string) customer.Evidence {
	var providers []string
	for _, identity := range u.Identities {
		if !slices.Contains(providers, identity.Provider) {
			providers = append(providers, identity.Provider)
		}
	}
	return customer.Evidence{
		AuthUserID:    u.ID,
		EmailVerified: u.EmailVerified,
		Providers:     providers,
		NamedBy:       namedBy,
		UpdatedAt:     u.UpdatedAt,
		SeenAt:        u.SeenAt,
	}
}

// The look-ups an observation may come from.
const (
	LaneByEmail = "by_email" // consistent, minds case
	LaneByID    = "by_id"    // consistent
	LaneSearch  = "search"   // eventually consistent, ignores case
	LaneExport  = "export"   // a snapshot, minutes old
	LaneToken   = "token"    // the person's own signed token
)
