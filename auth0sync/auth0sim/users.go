package auth0sim

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// User is an Auth0 user.
type User struct {
	ID            string
	Email         string // "" for users without one
	EmailVerified bool
	Blocked       bool
	Username      string
	Name          string
	GivenName     string
	FamilyName    string
	Nickname      string
	Picture       string
	Identities    []Identity
	AppMetadata   map[string]any
	UserMetadata  map[string]any
	CreatedAt     time.Time
	UpdatedAt     time.Time
	LastLogin     time.Time // zero: never
	Logins        int
	// verifiedAsText answers "true" instead of true, as some connections do.
	verifiedAsText bool
}

// Identity is one way a user signs in; the first of a user is the primary one.
type Identity struct {
	Provider    string
	Connection  string
	UserID      string
	Social      bool
	ProfileData map[string]any // nil for an identity that was never linked
	numeric     bool           // answers the user id as a number
}

// SignUp says who signs up, and how.
type SignUp struct {
	Email          string
	Connection     string // default Username-Password-Authentication
	EmailVerified  *bool  // nil: as the connection does it
	Name           string // default the e-mail address
	Username       string
	UserID         string // the whole id; default is made
	AppMetadata    map[string]any
	CreatedAt      time.Time // default now
	DropDeliveries bool      // the Action call and the events of this sign-up get lost
}

// Connections a tenant has. Their kind says who verifies addresses and which
// triggers fire.
const (
	Database     = "Username-Password-Authentication"
	Passwordless = "email"
	Google       = "google-oauth2"
	Apple        = "apple"
	Enterprise   = "acme-saml"
)

// connection describes how users of a connection look.
type connection struct {
	id       string
	strategy string // the provider in user ids
	social   bool
	verifies bool // the address is verified by signing in
	lowers   bool // Auth0's own store keeps addresses in lower case
	action   bool // post-user-registration fires: database and passwordless only
}

func connectionOf(name string) connection {
	switch name {
	case Database:
		return connection{id: "con_simDatabase00001", strategy: "auth0", lowers: true, action: true}
	case Passwordless:
		return connection{id: "con_simPasswordles1", strategy: "email", verifies: true, lowers: true, action: true}
	case Google, Apple, "facebook", "github":
		return connection{id: "con_sim" + name, strategy: name, social: true, verifies: true}
	default: // enterprise
		return connection{id: "con_sim" + name, strategy: "samlp"}
	}
}

// record is a user through time: search lags behind, so older states are kept.
type record struct {
	states []state // oldest first; the last is the present
}

type state struct {
	at      time.Time
	user    User
	deleted bool
}

func (r *record) present() (User, bool) {
	last := r.states[len(r.states)-1]
	return last.user, !last.deleted
}

// asOf is the user as search sees it when it has seen everything up to at.
func (r *record) asOf(at time.Time) (User, bool) {
	for _, s := range slices.Backward(r.states) {
		if !s.at.After(at) {
			return s.user, !s.deleted
		}
	}
	return User{}, false
}

// put makes u the present state of its user. t.mu is held.
func (t *Tenant) put(u User, deleted bool) {
	r := t.users[u.ID]
	if r == nil {
		r = &record{}
		t.users[u.ID] = r
	} else if before, live := r.present(); live {
		delete(t.byEmail[before.Email], u.ID)
	}
	now := t.now()
	horizon := now.Add(-t.o.SearchLag)
	for len(r.states) > 1 && !r.states[1].at.After(horizon) {
		r.states = r.states[1:] // nobody can see this one any more
	}
	r.states = append(r.states, state{now, u, deleted})
	if u.Email == "" {
		return
	}
	if !deleted {
		index(t.byEmail, u.Email, u.ID)
	}
	index(t.everEmail, strings.ToLower(u.Email), u.ID)
}

func index(in map[string]map[string]bool, key, id string) {
	if in[key] == nil {
		in[key] = map[string]bool{}
	}
	in[key][id] = true
}

var (
	errNoUser = errors.New("The user does not exist.") //nolint:staticcheck // Auth0's words
	errExists = errors.New("The user already exists.") //nolint:staticcheck // Auth0's words
)

// get returns the present state of a user. t.mu is held.
func (t *Tenant) get(id string) (User, error) {
	if r := t.users[id]; r != nil {
		if u, live := r.present(); live {
			return u, nil
		}
	}
	return User{}, errNoUser
}

// SignUp makes a user, and fires the triggers that a sign-up through this
// connection fires.
func (t *Tenant) SignUp(s SignUp) (User, error) {
	t.mu.Lock()
	u, err := t.signUp(s)
	var out []delivery
	if err == nil && !s.DropDeliveries {
		out = append(t.actionCalls(u, s.Connection), t.events("user.created", u)...)
	}
	t.mu.Unlock()
	t.send(out)
	return u, err
}

func (t *Tenant) signUp(s SignUp) (User, error) {
	if s.Connection == "" {
		s.Connection = Database
	}
	c := connectionOf(s.Connection)
	now := t.now()
	if s.CreatedAt.IsZero() {
		s.CreatedAt = now
	}
	if c.lowers {
		s.Email = strings.ToLower(s.Email)
	}
	id := s.UserID
	if id == "" {
		id = c.strategy + "|" + randomHex(12)
	}
	if _, err := t.get(id); err == nil {
		return User{}, errExists
	}
	if s.Connection == Database && t.databaseHas(s.Email) {
		return User{}, errExists
	}
	verified := c.verifies
	if s.EmailVerified != nil {
		verified = *s.EmailVerified
	}
	_, rest, _ := strings.Cut(id, "|")
	u := User{
		ID: id, Email: s.Email, EmailVerified: verified, Username: s.Username,
		Name: s.Name, Nickname: nickname(s.Email), AppMetadata: s.AppMetadata,
		Picture:   "https://s.gravatar.com/avatar/00000000000000000000000000000000?s=480&r=pg&d=mm",
		CreatedAt: s.CreatedAt.UTC().Truncate(time.Millisecond), UpdatedAt: s.CreatedAt.UTC().Truncate(time.Millisecond),
		Identities: []Identity{{Provider: c.strategy, Connection: s.Connection, UserID: rest, Social: c.social}},
	}
	if u.Name == "" {
		u.Name = s.Email
	}
	if t.o.Rude && c.strategy == "samlp" {
		u.verifiedAsText, u.Identities[0].numeric = true, true
		u.Identities[0].UserID = fmt.Sprint(1000 + len(t.users))
	}
	if c.social { // signing up is a first login
		u.Logins, u.LastLogin = 1, u.UpdatedAt
	}
	t.put(u, false)
	t.logSignUp(u, s.Connection)
	return u, nil
}

// databaseHas reports whether the database connection has this address: it is
// unique there, though not across connections.
func (t *Tenant) databaseHas(email string) bool {
	for id := range t.byEmail[email] {
		if u, err := t.get(id); err == nil && email != "" && u.Identities[0].Connection == Database {
			return true
		}
	}
	return false
}

func nickname(email string) string {
	name, _, _ := strings.Cut(email, "@")
	return name
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Change changes a user and sends user.updated. Its updated_at moves on.
func (t *Tenant) Change(id string, change func(*User)) (User, error) {
	t.mu.Lock()
	u, err := t.get(id)
	var out []delivery
	if err == nil {
		u.Identities = slices.Clone(u.Identities)
		u.AppMetadata, u.UserMetadata = maps.Clone(u.AppMetadata), maps.Clone(u.UserMetadata)
		change(&u)
		u.UpdatedAt = t.now()
		t.put(u, false)
		out = t.events("user.updated", u)
	}
	t.mu.Unlock()
	t.send(out)
	return u, err
}

// Verify marks a user's e-mail address as verified, as opening the link in the
// verification e-mail does.
func (t *Tenant) Verify(id string) error {
	_, err := t.Change(id, func(u *User) { u.EmailVerified = true })
	return err
}

// Block blocks or unblocks a user, as an administrator does.
func (t *Tenant) Block(id string, blocked bool) error {
	_, err := t.Change(id, func(u *User) { u.Blocked = blocked })
	return err
}

// ChangeEmail gives a user another address, unverified.
func (t *Tenant) ChangeEmail(id, email string) error {
	_, err := t.Change(id, func(u *User) { u.Email, u.EmailVerified = email, false })
	return err
}

// Delete deletes a user and sends user.deleted.
func (t *Tenant) Delete(id string) error {
	t.mu.Lock()
	u, err := t.get(id)
	var out []delivery
	if err == nil {
		t.put(u, true)
		out = t.events("user.deleted", u)
	}
	t.mu.Unlock()
	t.send(out)
	return err
}

// Link makes the secondary user an identity of the primary. The secondary is no
// user of its own any more: Auth0 sends user.deleted for it.
func (t *Tenant) Link(primaryID, secondaryID string) ([]Identity, error) {
	t.mu.Lock()
	primary, err := t.get(primaryID)
	secondary, err2 := t.get(secondaryID)
	if err := errors.Join(err, err2); err != nil || primaryID == secondaryID {
		t.mu.Unlock()
		return nil, errNoUser
	}
	primary.Identities = slices.Clone(primary.Identities)
	if primary.Identities[0].ProfileData == nil {
		primary.Identities[0].ProfileData = profileData(primary)
	}
	for i, identity := range secondary.Identities {
		if i == 0 {
			identity.ProfileData = profileData(secondary)
		}
		primary.Identities = append(primary.Identities, identity)
	}
	primary.UpdatedAt = t.now()
	t.put(secondary, true)
	t.put(primary, false)
	out := append(t.events("user.deleted", secondary), t.events("user.updated", primary)...)
	t.mu.Unlock()
	t.send(out)
	return primary.Identities, nil
}

// Unlink makes an identity a user of its own again.
func (t *Tenant) Unlink(primaryID, provider, userID string) ([]Identity, error) {
	t.mu.Lock()
	primary, err := t.get(primaryID)
	at := slices.IndexFunc(primary.Identities, func(i Identity) bool { return i.Provider == provider && i.UserID == userID })
	if err != nil || at < 1 { // the primary identity cannot be unlinked
		t.mu.Unlock()
		return nil, errNoUser
	}
	identity := primary.Identities[at]
	primary.Identities = slices.Delete(slices.Clone(primary.Identities), at, at+1)
	primary.UpdatedAt = t.now()
	alone := User{
		ID: provider + "|" + userID, CreatedAt: t.now(), UpdatedAt: t.now(),
		Identities: []Identity{{Provider: provider, Connection: identity.Connection, UserID: userID, Social: identity.Social}},
	}
	alone.Email, _ = identity.ProfileData["email"].(string)
	alone.EmailVerified, _ = identity.ProfileData["email_verified"].(bool)
	alone.Name, _ = identity.ProfileData["name"].(string)
	t.put(primary, false)
	t.put(alone, false)
	out := append(t.events("user.updated", primary), t.events("user.created", alone)...)
	t.mu.Unlock()
	t.send(out)
	return primary.Identities, nil
}

// stamp is how Auth0 writes times.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

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
	if u.Blocked {
		p["blocked"] = true
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
		if one.numeric {
			var n int64
			_, _ = fmt.Sscan(one.UserID, &n) // it was made from a number
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
	p := profile(u)
	for _, name := range []string{
		"user_id", "created_at", "updated_at", "identities", "app_metadata", "user_metadata", "blocked",
		"last_login", "logins_count", "last_ip", "name",
	} {
		delete(p, name)
	}
	return p
}
