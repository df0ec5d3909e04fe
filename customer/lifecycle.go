package customer

// Lifecycle is the phase a customer is in. Its values are those of the API.
type Lifecycle string

// The three phases. Inactive is final.
const (
	AuthPending Lifecycle = "auth_pending" // known to us, not yet matched with an Auth0 user
	Active      Lifecycle = "active"       // linked: AuthUserID is set
	Inactive    Lifecycle = "inactive"     // closed
)

// Lifecycles returns all phases, in the order a customer may pass them.
func Lifecycles() []Lifecycle { return []Lifecycle{AuthPending, Active, Inactive} }

// ParseLifecycle accepts one of the three phases as the API spells them; any
// other text is a FieldError of customer_lifecycle.
func ParseLifecycle(s string) (Lifecycle, error) {
	for _, l := range Lifecycles() {
		if string(l) == s {
			return l, nil
		}
	}
	return "", FieldError{Field: "customer_lifecycle", Problem: "must be auth_pending, active or inactive"}
}

// CanBecome reports whether a change from l to next is legal. Staying is not a
// change. The database holds the same table in a trigger.
func (l Lifecycle) CanBecome(next Lifecycle) bool {
	switch l {
	case AuthPending:
		return next == Active || next == Inactive // linked, closed
	case Active:
		return next == AuthPending || next == Inactive // unlinked, closed
	case Inactive:
		return false
	}
	return false
}
