package customer

// Sighting is a user as a full listing of the tenant shows it.
type Sighting struct {
	UserID    string
	CarriedBy string   // the user that this one is an identity of; "" for users of their own
	Key       EmailKey // "" if it has no valid address
	Verified  bool
	Blocked   bool

	// Of a user that may belong to a customer that waits: all that was seen, as JSON,
	// and the customer it names.
	Observation []byte
	CustomerID  ID
}

// Sought is a customer that is auth_pending, by the names that Auth0 may know it by.
type Sought struct {
	ID  ID
	Key EmailKey
}

// Linked is a customer that is active, by what its Auth0 user is to agree with.
type Linked struct {
	ID         ID
	AuthUserID string
	Key        EmailKey // "" if it has no address
}

// Finding is a linked customer that a full listing does not agree with.
type Finding struct {
	Customer   ID
	AuthUserID string
	What       FindingKind
	CarriedBy  string // with FoundMoved
}

// FindingKind is what a full listing finds about a linked customer.
type FindingKind string

// All kinds. The first two are looked into; the others are told, since a link
// does not depend on them once it is made.
const (
	FoundGone         FindingKind = "gone"          // no such user
	FoundMoved        FindingKind = "moved"         // an identity of another user now
	FoundEmailChanged FindingKind = "email_changed" // the user has another address than the customer
	FoundBlocked      FindingKind = "blocked"
	FoundUnverified   FindingKind = "unverified"
)
