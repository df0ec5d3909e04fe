package auth0sim

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Change changes a user and sends user.updated. Its updated_at moves on.
func (t *Tenant) Change(id string, change func(*User)) (User, error) {
	return t.change(id, change, nil)
}

// change changes a user and adds what entries tells of it to the log.
func (t *Tenant) change(id string, change func(*User), entries func(User) []logEntry) (User, error) {
	t.mu.Lock()
	u, err := t.get(id)
	var out []delivery
	if err == nil {
		before := u
		u.Identities = slices.Clone(u.Identities)
		u.AppMetadata, u.UserMetadata = maps.Clone(u.AppMetadata), maps.Clone(u.UserMetadata)
		change(&u)
		out = t.update(before, &u)
		if entries != nil {
			t.log(entries(u)...)
		}
	}
	t.mu.Unlock()
	t.send(out)
	return u, err
}

// update stores a changed user and returns the event about it. t.mu is held.
func (t *Tenant) update(before User, u *User) []delivery {
	u.UpdatedAt = t.now()
	t.put(*u, false)
	return t.events("user.updated", *u, &before)
}

// Verify marks a user's e-mail address as verified, as opening the link in the
// verification e-mail does.
func (t *Tenant) Verify(id string) error {
	_, err := t.change(id, func(u *User) { u.EmailVerified = true }, logged("sv"))
	return err
}

// Block blocks or unblocks a user, as an administrator does.
func (t *Tenant) Block(id string, blocked bool) error {
	_, err := t.change(id, func(u *User) { u.Blocked, u.showsBlocked = blocked, true }, func(u User) []logEntry {
		return []logEntry{apiCall("Update a User", "patch", userPath(id), http.StatusOK, u)}
	})
	return err
}

// ChangeEmail gives a user another address, unverified.
func (t *Tenant) ChangeEmail(id, email string) error {
	_, err := t.change(id, func(u *User) { u.setEmail(email) }, logged("sce"))
	return err
}

// Login is a login: it moves last_login, logins_count and updated_at, and so
// sends user.updated. At a rude tenant the password is wrong the first time.
func (t *Tenant) Login(id string) error {
	kinds := []string{"s"}
	if t.o.Rude {
		kinds = []string{"fp", "s"}
	}
	_, err := t.change(id, func(u *User) { u.Logins, u.LastLogin = u.Logins+1, t.now() }, logged(kinds...))
	return err
}

// logged are entries about a user.
func logged(kinds ...string) func(User) []logEntry {
	return func(u User) (entries []logEntry) {
		for _, kind := range kinds {
			entries = append(entries, logEntry{kind: kind, user: u})
		}
		return entries
	}
}

// Delete deletes a user with all its identities and sends user.deleted.
func (t *Tenant) Delete(id string) error {
	t.mu.Lock()
	u, err := t.get(id)
	var out []delivery
	if err == nil {
		t.put(u, true)
		t.log(logged("sdu")(u)...)
		out = t.events("user.deleted", u, nil)
	}
	t.mu.Unlock()
	t.send(out)
	return err
}

// Link makes the secondary user an identity of the primary. The secondary is no
// user of its own any more: Auth0 sends user.deleted for it.
// https://auth0.com/docs/manage-users/user-accounts/user-account-linking
func (t *Tenant) Link(primaryID, secondaryID string) ([]Identity, error) {
	t.mu.Lock()
	before, err := t.get(primaryID)
	secondary, err2 := t.get(secondaryID)
	if errors.Join(err, err2) != nil || primaryID == secondaryID {
		t.mu.Unlock()
		return nil, errNoUser
	}
	primary := before
	primary.Identities = slices.Clone(primary.Identities)
	if primary.Identities[0].ProfileData == nil {
		primary.Identities[0].ProfileData = profileData(primary)
	}
	linked := slices.Clone(secondary.Identities)
	linked[0].ProfileData = profileData(secondary)
	primary.Identities = append(primary.Identities, linked...)
	t.put(secondary, true)
	out := append(t.events("user.deleted", secondary, nil), t.update(before, &primary)...)
	t.log(apiCall("Link a User Account", "post", userPath(primaryID)+"/identities", http.StatusCreated, User{}))
	t.mu.Unlock()
	t.send(out)
	return primary.Identities, nil
}

// Unlink makes an identity a user of its own again, with its old id.
func (t *Tenant) Unlink(primaryID, provider, userID string) ([]Identity, error) {
	t.mu.Lock()
	before, err := t.get(primaryID)
	at := slices.IndexFunc(before.Identities, func(i Identity) bool { return i.Provider == provider && i.UserID == userID })
	if err != nil || at < 1 { // the primary identity cannot be unlinked
		t.mu.Unlock()
		return nil, errNoUser
	}
	primary := before
	primary.Identities = slices.Delete(slices.Clone(primary.Identities), at, at+1)
	alone := t.standAlone(before.Identities[at])
	t.put(alone, false)
	out := append(t.update(before, &primary), t.events("user.created", alone, nil)...)
	path := userPath(primaryID) + "/identities/" + url.PathEscape(provider) + "/" + url.PathEscape(userID)
	t.log(apiCall("Unlink a User Account", "delete", path, http.StatusOK, User{}))
	t.mu.Unlock()
	t.send(out)
	return primary.Identities, nil
}

// standAlone is the user that an identity is without its primary one. t.mu is
// held.
func (t *Tenant) standAlone(i Identity) User {
	u := User{ID: i.Provider + "|" + i.UserID, CreatedAt: t.now(), UpdatedAt: t.now(), Picture: picture}
	u.Email, _ = i.ProfileData["email"].(string)
	u.EmailVerified, _ = i.ProfileData["email_verified"].(bool)
	u.Name, u.Nickname = u.Email, nickname(u.Email)
	i.ProfileData = nil
	u.Identities = []Identity{i}
	return u
}

// Users are all users as they are now, in the order of their ids.
func (t *Tenant) Users() []User {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []User
	for _, r := range t.users {
		if u, live := r.present(); live {
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.ID, b.ID) })
	return all
}
