package auth0sim

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestPlansLimit(t *testing.T) {
	t.Parallel()
	const users, byEmail, logs = "/api/v2/users", "/api/v2/users-by-email?email=a@x", "/api/v2/logs"
	tests := map[string]struct {
		plan      Plan
		path      string
		burst     int
		perMinute int // refilled
		message   string
	}{
		"free":                        {PlanFree, users, 2, 120, "Global limit has been reached"},
		"enterprise":                  {PlanEnterprise, users, 50, 960, "Global limit has been reached"},
		"enterprise, not production":  {PlanEnterpriseDev, users, 10, 120, "Global limit has been reached"},
		"essentials, users":           {PlanEssentials, users, 40, 500, "Global per second users_read group limit has been reached"},
		"essentials, users by e-mail": {PlanEssentials, byEmail, 10, 150, "Global per second others group limit has been reached"},
		"essentials, logs":            {PlanEssentials, logs, 10, 100, "Global per second logs_read group limit has been reached"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := newClock()
			c := serve(t, Options{Plan: test.plan, Now: now.now})
			for i := range test.burst {
				got := c.do("GET", test.path, "").want(200, "")
				checkLimit(t, got, test.burst, test.burst-i-1)
			}
			refused := c.do("GET", test.path, "").want(429, "too_many_requests")
			checkLimit(t, refused, test.burst, 0)
			if got := refused.object()["message"]; got != test.message {
				t.Errorf("message %q", got)
			}
			reset, err := strconv.ParseInt(refused.header.Get("X-Ratelimit-Reset"), 10, 64)
			full := time.Duration(test.burst) * time.Minute / time.Duration(test.perMinute)
			if until := time.Unix(reset, 0).Sub(now.now()); err != nil || until < full || until > full+time.Second {
				t.Errorf("reset in %s, it takes %s: %v", until, full, err)
			}
			c.tenant.Advance(time.Minute / time.Duration(test.perMinute))
			c.tenant.Advance(time.Millisecond) // its clock has whole ones
			c.do("GET", test.path, "").want(200, "")
			c.do("GET", test.path, "").want(429, "")
		})
	}
}

func checkLimit(t *testing.T, a answer, limit, remaining int) {
	t.Helper()
	if a.header.Get("X-Ratelimit-Limit") != strconv.Itoa(limit) || a.header.Get("X-Ratelimit-Remaining") != strconv.Itoa(remaining) {
		t.Errorf("limit %s, remaining %s, want %d and %d", a.header.Get("X-Ratelimit-Limit"), a.header.Get("X-Ratelimit-Remaining"), limit, remaining)
	}
}

func TestGroupsOfEndpointsHaveBucketsOfTheirOwnOnEssentials(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Plan: PlanEssentials})
	for range 10 {
		c.do("GET", "/api/v2/logs", "").want(200, "")
	}
	c.do("GET", "/api/v2/logs", "").want(429, "")
	c.do("GET", "/api/v2/users", "").want(200, "")
	c.do("DELETE", "/api/v2/users/x", "").want(204, "")
	c.tenant.SetPlan(PlanFree)
	c.do("GET", "/api/v2/users", "").want(200, "")
	c.do("GET", "/api/v2/logs", "").want(200, "")
	c.do("DELETE", "/api/v2/users/x", "").want(429, "")
}

func TestDateIsTheTenantsClock(t *testing.T) {
	t.Parallel()
	now := newClock()
	c := serve(t, Options{Now: now.now})
	c.tenant.Advance(36 * time.Hour)
	got, err := http.ParseTime(c.do("GET", "/api/v2/users", "").header.Get("Date"))
	if want := now.now().Add(36 * time.Hour); err != nil || !got.Equal(want) {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
}
