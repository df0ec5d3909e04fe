package customer

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Conflict is an auth_pending customer that a person has to settle: several Auth0
// users qualify, or the one that does is on another customer.
type Conflict struct {
	Customer
	Reason     Reason
	AskedAt    time.Time   // when Auth0 last answered about it
	Next       time.Time   // when Auth0 is asked next
	Candidates []Candidate // by user id
}

// Candidate is an Auth0 user that a conflict is about, as it was last seen.
type Candidate struct {
	AuthUserID    string
	Connections   []string // the names of those it signs in through
	EmailVerified bool
	CreatedAt     time.Time
	Holder        ID // live customer that has it, or is named by its app_metadata; "" if none
}

// IsConflict reports whether a person has to settle which user is meant.
func (r Reason) IsConflict() bool { return r == SeveralUsers || r == UserTaken }

// Choose returns the change that settles the conflict by linking one of its
// candidates. Any other user is a FieldError of auth_user_id: whoever settles a
// conflict reads the id off the list, so another one is a slip.
func (c Conflict) Choose(authUserID string) (Patch, error) {
	if !slices.ContainsFunc(c.Candidates, func(u Candidate) bool { return u.AuthUserID == authUserID }) {
		return Patch{}, FieldError{Field: string(FieldAuthUserID), Problem: "must be one of the conflict's candidates"}
	}
	return Patch{Field: FieldAuthUserID, Value: authUserID}, nil
}

const maxWhy = 500 // runes: a sentence or two

// ParseWhy trims the reason that a person gives for a decision. One that is empty,
// longer than 500 runes, not UTF-8 or holds a control character is a FieldError
// of why.
func ParseWhy(s string) (string, error) {
	why := strings.TrimSpace(s)
	switch {
	case why == "":
		return "", FieldError{Field: "why", Problem: "must not be empty: the history keeps it"}
	case utf8.RuneCountInString(why) > maxWhy:
		return "", FieldError{Field: "why", Problem: fmt.Sprintf("must be at most %d characters", maxWhy)}
	case !utf8.ValidString(why) || strings.ContainsFunc(why, unicode.IsControl):
		return "", FieldError{Field: "why", Problem: "must be UTF-8 without control characters"}
	}
	return why, nil
}
