package customer

import "errors"

// What can go wrong with a customer, in the program's own words. Foreign errors
// are translated into these where they are met (store: by constraint name).
var (
	ErrNotFound      = errors.New("no such customer")
	ErrEmailTaken    = errors.New("e-mail address is on another live customer")
	ErrAuthUserTaken = errors.New("Auth0 user is on another live customer")
	ErrInactive      = errors.New("customer is closed")
	ErrNoConflict    = errors.New("customer is not in conflict")
	ErrStale         = errors.New("customer has changed since it was read") // If-Match failed
	ErrKeyReused     = errors.New("idempotency key was used with another request")
	ErrKeyInFlight   = errors.New("a request with this idempotency key is still in flight")
	ErrUnavailable   = errors.New("database is not available") // try again later; nothing was acknowledged
	ErrLeaseHeld     = errors.New("another worker holds the lease")
	ErrLeaseLost     = errors.New("the lease was taken over; nothing was written")
	ErrFeedAhead     = errors.New("the feed of events has not come so far") // its database was set back
	ErrErased        = errors.New("the Auth0 user is of a customer that was erased")
	ErrNoEraseKey    = errors.New("there is no key to erase customers with")
	ErrAuth0Refuses  = errors.New("Auth0 does not let us do it")
	ErrAuth0Away     = errors.New("Auth0 cannot be asked just now")
	ErrPlanBusy      = errors.New("a plan is being made or applied")
	ErrForged        = errors.New("delivery is not authentic")
)

// FieldError is a value that cannot be accepted. Problem completes the sentence
// "field …" and never repeats the value, which may be personal.
type FieldError struct {
	Field   string
	Problem string
}

func (e FieldError) Error() string { return e.Field + " " + e.Problem }
