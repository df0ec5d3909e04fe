package customer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

func TestAStatusSaysWhatNeedsAPerson(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	runs := func(result customer.RunResult, ago time.Duration) []customer.LastRuns {
		return []customer.LastRuns{{Kind: "promote", Attempt: customer.Run{Result: result, Started: now.Add(-ago), Note: "Auth0 fails"}}}
	}
	tests := map[string]struct {
		status customer.Status
		want   string // "": nothing
	}{
		"nothing at all":                 {customer.Status{}, ""},
		"people who have not signed up":  {customer.Status{Pending: map[customer.Reason]int{customer.NotRegistered: 9}}, ""},
		"several users":                  {customer.Status{Pending: map[customer.Reason]int{customer.SeveralUsers: 2, customer.UserTaken: 1}}, "in conflict: 3"},
		"customers due just now":         {customer.Status{Due: 1, DueSince: now.Add(-time.Minute)}, ""},
		"customers that nobody looks at": {customer.Status{Due: 1, DueSince: now.Add(-time.Hour)}, "due since 2026-11-23T11:00:00Z"},
		"deliveries that nobody takes":   {customer.Status{Inbox: customer.Backlog{New: 1, Oldest: now.Add(-time.Hour)}}, "Deliveries wait"},
		"deliveries not understood":      {customer.Status{Inbox: customer.Backlog{Quarantined: 5, Kept: 5}}, ""},
		"a failed run":                   {customer.Status{Runs: runs(customer.RunFailed, time.Minute)}, "promote failed: Auth0 fails"},
		"a run that failed long ago":     {customer.Status{Runs: runs(customer.RunFailed, 48*time.Hour)}, ""},
		"a run that was stopped":         {customer.Status{Runs: runs(customer.RunAborted, time.Minute)}, ""},
		"a run that did some":            {customer.Status{Runs: runs(customer.RunPartial, time.Minute)}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.status.At = now
			got := strings.Join(test.status.NeedsPerson(), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
