package auth0sim

import (
	"cmp"
	"strconv"
	"time"
)

// appendLine writes a user with the fields asked for; those it does not have are
// left out. A tenant may have a million users: the common fields are written
// without the detour of a map.
func (e export) appendLine(b []byte, u *User) []byte {
	b = append(b, '{')
	for _, f := range e.fields {
		start := len(b)
		if b[start-1] != '{' {
			b = append(b, ',')
		}
		b = append(appendText(b, cmp.Or(f.As, f.Name)), ':')
		named := len(b)
		if b = appendField(b, u, f.Name); len(b) == named {
			b = b[:start] // it does not have it
		}
	}
	return append(b, '}', '\n')
}

// appendField writes the value of a field, or nothing.
func appendField(b []byte, u *User, name string) []byte {
	switch name {
	case "user_id":
		return appendText(b, u.ID)
	case "email":
		if u.Email == "" {
			return b
		}
		return appendText(b, u.Email)
	case "created_at":
		return appendStamp(b, u.CreatedAt)
	case "updated_at":
		return appendStamp(b, u.UpdatedAt)
	case "email_verified":
		if u.Email != "" && !u.verifiedAsText {
			return strconv.AppendBool(b, u.EmailVerified)
		}
	case "blocked":
		if !u.Blocked && !u.showsBlocked {
			return b
		}
		return strconv.AppendBool(b, u.Blocked)
	case "identities":
		if one := u.Identities[0]; len(u.Identities) == 1 && !one.numeric && one.ProfileData == nil {
			return appendIdentity(b, one)
		}
	case "app_metadata.customer_id":
		if u.AppMetadata == nil {
			return b
		}
	}
	if value := reach(profile(*u), name); value != nil {
		return append(b, encode(value)...)
	}
	return b
}

// appendIdentity writes a user's only identity.
func appendIdentity(b []byte, one Identity) []byte {
	b = appendText(append(b, `[{"connection":`...), one.Connection)
	b = appendText(append(b, `,"user_id":`...), one.UserID)
	b = appendText(append(b, `,"provider":`...), one.Provider)
	b = strconv.AppendBool(append(b, `,"isSocial":`...), one.Social)
	return append(b, "}]"...)
}

// appendText writes a string; most need no escapes.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return append(b, encode(s)...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendStamp(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), stampForm), '"')
}
