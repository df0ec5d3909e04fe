package auth0sim

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"time"
)

// SignUp says who signs up, and how.
type SignUp struct {
	Email          string
	Connection     string // one of the connections of this package; default Database
	EmailVerified  *bool  // nil: as the connection does it
	Blocked        bool
	Name           string // default the e-mail address
	Username       string
	UserID         string // the whole id; default is made
	AppMetadata    map[string]any
	CreatedAt      time.Time // default now
	DropDeliveries bool      // what is pushed about this sign-up gets lost: Action call, Event Stream, log stream
}

// SignUp makes a user, and fires the triggers that a sign-up through this
// connection fires. It fails if the user, or in the database the address, exists
// already, and for an unknown connection.
func (t *Tenant) SignUp(s SignUp) (User, error) {
	return t.create(s, func(*User) {})
}

// create is a sign-up whose user is completed before anybody sees it.
func (t *Tenant) create(s SignUp, complete func(*User)) (User, error) {
	t.mu.Lock()
	u, err := t.newUser(s)
	var out []delivery
	if err == nil {
		complete(&u)
		t.put(u, false)
		t.logSignUp(u, s.DropDeliveries)
		if out = append(t.actionCalls(u), t.events("user.created", u, nil)...); s.DropDeliveries {
			out = nil
		}
	}
	t.mu.Unlock()
	t.send(out)
	return u, err
}

// signUp is a sign-up that nobody is told of. t.mu is held.
func (t *Tenant) signUp(s SignUp) (User, error) {
	u, err := t.newUser(s)
	if err == nil {
		t.put(u, false)
		t.logSignUp(u, false)
	}
	return u, err
}

// newUser is the user that a sign-up makes, not stored yet. t.mu is held.
func (t *Tenant) newUser(s SignUp) (User, error) {
	c, err := connectionOf(s.Connection)
	if err != nil {
		return User{}, err
	}
	if c.lowers {
		s.Email = strings.ToLower(s.Email)
	}
	id := cmp.Or(s.UserID, c.strategy+"|"+randomHex(12))
	if _, err := t.get(id); err == nil || c.name == Database && t.databaseHas(s.Email) {
		return User{}, errExists
	}
	at := t.now()
	if !s.CreatedAt.IsZero() {
		at = s.CreatedAt.UTC().Truncate(time.Millisecond)
	}
	_, rest, _ := strings.Cut(id, "|")
	u := User{
		ID: id, Email: s.Email, EmailVerified: c.verifies, Blocked: s.Blocked, showsBlocked: s.Blocked, Username: s.Username,
		Name: cmp.Or(s.Name, s.Email, s.Username), Nickname: nickname(s.Email), Picture: picture, AppMetadata: maps.Clone(s.AppMetadata),
		Identities: []Identity{{Provider: c.strategy, Connection: c.name, UserID: rest, Social: c.social}},
		CreatedAt:  at, UpdatedAt: at,
	}
	if s.EmailVerified != nil {
		u.EmailVerified = *s.EmailVerified
	}
	if c.social { // signing up is a first login
		u.Logins, u.LastLogin = 1, at
	}
	if t.o.Rude && c.name == Enterprise {
		u.verifiedAsText, u.Identities[0].numeric = true, true
		u.Identities[0].UserID = fmt.Sprint(1000 + len(t.users))
	}
	return u, nil
}

const picture = "https://s.gravatar.com/avatar/00000000000000000000000000000000?s=480&r=pg&d=mm"

// databaseHas reports whether the database connection has this address: it is
// unique there, though not across connections.
func (t *Tenant) databaseHas(email string) bool {
	for _, u := range t.withEmail(email) {
		if email != "" && u.Identities[0].Connection == Database {
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
