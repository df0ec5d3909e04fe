package ops

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// shown is how many customers or changes a page lists.
const shown = 50

// waits is who waits for a reason.
type waits struct {
	Reason  customer.Reason
	Meaning customer.Meaning
	People  []waiting
	First   bool        // the list begins here
	Next    customer.ID // where the next page begins; "": this is the last
}

type waiting struct {
	customer.Waits
	Address string
}

// reason lists who waits for one, oldest first.
func (p *page) reason(w http.ResponseWriter, r *http.Request) error {
	reason := customer.Reason(r.PathValue("reason"))
	if reason.Meaning() == (customer.Meaning{}) {
		return errNoPage
	}
	after, err := customer.ParseID(r.URL.Query().Get("after"))
	if err != nil {
		after = "" // from the start
	}
	found, err := p.store.Waiting(r.Context(), reason, after, shown)
	if err != nil {
		return err
	}
	list := waits{Reason: reason, Meaning: reason.Meaning(), First: after == ""}
	for _, f := range found {
		list.People = append(list.People, waiting{f, mask(f.Email.Address)})
	}
	if len(found) == shown {
		list.Next = found[shown-1].ID
	}
	render(w, http.StatusOK, "reason", list)
	return nil
}

// runs lists runs, newest first.
type runs struct {
	Runs []customer.Run
	Next int64 // before which the next page begins; 0: this is the last
}

func (p *page) runs(w http.ResponseWriter, r *http.Request) error {
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || before < 0 {
		before = 0 // from the newest
	}
	found, err := p.store.RunsBefore(r.Context(), before, shown)
	if err != nil {
		return err
	}
	list := runs{Runs: found}
	if len(found) == shown {
		list.Next = found[shown-1].ID
	}
	render(w, http.StatusOK, "runs", list)
	return nil
}

// oneRun is the record of a run, and what it changed.
type oneRun struct {
	customer.Run
	Advice  string
	Changes []customer.RunChange
	Next    string // where the next page of changes begins; "": this is the last
}

// Took is how long the run took, or has taken so far.
func (r oneRun) Took() string {
	if r.Ended.IsZero() {
		return span(time.Since(r.Started)) + " so far"
	}
	if d := r.Ended.Sub(r.Started); d.Seconds() < 2 {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return span(r.Ended.Sub(r.Started))
}

// Counts are what it did, in the order of its record.
func (r oneRun) Counts() []bar {
	return []bar{
		{Name: "looked at", Count: r.Looked}, {Name: "linked", Count: r.Linked}, {Name: "unlinked", Count: r.Unlinked}, {Name: "rebound", Count: r.Rebound},
		{Name: "filled in", Count: r.Filled}, {Name: "conflicts", Count: r.Conflicts, Class: alarmed(r.Conflicts)}, {Name: "errors", Count: r.Errors, Class: alarmed(r.Errors)},
		{Name: "Auth0 calls", Count: r.Auth0Calls},
	}
}

func alarmed(n int) string {
	if n > 0 {
		return "alarm"
	}
	return ""
}

func (p *page) run(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("run"), 10, 64)
	if err != nil {
		return errNoRun
	}
	found, err := p.store.Run(r.Context(), id)
	if err != nil {
		return noRun(err)
	}
	id64, version := changeAt(r.URL.Query().Get("after"))
	changes, err := p.store.RunChanges(r.Context(), id, id64, version, shown)
	if err != nil {
		return err
	}
	one := oneRun{Run: found, Advice: advice(found)}
	for _, c := range changes {
		one.Changes = append(one.Changes, masked(c))
	}
	if len(changes) == shown {
		last := changes[shown-1]
		one.Next = string(last.Customer) + "." + strconv.FormatInt(last.Version, 10)
	}
	render(w, http.StatusOK, "run", one)
	return nil
}

// changeAt reads the place of a change in a list; else its start.
func changeAt(text string) (customer.ID, int64) {
	first, second, _ := strings.Cut(text, ".")
	id, err := customer.ParseID(first)
	version, err2 := strconv.ParseInt(second, 10, 64)
	if err != nil || err2 != nil {
		return "", 0
	}
	return id, version
}

// masked hides the addresses of a change.
func masked(c customer.RunChange) customer.RunChange {
	if c.Field == "email_address" {
		c.From, c.To = mask(c.From), mask(c.To)
	}
	return c
}
