package ops

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// level is how much a finding asks for.
type level int

// All levels, the worst first.
const (
	broken  level = iota // it does not work, and will not mend by itself
	watched              // it may need a person
	unknown              // nothing tells
	working
)

// Name is the level as the style sheet has it.
func (l level) Name() string { return [...]string{"bad", "warn", "none", "fine"}[l] }

// Word is the level for people, colours or not.
func (l level) Word() string {
	return [...]string{"Needs a person", "Look at it", "Not known", "Works"}[l]
}

// finding is what is known of one part, in words.
type finding struct {
	Level level
	Part  string
	Says  string
	Do    string // "": nothing is to be done
	Link  string // where to do it; "": not on this page
}

// seen is all that findings stand on.
type seen struct {
	customer.Status // Customers and Pending are nil while they are being counted
	Heard           []customer.Heard
	Lags            []customer.Lag    // of a day
	Checks          map[string]string // of this process, "ok" or what is wrong
	Looked          time.Time         // when this process last looked for work; zero: not since it started
	CallsLeft       int               // of the rate limit, as Auth0 last told this process; below 0: it did not
}

const (
	// lateAfter is how long work may lie before it is worth a word, and overdueAfter
	// before nobody seems to do it (as customer.Status.NeedsPerson has it).
	lateAfter    = 2 * time.Minute
	overdueAfter = 15 * time.Minute
	// nightly is how old the last full reconcile may be that should be made each night.
	nightly = 36 * time.Hour
	// silentAfter is how long webhooks may be silent before that is a question.
	silentAfter = 24 * time.Hour
)

// health says of each part whether it works, the worst first. What nothing shows is said
// to be unknown, not well.
func health(s seen) []finding {
	all := slices.Concat(ofChecks(s), ofWork(s), ofRuns(s), ofLanes(s), ofWebhooks(s), ofAuth0(s), ofPeople(s))
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(a.Level, b.Level) })
	return all
}

func ofChecks(s seen) []finding {
	all := []finding{{working, "Database", "It answers: this page was read from it just now.", "", ""}}
	sentences := map[string]string{"signing_keys": "Auth0's signing keys are here, so that access tokens can be checked."}
	for _, name := range slices.Sorted(maps.Keys(s.Checks)) {
		switch says := s.Checks[name]; {
		case says != "ok":
			all = append(all, finding{broken, "This process: " + name, "It says: " + says + ".", "The runbook's section CustomersyncDown says what to look at. Other replicas may be well.", ""})
		case sentences[name] != "":
			all = append(all, finding{working, "This process: " + name, sentences[name], "", ""})
		}
	}
	return all
}

func ofWork(s seen) []finding {
	f := finding{Level: working, Part: "Worker", Says: "Nobody who is due has to wait."}
	late := time.Duration(0)
	if !s.DueSince.IsZero() {
		late = s.At.Sub(s.DueSince)
		f.Says = atLeast(s.Due, "customer is", "customers are") + " due, the first for " + span(late) + "."
	}
	switch {
	case late > overdueAfter:
		f.Level, f.Do = broken, "Does a daemon run, and does it reach Auth0? See its log, and: customersync check --online"
	case late > lateAfter:
		f.Level, f.Do = watched, "A large run may be under way: see the runs."
		f.Link = "/ops/runs"
	case s.Looked.IsZero():
		f.Says += " This process has not looked for work since it started."
		if late == 0 {
			f.Level = unknown
		}
	}
	if !s.Looked.IsZero() {
		f.Says += " This process last looked for work " + ago(s.Looked) + "."
	}
	all := []finding{f}
	if !s.Inbox.Oldest.IsZero() && s.At.Sub(s.Inbox.Oldest) > overdueAfter {
		all = append(all, finding{broken, "Inbox", "Deliveries from Auth0 lie unread for " + span(s.At.Sub(s.Inbox.Oldest)) + ".", "Does a daemon run? customersync check --online", ""})
	}
	if s.Inbox.Quarantined > 0 {
		all = append(all, finding{watched, "Inbox", atLeast(s.Inbox.Quarantined, "delivery was", "deliveries were") + " authentic, but not understood.",
			"Is the Action in Auth0 the one that was shipped? customersync setup auth0 --dry-run", ""})
	}
	return all
}

func ofRuns(s seen) []finding {
	var all []finding
	for _, r := range s.Runs {
		f := ofRun(r, s.At)
		f.Part, f.Link = "Runs of kind "+r.Kind, fmt.Sprintf("/ops/runs/%d", r.Attempt.ID)
		all = append(all, f)
	}
	return all
}

func ofRun(r customer.LastRuns, now time.Time) finding {
	success := "None ended well as far as is remembered, which is 30 days."
	if !r.Success.Started.IsZero() {
		success = "The last that ended well began " + span(now.Sub(r.Success.Started)) + " ago."
	}
	began := span(now.Sub(r.Attempt.Started)) + " ago"
	switch r.Attempt.Result {
	case "":
		return finding{Level: working, Says: "One is under way, since " + span(now.Sub(r.Attempt.Started)) + ". " + success}
	case customer.RunFailed:
		return finding{Level: broken, Says: "The last failed, " + began + ": " + sentence(r.Attempt.Note) + " " + success, Do: advice(r.Attempt)}
	case customer.RunPartial:
		return finding{Level: watched, Says: "The last was done in part, " + began + ": " + sentence(r.Attempt.Note) + " " + success, Do: advice(r.Attempt)}
	case customer.RunAborted:
		return finding{Level: watched, Says: "The last was broken off, " + began + ": " + sentence(r.Attempt.Note) + " " + success, Do: advice(r.Attempt)}
	case customer.RunOK:
	}
	if r.Kind == "reconcile" && now.Sub(r.Success.Started) > nightly {
		return finding{Level: watched, Says: success + " It should be made each night.", Do: "Is CUSTOMERSYNC_RECONCILE_SCHEDULE off? By hand: customersync reconcile"}
	}
	return finding{Level: working, Says: success}
}

func ofLanes(s seen) []finding {
	follower := ""
	for _, l := range s.Leases {
		if l.Name == customer.LeaseFollow && !l.Until.IsZero() {
			follower = l.Holder
		}
	}
	var all []finding
	for _, l := range s.Lanes {
		f := finding{Level: working, Part: "Lane " + l.Name, Says: "Followed by " + follower + "; the last it brought came " + span(s.At.Sub(l.Moved)) + " ago."}
		if follower == "" {
			f.Level, f.Says = unknown, "Nobody follows it now. It was read up to "+span(s.At.Sub(l.Moved))+" ago."
		}
		if !l.Gap.IsZero() {
			f.Level, f.Do = watched, "The next full reconcile makes up for it."
			f.Says += " Something before " + stamp(l.Gap) + " was missed."
		}
		all = append(all, f)
	}
	return all
}

func ofWebhooks(s seen) []finding {
	f := finding{Level: working, Part: "Webhooks"}
	var last customer.Heard
	for _, h := range s.Heard {
		if pushed(h.Source) && h.At.After(last.At) {
			last = h
		}
	}
	f.Says = "No delivery has come, as far as is remembered."
	if !last.At.IsZero() {
		f.Says = "The last delivery came " + span(s.At.Sub(last.At)) + " ago, from " + words(last.Source) + "."
		if s.At.Sub(last.At) <= silentAfter {
			return []finding{f}
		}
	}
	otherwise := 0
	for _, l := range s.Lags {
		if l.FoundBy == customer.FoundByCron || l.FoundBy == customer.FoundByReconcile {
			otherwise += l.Customers
		}
	}
	f.Level = unknown
	f.Says += " Nobody was linked by looking within a day either, so nothing tells whether they get through."
	if otherwise > 0 {
		f.Level = watched
		f.Says = "Silent, it seems: no delivery came within a day, and meanwhile " + several(otherwise, "customer was", "customers were") + " found by looking."
		f.Do = "Do they get through? customersync check --online --webhook-url URL"
	}
	return []finding{f}
}

// pushed reports whether deliveries of a source come by themselves; those of the others
// we fetch.
func pushed(source string) bool {
	return source == "action" || source == "event_stream" || source == "log_stream"
}

func words(source string) string {
	switch source {
	case "action":
		return "an Action"
	case "event_stream":
		return "the Event Stream"
	case "log_stream":
		return "a log stream"
	}
	return source
}

func ofAuth0(s seen) []finding {
	if s.Pending == nil {
		return []finding{{unknown, "Auth0", "Whether somebody waits for it is still being counted.", "", ""}}
	}
	f := finding{Level: working, Part: "Auth0", Says: "Nobody waits for its answer, or for room in its rate limit."}
	switch queued, failed := s.Pending[customer.Auth0Budget], s.Pending[customer.Auth0Error]; {
	case failed > 0:
		f = finding{watched, "Auth0", several(failed, "customer", "customers") + " could not be looked up, because it failed.", "They are looked up again by themselves. If it lasts: customersync check --online", "/ops/reasons/auth0_error"}
	case queued > 0:
		f = finding{watched, "Auth0", several(queued, "customer waits", "customers wait") + " for room in its rate limit.", "They are looked up as room comes. If it lasts, CUSTOMERSYNC_AUTH0_SHARE gives customersync more of it.", "/ops/reasons/auth0_budget"}
	}
	if s.CallsLeft >= 0 {
		f.Says += " It last told this process that " + several(s.CallsLeft, "call is", "calls are") + " left."
	}
	return []finding{f}
}

func ofPeople(s seen) []finding {
	var all []finding
	if n := s.Conflicts(); n > 0 {
		all = append(all, finding{broken, "Conflicts", several(n, "customer waits", "customers wait") + " until a person says which Auth0 user is theirs.", "", "/ops/conflicts"})
	}
	if s.Gone > 0 {
		all = append(all, finding{watched, "Users that are gone", atLeast(s.Gone, "linked customer has", "linked customers have") + " an Auth0 user that Auth0 does not know any more.",
			"They are unlinked when their grace period ends, unless they are too many at once.", ""})
	}
	return all
}
