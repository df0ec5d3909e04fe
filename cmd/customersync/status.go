package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

type statusCmd struct {
	JSON bool `help:"Print JSON."`
}

// errNeedsPerson ends a status that shows something which will not mend by itself.
var errNeedsPerson = errors.New("a person is needed")

// Run says how the whole stands.
func (v statusCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		status, err := st.Status(ctx)
		if err != nil {
			return err
		}
		if v.JSON {
			p.printJSON(statusJSON(status))
		} else if _, err := io.WriteString(p.stdout, statusInWords(status)); err != nil {
			return err
		}
		if len(status.NeedsPerson()) > 0 {
			return errNeedsPerson
		}
		return nil
	})
}

func statusInWords(s customer.Status) string {
	var b strings.Builder
	b.WriteString("Customers:")
	for _, l := range customer.Lifecycles() {
		fmt.Fprintf(&b, "  %s %d", l, s.Customers[l])
	}
	b.WriteString("\n")
	for _, r := range customer.Reasons() {
		if n := s.Pending[r]; n > 0 {
			fmt.Fprintf(&b, "  %6d  %-22s  %s\n", n, r, r.Meaning().Sentence)
		}
	}
	if s.Oldest.ID != "" {
		fmt.Fprintf(&b, "Waits longest: %s, since %s\n", s.Oldest.ID, s.Oldest.CreatedAt.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "Due now: %d%s\n", s.Due, prefixed(", since ", timeText(s.DueSince)))
	fmt.Fprintf(&b, "Inbox: %d new%s, %d kept for customers to come, %d not understood\n",
		s.Inbox.New, prefixed(" since ", timeText(s.Inbox.Oldest)), s.Inbox.Kept, s.Inbox.Quarantined)
	for _, r := range s.Runs {
		b.WriteString(runsInWords(r))
	}
	for _, l := range s.Leases {
		b.WriteString(leaseInWords(l))
	}
	for _, l := range s.Lanes {
		fmt.Fprintf(&b, "Lane %s: followed up to %s%s\n", l.Name, timeText(l.Moved), prefixed("; a full reconcile is to make up for what was missed before ", timeText(l.Gap)))
	}
	if s.Gone > 0 {
		fmt.Fprintf(&b, "Linked customers whose Auth0 user is gone: %d\n", s.Gone)
	}
	b.WriteString("\n")
	for _, sentence := range s.NeedsPerson() {
		fmt.Fprintf(&b, "A person is needed. %s\n", sentence)
	}
	if len(s.NeedsPerson()) == 0 {
		b.WriteString("Nothing needs a person.\n")
	}
	return b.String()
}

func runsInWords(r customer.LastRuns) string {
	result := string(r.Attempt.Result)
	if result == "" {
		result = "under way"
	}
	success := timeText(r.Success.Started)
	if success == "" {
		success = "never"
	}
	a := r.Attempt
	return fmt.Sprintf("Run %s: last attempt %s, %s: looked at %d%s, linked %d, unlinked %d, conflicts %d, errors %d, %d Auth0 calls%s%s; last success %s\n",
		r.Kind, timeText(a.Started), result, a.Looked, prefixed(" by ", a.Lane), a.Linked, a.Unlinked, a.Conflicts, a.Errors, a.Auth0Calls,
		prefixed(": ", a.Note), prefixed("; wanted by ", a.AskedBy), success)
}

func leaseInWords(l customer.Lease) string {
	switch {
	case !l.Until.IsZero():
		return fmt.Sprintf("Lease %s: %s works\n", l.Name, l.Holder)
	case l.Holder != "":
		return fmt.Sprintf("Lease %s: free, last had by %s\n", l.Name, l.Holder)
	}
	return fmt.Sprintf("Lease %s: free\n", l.Name)
}

// timeText is "" for the zero time.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// statusJSON has times as texts, "" for none.
func statusJSON(s customer.Status) map[string]any {
	customers, pending, runs, leases := map[string]int{}, []map[string]any{}, []map[string]any{}, []map[string]any{}
	for _, l := range customer.Lifecycles() {
		customers[string(l)] = s.Customers[l]
	}
	for _, r := range customer.Reasons() {
		if n := s.Pending[r]; n > 0 {
			m := r.Meaning()
			pending = append(pending, map[string]any{"reason": r, "count": n, "sentence": m.Sentence, "who_acts": m.Who, "then": m.Next})
		}
	}
	for _, r := range s.Runs {
		runs = append(runs, map[string]any{"kind": r.Kind, "last_attempt": runJSON(r.Attempt), "last_success": runJSON(r.Success)})
	}
	for _, l := range s.Leases {
		leases = append(leases, map[string]any{"name": l.Name, "holder": l.Holder, "until": timeText(l.Until)})
	}
	lanes := []map[string]any{}
	for _, l := range s.Lanes {
		lanes = append(lanes, map[string]any{"name": l.Name, "moved_at": timeText(l.Moved), "gap_at": timeText(l.Gap)})
	}
	return map[string]any{
		"lanes": lanes, "gone": s.Gone,
		"at": timeText(s.At), "customers": customers, "pending": pending, "conflicts": s.Conflicts(),
		"oldest_pending": map[string]any{"customer_id": s.Oldest.ID, "since": timeText(s.Oldest.CreatedAt)},
		"due_now":        s.Due, "due_since": timeText(s.DueSince), "runs": runs, "leases": leases,
		"inbox": map[string]any{
			"new": s.Inbox.New, "oldest_new": timeText(s.Inbox.Oldest), "kept": s.Inbox.Kept, "quarantined": s.Inbox.Quarantined,
		},
		"needs_person": append([]string{}, s.NeedsPerson()...),
	}
}

// runJSON is nil for a run that never was.
func runJSON(r customer.Run) map[string]any {
	if r.ID == 0 {
		return nil
	}
	return map[string]any{
		"started_at": timeText(r.Started), "ended_at": timeText(r.Ended), "result": r.Result, "looked": r.Looked, "linked": r.Linked,
		"unlinked": r.Unlinked, "rebound": r.Rebound, "filled": r.Filled, "conflicts": r.Conflicts, "errors": r.Errors,
		"auth0_calls": r.Auth0Calls, "budget_wait_seconds": r.BudgetWait.Seconds(), "lane": r.Lane, "note": r.Note,
		"asked_by": r.AskedBy, "why": r.Why,
	}
}
