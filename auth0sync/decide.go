package auth0sync

import (
	"slices"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// Policy is what an operator may choose about linking. The zero Policy is the
// strict default.
type Policy struct {
	// TrustedProviders may vouch for an e-mail address. Empty: auth0, email,
	// google-oauth2 and apple.
	TrustedProviders []string
	// ConnectionPriority settles which of several linkable users is meant: the
	// one with an identity in the earliest connection named here. Empty: a
	// person decides.
	ConnectionPriority []string
	// OnUserGone is what becomes of a customer whose Auth0 user was deleted, after
	// GoneGrace; 0 means DefaultGoneGrace.
	OnUserGone OnUserGone
	GoneGrace  time.Duration
}

// Verdict is what Decide says of one customer: a Link, or the Reason to wait.
type Verdict struct {
	Link   *customer.Link       // nil: hold
	Reason customer.Reason      // why it is held; "" with a Link
	Rivals []customer.Candidate // with SeveralUsers and UserTaken: the users it is between
}

// Decide is the rule that links. Given a customer that is auth_pending, every
// Auth0 user that may be its person, and who holds what among live customers,
// it says which user is linked or why none is. It is pure: no clock, no log, no
// I/O, and the order of found does not matter.
//
// A user that names the customer in app_metadata (only a back end can write
// that) needs no e-mail address. Otherwise a user is linkable if its e-mail key
// is the customer's, the address is verified, an identity is of a trusted
// provider, and it is neither blocked nor on another live customer, nor of one
// that was erased. Users that
// fall short do not count: else anyone could block a sign-up. Exactly one
// linkable user is linked. An observation that is older than what was applied
// already links nobody, but still stands against another user; and a user that
// cannot be read but might be linkable makes it customer.Auth0Error.
func (p Policy) Decide(c customer.Customer, found []User, w customer.World) Verdict {
	found, unread := readable(c, found)
	if unread {
		return Verdict{Reason: customer.Auth0Error}
	}
	users, outdated := newest(found, w)
	doubtful := p.rivals(c, outdated, w)
	if verdict, named := p.decideNamed(c, users, doubtful, w); named {
		return verdict
	}
	switch {
	case c.Email.Key == "":
		return Verdict{Reason: customer.EmailMissing}
	case !c.Email.Key.Matchable():
		return Verdict{Reason: customer.EmailUnmatchable}
	}
	var linkable, taken []User
	reason := customer.NotRegistered
	for _, u := range users {
		if u.emailKey() != c.Email.Key {
			continue
		}
		short := p.fallsShort(c, u, w)
		if short == customer.UserTaken {
			taken = append(taken, u)
		}
		switch {
		case short == "":
			linkable = append(linkable, u)
		case closeness(short) > closeness(reason):
			reason = short
		}
	}
	return p.choose(c, linkable, doubtful, reason, "email").between(append(linkable, doubtful...), taken, w)
}

// readable leaves out the users that cannot be read, and says whether one of them
// might be the customer's: an address that is not verified never is.
func readable(c customer.Customer, found []User) (users []User, unread bool) {
	for _, u := range found {
		switch {
		case !u.Unread:
			users = append(users, u)
		case u.CustomerID == c.ID, u.EmailVerified && c.Email.Key != "" && u.emailKey() == c.Email.Key:
			unread = true
		}
	}
	return users, unread
}

// rivals are those of outdated that were linkable when they were seen. What they
// are now is not known, so nobody is linked to them; but to take them for nobody
// would make another user the only one.
func (p Policy) rivals(c customer.Customer, outdated []User, w customer.World) []User {
	return slices.DeleteFunc(outdated, func(u User) bool {
		if u.CustomerID == c.ID {
			return u.Blocked || heldByOther(c, u, w) || erased(u, w)
		}
		return c.Email.Key == "" || u.emailKey() != c.Email.Key || p.fallsShort(c, u, w) != ""
	})
}

// decideNamed settles the case that a back end named the customer in the
// app_metadata of one or more users.
func (p Policy) decideNamed(c customer.Customer, users, doubtful []User, w customer.World) (v Verdict, named bool) {
	var linkable, taken []User
	reason := customer.NotRegistered
	for _, u := range users {
		if u.CustomerID != c.ID {
			continue
		}
		named = true
		switch {
		case heldByOther(c, u, w):
			reason = customer.UserTaken
			taken = append(taken, u)
		case erased(u, w):
			if reason != customer.UserTaken {
				reason = customer.UserErased
			}
		case !u.Blocked:
			linkable = append(linkable, u)
		case reason == customer.NotRegistered:
			reason = customer.UserBlocked
		}
	}
	if !named {
		return Verdict{}, false
	}
	v = p.choose(c, linkable, doubtful, reason, "app_metadata").between(append(linkable, doubtful...), taken, w)
	if v.Link != nil && c.Email.Key == "" {
		v.Link.Fill = FillFrom(p.only(linkable), w)
	}
	return v, true
}

// fallsShort says why a user with the customer's e-mail key is not linkable; ""
// if it is.
func (p Policy) fallsShort(c customer.Customer, u User, w customer.World) customer.Reason {
	switch {
	case !p.Trusts(u):
		return customer.ConnectionNotTrusted
	case !u.EmailVerified:
		return customer.EmailUnverified
	case u.Blocked:
		return customer.UserBlocked
	case heldByOther(c, u, w):
		return customer.UserTaken
	case erased(u, w):
		return customer.UserErased
	}
	return ""
}

// closeness orders reasons by how little was missing: of several users that
// fall short, support is told about the nearest.
func closeness(r customer.Reason) int {
	return slices.Index([]customer.Reason{
		customer.NotRegistered,
		customer.ConnectionNotTrusted,
		customer.EmailUnverified,
		customer.UserBlocked,
		customer.UserErased,
		customer.UserTaken,
	}, r)
}

// Trusts reports whether an identity of a trusted provider stands behind the
// user's address. The address is the primary identity's: a trusted one that was
// linked later with an address of its own says nothing about it. Else whoever gets
// a stranger's address into an untrusted connection could link a trusted identity
// and take that stranger's customer.
func (p Policy) Trusts(u User) bool {
	trusted := p.TrustedProviders
	if len(trusted) == 0 {
		trusted = DefaultTrustedProviders()
	}
	return slices.ContainsFunc(u.Identities, func(i Identity) bool {
		return !i.OtherEmail && slices.Contains(trusted, i.Provider)
	})
}

// DefaultTrustedProviders are the providers that verify an address themselves.
func DefaultTrustedProviders() []string {
	return []string{"auth0", "email", "google-oauth2", "apple"}
}

// heldByOther reports whether the user is on another live customer, or named
// for one by app_metadata.
func heldByOther(c customer.Customer, u User, w customer.World) bool {
	if holder, held := w.UserHolder[u.ID]; held && holder != c.ID {
		return true
	}
	return u.CustomerID != "" && u.CustomerID != c.ID && w.Live[u.CustomerID]
}

// erased reports whether the user is of a customer that was erased, which does not
// come back by itself. A token is the person's own word: whether it is a new one, the
// store says.
func erased(u User, w customer.World) bool { return w.Erased[u.ID] && u.Lane != LaneToken }

// choose links the only linkable user, or the one that connection priority
// prefers, if that is none of the doubtful.
func (p Policy) choose(c customer.Customer, linkable, doubtful []User, reason customer.Reason, namedBy string) Verdict {
	if len(linkable) == 0 {
		return Verdict{Reason: reason}
	}
	chosen := p.only(slices.Concat(linkable, doubtful))
	if !slices.ContainsFunc(linkable, func(u User) bool { return u.ID == chosen.ID }) {
		return Verdict{Reason: customer.SeveralUsers}
	}
	return Verdict{Link: &customer.Link{
		Customer:   c.ID,
		Key:        c.Email.Key,
		AuthUserID: chosen.ID,
		Evidence:   chosen.evidence(namedBy),
	}}
}

// only returns the single user, or of several the one in the best connection;
// the zero User if that does not settle it.
func (p Policy) only(linkable []User) User {
	if len(linkable) == 1 {
		return linkable[0]
	}
	for _, connection := range p.ConnectionPriority {
		var in []User
		for _, u := range linkable {
			if slices.ContainsFunc(u.Identities, func(i Identity) bool { return i.Connection == connection }) {
				in = append(in, u)
			}
		}
		if len(in) > 0 {
			if len(in) > 1 {
				return User{}
			}
			return in[0]
		}
	}
	return User{}
}

// newest keeps one observation a user, the newest, and parts from the others those
// older than what was already applied for that user: a slow lane must not undo a
// quick one.
func newest(found []User, w customer.World) (users, outdated []User) {
	byID := make(map[string]User, len(found))
	for _, u := range found {
		if seen, ok := byID[u.ID]; ok && !seen.Seen().Before(u.Seen()) {
			continue
		}
		byID[u.ID] = u
	}
	for _, u := range byID {
		if u.Seen().Before(w.Newest[u.ID]) {
			outdated = append(outdated, u)
			continue
		}
		users = append(users, u)
	}
	return users, outdated
}

// FillFrom is the address that a linked customer without one gets from its Auth0
// user: only a verified and matchable one that no other live customer has. The
// zero Email: none.
func FillFrom(u User, w customer.World) customer.Email {
	email, err := customer.ParseEmail(u.Email)
	if err != nil || !email.Key.Matchable() || !u.EmailVerified || u.Blocked {
		return customer.Email{}
	}
	if _, held := w.EmailHolder[email.Key]; held {
		return customer.Email{}
	}
	return email
}
