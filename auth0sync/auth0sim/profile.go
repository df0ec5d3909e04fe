package auth0sim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stamp is how Auth0 writes times.
func stamp(t time.Time) string { return t.UTC().Format(stampForm) }

const stampForm = "2006-01-02T15:04:05.000Z"

// profile is a user as the Management API shows it: members that a user does not
// have are left out, not null.
func profile(u User) map[string]any {
	p := map[string]any{
		"user_id": u.ID, "created_at": stamp(u.CreatedAt), "updated_at": stamp(u.UpdatedAt), "identities": identities(u.Identities),
		"name": u.Name, "nickname": u.Nickname, "picture": u.Picture,
	}
	if u.Email != "" {
		p["email"], p["email_verified"] = u.Email, u.EmailVerified
		if u.verifiedAsText {
			p["email_verified"] = fmt.Sprint(u.EmailVerified)
		}
	}
	for name, value := range map[string]string{"username": u.Username, "given_name": u.GivenName, "family_name": u.FamilyName} {
		if value != "" {
			p[name] = value
		}
	}
	if u.Blocked || u.showsBlocked {
		p["blocked"] = u.Blocked
	}
	if len(u.AppMetadata) > 0 {
		p["app_metadata"] = u.AppMetadata
	}
	if len(u.UserMetadata) > 0 {
		p["user_metadata"] = u.UserMetadata
	}
	if !u.LastLogin.IsZero() {
		p["last_login"], p["logins_count"], p["last_ip"] = stamp(u.LastLogin), u.Logins, "10.0.0.1"
	}
	return p
}

func identities(all []Identity) []map[string]any {
	out := make([]map[string]any, len(all))
	for i, one := range all {
		out[i] = map[string]any{"connection": one.Connection, "user_id": one.UserID, "provider": one.Provider, "isSocial": one.Social}
		if n, err := strconv.ParseInt(one.UserID, 10, 64); one.numeric && err == nil {
			out[i]["user_id"] = n
		}
		if one.ProfileData != nil {
			out[i]["profileData"] = one.ProfileData
		}
	}
	return out
}

// profileData is what a linked identity keeps of the user it was.
func profileData(u User) map[string]any {
	kept := []string{"email", "email_verified", "username", "given_name", "family_name", "nickname", "picture"}
	p := profile(u)
	maps.DeleteFunc(p, func(name string, _ any) bool { return !slices.Contains(kept, name) })
	return p
}

// profiles are users as a list answers them.
func profiles(r *http.Request, users []User) []map[string]any {
	out := make([]map[string]any, len(users))
	for i, u := range users {
		out[i] = selectFields(r, profile(u))
	}
	return out
}

// selectFields obeys fields and include_fields.
func selectFields(r *http.Request, p map[string]any) map[string]any {
	fields := r.URL.Query().Get("fields")
	if fields == "" {
		return p
	}
	include := r.URL.Query().Get("include_fields") != "false"
	named := strings.Split(fields, ",")
	maps.DeleteFunc(p, func(name string, _ any) bool { return slices.Contains(named, name) != include })
	return p
}
