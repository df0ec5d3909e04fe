package customer

import "time"

// Look is what one or more looks in a row at a customer came to.
type Look struct {
	Reason Reason // why the customer went on waiting
	By     string // how the last of them asked: "look-up", "search", "export" or "delivery"
	Count  int
	First  time.Time
	Last   time.Time
}

// Finder is what led to a customer that was linked.
type Finder string

// All finders.
const (
	FoundByDelivery  Finder = "delivery"  // Auth0 told of its user, by whatever lane
	FoundByCron      Finder = "cron"      // it was its turn
	FoundByReconcile Finder = "reconcile" // all were looked at
	FoundByRequest   Finder = "request"   // somebody asked for it
)

// Finders returns the closed list in the order of the documentation.
func Finders() []Finder {
	return []Finder{FoundByDelivery, FoundByCron, FoundByReconcile, FoundByRequest}
}

// LagBounds are the seconds by which lags are told apart, in the metrics and in the
// database alike. Counts of an earlier list stay true: each has its own bound.
func LagBounds() []float64 {
	return []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 21600, 86400}
}

// Lag is how many customers waited for less than so long, and not less than the bound
// before, until they were linked.
type Lag struct {
	FoundBy   Finder
	Below     float64 // seconds; infinite: longer than all bounds
	Customers int
}

// Heard is when a source of deliveries was last heard of.
type Heard struct {
	Source string
	At     time.Time
}

// Waits is a customer that waits for a reason.
type Waits struct {
	Customer
	Misses  int
	AskedAt time.Time // when Auth0 last answered about it; zero: never
	Next    time.Time // when Auth0 is asked next; zero: not until something happens
}

// RunChange is a change that a run made.
type RunChange struct {
	Change
	Customer  ID
	FirstName string
	LastName  string
}
