package customer

import "time"

// Cause says who or what made a change, and why. It becomes part of the history row.
type Cause struct {
	Kind      CauseKind
	Actor     string // Caller.Name, run number, or operator's name
	RequestID string // R16; "" outside requests
	Run       int64  // the run that made it; 0: none, or none that is noted
	Why       string // a short sentence for support
}

// CauseKind is the sort of actor behind a change.
type CauseKind string

// All sorts of actors.
const (
	ByAPI      CauseKind = "api"
	ByRun      CauseKind = "run"   // the worker, woken by cron or by a delivery
	ByToken    CauseKind = "token" // R11: the signed token of the person itself
	ByOperator CauseKind = "operator"
)

// Draft is a customer to be.
type Draft struct {
	ID          ID // made by the caller, so that a decision can name it beforehand
	FirstName   string
	LastName    string
	Email       Email     // zero: none
	CreatedBy   string    // R12: the same caller asking again gets the same customer
	Subject     string    // the sub of a user token, "" for a machine; live customers linked to it are the caller's own
	IssuedAt    time.Time // of that token
	Idempotency Idempotency
}

// Imported says what came of a customer of a list.
type Imported string

// What may come of one.
const (
	ImportMade   Imported = "created"
	ImportThere  Imported = "there"  // a live customer has the address, and is left as it is
	ImportErased Imported = "erased" // the address is of a customer that was erased
)

// Idempotency is the Idempotency-Key of a request (R12). The zero value is none.
type Idempotency struct {
	Key   string
	Scope string   // whose key it is: keys of two callers never meet
	Body  [32]byte // SHA-256 of the request body
}

// Claim is what a valid user token says of its bearer (R10, R11).
type Claim struct {
	AuthUserID string
	Email      Email
	Verified   bool
	IssuedAt   time.Time
}

// Patch is a change of exactly one field (R7). Value "" is legal only for
// AuthUserID, where it unlinks (R9).
type Patch struct {
	Field Field
	Value string
	// Seen is a version that the customer had when this was asked for; 0 is none.
	// By what happened since, a change whose answer got lost is told from one that was
	// not made.
	Seen int64
}

// Field names a field that may be patched, as the API spells it.
type Field string

// The fields that may be patched.
const (
	FieldFirstName  Field = "first_name"
	FieldLastName   Field = "last_name"
	FieldAuthUserID Field = "auth_user_id"
)

// Filter selects customers for a listing (R6). Its zero value is all of them.
type Filter struct {
	Lifecycle    Lifecycle // "": any
	UpdatedSince time.Time // zero: any
	After        ID        // keyset: customers after this one; "": from the start
	Limit        int       // 0: no limit
}

// Listed is a customer as a listing shows it.
type Listed struct {
	ID      ID
	Address string // "" if none
}

// Change is one row of a customer's history: when, who or what, from, to, why. A reveal
// changed nothing: its version is that of the change before it.
type Change struct {
	Version       int64
	At            time.Time
	What          string // created, patched, linked, unlinked, rebound, email_filled, closed; revealed
	Cause         Cause
	Field         string // the field that changed, as the API spells it; "" if it is the whole
	From, To      string
	FromLifecycle Lifecycle // "" when it was created
	ToLifecycle   Lifecycle
	Evidence      []byte // JSON: what was seen of the Auth0 user; nil if nothing was
}

// Explanation is why a customer is in its state (R19).
type Explanation struct {
	Customer
	Reason     Reason      // "" unless it is auth_pending
	Misses     int         // looks in a row that changed nothing
	AskedAt    time.Time   // when Auth0 last answered about it; zero: never
	GoneAt     time.Time   // since when Auth0 says that the linked user is gone; zero: it does not
	Candidates []Candidate // with a reason that is a conflict: the Auth0 users it is between
	Looking    bool        // somebody asked for a look at once, and it has not been made
	Next       time.Time   // when Auth0 is asked next; zero: not until something happens
	Looks      []Look      // oldest first, the newest of them
	History    []Change    // oldest first
}

// Meaning says the state in words.
func (e Explanation) Meaning() Meaning {
	switch e.Lifecycle {
	case Active:
		if !e.GoneAt.IsZero() {
			return Meaning{"Auth0 does not know the linked user any more.", "nobody", "If that stays so until the grace period ends, the customer is unlinked."}
		}
		return Meaning{"The customer is linked to an Auth0 user.", "nobody", "Nothing more is to be done."}
	case Inactive:
		return Meaning{"The customer's account is closed.", "nobody", "Nothing more happens. Signing up again makes a new customer."}
	case AuthPending:
	}
	return e.Reason.Meaning()
}
