// Package customer says what a customer is: its fields, its e-mail key, the
// legal moves of its lifecycle, why it waits, and the errors that the rest of
// the program speaks in. It does no I/O.
package customer

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Customer is one person's record. Zero strings stand for what the API shows as null.
type Customer struct {
	ID         ID
	CreatedAt  time.Time // UTC, whole microseconds
	UpdatedAt  time.Time // UTC, whole microseconds; moves on with every Version
	FirstName  string
	LastName   string
	AuthUserID string // "connection|id" at Auth0; "" until known
	Email      Email  // zero until known
	Lifecycle  Lifecycle
	// Version counts the changes: it is also the number of the customer's
	// newest history row, and what the ETag is made of.
	Version int64
	// CreatedBy is the caller that created the record (see Caller.Name); R12
	// gives the same caller the same customer again.
	CreatedBy string
}

// TimeFormat is how times are told to other systems, in UTC: always six digits of
// fraction, so that texts sort as the times do.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

// ID is a customer's identifier: a UUID in canonical lower-case form.
type ID string

// ParseID accepts a UUID in its canonical 36-character form, in either case.
// Anything else is a FieldError of customer_id.
func ParseID(s string) (ID, error) {
	if len(s) != 36 {
		return "", idError()
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return "", idError()
			}
		case !isHex(c):
			return "", idError()
		}
	}
	return ID(strings.ToLower(s)), nil
}

func idError() error { return FieldError{Field: "customer_id", Problem: "must be a UUID"} }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// maxName is the longest first or last name, in runes.
const maxName = 200

// ParseName trims a first or last name and puts it into NFC. A name that is
// then empty, longer than 200 runes, not UTF-8 or holds a control character is
// a FieldError of the given field.
func ParseName(field, s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", FieldError{Field: field, Problem: "must be UTF-8"}
	}
	name := norm.NFC.String(strings.TrimSpace(s))
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return "", FieldError{Field: field, Problem: "must not be empty"}
	case n > maxName:
		return "", FieldError{Field: field, Problem: fmt.Sprintf("must be at most %d characters", maxName)}
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", FieldError{Field: field, Problem: "must not hold control characters"}
	}
	return name, nil
}

// maxAuthUserID bounds an Auth0 user id in bytes. Auth0 documents none; its own
// longest (SAML name ids, Azure AD) stay well below.
const maxAuthUserID = 512

// ParseAuthUserID accepts an Auth0 user id, "connection|id". Both parts are
// free text (the id may itself hold "|" and spaces), so it is checked only for
// what would make it unusable, and always compared byte by byte.
func ParseAuthUserID(s string) (string, error) {
	before, after, ok := strings.Cut(s, "|")
	switch {
	case !ok || before == "" || after == "":
		return "", FieldError{Field: "auth_user_id", Problem: `must be of the form "connection|id"`}
	case len(s) > maxAuthUserID:
		return "", FieldError{Field: "auth_user_id", Problem: fmt.Sprintf("must be at most %d bytes", maxAuthUserID)}
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "", FieldError{Field: "auth_user_id", Problem: "must be UTF-8 without control characters"}
	case strings.TrimSpace(s) != s:
		return "", FieldError{Field: "auth_user_id", Problem: "must not begin or end with a space"}
	}
	return s, nil
}
