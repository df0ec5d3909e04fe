package auth0sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// query is a parsed search: the part of Auth0's Lucene dialect that looks for
// users by field. What it does not know it refuses, rather than find the wrong
// users.
// https://auth0.com/docs/manage-users/user-search/user-search-query-syntax
type query interface {
	matches(u *User) bool
	// emails lists the addresses, in lower case, one of which every match has;
	// ok is false if there is no such list.
	emails() (list []string, ok bool)
	// terms counts the values looked for.
	terms() int
}

type (
	everyone struct{}
	and      struct{ left, right query }
	or       struct{ left, right query }
	not      struct{ of query }
	exists   struct{ field string }
	equal    struct {
		field, value string
		glob         bool // * stands for any text
	}
	// span is a range of times, from inclusive, till exclusive; zero is open.
	span struct {
		field      string
		from, till time.Time
	}
)

func (everyone) matches(*User) bool { return true }
func (q and) matches(u *User) bool  { return q.left.matches(u) && q.right.matches(u) }
func (q or) matches(u *User) bool   { return q.left.matches(u) || q.right.matches(u) }
func (q not) matches(u *User) bool  { return !q.of.matches(u) }
func (q exists) matches(u *User) bool {
	return len(fieldValues(u, q.field)) > 0
}

func (everyone) terms() int { return 0 }
func (q and) terms() int    { return q.left.terms() + q.right.terms() }
func (q or) terms() int     { return q.left.terms() + q.right.terms() }
func (q not) terms() int    { return q.of.terms() }
func (exists) terms() int   { return 1 }
func (equal) terms() int    { return 1 }
func (span) terms() int     { return 1 }

func (everyone) emails() ([]string, bool) { return nil, false }
func (not) emails() ([]string, bool)      { return nil, false }
func (exists) emails() ([]string, bool)   { return nil, false }
func (span) emails() ([]string, bool)     { return nil, false }
func (q equal) emails() ([]string, bool) {
	return []string{strings.ToLower(q.value)}, q.field == "email" && !q.glob
}

func (q and) emails() ([]string, bool) {
	if list, ok := q.left.emails(); ok {
		return list, true
	}
	return q.right.emails()
}

func (q or) emails() ([]string, bool) {
	left, ok := q.left.emails()
	right, ok2 := q.right.emails()
	return append(left, right...), ok && ok2
}

// foldsCase says whether search compares a field without regard to case.
func foldsCase(field string) bool {
	return slices.Contains([]string{"email", "email.domain", "name", "given_name", "family_name", "nickname"}, field)
}

func (q equal) matches(u *User) bool {
	return slices.ContainsFunc(fieldValues(u, q.field), func(v string) bool {
		want := q.value
		if foldsCase(q.field) {
			want, v = strings.ToLower(want), strings.ToLower(v)
		}
		return want == v || q.glob && glob(want, v)
	})
}

// glob matches a pattern in which * stands for any text.
func glob(pattern, v string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if !strings.HasPrefix(v, parts[0]) {
		return false
	}
	v = v[len(parts[0]):]
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(v, part)
		if !found {
			return false
		}
		v = after
	}
	return strings.HasSuffix(v, parts[last])
}

func (q span) matches(u *User) bool {
	at, _ := timeField(u, q.field) // parse has checked the field
	return !at.IsZero() && !at.Before(q.from) && (q.till.IsZero() || at.Before(q.till))
}

// timeField is a field that holds a time; ok is false for other fields.
func timeField(u *User, field string) (at time.Time, ok bool) {
	switch field {
	case "created_at":
		return u.CreatedAt, true
	case "updated_at":
		return u.UpdatedAt, true
	case "last_login":
		return u.LastLogin, true
	}
	return time.Time{}, false
}

// fieldValues are the values that search has of a field: none if the user does
// not have it.
func fieldValues(u *User, field string) []string {
	if at, ok := timeField(u, field); ok {
		return when(!at.IsZero(), stamp(at))
	}
	if of, path, ok := strings.Cut(field, "."); ok {
		return nested(u, of, path)
	}
	switch field {
	case "email_verified":
		return when(u.Email != "", fmt.Sprint(u.EmailVerified))
	case "blocked":
		return when(u.Blocked || u.showsBlocked, fmt.Sprint(u.Blocked))
	case "logins_count":
		return when(u.Logins > 0, fmt.Sprint(u.Logins))
	}
	text := map[string]string{
		"user_id": u.ID, "email": u.Email, "username": u.Username, "name": u.Name, "nickname": u.Nickname,
		"given_name": u.GivenName, "family_name": u.FamilyName,
	}[field]
	return when(text != "", text)
}

func when(has bool, value string) []string {
	if has {
		return []string{value}
	}
	return nil
}

// nested are the values of a field with a dot.
func nested(u *User, of, path string) []string {
	switch of {
	case "email":
		_, domain, ok := strings.Cut(u.Email, "@")
		return when(ok && path == "domain", domain)
	case "app_metadata":
		return metadata(u.AppMetadata, path)
	case "user_metadata":
		return metadata(u.UserMetadata, path)
	case "identities":
		values := []string{}
		for _, i := range u.Identities {
			value := map[string]string{"user_id": i.UserID, "connection": i.Connection, "provider": i.Provider}[path]
			values = append(values, when(value != "", value)...)
		}
		return values
	}
	return nil
}

func metadata(in map[string]any, path string) []string {
	name, rest, deeper := strings.Cut(path, ".")
	value, ok := in[name]
	if inner, is := value.(map[string]any); deeper && is {
		return metadata(inner, rest)
	}
	return when(ok && !deeper && value != nil, fmt.Sprint(value))
}
