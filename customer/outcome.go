package customer

import "time"

// Reason says why a customer is still auth_pending. The list is closed and is
// shared by the API, the metrics, the logs and the runbook (product section
// "reasons"); each auth_pending customer has exactly one.
type Reason string

// All reasons. Meaning says each in a sentence.
const (
	Waiting              Reason = "waiting"
	NotRegistered        Reason = "not_registered"
	EmailUnverified      Reason = "email_unverified"
	ConnectionNotTrusted Reason = "connection_not_trusted"
	UserBlocked          Reason = "user_blocked"
	SeveralUsers         Reason = "several_users"
	UserTaken            Reason = "user_taken"
	EmailMissing         Reason = "email_missing"
	EmailUnmatchable     Reason = "email_unmatchable"
	Auth0Error           Reason = "auth0_error"
	Auth0Budget          Reason = "auth0_budget"
	UserGone             Reason = "user_gone"
	UserErased           Reason = "user_erased"
)

// Meaning explains a reason to a support person.
type Meaning struct {
	Sentence string // why the customer waits
	Who      string // who has to act
	Next     string // what happens then
}

// Reasons returns the closed list in the order of the documentation.
func Reasons() []Reason {
	return []Reason{
		Waiting, NotRegistered, EmailUnverified, ConnectionNotTrusted, UserBlocked, SeveralUsers,
		UserTaken, EmailMissing, EmailUnmatchable, Auth0Error, Auth0Budget, UserGone, UserErased,
	}
}

// Meaning returns the explanation of r; for a value outside the list it is zero.
func (r Reason) Meaning() Meaning {
	const nobody, person, operator, app = "nobody", "the customer", "an operator", "the app's developers"
	switch r {
	case Waiting:
		return Meaning{"Auth0 has not been asked about this customer yet.", nobody, "The next run of the worker looks them up."}
	case NotRegistered:
		return Meaning{"Auth0 knows no user with this e-mail address.", person, "They sign up at Auth0 with this address; the sign-up is noticed by itself."}
	case EmailUnverified:
		return Meaning{"The Auth0 user has not confirmed the e-mail address.", person, "They open the link in Auth0's verification e-mail; then they are linked by themselves."}
	case ConnectionNotTrusted:
		return Meaning{"The Auth0 user signs in only through connections that are not trusted to vouch for an e-mail address.", operator, "Trust the connection's provider in the configuration, or set auth_user_id by hand."}
	case UserBlocked:
		return Meaning{"The Auth0 user is blocked.", operator, "Unblock the user in Auth0; then they are linked by themselves."}
	case SeveralUsers:
		return Meaning{"Several Auth0 users qualify for this e-mail address and nothing says which one is meant.", operator, "Merge them in Auth0, set a connection priority, or set auth_user_id by hand."}
	case UserTaken:
		return Meaning{"The Auth0 user with this e-mail address belongs to another customer.", operator, "Close or unlink the other customer, or give this one another address."}
	case EmailMissing:
		return Meaning{"The customer has no e-mail address to look for.", app, "Set auth_user_id, or put the customer_id into the user's app_metadata."}
	case EmailUnmatchable:
		return Meaning{"The e-mail address has letters outside ASCII before the @, which are never matched automatically.", app, "Set auth_user_id by hand."}
	case Auth0Error:
		return Meaning{"Auth0 could not be asked: it failed or did not answer.", nobody, "The look-up is repeated shortly; the metrics say what failed."}
	case Auth0Budget:
		return Meaning{"The look-up waits for room in the Auth0 rate limit.", nobody, "The next run of the worker looks them up."}
	case UserGone:
		return Meaning{"The customer was linked, and the Auth0 user was deleted since.", person, "They sign up at Auth0 again with this address."}
	case UserErased:
		return Meaning{"The Auth0 user with this e-mail address is of a customer that was erased.", app, "They sign up with a new Auth0 user, create the customer by an access token of their own, or somebody sets auth_user_id."}
	}
	return Meaning{}
}

// Link is the decision that a customer and an Auth0 user are one person. The
// store writes it only if what it stood on still holds: the customer is
// auth_pending, has this Key and no AuthUserID, and the user is free.
type Link struct {
	Customer   ID
	Key        EmailKey // "" if the customer has no e-mail address
	AuthUserID string
	Fill       Email // address to fill in where the customer has none; zero: none
	Evidence   Evidence
	Since      time.Time // when both sides were there, the customer and its user as it is now
	FoundBy    Finder    // what led to it; "": not counted among the lags
}

// Hold is the decision to leave a customer auth_pending for a reason. It is
// written only if nothing made the customer due again since it was read.
type Hold struct {
	Customer ID
	Reason   Reason
	Next     time.Time // when to look again; zero: not until something happens
	Misses   int       // look-ups in a row that changed nothing, this one included
	Asked    bool      // Auth0 was asked and answered
	Due      time.Time // the Next as it was read: if it has moved, the Hold is dropped
	By       string    // how it was looked for, as Look has it; "": it was not
	// Candidates are the users of a conflict; none: those kept so far stay while the
	// Reason does.
	Candidates []Candidate
}

// Keep is the decision to leave a linked customer linked. It is written only if
// nothing made the customer due again since it was read.
type Keep struct {
	Customer   ID
	AuthUserID string    // must still be the customer's
	Email      Email     // to fill in where the customer has none; zero: none
	Gone       bool      // Auth0 says that the user is gone
	Asked      bool      // Auth0 was asked and answered
	Next       time.Time // when to look again; zero: not until something happens
	Misses     int
	Due        time.Time
}

// Rebind is the decision that a customer's user was linked into another one and
// is now an identity of that.
type Rebind struct {
	Customer ID
	From, To string // auth_user_id; From must still be the customer's, To free
	Evidence Evidence
}

// Unlink is the decision that a customer's user is truly gone.
type Unlink struct {
	Customer   ID
	AuthUserID string // must still be the customer's
	Close      bool   // the customer is closed with it
}

// Evidence is what was seen of an Auth0 user when a decision was made. It is
// kept with the link in the history.
type Evidence struct {
	AuthUserID    string
	EmailVerified bool
	Providers     []string
	NamedBy       string    // "email", "app_metadata" or "token"
	UpdatedAt     time.Time // the user's, by Auth0's clock
	SeenAt        time.Time // of the look, by Auth0's clock where it told
}

// Seen is the age of an observation of an Auth0 user: newer UpdatedAt wins,
// then newer SeenAt.
type Seen struct {
	UpdatedAt time.Time
	SeenAt    time.Time
}

// Before reports whether s is older than t.
func (s Seen) Before(t Seen) bool {
	if !s.UpdatedAt.Equal(t.UpdatedAt) {
		return s.UpdatedAt.Before(t.UpdatedAt)
	}
	return s.SeenAt.Before(t.SeenAt)
}

// World is what a decision needs to know beside the customer and the users
// found: who holds what among live customers.
type World struct {
	UserHolder  map[string]ID   // auth_user_id → live customer that has it
	EmailHolder map[EmailKey]ID // e-mail key → live customer that has it
	Live        map[ID]bool     // of the customers named by users: the live ones
	Newest      map[string]Seen // auth_user_id → newest observation applied so far
	Erased      map[string]bool // auth_user_id → it is of a customer that was erased
}

// Due is a customer that the worker is to look at, with what it knows so far.
type Due struct {
	Customer
	Reason Reason
	Misses int
	GoneAt time.Time // since when Auth0 says that the linked user is gone; zero: it does not
	At     time.Time // since when it is due
	Urgent bool      // somebody waits for this look
	Hint   Hint      // zero: nothing was pushed to us
}

// Hint is what a delivery from Auth0 says about a user. It makes a customer due
// and tells whom to ask for; it never links.
type Hint struct {
	AuthUserID string
	Email      string   // as Auth0 spells it
	Key        EmailKey // "" if there is no e-mail or it has no key
	Verified   bool
	CustomerID ID       // from app_metadata.customer_id, "" if none
	Identities []string // the user's secondary identities, as the user ids they had
	Deleted    bool     // the delivery reports a deletion
	Partial    bool     // only the user's id is to be relied on: Auth0 is to be asked who that is
}

// Actionable reports whether the hint is of somebody who may be linked: one whose
// address is verified, or whom a back end named outright.
func (h Hint) Actionable() bool { return !h.Deleted && (h.Verified || h.CustomerID != "") }

// Matters reports whether the hint asks for anything at all.
func (h Hint) Matters() bool { return h.Actionable() || h.Deleted || len(h.Identities) > 0 }

// Partial is a delivery that Auth0 is to be asked about.
type Partial struct {
	ID         int64 // in the inbox
	AuthUserID string
}

// SampleID begins the event id of deliveries that we send to ourselves, to see
// whether they come.
const SampleID = "check_"

// Delivery is an authentic delivery for the inbox.
type Delivery struct {
	Source     string // "action", "event_stream"
	EventID    string // unique within the source
	Kind       string // the event's type as Auth0 names it, "" if not understood
	Hint       Hint
	Understood bool   // false: quarantined with its Body
	Body       []byte // kept only in quarantine
}
