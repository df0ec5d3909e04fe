package auth0sync

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/ahiko-io/customersync/customer"
)

// userJSON is a user as Auth0 writes it, with the types it promises left open:
// custom databases and enterprise connections send others.
type userJSON struct {
	UserID        string          `json:"user_id"`
	Email         *string         `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
	Blocked       json.RawMessage `json:"blocked"`
	CreatedAt     json.RawMessage `json:"created_at"`
	UpdatedAt     json.RawMessage `json:"updated_at"`
	AppMetadata   json.RawMessage `json:"app_metadata"`
	Identities    []identityJSON  `json:"identities"`

	unread bool // a member is of a type that Auth0 does not promise
}

// UnmarshalJSON reads what it can, so that one user cannot spoil a list.
func (j *userJSON) UnmarshalJSON(text []byte) error {
	type plain userJSON
	err := exactly(text, (*plain)(j), "user_id", "email", "email_verified", "blocked", "created_at", "updated_at", "app_metadata", "identities")
	var wrong *json.UnmarshalTypeError
	if j.unread = errors.As(err, &wrong); j.unread {
		return nil
	}
	return err
}

// exactly unmarshals an object of which only the members with these very names
// count. encoding/json would take Email_Verified, or APP_METADATA, or ſ for s, as
// well, and of several the last: but what other members a profile has is up to its
// connection, and so perhaps to a stranger's identity provider.
// https://auth0.com/docs/manage-users/user-accounts/user-profiles/user-profile-structure
func exactly(text []byte, into any, names ...string) error {
	if !mayFold(text, names) {
		return json.Unmarshal(text, into) // nearly all users, in half the time
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	kept := []byte("{")
	for _, name := range names {
		value, ok := all[name]
		if !ok {
			continue
		}
		if len(kept) > 1 {
			kept = append(kept, ',')
		}
		kept = append(kept, '"')
		kept = append(append(append(kept, name...), '"', ':'), value...)
	}
	return json.Unmarshal(append(kept, '}'), into)
}

// mayFold reports whether a text may have a member that encoding/json would take for
// one of names although it is spelt otherwise.
func mayFold(text []byte, names []string) bool {
	if bytes.Contains(text, []byte(`\u`)) || bytes.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		return true
	}
	for part := range bytes.SplitSeq(text, []byte(`"`)) {
		for _, name := range names {
			if len(part) == len(name) && string(part) != name && strings.EqualFold(string(part), name) {
				return true
			}
		}
	}
	return false
}

type identityJSON struct {
	Provider   string          `json:"provider"`
	Connection string          `json:"connection"`
	UserID     json.RawMessage `json:"user_id"`     // a text or a number
	Profile    json.RawMessage `json:"profileData"` // of linked identities: the user they were
}

func (i identityJSON) identity() Identity {
	var text string
	if json.Unmarshal(i.UserID, &text) != nil {
		text = string(i.UserID) // a number
	}
	return Identity{Provider: i.Provider, Connection: i.Connection, UserID: text}
}

// hasOtherEmail compares what a linked identity says of its address with the
// user's. A profile without one has another: a database user may have a name alone.
// Auth0 gives linked identities a profile; without any, nothing is known against it.
func (i identityJSON) hasOtherEmail(key customer.EmailKey) bool {
	var profile struct {
		Email    string          `json:"email"`
		Verified json.RawMessage `json:"email_verified"`
	}
	if len(i.Profile) == 0 {
		return false
	}
	if exactly(i.Profile, &profile, "email", "email_verified") != nil {
		return true
	}
	email, err := customer.ParseEmail(profile.Email)
	return err != nil || email.Key != key || !isTrue(profile.Verified)
}

// userID is the id that the identity has, or had, as a user of its own.
func (i Identity) userID() string { return i.Provider + "|" + i.UserID }

// user reads the observation. Only JSON true verifies an address, and whatever
// is not plainly false blocks. An id that no customer can have is left out.
func (j userJSON) user(seen time.Time, lane string) User {
	id, err := customer.ParseAuthUserID(j.UserID)
	u := User{
		ID:            id,
		Unread:        j.unread || err != nil,
		EmailVerified: isTrue(j.EmailVerified),
		Blocked:       len(j.Blocked) > 0 && !isFalse(j.Blocked),
		CustomerID:    customerIDIn(j.AppMetadata),
		CreatedAt:     timeIn(j.CreatedAt),
		UpdatedAt:     timeIn(j.UpdatedAt),
		SeenAt:        seen,
		Lane:          lane,
	}
	if j.Email != nil {
		u.Email = *j.Email
	}
	key := u.emailKey()
	for n, i := range j.Identities {
		identity := i.identity()
		identity.OtherEmail = n > 0 && i.hasOtherEmail(key)
		u.Identities = append(u.Identities, identity)
	}
	return u
}

// users reads a list.
func users(found []userJSON, seen time.Time, lane string) []User {
	all := make([]User, 0, len(found))
	for _, j := range found {
		all = append(all, j.user(seen, lane))
	}
	return all
}

func isTrue(raw json.RawMessage) bool { return bytes.Equal(raw, []byte("true")) }

func isFalse(raw json.RawMessage) bool {
	return bytes.Equal(raw, []byte("false")) || bytes.Equal(raw, []byte("null"))
}

// timeIn reads a time; the zero time if it is none, which makes the observation
// older than any other.
func timeIn(raw json.RawMessage) time.Time {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}
	}
	return timeOf(text)
}

func timeOf(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

// customerIDIn reads the customer that a back end named; whatever is not one of
// our ids names nobody.
func customerIDIn(appMetadata json.RawMessage) customer.ID {
	var named struct {
		CustomerID string `json:"customer_id"`
	}
	if exactly(appMetadata, &named, "customer_id") != nil {
		return ""
	}
	id, err := customer.ParseID(named.CustomerID)
	if err != nil {
		return ""
	}
	return id
}

// HasIdentity reports whether userID is one of the user's linked identities.
func (u User) HasIdentity(userID string) bool {
	for _, i := range u.Identities {
		if i.userID() == userID {
			return true
		}
	}
	return false
}
