package auth0sync

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Priority says how far a call may reach into the part of the rate limit that is
// left to the tenant's other applications.
type Priority int

// The priorities, the most urgent first. Cron keeps out of the others' part; a
// delivery may take half of it, a waiting person three quarters.
const (
	JIT Priority = iota + 1
	Webhook
	Cron
)

func (p Priority) reach() float64 {
	switch p {
	case JIT:
		return 0.75
	case Webhook:
		return 0.5
	case Cron:
	}
	return 0
}

// Spent counts what calls on a context cost.
type Spent struct {
	Calls  atomic.Int64
	Waited atomic.Int64 // nanoseconds
}

type priorityKey struct{}

type spentKey struct{}

// WithPriority sets the priority of calls on the context; Cron without it.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

// Meter counts the calls made on the returned context.
func Meter(ctx context.Context) (context.Context, *Spent) {
	spent := &Spent{}
	return context.WithValue(ctx, spentKey{}, spent), spent
}

const (
	// longestWait is how long a call may wait for room before it is ErrBudget.
	longestWait = 10 * time.Second
	retries429  = 2
	retriesFail = 1
	// failuresToOpen in a row open the breaker; openFor later one call probes.
	failuresToOpen = 5
	openFor        = 10 * time.Second
)

var errBreakerOpen = errors.New("not called: it failed too often just now")

// budget is the one place that paces and repeats calls: it keeps to the rate
// limit that Auth0 reports with each answer, waits as long as a 429 says, and
// stops calling for a while when nothing works.
type budget struct {
	next    http.RoundTripper
	share   float64
	breaker circuitbreaker.CircuitBreaker[any]
	now     func() time.Time
	wait    func(context.Context, time.Duration) error
	metrics budgetMetrics
	tracer  trace.Tracer // nil: nobody follows

	mu        sync.Mutex
	known     bool // Auth0 has told its limit
	limit     float64
	remaining float64              // as last told, less what was sent since
	reset     time.Time            // by our clock: when the bucket is full again
	refused   map[string]time.Time // by endpoint: until when a 429 asked us to stay away
}

func newBudget(share float64, next http.RoundTripper, r prometheus.Registerer) *budget {
	b := &budget{next: next, share: share, refused: map[string]time.Time{}, now: time.Now, wait: waitFor, metrics: newBudgetMetrics(r)}
	b.breaker = circuitbreaker.NewBuilder[any]().WithFailureThreshold(failuresToOpen).WithDelay(openFor).Build()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "customersync_auth0_calls_suspended",
		Help: "1 while Auth0 is let be because too many calls in a row failed.",
	}, func() float64 {
		if b.breaker.IsOpen() {
			return 1
		}
		return 0
	}))
	return b
}

func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// RoundTrip implements http.RoundTripper.
func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	limited := strings.HasPrefix(req.URL.Path, "/api/v2/") // tokens have a limit of their own
	for attempt := 0; ; attempt++ {
		if limited {
			if err := b.pause(req.Context(), max(b.shortage(req.Context()), b.banned(req))); err != nil {
				return nil, err
			}
		}
		res, err := b.call(req, limited)
		again, delay := b.repeat(req, res, err, attempt)
		if !again {
			return res, err
		}
		if res != nil {
			_ = res.Body.Close() // another answer will do
		}
		if err := b.pause(req.Context(), delay); err != nil {
			return nil, err
		}
	}
}

// call sends a request unless the breaker is open, and learns from the answer.
func (b *budget) call(req *http.Request, limited bool) (*http.Response, error) {
	if !b.breaker.TryAcquirePermit() {
		return nil, errBreakerOpen
	}
	if spent, ok := req.Context().Value(spentKey{}).(*Spent); ok {
		spent.Calls.Add(1)
	}
	done := b.traced(req)
	sent := time.Now()
	res, err := b.next.RoundTrip(req)
	took := time.Since(sent)
	done(res)
	switch {
	case err == nil && res.StatusCode < 500:
		b.breaker.RecordSuccess()
	case req.Context().Err() == nil:
		b.breaker.RecordFailure()
	default: // we gave up ourselves, which says nothing about Auth0
		b.breaker.RecordSuccess()
	}
	b.metrics.called(req, res, took)
	if limited && err == nil {
		b.learn(res)
	}
	return res, err
}

// traced makes a span of a call that a run or a request needs, until its answer begins
// or does not come. Auth0 is not told of the trace.
func (b *budget) traced(req *http.Request) (done func(*http.Response)) {
	if b.tracer == nil || !trace.SpanContextFromContext(req.Context()).IsValid() {
		return func(*http.Response) {}
	}
	_, span := b.tracer.Start(req.Context(), "auth0: "+endpoint(req), trace.WithSpanKind(trace.SpanKindClient))
	return func(res *http.Response) {
		status := 0
		if res != nil {
			status = res.StatusCode
		}
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status == 0 || status >= 500 || status == http.StatusTooManyRequests {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// repeat says whether to call again, and after how long.
func (b *budget) repeat(req *http.Request, res *http.Response, err error, attempt int) (bool, time.Duration) {
	switch {
	case req.Context().Err() != nil, errors.Is(err, errBreakerOpen), req.Method != http.MethodGet:
		return false, 0
	case err != nil, res.StatusCode >= 500:
		return attempt < retriesFail, time.Duration(100+rand.IntN(200)) * time.Millisecond //nolint:gosec // jitter
	case res.StatusCode == http.StatusTooManyRequests:
		delay := b.told(res)
		b.ban(req, delay)
		return attempt < retries429 && delay <= longestWait, delay
	}
	return false, 0
}

// told is how long a 429 asks us to wait: Retry-After, else until the reset.
func (b *budget) told(res *http.Response) time.Duration {
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.reset.Sub(b.now()), time.Second)
}

// longestBan is how long a 429 is obeyed, at most: Auth0's limits last minutes.
const longestBan = 10 * time.Minute

// ban keeps calls away from an endpoint that a 429 came from: whoever asks next, in
// this run or another, would get the same, and make it last.
func (b *budget) ban(req *http.Request, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused[endpoint(req)] = b.now().Add(min(d, longestBan))
}

// banned is for how long calls of an endpoint are still unwelcome.
func (b *budget) banned(req *http.Request) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.refused[endpoint(req)].Sub(b.now()), 0)
}

// learn notes the state of the bucket. Its reset is by Auth0's clock, so it is
// taken relative to the answer's own date.
func (b *budget) learn(res *http.Response) {
	limit, err1 := strconv.ParseFloat(res.Header.Get("X-Ratelimit-Limit"), 64)
	remaining, err2 := strconv.ParseFloat(res.Header.Get("X-Ratelimit-Remaining"), 64)
	reset, err3 := strconv.ParseInt(res.Header.Get("X-Ratelimit-Reset"), 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return
	}
	now := b.now()
	theirs, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		theirs = now
	}
	until := min(max(time.Unix(reset, 0).Sub(theirs), 0), time.Minute)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.limit, b.remaining, b.reset = true, limit, remaining, now.Add(until)
	b.metrics.limit.Set(limit)
	b.metrics.remaining.Set(remaining)
}

// shortage takes room for one call, or says how long to wait for it. Until Auth0
// has told its limit there is room.
func (b *budget) shortage(ctx context.Context) time.Duration {
	priority, ok := ctx.Value(priorityKey{}).(Priority)
	if !ok {
		priority = Cron
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if !b.known {
		return 0
	}
	if !now.Before(b.reset) {
		b.remaining = b.limit
	}
	// At least one call must be possible on the smallest plan.
	kept := min(b.limit*(1-b.share)*(1-priority.reach()), b.limit-1)
	if b.remaining-1 >= kept {
		b.remaining--
		return 0
	}
	return max(b.reset.Sub(now), 10*time.Millisecond)
}

func (b *budget) left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		return -1
	}
	return int(b.remaining)
}

const (
	// slowestRefill is how long an empty bucket takes to be full again, at most, on
	// the plans that Auth0 documents: 10 calls at 2 a second.
	slowestRefill = 5.0
	// unknownPace is for a tenant that tells no limit.
	unknownPace = 2.0
)

// pace is how many calls a second are ours for long: the share of what the bucket
// is refilled by. How fast that is shows when calls are missing from it; a bucket
// that is nearly full tells little, since its reset comes in whole seconds.
// https://auth0.com/docs/troubleshoot/customer-support/operational-policies/rate-limit-policy
func (b *budget) pace() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known {
		return unknownPace * b.share
	}
	refill := b.limit / slowestRefill
	if left := b.reset.Sub(b.now()).Seconds(); left > 1 {
		refill = max(refill, (b.limit-b.remaining)/left)
	}
	return max(refill, 0.1) * b.share
}

func (b *budget) pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); d > longestWait || ok && b.now().Add(d).After(deadline) {
		b.metrics.refused.Inc()
		return ErrBudget
	}
	if spent, ok := ctx.Value(spentKey{}).(*Spent); ok {
		spent.Waited.Add(int64(d))
	}
	b.metrics.waited.Add(d.Seconds())
	return b.wait(ctx, d)
}

const (
	attemptWithin = 20 * time.Second
	largestAnswer = 16 << 20 // bytes, unpacked
)

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     true,
	}
}

// bounded gives each attempt a time limit, its body included, and each answer a
// size limit, unpacked.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if quiet, stream := req.Context().Value(quietKey{}).(time.Duration); stream {
		return t.stream(req, quiet)
	}
	ctx, cancel := context.WithTimeout(req.Context(), attemptWithin)
	res, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	stayHere(res)
	res.Body = &boundedBody{ReadCloser: res.Body, left: largestAnswer, cancel: cancel}
	return res, nil
}

// stayHere has a redirect lead nowhere: net/http takes one without Location for an
// answer. A CheckRedirect is not enough. The SDK (v1.45.0) makes a client of its own
// over our transport and loses it, and its token would go along to wherever we are
// sent.
func stayHere(res *http.Response) { res.Header.Del("Location") }

// stream is for an answer without an end: it may only not be silent for long.
func (t bounded) stream(req *http.Request, quiet time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	res, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	stayHere(res)
	res.Body = &patientBody{ReadCloser: res.Body, quiet: quiet, cancel: cancel}
	return res, nil
}

// boundedBody is a body that ends in an error rather than go on for ever.
type boundedBody struct {
	io.ReadCloser
	left   int
	cancel context.CancelFunc
}

var errTooLarge = errors.New("answer is too large")

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// budgetMetrics show what Auth0 costs.
type budgetMetrics struct {
	calls     *prometheus.CounterVec
	took      *prometheus.HistogramVec
	waited    prometheus.Counter
	refused   prometheus.Counter
	limit     prometheus.Gauge
	remaining prometheus.Gauge
}

func newBudgetMetrics(r prometheus.Registerer) budgetMetrics {
	m := budgetMetrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_auth0_calls_total",
			Help: "Calls of Auth0 by endpoint and status; status 0 is no answer.",
		}, []string{"endpoint", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "customersync_auth0_call_duration_seconds",
			Help:    "How long Auth0 took until its answer began, waiting for room in the rate limit left out.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"endpoint"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "customersync_auth0_budget_refusals_total",
			Help: "Calls that were not made because there would have been no room in our share of Auth0's rate limit for too long.",
		}),
		limit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersync_auth0_ratelimit_limit",
			Help: "Calls that fit into the tenant's rate limit, as Auth0 last told; 0 before it did.",
		}),
		waited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "customersync_auth0_budget_wait_seconds_total",
			Help: "Time spent waiting for room in Auth0's rate limit.",
		}),
		remaining: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersync_auth0_ratelimit_remaining",
			Help: "Calls left in the tenant's rate limit, as Auth0 last told.",
		}),
	}
	r.MustRegister(m.calls, m.took, m.waited, m.refused, m.limit, m.remaining)
	return m
}

func (m budgetMetrics) called(req *http.Request, res *http.Response, took time.Duration) {
	status := 0
	if res != nil {
		status = res.StatusCode
	}
	m.calls.WithLabelValues(endpoint(req), strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(endpoint(req)).Observe(took.Seconds())
}

// endpoint names a request without the ids in its path.
func endpoint(req *http.Request) string {
	path, of, api := req.URL.EscapedPath(), "/api/v2/", false
	if path, api = strings.CutPrefix(path, of); !api {
		return req.Method + " " + path
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		switch part {
		case "users", "users-by-email", "jobs", "users-exports", "logs", "events", "event-streams", "deliveries", "redeliver",
			"actions", "triggers", "bindings", "deploy":
		default:
			parts[i] = "{id}"
		}
	}
	return req.Method + " " + of + strings.Join(parts, "/")
}
