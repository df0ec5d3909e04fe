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
	limiter *limiter
	breaker circuitbreaker.CircuitBreaker[any]
	metrics budgetMetrics
	tracer  trace.Tracer // nil: nobody follows
}

func newBudget(share float64, next http.RoundTripper, r prometheus.Registerer) *budget {
	b := &budget{next: next, limiter: newLimiter(share), metrics: newBudgetMetrics(r)}
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
	for attempt := 0; ; attempt++ {
		res, err := b.attempt(req)
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

// attempt sends a request when there is room for it. Tokens have a limit of their own.
func (b *budget) attempt(req *http.Request) (res *http.Response, err error) {
	if !strings.HasPrefix(req.URL.Path, "/api/v2/") {
		return b.call(req)
	}
	draw, waited, err := b.limiter.take(req.Context(), endpoint(req))
	b.waited(req.Context(), waited)
	if err != nil {
		return nil, b.refused(err)
	}
	defer func() { // after a panic too: a call that is under way for ever takes room for ever
		if told, ok := b.limiter.done(draw, res); ok {
			b.metrics.limit.Set(float64(told.size))
			b.metrics.remaining.Set(float64(told.left))
		}
	}()
	return b.call(req)
}

// call sends a request unless the breaker is open.
func (b *budget) call(req *http.Request) (*http.Response, error) {
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

// repeat says whether to call again, and after how long. What writes is not repeated.
func (b *budget) repeat(req *http.Request, res *http.Response, err error, attempt int) (bool, time.Duration) {
	reads := req.Method == http.MethodGet
	switch {
	case req.Context().Err() != nil, errors.Is(err, errBreakerOpen), errors.Is(err, ErrBudget):
		return false, 0
	case err != nil, res.StatusCode >= 500:
		return reads && attempt < retriesFail, time.Duration(100+rand.IntN(200)) * time.Millisecond //nolint:gosec // jitter
	case res.StatusCode == http.StatusTooManyRequests:
		delay := b.limiter.ban(endpoint(req), res)
		return reads && attempt < retries429 && delay <= longestWait, delay
	}
	return false, 0
}

// pause waits before a call is repeated, if that is not too long.
func (b *budget) pause(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); d > longestWait || ok && time.Now().Add(d).After(deadline) {
		return b.refused(ErrBudget)
	}
	began := time.Now()
	err := waitFor(ctx, d)
	b.waited(ctx, time.Since(began))
	return err
}

// waited counts what was waited for room. Less than a millisecond is none.
func (b *budget) waited(ctx context.Context, d time.Duration) {
	d = d.Truncate(time.Millisecond)
	if spent, ok := ctx.Value(spentKey{}).(*Spent); ok {
		spent.Waited.Add(int64(d))
	}
	b.metrics.waited.Add(d.Seconds())
}

// refused counts a call that is not made for want of room.
func (b *budget) refused(err error) error {
	if errors.Is(err, ErrBudget) {
		b.metrics.refused.Inc()
	}
	return err
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
