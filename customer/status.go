package customer

import (
	"fmt"
	"time"
)

// Status is how the whole stands at one moment.
type Status struct {
	At        time.Time // by the database's clock
	Customers map[Lifecycle]int
	Pending   map[Reason]int // of those that are auth_pending
	Oldest    Customer       // the auth_pending customer made first; zero: there is none
	Due       int            // to be looked at now
	DueSince  time.Time      // zero: nobody is due
	Runs      []LastRuns     // by kind
	Leases    []Lease        // by name
	Lanes     []Lane         // that are, or were, followed, by name
	Gone      int            // linked customers whose Auth0 user is gone, within its grace period or held by the limit of unlinks
	Inbox     Backlog
}

// Uncounted is where counts end that are made at a glance: so many stands for so many
// or more.
const Uncounted = 1000

// LastRuns are the newest runs of a kind. A kind that goes on failing shows in
// their distance.
type LastRuns struct {
	Kind    string
	Attempt Run
	Success Run // the newest with RunOK; zero: none is remembered
}

// Lease is who does a kind of work.
type Lease struct {
	Name   LeaseName
	Holder string    // who has it or had it last; "": nobody yet
	Until  time.Time // zero: it is free
}

// Backlog counts deliveries by what became of them.
type Backlog struct {
	New         int       // not taken in yet
	Oldest      time.Time // of the new ones; zero: there are none
	Kept        int       // name nobody we know yet
	Quarantined int       // authentic but not understood
}

// Standing is what of the database a monitor asks for again and again: it costs some
// probes of indexes, whatever the number of customers.
type Standing struct {
	Oldest map[Reason]time.Time // when the oldest customer that waits for this reason was made
	Due    time.Time            // when the next customer is, or long has been, due; zero: there is none
	Inbox  Queued               // deliveries that are not taken in yet
	Lanes  []Lane               // that are, or were, followed, by name
}

// Queued counts what waits.
type Queued struct {
	Count  int
	Oldest time.Time // zero: nothing waits
}

// Conflicts is how many customers wait for a person.
func (s Status) Conflicts() int {
	n := 0
	for reason, count := range s.Pending {
		if reason.IsConflict() {
			n += count
		}
	}
	return n
}

const (
	// overdueAfter is how long work may lie before nobody seems to do it: many
	// times the schedule, and longer than a large run.
	overdueAfter = 15 * time.Minute
	// failedLately is how long a failed run, of which none of its kind came after, is news.
	failedLately = 24 * time.Hour
)

// NeedsPerson says, a sentence each, what will not mend by itself. Empty: nothing.
func (s Status) NeedsPerson() []string {
	var all []string
	if n := s.Conflicts(); n > 0 {
		all = append(all, fmt.Sprintf("Customers in conflict: %d. List and settle them: customersync conflicts.", n))
	}
	if !s.DueSince.IsZero() && s.At.Sub(s.DueSince) > overdueAfter {
		all = append(all, "Customers are due since "+s.DueSince.Format(time.RFC3339)+". Does a daemon run, and does it reach Auth0?")
	}
	if !s.Inbox.Oldest.IsZero() && s.At.Sub(s.Inbox.Oldest) > overdueAfter {
		all = append(all, "Deliveries wait since "+s.Inbox.Oldest.Format(time.RFC3339)+". Does a daemon run?")
	}
	for _, r := range s.Runs {
		if r.Attempt.Result == RunFailed && s.At.Sub(r.Attempt.Started) < failedLately {
			all = append(all, fmt.Sprintf("The last run of kind %s failed: %s.", r.Kind, r.Attempt.Note))
		}
	}
	return all
}
