package ops

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// well is a state in which all that can be seen works.
func well() seen {
	return seen{
		Status: customer.Status{
			At: noon, Customers: map[customer.Lifecycle]int{}, Pending: map[customer.Reason]int{},
			Runs: []customer.LastRuns{
				{Kind: "promote", Attempt: customer.Run{ID: 2, Started: noon.Add(-time.Minute), Result: customer.RunOK}, Success: customer.Run{ID: 2, Started: noon.Add(-time.Minute)}},
				{Kind: "reconcile", Attempt: customer.Run{ID: 1, Started: noon.Add(-9 * time.Hour), Result: customer.RunOK}, Success: customer.Run{ID: 1, Started: noon.Add(-9 * time.Hour)}},
			},
			Leases: []customer.Lease{{Name: customer.LeaseFollow, Holder: "a:1", Until: noon.Add(time.Second)}},
			Lanes:  []customer.Lane{{Name: "event_feed", Moved: noon.Add(-time.Minute)}},
		},
		Heard:  []customer.Heard{{Source: "action", At: noon.Add(-time.Hour)}},
		Checks: map[string]string{"database": "ok", "signing_keys": "ok"},
		Looked: time.Now(), CallsLeft: 40,
	}
}

func TestHealthIsClaimedOnlyWhereItIsSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change      func(*seen)
		level       level
		part, says  string
		does, never string
	}{
		"all is well":            {func(*seen) {}, working, "Worker", "last looked for work just now", "", ""},
		"Auth0's word":           {func(*seen) {}, working, "Auth0", "40 calls are left", "", ""},
		"Auth0 said nothing yet": {func(s *seen) { s.CallsLeft = -1 }, working, "Auth0", "Nobody waits for its answer", "", "calls"},
		"a fresh process":        {func(s *seen) { s.Looked = time.Time{} }, unknown, "Worker", "has not looked for work since it started", "", ""},
		"work lies a little":     {func(s *seen) { s.Due, s.DueSince = 3, noon.Add(-5*time.Minute) }, watched, "Worker", "3 customers are due, the first for 5 minutes", "the runs", "has to wait"},
		"nobody works":           {func(s *seen) { s.Due, s.DueSince = 1, noon.Add(-time.Hour) }, broken, "Worker", "1 customer is due, the first for 60 minutes", "Does a daemon run", ""},
		"deliveries lie":         {func(s *seen) { s.Inbox.Oldest = noon.Add(-time.Hour) }, broken, "Inbox", "unread for 60 minutes", "check --online", ""},
		"deliveries are strange": {func(s *seen) { s.Inbox.Quarantined = 2 }, watched, "Inbox", "2 deliveries were authentic, but not understood", "setup auth0", ""},
		"no keys":                {func(s *seen) { s.Checks["signing_keys"] = "never loaded" }, broken, "This process: signing_keys", "never loaded", "runbook", ""},
		"a run failed": {func(s *seen) {
			s.Runs[0].Attempt = customer.Run{ID: 3, Started: noon, Result: customer.RunFailed, Note: "Auth0 refuses our credentials"}
		}, broken, "Runs of kind promote", "The last failed, 1 second ago: Auth0 refuses our credentials. The last that ended well began 60 seconds ago.", "secret and scopes", ""},
		"a run was partial": {func(s *seen) {
			s.Runs[0].Attempt = customer.Run{ID: 3, Started: noon, Result: customer.RunPartial, Note: "Auth0's rate limit is used up"}
		}, watched, "Runs of kind promote", "done in part", "CUSTOMERSYNC_AUTH0_SHARE", ""},
		"a run was killed": {func(s *seen) {
			s.Runs[0].Attempt = customer.Run{ID: 3, Started: noon, Result: customer.RunAborted, Note: "the process ended without a word"}
		}, watched, "Runs of kind promote", "broken off", "killed", ""},
		"none ever succeeded": {func(s *seen) {
			s.Runs[0] = customer.LastRuns{Kind: "promote", Attempt: customer.Run{ID: 3, Started: noon, Result: customer.RunFailed}}
		}, broken, "Runs of kind promote", "None ended well", "", ""},
		"a run is under way": {func(s *seen) { s.Runs[0].Attempt = customer.Run{ID: 3, Started: noon.Add(-time.Minute)} }, working, "Runs of kind promote", "under way, since 60 seconds", "", ""},
		"no nightly run": {func(s *seen) {
			s.Runs[1].Attempt.Started, s.Runs[1].Success.Started = noon.Add(-72*time.Hour), noon.Add(-72*time.Hour)
		}, watched, "Runs of kind reconcile", "3 days ago", "RECONCILE_SCHEDULE", ""},
		"a lane is followed":      {func(*seen) {}, working, "Lane event_feed", "Followed by a:1", "", ""},
		"nobody follows":          {func(s *seen) { s.Leases = nil }, unknown, "Lane event_feed", "Nobody follows it now", "", ""},
		"a lane missed something": {func(s *seen) { s.Lanes[0].Gap = noon }, watched, "Lane event_feed", "was missed", "full reconcile", ""},
		"webhooks come":           {func(*seen) {}, working, "Webhooks", "60 minutes ago, from an Action", "", ""},
		"only the feed is heard":  {func(s *seen) { s.Heard[0].Source = "event_feed" }, unknown, "Webhooks", "No delivery has come", "", ""},
		"webhooks are quiet":      {func(s *seen) { s.Heard[0].At = noon.Add(-72 * time.Hour) }, unknown, "Webhooks", "3 days ago, from an Action. Nobody was linked by looking", "", ""},
		"webhooks are silent": {func(s *seen) {
			s.Heard, s.Lags = nil, []customer.Lag{{FoundBy: customer.FoundByCron, Below: 1, Customers: 4}}
		}, watched, "Webhooks", "4 customers were found by looking", "--webhook-url", ""},
		"the rate limit":           {func(s *seen) { s.Pending[customer.Auth0Budget] = 1 }, watched, "Auth0", "1 customer waits for room", "AUTH0_SHARE", ""},
		"Auth0 fails":              {func(s *seen) { s.Pending[customer.Auth0Error] = 2 }, watched, "Auth0", "2 customers could not be looked up", "check --online", ""},
		"not counted yet":          {func(s *seen) { s.Pending = nil }, unknown, "Auth0", "still being counted", "", "Nobody waits"},
		"somebody is to be chosen": {func(s *seen) { s.Pending[customer.SeveralUsers] = 1 }, broken, "Conflicts", "1 customer waits until a person says", "", ""},
		"users are gone":           {func(s *seen) { s.Gone = customer.Uncounted }, watched, "Users that are gone", "1,000 or more linked customers have", "", ""},
	} {
		s := well()
		test.change(&s)
		all := health(s)
		i := slices.IndexFunc(all, func(f finding) bool { return f.Part == test.part })
		if i < 0 {
			t.Errorf("%s: nothing is said of %s", name, test.part)
			continue
		}
		f := all[i]
		if f.Level != test.level || !strings.Contains(f.Says, test.says) || !strings.Contains(f.Do, test.does) || test.never != "" && strings.Contains(f.Says, test.never) {
			t.Errorf("%s: %s: %s Do: %s", name, f.Level.Word(), f.Says, f.Do)
		}
		if !slices.IsSortedFunc(all, func(a, b finding) int { return int(a.Level - b.Level) }) {
			t.Errorf("%s: the worst is not first", name)
		}
	}
}

func TestTheHeadingIsAsBadAsTheWorst(t *testing.T) {
	t.Parallel()
	for want, levels := range map[string][]level{
		"Nothing needs a person":                            {working},
		"Nothing needs a person, as far as can be told":     {unknown, working},
		"Nothing needs a person; one thing is worth a look": {watched, unknown},
		"Nothing needs a person; 2 things are worth a look": {watched, watched},
		"One thing needs a person":                          {broken, watched},
		"2 things need a person":                            {broken, broken},
	} {
		var h home
		for _, l := range levels {
			h.Health = append(h.Health, finding{Level: l})
		}
		if got := h.Heading(); got != want {
			t.Errorf("%v: %q", levels, got)
		}
	}
}

func TestLagsAreGroupedByWhatLedToThem(t *testing.T) {
	t.Parallel()
	charts := lagCharts([]customer.Lag{
		{FoundBy: customer.FoundByDelivery, Below: .1, Customers: 6}, {FoundBy: customer.FoundByDelivery, Below: 1, Customers: 2},
		{FoundBy: customer.FoundByDelivery, Below: math.Inf(1), Customers: 2}, {FoundBy: customer.FoundByCron, Below: 30, Customers: 1},
	})
	if len(charts) != 2 {
		t.Fatalf("%d charts", len(charts))
	}
	c := charts[0]
	if c.Total != 10 || c.Median != "under 1 s" || c.Bars[0].Count != 8 || c.Bars[0].Width != 80 || c.Bars[len(c.Bars)-1].Count != 2 {
		t.Errorf("%+v", c)
	}
	if c := charts[1]; c.Total != 1 || c.Median != "5 to 30 s" {
		t.Errorf("%+v", c)
	}
	for _, bound := range append(customer.LagBounds(), math.Inf(1)) { // each has its place
		if c := chartOf([2]string{}, []customer.Lag{{Below: bound, Customers: 1}}, ""); c.Total != 1 {
			t.Errorf("%v: %+v", bound, c)
		}
	}
	if all := lagCharts([]customer.Lag{{FoundBy: customer.FoundByRequest, Below: 1, Customers: 1}}); len(all) != 3 || all[0].Median != "" {
		t.Errorf("webhook and cron are shown always, others if there are any: %+v", all)
	}
}

// Each reason stops at one check, and those before it are told as passed.
func TestEveryReasonStopsAtOneCheck(t *testing.T) {
	t.Parallel()
	for _, r := range customer.Reasons() {
		var came []string
		for _, c := range checks(customer.Explanation{Customer: customer.Customer{Lifecycle: customer.AuthPending}, Reason: r}) {
			came = append(came, c.Came)
		}
		at := slices.Index(came, stopsHere)
		if at < 0 {
			t.Errorf("%s stops nowhere: %v", r, came)
			continue
		}
		want := slices.Concat(slices.Repeat([]string{passed}, at), []string{stopsHere}, slices.Repeat([]string{notReached}, len(came)-at-1))
		if diff := cmp.Diff(want, came); diff != "" {
			t.Errorf("%s: %s", r, diff)
		}
	}
	if all := checks(customer.Explanation{Customer: customer.Customer{Lifecycle: customer.Active}}); all != nil {
		t.Errorf("one who is linked: %v", all)
	}
}

func TestNumbersAndTimesAreForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "1 second", 0: "1 second", 90 * time.Second: "90 seconds", 5 * time.Minute: "5 minutes", 47 * time.Hour: "47 hours", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s", d, got)
		}
	}
	for _, test := range []struct {
		n, of, width int
		share        string
	}{{0, 0, 0, ""}, {0, 5, 0, "0 %"}, {1, 1000000, 1, "< 1 %"}, {1, 3, 33, "33 %"}, {5, 5, 100, "100 %"}} {
		if width(test.n, test.of) != test.width || share(test.n, test.of) != test.share {
			t.Errorf("%d of %d: %d, %q", test.n, test.of, width(test.n, test.of), share(test.n, test.of))
		}
	}
}
