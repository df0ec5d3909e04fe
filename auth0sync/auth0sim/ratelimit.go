package auth0sim

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Plan is an Auth0 plan, as far as rate limits go.
// https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy/rate-limit-configurations
type Plan string

// The plans, by their limits on the Management API: none; 2 a second; a bucket
// for each group of endpoints; 16 a second with bursts of 50; 2 a second with
// bursts of 10.
const (
	PlanUnlimited     Plan = ""
	PlanFree          Plan = "free"
	PlanEssentials    Plan = "essentials"
	PlanEnterprise    Plan = "enterprise"
	PlanEnterpriseDev Plan = "enterprise-dev"
)

// Groups of endpoints that share a bucket on the plans that tell them apart.
const (
	readUsers   = "users_read"
	writeUsers  = "users_write"
	deleteUsers = "users_delete"
	readLogs    = "logs_read"
	others      = "others"
	feeds       = "events" // of the others; its 429 has a Retry-After
	global      = "global"
)

// rate is a token bucket: burst requests at once, refilled so many a second.
type rate struct{ burst, perSecond float64 }

func (p Plan) rate(group string) (rate, string) {
	switch p {
	case PlanFree:
		return rate{2, 2}, global
	case PlanEnterprise:
		return rate{50, 16}, global
	case PlanEnterpriseDev:
		return rate{10, 2}, global
	case PlanEssentials:
		switch group {
		case readUsers:
			return rate{40, 500.0 / 60}, group
		case writeUsers, deleteUsers:
			return rate{20, 200.0 / 60}, group
		case readLogs:
			return rate{10, 100.0 / 60}, group
		default:
			return rate{10, 150.0 / 60}, others
		}
	case PlanUnlimited:
	}
	return rate{1e6, 1e6}, global
}

// known refuses a plan that does not exist.
func (p Plan) known() error {
	plans := []Plan{PlanUnlimited, PlanFree, PlanEssentials, PlanEnterprise, PlanEnterpriseDev}
	if !slices.Contains(plans, p) {
		return fmt.Errorf("%q: expected one of %q", p, plans)
	}
	return nil
}

type bucket struct {
	tokens float64
	at     time.Time
}

// SetPlan changes the rate limits.
func (t *Tenant) SetPlan(p Plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.o.Plan = p
	clear(t.buckets)
}

// limit takes a token and tells the state of the bucket, as every answer of the
// Management API does; it answers 429 if there is none.
func (t *Tenant) limit(w http.ResponseWriter, group string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	r, name := t.o.Plan.rate(group)
	b := t.buckets[name]
	if b == nil {
		b = &bucket{r.burst, now}
		t.buckets[name] = b
	}
	elapsed := max(now.Sub(b.at), 0) // the clock may have been moved back
	b.tokens = min(r.burst, b.tokens+elapsed.Seconds()*r.perSecond)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	full := now.Add(time.Duration((r.burst - b.tokens) / r.perSecond * float64(time.Second)))
	h := w.Header()
	h.Set("X-Ratelimit-Limit", strconv.Itoa(int(r.burst)))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(int(b.tokens)))
	h.Set("X-Ratelimit-Reset", seconds(full))
	if !allowed && group == feeds {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil((1-b.tokens)/r.perSecond))))
	}
	if !allowed {
		tooMany(w, name)
	}
	return allowed
}

// tooMany is the 429 of an empty bucket.
func tooMany(w http.ResponseWriter, group string) {
	message := "Global limit has been reached"
	if group != global {
		message = fmt.Sprintf("Global per second %s group limit has been reached", group)
	}
	apiError(w, http.StatusTooManyRequests, "Too Many Requests", message, "too_many_requests")
}

// spent is a 429 although the tenant's own bucket is not empty: another
// application has used it up, and it is full again in a second.
func (t *Tenant) spent(w http.ResponseWriter) {
	t.mu.Lock()
	now := t.now()
	t.mu.Unlock()
	w.Header().Set("X-Ratelimit-Remaining", "0")
	w.Header().Set("X-Ratelimit-Reset", seconds(now.Add(time.Second)))
	tooMany(w, global)
}

// seconds is a Unix time, rounded up.
func seconds(at time.Time) string {
	return strconv.FormatInt(int64(math.Ceil(float64(at.UnixMilli())/1000)), 10)
}
