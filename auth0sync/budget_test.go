package auth0sync

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// auth0Double is a transport that answers as it is told. Its tests run in a bubble of
// testing/synctest, whose clock moves only when everybody waits.
type auth0Double struct {
	calls   atomic.Int64
	answers func(call int) (*http.Response, error)
}

func (a *auth0Double) RoundTrip(*http.Request) (*http.Response, error) {
	return a.answers(int(a.calls.Add(1)))
}

func (a *auth0Double) budget(share float64) *budget {
	return newBudget(share, a, prometheus.NewRegistry())
}

// inBubble runs a test on a clock of its own, half a second past a full one.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(500 * time.Millisecond)
		test(t)
	})
}

func answer(status int, headers ...string) *http.Response {
	res := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[]"))}
	for i := 0; i < len(headers); i += 2 {
		res.Header.Set(headers[i], headers[i+1])
	}
	return res
}

// bucketDouble answers as a tenant with a token bucket does, whose clock is skewed.
type bucketDouble struct {
	limit, perSecond float64
	skew             time.Duration

	mu      sync.Mutex
	tokens  float64
	at      time.Time
	lowest  int // tokens left at any time
	refused int // calls
}

func fullBucket(limit, perSecond float64, skew time.Duration) *bucketDouble {
	return &bucketDouble{limit: limit, perSecond: perSecond, skew: skew, tokens: limit, at: time.Now(), lowest: int(limit)}
}

func (b *bucketDouble) answer(int) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.limit, b.tokens+now.Sub(b.at).Seconds()*b.perSecond)
	b.at = now
	status := http.StatusOK
	if b.tokens >= 1 {
		b.tokens--
	} else {
		status = http.StatusTooManyRequests
		b.refused++
	}
	b.lowest = min(b.lowest, int(b.tokens))
	theirs := now.Add(b.skew)
	full := theirs.Add(time.Duration((b.limit - b.tokens) / b.perSecond * float64(time.Second)))
	return answer(status,
		"X-Ratelimit-Limit", strconv.Itoa(int(b.limit)), "X-Ratelimit-Remaining", strconv.Itoa(int(b.tokens)),
		"X-Ratelimit-Reset", strconv.FormatInt(full.Unix()+1, 10), "Date", theirs.UTC().Format(http.TimeFormat)), nil
}

func request(ctx context.Context, method string) *http.Request {
	return requestOf(ctx, method, "users")
}

func requestOf(ctx context.Context, method, path string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "https://acme.auth0.com/api/v2/"+path, nil)
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
			inBubble(t, func(t *testing.T) {
				bucket := fullBucket(10, 2, skew)
				a := &auth0Double{answers: bucket.answer}
				b, began := a.budget(0.5), time.Now()
				for range 40 {
					res, err := b.RoundTrip(request(t.Context(), http.MethodGet))
					if err != nil || res.StatusCode != 200 {
						t.Fatalf("%v, %v", res, err)
					}
				}
				if bucket.lowest < 5 {
					t.Errorf("%d of 10 left: half was the others'", bucket.lowest)
				}
				if took := time.Since(began); a.calls.Load() != 40 || took < 15*time.Second || took > time.Minute {
					t.Errorf("%d calls in %s", a.calls.Load(), took)
				}
			})
		})
	}
}

// The plans' own buckets, and more who call at once than there is room for: nobody is
// refused, nobody gets what is the others', and nobody who can wait waits in vain.
func TestACrowdLeavesTheOthersShareAloneToo(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]struct{ limit, perSecond float64 }{
		"free": {2, 2}, "enterprise, not production": {10, 2}, "others of essentials": {10, 2.5},
		"users of essentials": {40, 500.0 / 60}, "enterprise": {50, 16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				const share = 0.5
				bucket := fullBucket(plan.limit, plan.perSecond, 0)
				b := newBudget(share, roundTrip(func(*http.Request) (*http.Response, error) {
					time.Sleep(50 * time.Millisecond) // they arrive in any order
					res, err := bucket.answer(0)
					time.Sleep(50 * time.Millisecond)
					return res, err
				}), prometheus.NewRegistry())
				abreast, times := 8, 20
				if plan.limit == 2 {
					abreast = 4 // more would wait longer than they may
				}
				var all sync.WaitGroup
				for range abreast {
					all.Go(func() {
						for range times {
							if res, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 200 {
								t.Errorf("%v, %v", res, err)
							}
						}
					})
				}
				began := time.Now()
				all.Wait()
				if kept := min(plan.limit*(1-share), plan.limit-1); bucket.refused > 0 || float64(bucket.lowest) < kept {
					t.Errorf("%d were refused, and %d left of %v, of which %v are the others'", bucket.refused, bucket.lowest, plan.limit, kept)
				}
				// Resets come in whole seconds, which takes most of the time of a small bucket.
				if most := 4 * float64(abreast*times) / plan.perSecond; time.Since(began).Seconds() > most {
					t.Errorf("it took %s", time.Since(began))
				}
			})
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (do roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return do(req) }

// Where groups of endpoints have buckets of their own, one that is empty holds up
// nobody who draws from another, and a fuller one lets nobody into an empty one.
func TestEachEndpointGoesByTheBucketThatItDrawsFrom(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		users, logs := fullBucket(40, 8, 0), fullBucket(10, 0.1, 0)
		b := newBudget(0.5, roundTrip(func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/logs") {
				return logs.answer(0)
			}
			return users.answer(0)
		}), prometheus.NewRegistry())
		called := map[string]int{}
		for range 12 {
			for _, path := range []string{"logs", "users"} {
				began := time.Now()
				_, err := b.RoundTrip(requestOf(t.Context(), http.MethodGet, path))
				switch {
				case err == nil:
					called[path]++
				case !errors.Is(err, ErrBudget) || time.Since(began) != 0:
					t.Errorf("%s: %v after %s", path, err, time.Since(began))
				}
			}
		}
		if called["logs"] != 5 || called["users"] != 12 || logs.refused != 0 {
			t.Errorf("called %v, %d refused", called, logs.refused)
		}
		if search, tail := b.limiter.pace("GET /api/v2/users"), b.limiter.pace("GET /api/v2/logs"); search != 4 || tail != 1 {
			t.Errorf("a pace of %v and %v", search, tail)
		}
	})
}

// Who was asked to stay away keeps nobody from another endpoint of the same bucket.
func TestABannedEndpointHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		b := newBudget(0.5, roundTrip(func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/events") {
				return answer(429, "Retry-After", "7"), nil
			}
			return answer(200), nil
		}), prometheus.NewRegistry())
		if _, err := b.RoundTrip(requestOf(t.Context(), http.MethodPost, "events")); err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		began := time.Now()
		waiting.Go(func() { _, _ = b.RoundTrip(requestOf(t.Context(), http.MethodPost, "events")) })
		synctest.Wait()
		if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		waiting.Wait()
		if time.Since(began) != 7*time.Second {
			t.Errorf("it stayed away for %s", time.Since(began))
		}
	})
}

func TestAPersonMayGoFurtherThanADeliveryThanCron(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		var spent []int64
		for _, p := range []Priority{Cron, Webhook, JIT} {
			a := &auth0Double{answers: fullBucket(40, 0.001, 0).answer}
			b := a.budget(0.5)
			for a.calls.Load() < 100 {
				res, err := b.RoundTrip(request(WithPriority(t.Context(), p), http.MethodGet))
				if errors.Is(err, ErrBudget) {
					break
				}
				if err != nil || res.StatusCode != 200 {
					t.Fatal(res, err)
				}
			}
			spent = append(spent, a.calls.Load())
		}
		if !slices.Equal(spent, []int64{20, 30, 35}) {
			t.Errorf("calls %v of 40", spent)
		}
	})
}

// A person who waits does not wait behind the clock's work.
func TestAPersonDoesNotQueueBehindTheClock(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: fullBucket(10, 1, 0).answer}
		b := a.budget(0.5)
		for range 5 {
			if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _, _ = b.RoundTrip(request(t.Context(), http.MethodGet)) })
		}
		synctest.Wait()
		began := time.Now()
		if _, err := b.RoundTrip(request(WithPriority(t.Context(), JIT), http.MethodGet)); err != nil || time.Since(began) != 0 || a.calls.Load() != 6 {
			t.Errorf("%v after %s, %d calls", err, time.Since(began), a.calls.Load())
		}
		all.Wait()
		if a.calls.Load() != 9 {
			t.Errorf("%d calls", a.calls.Load())
		}
	})
}

func TestTheSmallestPlanStillMoves(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: fullBucket(2, 2, 0).answer}
		b := a.budget(0.1)
		for range 10 {
			if res, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
		}
	})
}

// Whoever tells no limit is asked one question at a time.
func TestATenantThatTellsNoLimitIsNotRushed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		underWay, most := atomic.Int64{}, atomic.Int64{}
		b := newBudget(0.5, roundTrip(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), underWay.Add(1)))
			time.Sleep(100 * time.Millisecond)
			underWay.Add(-1)
			return answer(200), nil
		}), prometheus.NewRegistry())
		var all sync.WaitGroup
		began := time.Now()
		for range 20 {
			all.Go(func() {
				if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); most.Load() != 1 || took != 2*time.Second {
			t.Errorf("%d at once, %s", most.Load(), took)
		}
		if b.limiter.left() != -1 || b.limiter.pace("GET /api/v2/users") != unknownPace/2 {
			t.Errorf("it told %d and %v", b.limiter.left(), b.limiter.pace("GET /api/v2/users"))
		}
	})
}

// A call that is given up, or panics, takes no room from the others for ever.
func TestACallThatComesToNothingGivesItsRoomBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: func(call int) (*http.Response, error) {
			if call == 1 {
				panic("a bug")
			}
			return answer(200), nil
		}}
		b := a.budget(0.5)
		func() {
			defer func() { _ = recover() }()
			_, _ = b.RoundTrip(request(t.Context(), http.MethodGet))
		}()
		began := time.Now()
		if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || a.calls.Load() != 2 || time.Since(began) != 0 {
			t.Errorf("%v, %d calls, after %s", err, a.calls.Load(), time.Since(began))
		}
	})
}

// A call that gets no answer takes room from nobody for as long as it hangs: not on the
// smallest plan, and not before Auth0 has told its limit.
func TestACallThatHangsHoldsUpNobodyForLong(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]int64{"nothing told": 0, "the smallest plan": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				bucket := fullBucket(2, 2, 0)
				calls := atomic.Int64{}
				b := newBudget(0.5, roundTrip(func(*http.Request) (*http.Response, error) {
					if calls.Add(1) == answers+1 {
						time.Sleep(time.Minute)
						return nil, errors.New("no answer")
					}
					return bucket.answer(0)
				}), prometheus.NewRegistry())
				for range answers {
					if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil {
						t.Fatal(err)
					}
				}
				var hanging sync.WaitGroup
				hanging.Go(func() { _, _ = b.RoundTrip(request(t.Context(), http.MethodPost)) })
				time.Sleep(arrivesWithin / 2)
				synctest.Wait()
				for range 3 {
					if res, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 200 {
						t.Errorf("%v, %v", res, err)
					}
				}
				hanging.Wait()
				if bucket.lowest < 1 || bucket.refused > 0 {
					t.Errorf("%d left, %d refused", bucket.lowest, bucket.refused)
				}
			})
		})
	}
}

func TestA429IsNeverRepeatedSoonerThanTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: func(call int) (*http.Response, error) {
			if call == 1 {
				return answer(429, "Retry-After", "7"), nil
			}
			return answer(200), nil
		}}
		began := time.Now()
		res, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodGet))
		if err != nil || res.StatusCode != 200 || a.calls.Load() != 2 || time.Since(began) != 7*time.Second {
			t.Errorf("%v, %v, %d calls after %s", res, err, a.calls.Load(), time.Since(began))
		}
		for _, long := range []string{"3600", "9999999999", "99999999999999999999999"} { // the last is no number: until the reset
			a = &auth0Double{answers: func(int) (*http.Response, error) {
				return answer(429, "Retry-After", long, "X-Ratelimit-Limit", "10", "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "9999999999"), nil
			}}
			if res, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodGet)); err != nil || res.StatusCode != 429 || a.calls.Load() != 1 {
				t.Errorf("%s: %v, %v, %d calls", long, res, err, a.calls.Load())
			}
		}
	})
}

func TestWhatWritesIsNotRepeated(t *testing.T) {
	t.Parallel()
	a := &auth0Double{answers: func(int) (*http.Response, error) { return answer(500), nil }}
	if _, err := a.budget(0.5).RoundTrip(request(t.Context(), http.MethodPost)); err != nil || a.calls.Load() != 1 {
		t.Errorf("%d calls, %v", a.calls.Load(), err)
	}
}

// A 429 that asks for longer than a call may wait is obeyed by the calls after it.
func TestA429IsObeyedByWhoeverAsksNext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: func(call int) (*http.Response, error) {
			if call == 1 {
				return answer(429, "Retry-After", "120"), nil
			}
			return answer(200), nil
		}}
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
		if a.calls.Load() != 1 {
			t.Errorf("%d calls", a.calls.Load())
		}
		time.Sleep(2 * time.Minute)
		if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil || a.calls.Load() != 2 {
			t.Errorf("%d calls afterwards, %v", a.calls.Load(), err)
		}
	})
}

func TestTheBreakerSparesATenantThatFails(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: func(int) (*http.Response, error) { return nil, errors.New("connection refused") }}
		b := a.budget(0.5)
		for range 20 {
			if _, err := b.RoundTrip(request(t.Context(), http.MethodGet)); err == nil {
				t.Fatal("no error")
			}
		}
		if a.calls.Load() != failuresToOpen {
			t.Errorf("%d calls", a.calls.Load())
		}
	})
}

func TestWaitingIsMetered(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		a := &auth0Double{answers: fullBucket(2, 1, 0).answer}
		b := a.budget(0.5)
		ctx, spent := Meter(t.Context())
		began := time.Now()
		for range 4 {
			if _, err := b.RoundTrip(request(ctx, http.MethodGet)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); spent.Calls.Load() != 4 || time.Duration(spent.Waited.Load()) != took || took == 0 {
			t.Errorf("%d calls, %s of %s", spent.Calls.Load(), time.Duration(spent.Waited.Load()), took)
		}
	})
}

func TestACallThatCannotWaitLongEnoughFailsAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T) {
		for name, within := range map[string]time.Duration{"longer than anybody may": time.Minute, "longer than this one may": 3 * time.Second} {
			a := &auth0Double{answers: fullBucket(2, 0.2, 0).answer}
			if within > longestWait {
				a.answers = fullBucket(2, 0.01, 0).answer
			}
			b := a.budget(0.5)
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			began := time.Now()
			if _, err := b.RoundTrip(request(ctx, http.MethodGet)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.RoundTrip(request(ctx, http.MethodGet)); !errors.Is(err, ErrBudget) || time.Since(began) != 0 {
				t.Errorf("%s: %v after %s", name, err, time.Since(began))
			}
		}
	})
}

// FuzzLimitHeaders: whatever an answer tells, a call is possible within a minute.
func FuzzLimitHeaders(f *testing.F) {
	f.Add("10", "3", "1700000002", "Tue, 14 Nov 2023 22:13:20 GMT", "7")
	f.Add("NaN", "Inf", "1e9", "", "-1")
	f.Add("0", "-1", "99999999999999999999", "yesterday", "9223372036854775807")
	f.Add("2147483648", "9", "-9223372036854775808", "", "1e9")
	f.Fuzz(func(t *testing.T, limit, remaining, reset, date, after string) {
		l := newLimiter(0.5)
		d, wait, _ := l.try("GET /api/v2/users", Cron)
		if wait != 0 {
			t.Fatal("the first call waits")
		}
		res := answer(429)
		for name, value := range map[string]string{
			"X-Ratelimit-Limit": limit, "X-Ratelimit-Remaining": remaining, "X-Ratelimit-Reset": reset, "Date": date, "Retry-After": after,
		} {
			res.Header[name] = []string{value}
		}
		told, ok := l.done(d, res)
		if ok && (told.size < 1 || told.left < 0 || told.left > told.size || told.full < 0 || told.full > longestReset) {
			t.Errorf("told %+v", told)
		}
		if wait := l.ban("GET /api/v2/users", res); wait < 0 || wait > 24*time.Hour {
			t.Errorf("to be repeated after %s", wait)
		}
		if pace := l.pace("GET /api/v2/users"); !(pace > 0) || pace > 1e9 {
			t.Errorf("a pace of %v", pace)
		}
		if left := l.left(); left < -1 {
			t.Errorf("%d left", left)
		}
		clear(l.bans)
		if _, wait, _ := l.try("GET /api/v2/users", Cron); wait < 0 || wait > longestReset {
			t.Errorf("the next waits %s", wait)
		}
	})
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
