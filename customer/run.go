package customer

import "time"

// Run is the record of one run of the worker.
type Run struct {
	ID      int64
	Kind    string // what started it: "promote", "inbox", "sync", "watchdog", …
	Started time.Time
	Ended   time.Time // zero while it runs
	Result  RunResult
	Tally
	BudgetWait time.Duration // spent waiting for room in the Auth0 rate limit
	Lane       string        // how most were looked up: "look-up", "search", "export", "windows"; "" if nobody was
	Note       string        // what went wrong, without personal data; "" if nothing did
	AskedBy    string        // the person who wanted it; "": the clock or a delivery did
	Why        string        // that person's reason
}

// Asked reports whether a person had the run made.
func (r Run) Asked() bool { return r.AskedBy != "" }

// LaneMeaning says why customers were looked up by this lane, "" for one that is not known.
func (r Run) LaneMeaning() string {
	switch r.Lane {
	case "look-up":
		return "Few were due, or somebody waited for them: asked for one by one, Auth0 answers with what is true at once."
	case "search":
		return "Many were due: one search asks for fifty of them, where one by one each would cost a call."
	case "export":
		if r.Kind == "reconcile" || r.Kind == "plan" {
			return "All users of the tenant were read from one export job, which costs a dozen calls however many there are."
		}
		return "So many were due that one export of the whole tenant was cheaper than searching: a full reconcile looks them up."
	case "windows":
		return "All users of the tenant were read by searches, since Auth0 allows us no export."
	}
	return ""
}

// Tally counts what a run did.
type Tally struct {
	Looked     int // customers looked at
	Linked     int
	Unlinked   int // the Auth0 user is gone
	Rebound    int // the Auth0 user was linked into another one
	Filled     int // linked customers that got their e-mail address
	Conflicts  int // customers held for several_users or user_taken
	Errors     int // customers that could not be looked up or written
	Auth0Calls int
}

// LeaseName is a kind of work that one replica does at a time.
type LeaseName string

// All leases.
const (
	LeaseWorker    LeaseName = "worker"    // what is due
	LeaseReconcile LeaseName = "reconcile" // all customers against all users, which takes long
	LeaseFollow    LeaseName = "follow"    // the event feed or the log tail
	LeaseEvents    LeaseName = "events"    // events to other systems
)

// Lane is how far a lane has come that follows Auth0 by a cursor.
type Lane struct {
	Name  string
	Moved time.Time // when its cursor last moved
	Gap   time.Time // what happened before then was missed and is still to be made up for; zero: nothing
}

// RunResult says how a run ended. A run that met an error is never RunOK.
type RunResult string

// All results.
const (
	RunOK      RunResult = "ok"
	RunPartial RunResult = "partial" // some customers met an error or the budget, others were done
	RunFailed  RunResult = "failed"  // nothing could be done
	RunAborted RunResult = "aborted" // stopped before its end: shutdown, lease lost, killed
)

// Absorbed counts what became of the inbox rows of one batch.
type Absorbed struct {
	Rows    int  // taken from the inbox
	Matched int  // made a customer due
	Kept    int  // name nobody we know yet; a later customer finds them
	Left    bool // more rows wait
}
