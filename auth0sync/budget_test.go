package auth0sync

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// auth0Double is a transport that answers as it is told, on a clock that moves
// only when somebody waits.
type auth0Double struct {
	at      time.Time
	waits   []time.Duration
	calls   int
	answers func(call int, at time.Time) (*http.Response, error)
}

func (a *auth0Double) RoundTrip(*http.Request) (*http.Response, error) {
	a.calls++
	return a.answers(a.calls, a.at)
}

func (a *auth0Double) budget(share float64) *budget {
	b := newBudget(share, a, prometheus.NewRegistry())
	b.now = func() time.Time { return a.at }
	b.wait = func(_ context.Context, d time.Duration) error {
		a.waits = append(a.waits, d)
		a.at = a.at.Add(d)
		return nil
	}
	return b
}

func answer(status int, headers ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[]"))}
	for i := 0; i < len(headers); i += 2 {
		res.Header.Set(headers[i], headers[i+1])
	}
	return res
}

// bucket answers as a tenant with a token bucket does, whose clock is skewed.
func bucket(limit, perSecond float64, skew time.Duration) func(int, time.Time) (*http.Response, error) {
	tokens, last := limit, time.Time{}
	return func(_ int, at time.Time) (*http.Response, error) {
		if !last.IsZero() {
			tokens = min(limit, tokens+at.Sub(last).Seconds()*perSecond)
		}
		last = at
		status := http.StatusOK
		if tokens >= 1 {
			tokens--
		} else {
			status = http.StatusTooManyRequests
		}
		theirs := at.Add(skew)
		full := theirs.Add(time.Duration((limit - tokens) / perSecond * float64(time.Second)))
		return answer(status,
			"X-Ratelimit-Limit", strconv.Itoa(int(limit)), "X-Ratelimit-Remaining", strconv.Itoa(int(tokens)),
			"X-Ratelimit-Reset", strconv.FormatInt(full.Unix()+1, 10), "Date", theirs.UTC().Format(http.TimeFormat)), nil
	}
}

func request(ctx context.Context, method string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "https://acme.auth0.com/api/v2/users", nil)
	if err != nil {
		panic(err)
	}
	return req
}

func TestTheOthersShareIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"same clock": 0, "Auth0 is an hour ahead": time.Hour, "Auth0 is an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: bucket(10, 2, skew)}
			b := a.budget(0.5)
			lowest := 10
			for range 40 {
				res, err := b.RoundTrip(request(t.Context(), http.MethodGet))
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%v, %v", res, err)
				}
				left, err := strconv.Atoi(res.Header.Get("X-Ratelimit-Remaining"))
				if err != nil {
					t.Fatal(err)
				}
				lowest = min(lowest, left)
			}
			if lowest < 5 {
				t.Errorf("%d of 10 left: half was the others'", lowest)
			}
			if a.calls != 40 || len(a.waits) == 0 {
				t.Errorf("%d calls, waits %v", a.calls, a.waits)
			}
		})
	}
}

func TestAPersonMayGoFurtherThanADeliveryThanCron(t *testing.T) {
	t.Parallel()
	var spent []int
	for _, p := range []Priority{Cron, Webhook, JIT} {
		a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: bucket(40, 0.001, 0)}
		b := a.budget(0.5)
		for len(a.waits) == 0 && a.calls < 100 {
			res, err := b.RoundTrip(request(WithPriority(t.Context(), p), http.MethodGet))
			if errors.Is(err, ErrBudget) {
				break
			}
			if err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
		}
		spent = append(spent, a.calls)
	}
	if !(spent[0] == 20 && spent[1] == 30 && spent[2] == 35) {
		t.Errorf("calls %v of 40", spent)
	}
}

func TestTheSmallestPlanStillMoves(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: bucket(2, 2, 0)}
	b := a.budget(0.1)
	for range 10 {
		if res, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
	}
}

func TestA429IsNeverRepeatedSoonerThanTold(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: func(call int, _ time.Time) (*http.Response, error) {
		if call == 1 {
			return answer(429, "Retry-After", "7"), nil
		}
		return answer(200), nil
	}}
	res, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodGet))
	if err != nil || res.StatusCode != 200 || len(a.waits) != 1 || a.waits[0] < 7*time.Second {
		t.Errorf("%v, %v, waits %v", res, err, a.waits)
	}
	a = &auth0Double{at: time.Unix(1_800_000_000, 0), answers: func(int, time.Time) (*http.Response, error) {
		return answer(429, "Retry-After", "3600"), nil
	}}
	if res, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 429 || a.calls != 1 {
		t.Errorf("an hour: %v, %v, %d calls", res, err, a.calls)
	}
}

func TestWhatWritesIsNotRepeated(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: func(int, time.Time) (*http.Response, error) { return answer(500), nil }}
	if _, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodPost)); err != nil || a.calls != 1 {
		t.Errorf("%d calls, %v", a.calls, err)
	}
}

// A 429 that asks for longer than a call may wait is obeyed by the calls after it.
func TestA429IsObeyedByWhoeverAsksNext(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0)}
	a.answers = func(call int, _ time.Time) (*http.Response, error) {
		if call == 1 {
			return answer(429, "Retry-After", "120"), nil
		}
		return answer(200), nil
	}
	b := a.budget(1)
	res, err := b.RoundTrip(request(t.Context(), http.MethodGet))
	if err != nil || res.StatusCode != 429 {
		t.Fatal(res, err)
	}
	for range 3 {
		if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); !errors.Is(err, ErrBudget) {
			t.Errorf("called again: %v", err)
		}
	}
	if a.calls != 1 {
		t.Errorf("%d calls", a.calls)
	}
	a.at = a.at.Add(2 * time.Minute)
	if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || a.calls != 2 {
		t.Errorf("%d calls afterwards, %v", a.calls, err)
	}
}

func TestTheBreakerSparesATenantThatFails(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: func(int, time.Time) (*http.Response, error) {
		return nil, errors.New("connection refused")
	}}
	b := a.budget(0.5)
	for range 20 {
		if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err == nil {
			t.Fatal("no error")
		}
	}
	if a.calls != failuresToOpen {
		t.Errorf("%d calls", a.calls)
	}
}

func TestWaitingIsMetered(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Unix(1_800_000_000, 0), answers: bucket(2, 1, 0)}
	b := a.budget(0.5)
	ctx, spent := Meter(t.Context())
	for range 4 {
		if _, err := b.RoundTrip(request(ctx, http.MethodGet)); err != nil {
			t.Fatal(err)
		}
	}
	var waited time.Duration
	for _, w := range a.waits {
		waited += w
	}
	if spent.Calls.Load() != 4 || time.Duration(spent.Waited.Load()) != waited || waited == 0 {
		t.Errorf("%d calls, %s of %s", spent.Calls.Load(), time.Duration(spent.Waited.Load()), waited)
	}
}

func TestACallThatCannotWaitLongEnoughFailsAtOnce(t *testing.T) {
	t.Parallel()
	a := &auth0Double{at: time.Now(), answers: bucket(2, 0.01, 0)}
	b := a.budget(0.5)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	for range 3 {
		if _, err = b.RoundTrip(request(ctx, http.MethodGet)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrBudget) || len(a.waits) != 0 {
		t.Errorf("%v, waits %v", err, a.waits)
	}
}

func TestAnAnswerThatNeverEndsIsCutOff(t *testing.T) {
	t.Parallel()
	endless := &boundedBody{ReadCloser: io.NopCloser(zeros{}), left: 1000, cancel: func() {}}
	if n, err := io.Copy(io.Discard, endless); !errors.Is(err, errTooLarge) || n > 100_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Names of endpoints are labels of metrics: what changes from call to call must
// not be in them.
func TestEndpointsAreNamedWithoutIDs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"users":                                "users",
		"users-by-email":                       "users-by-email",
		"users/auth0%7C1":                      "users/{id}",
		"users/auth0%7C1%2Fx":                  "users/{id}",
		"jobs/users-exports":                   "jobs/users-exports",
		"jobs/job_1":                           "jobs/{id}",
		"event-streams":                        "event-streams",
		"event-streams/est_1/redeliver/evt_1":  "event-streams/{id}/redeliver/{id}",
		"event-streams/est_1/deliveries":       "event-streams/{id}/deliveries",
		"actions/actions/a-1/deploy":           "actions/actions/{id}/deploy",
		"actions/triggers/post-login/bindings": "actions/triggers/{id}/bindings",
		"logs":                                 "logs",
		"events":                               "events",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://acme.auth0.com/api/v2/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := endpoint(req); got != "GET /api/v2/"+want {
			t.Errorf("%s: %s", path, got)
		}
	}
	token, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://acme.auth0.com/oauth/token", nil)
	if err != nil || endpoint(token) != "POST /oauth/token" {
		t.Errorf("%s, %v", endpoint(token), err)
	}
}
