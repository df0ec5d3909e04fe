package ops

import (
	"fmt"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// span is a length of time for people: its largest unit is enough.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Second: // a moment of another clock may be to come
		return "1 second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// ago is how long ago a moment was, or how far away it is.
func ago(t time.Time) string {
	switch d := time.Since(t); {
	case t.IsZero():
		return "never"
	case d < -time.Second:
		return "in " + span(-d)
	case d < time.Second:
		return "just now"
	default:
		return span(d) + " ago"
	}
}

// thousands is a count that people can read.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// counted is a count that was made at a glance.
func counted(n int) string {
	if n >= customer.Uncounted {
		return thousands(customer.Uncounted) + " or more"
	}
	return thousands(n)
}

// several is a number of things, in words that agree with it.
func several(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + more
}

// atLeast is several for a count that was made at a glance.
func atLeast(n int, one, more string) string {
	if n >= customer.Uncounted {
		return counted(n) + " " + more
	}
	return several(n, one, more)
}

// sentence makes one of a note.
func sentence(note string) string {
	switch {
	case note == "":
		return "nothing is known of why."
	case strings.HasSuffix(note, "."):
		return note
	}
	return note + "."
}

// advice is what an operator does about how a run ended; "" if nothing.
func advice(r customer.Run) string {
	has := func(texts ...string) bool {
		for _, text := range texts {
			if strings.Contains(r.Note, text) {
				return true
			}
		}
		return false
	}
	switch {
	case r.Result == "" || r.Result == customer.RunOK:
		return ""
	case has("refuses our credentials", "status 401", "status 403"):
		return "See that the machine application has its secret and scopes: customersync check --online"
	case has("nobody unlinked"):
		return "See that the tenant is the right one and whole. Then read a plan and apply it, on the page Plan."
	case has("rate limit", "budget"):
		return "Who was not looked up is looked up as room comes. If it lasts, CUSTOMERSYNC_AUTH0_SHARE gives customersync more of the rate limit."
	case has("planned changes refused"):
		return "The world has moved since the plan was made. Make a new one."
	case has("listing is incomplete"):
		return "Auth0 gave fewer users than it counts. The next full reconcile tries again."
	case has("without a word"):
		return "The process was killed or lost the database. The next run goes on where it was; the log of that time says more."
	case has("no usable answer", "given up", "failed too often", "status 5"):
		return "Auth0 failed. Customers are looked up again by themselves; if it lasts, see https://status.auth0.com and: customersync check --online"
	case r.Result == customer.RunAborted:
		return "It was stopped, as by a restart, or another replica took over. The next run goes on where it was."
	}
	return "Customers are looked up again by themselves. If it lasts: customersync check --online"
}
