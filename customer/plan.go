package customer

import "time"

// Proposal is what a dry run says would happen to a customer.
type Proposal struct {
	Customer
	Action     string    // as package worker names it: "link", "hold", "fill", "rebind", "unlink", "close"
	Reason     Reason    // with "hold"
	AuthUserID string    // whom it would be linked to, or no longer
	Next       time.Time // with "hold": the next look
}

// PlanState says how far a plan is.
type PlanState string

// All states.
const (
	PlanMaking   PlanState = "making"
	PlanReady    PlanState = "ready" // to be read, and applied as far as it was not
	PlanFailed   PlanState = "failed"
	PlanApplying PlanState = "applying"
)

// Plan is what a full reconcile would change, made to be read before.
type Plan struct {
	ID      int64
	AskedAt time.Time
	AskedBy string
	Why     string
	State   PlanState
	HeardAt time.Time // when its maker was last heard of
	Silent  bool      // it should be working on it, and has not been heard of: its process is gone
	Run     int64     // that made it or carried it out last; 0: none yet
	Users   int       // of the tenant, read so far
	Total   int       // of them, as search counts
	Note    string    // what went wrong
	// How many changes it has, by what became of them.
	Open, Chosen, Done, Refused int
}

// Changes is how many changes the plan has.
func (p Plan) Changes() int { return p.Open + p.Chosen + p.Done + p.Refused }

// PlanRow is a change of one customer in a plan.
type PlanRow struct {
	Place      int // in the plan, from 1
	Customer   ID
	Version    int64 // that the customer had
	Action     string
	AuthUserID string // to be linked to, or no longer
	Outcome    string // OutcomeOpen, OutcomeChosen, OutcomeDone, or why it was refused
	// As the customer is now.
	FirstName string
	LastName  string
	Address   string
}

// What becomes of a row of a plan, beside being refused.
const (
	OutcomeOpen   = ""       // nobody asked for it
	OutcomeChosen = "chosen" // to be done
	OutcomeDone   = "done"
)
