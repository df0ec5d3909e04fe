package auth0sim

import (
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

	verifiedAsText bool // answers "true" instead of true, as some connections do
	showsBlocked   bool // blocked was set once; Auth0 leaves it out until then
}

// Identity is one way a user signs in; the first of a user is the primary one.
type Identity struct {
	Provider    string
	Connection  string
	UserID      string
	Social      bool
	ProfileData map[string]any // nil for an identity that was never linked

	numeric bool // answers the user id as a number
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
func (r *record) asOf(at time.Time) (*User, bool) {
	for i := range slices.Backward(r.states) {
		if s := &r.states[i]; !s.at.After(at) {
			return &s.user, !s.deleted
		}
	}
	return nil, false
}

// forget drops the states that nobody can see any more at horizon or later.
func (r *record) forget(horizon time.Time) {
	for len(r.states) > 1 && !r.states[1].at.After(horizon) {
		r.states = r.states[1:]
	}
}

// put makes u the present state of its user. t.mu is held.
func (t *Tenant) put(u User, deleted bool) {
	r := t.users[u.ID]
	if r == nil {
		r = &record{}
		t.users[u.ID] = r
	} else if before, live := r.present(); live {
		t.byEmail[before.Email] = without(t.byEmail[before.Email], u.ID)
		if len(t.byEmail[before.Email]) == 0 {
			delete(t.byEmail, before.Email)
		}
	}
	now := t.now()
	if !t.o.KeepStates {
		r.forget(now.Add(-t.o.SearchLag))
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

func index(in map[string][]string, key, id string) {
	if !slices.Contains(in[key], id) {
		in[key] = append(in[key], id)
	}
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(ids, func(other string) bool { return other == id })
}

// get returns the present state of a user. t.mu is held.
func (t *Tenant) get(id string) (User, error) {
	if r := t.users[id]; r != nil {
		if u, live := r.present(); live {
			return u, nil
		}
	}
	return User{}, errNoUser
}

// withEmail returns the users that have this very spelling now. t.mu is held.
func (t *Tenant) withEmail(email string) []User {
	users := []User{}
	for _, id := range t.byEmail[email] {
		u, _ := t.users[id].present() // the index has live users only
		users = append(users, u)
	}
	return users
}

// State is what a user was from a moment on, until the next state of the same user.
type State struct {
	From time.Time // by the tenant's clock, in whole milliseconds
	User User
	Gone bool // deleted, or linked into another user
}

// States are what all users were through time: of each user together, the oldest
// first. Without Options.KeepStates older ones are missing.
func (t *Tenant) States() []State {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []State
	for _, r := range t.users {
		for _, s := range r.states {
			all = append(all, State{s.at, s.user, s.deleted})
		}
	}
	return all
}

// User returns a user as it is now; false if there is none.
func (t *Tenant) User(id string) (User, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, err := t.get(id)
	return u, err == nil
}
