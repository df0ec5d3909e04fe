// Package api is the HTTP surface of customersync: the customer API, and the
// webhook that Auth0 delivers to. routes lists all there is.
package api

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"iter"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/api/docs"
	"github.com/ahiko-io/customersync/customer"
)

// Config of the API. Issuer, Audience, Logger and Metrics are required.
type Config struct {
	Issuer     string // of access tokens, with its trailing slash; JWKS and /userinfo are below it
	Audience   string // of access tokens: this API
	LogKey     []byte // what e-mail addresses are hashed with for the log; none: they leave no trace there
	EmailClaim string // default email; whether it is verified says the claim with _verified at its end
	HTTPClient *http.Client
	Logger     *zap.Logger
	Metrics    prometheus.Registerer
	Traces     trace.TracerProvider // nil: none
	Now        func() time.Time     // default time.Now
}

// Customers is what the API asks of the database. *store.Store has it.
type Customers interface {
	Customer(ctx context.Context, id customer.ID) (customer.Customer, error)
	CustomerByEmail(ctx context.Context, key customer.EmailKey) (customer.Customer, error)
	CustomerByAuthUser(ctx context.Context, authUserID string) (customer.Customer, error)
	All(ctx context.Context, f customer.Filter) iter.Seq2[customer.Listed, error]
	Patch(ctx context.Context, id customer.ID, p customer.Patch, ifVersion int64, cause customer.Cause) (customer.Customer, error)
	CloseCustomer(ctx context.Context, id customer.ID, ifVersion int64, cause customer.Cause) error
	Explain(ctx context.Context, id customer.ID) (customer.Explanation, error)
	Conflicts(ctx context.Context, after customer.ID, limit int) ([]customer.Conflict, error)
	Conflict(ctx context.Context, id customer.ID) (customer.Conflict, error)
	Events(ctx context.Context, after int64, limit int) ([]customer.Event, error)
	Erase(ctx context.Context, id customer.ID, ifVersion int64, cause customer.Cause) (customer.Erasure, error)
	Erasure(ctx context.Context, id customer.ID) (customer.Erasure, error)
	LookNow(ctx context.Context, id customer.ID) error
	Watch(id customer.ID) (told <-chan struct{}, stop func())
	LiveAppKeys(ctx context.Context) (map[[32]byte]string, error)
}

// Enroller makes customers, looks up those that are due, says whose word on an
// address counts, and deletes Auth0 users. *worker.Worker has it.
type Enroller interface {
	Wake()
	Vouched(claim customer.Claim) bool
	DeleteUser(ctx context.Context, authUserID string) error
	Enroll(ctx context.Context, d customer.Draft, claim *customer.Claim, cause customer.Cause) (id customer.ID, created bool, err error)
}

// Webhook takes in deliveries from Auth0. *worker.Worker has it.
type Webhook interface {
	Admit(h http.Header) (largest int64, err error)
	Deliver(ctx context.Context, h http.Header, body []byte) (understood bool, err error)
}

// Server is the API. It is an http.Handler.
type Server struct {
	customers Customers
	enroller  Enroller
	webhook   Webhook
	tokens    *tokens
	appKeys   *appKeys
	userInfo  *userInfo
	log       *zap.Logger
	logKey    []byte
	metrics   metrics
	tracer    trace.Tracer    // nil: nobody follows
	stopping  <-chan struct{} // closed: whoever waits is answered
	mux       *http.ServeMux
	allowed   map[string][]string // path pattern → methods
}

const (
	basePath = "/customer/v1"
	// requestWithin bounds a request's work, but for the streamed listing.
	requestWithin = 5 * time.Second
	eraseWithin   = 30 * time.Second // it waits for others, and reads tables whole
	webhookWithin = 4 * time.Second  // Auth0 gives a delivery about ten
)

// New makes the API. Access tokens are refused with 503 until the issuer's keys
// could be fetched; that goes on until ctx ends. Then requests that wait for
// something to happen are answered at once.
func New(ctx context.Context, c Config, customers Customers, enroller Enroller, webhook Webhook) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.HTTPClient == nil {
		c.HTTPClient = &http.Client{
			Timeout: 5 * time.Second,
			// Key sets and users come from the issuer alone, and tokens go there alone.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	c.EmailClaim = cmp.Or(c.EmailClaim, "email")
	tokens, err := newTokens(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		customers: customers,
		enroller:  enroller,
		webhook:   webhook,
		tokens:    tokens,
		appKeys:   newAppKeys(customers.LiveAppKeys, c.Now),
		userInfo:  newUserInfo(c),
		log:       c.Logger,
		logKey:    c.LogKey,
		metrics:   newMetrics(c.Metrics),
		stopping:  ctx.Done(),
		mux:       http.NewServeMux(),
		allowed:   map[string][]string{},
	}
	if c.Traces != nil {
		s.tracer = c.Traces.Tracer("api")
	}
	for _, r := range s.routes() {
		s.allowed[r.path] = append(s.allowed[r.path], r.method)
		s.mux.HandleFunc(r.method+" "+r.path, s.serve(r))
	}
	for path, methods := range s.allowed {
		s.mux.HandleFunc(path, s.methodNotAllowed(path, methods))
	}
	s.mux.HandleFunc("/", s.notFound)
	return s, nil
}

// Ready says what keeps the API from verifying access tokens, or nil.
func (s *Server) Ready(context.Context) error { return s.tokens.ready() }

// route is one call of the API.
type route struct {
	method, path string
	within       time.Duration // 0: the handler sees to it
	open         bool          // needs neither app key nor access token
	serve        func(*call) error
}

// routes is all that this API answers.
func (s *Server) routes() []route {
	return []route{
		{"GET", basePath + "/customers", 0, false, s.getCollection},
		{"POST", basePath + "/customers", requestWithin, false, s.post},
		{"PATCH", basePath + "/customers", requestWithin, false, s.patch},
		{"DELETE", basePath + "/customers", eraseWithin, false, s.remove},
		{"GET", basePath + "/customers/{customer_id}", 0, false, s.get},
		{"PATCH", basePath + "/customers/{customer_id}", requestWithin, false, s.patch},
		{"DELETE", basePath + "/customers/{customer_id}", eraseWithin, false, s.remove},
		{"GET", basePath + "/customers/{customer_id}/explain", requestWithin, false, s.explain},
		{"POST", basePath + "/customers/{customer_id}/sync", syncWithin + requestWithin, false, s.sync},
		{"GET", basePath + "/conflicts", requestWithin, false, s.conflicts},
		{"POST", basePath + "/conflicts/{customer_id}/resolve", requestWithin, false, s.resolve},
		{"GET", basePath + "/erasures/{customer_id}", requestWithin, false, s.getErasure},
		{"GET", basePath + "/events", requestWithin, false, s.events},
		{"POST", "/webhooks/auth0", webhookWithin, true, s.deliver},
		{"GET", "/openapi.yaml", requestWithin, true, s.getOpenAPI},
		{"GET", "/docs", requestWithin, true, s.getDocs},
	}
}

// call is one request on its way through a handler.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	requestID string
	principal principal         // who asks; zero on open routes
	about     customer.EmailKey // the address that the request names; "" if it names none
	held      time.Duration     // spent waiting because the client asked for that (R18)
}

// within is the call with a deadline for a part of its work.
func (c *call) within(d time.Duration) (part *call, done context.CancelFunc) {
	ctx, done := context.WithTimeout(c.r.Context(), d)
	bounded := *c
	bounded.r = c.r.WithContext(ctx)
	return &bounded, done
}

// ServeHTTP implements http.Handler. Paths that the mux would clean by a redirect
// are not found: a redirect is in no shape that clients know.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.TransferEncoding) > 0 {
		// It may have come with a Content-Length as well, which net/http drops unseen:
		// what a proxy took for the rest of its body must not be read as a request
		// (RFC 9112 section 6.3).
		w.Header().Set("Connection", "close")
	}
	path := r.URL.EscapedPath()
	if strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") ||
		strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") || !strings.HasPrefix(path, "/") || r.Method == http.MethodConnect {
		s.notFound(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.serve(route{method: r.Method, path: "none", open: true, serve: func(*call) error { return fail("not_found") }})(w, r)
}

func (s *Server) methodNotAllowed(path string, methods []string) http.HandlerFunc {
	return s.serve(route{path: path, open: true, serve: func(c *call) error {
		c.w.Header().Set("Allow", strings.Join(methods, ", "))
		return fail("method_not_allowed")
	}})
}

// serve is a route with all that every request goes through: its id, its
// deadline, who asks, its log line, and the one place that errors are answered.
func (s *Server) serve(route route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		r, traced := s.traced(r, route)
		defer traced.end()
		c := &call{w: &statusWriter{ResponseWriter: w}, r: r, requestID: requestID(r)}
		w.Header().Set("X-Request-Id", c.requestID)
		traced.answers(c.w)
		if route.within > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), route.within)
			defer cancel()
			c.r = r.WithContext(ctx) //nolint:contextcheck // of r, which has its span by now
		}
		defer s.observe(c, route, started)         //nolint:contextcheck // it goes by the request in c
		if err := s.handle(c, route); err != nil { //nolint:contextcheck // it goes by the request in c
			f := toFailure(err)
			s.logFailure(f, c.requestID)
			writeFailure(c.w, f, c.requestID)
		}
	}
}

// handle runs a route's handler and turns a panic into an error. Only the
// listing panics on purpose, to break its connection off.
func (s *Server) handle(c *call, route route) (err error) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case http.ErrAbortHandler:
			panic(r)
		default:
			s.log.Error("handler panicked", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()), zap.String("request_id", c.requestID))
			err = fail(codeInternal)
		}
	}()
	if !route.open {
		if err := s.authenticate(c); err != nil {
			return err
		}
	}
	return route.serve(c)
}

// observe writes the one log line of a request, without query, token or names.
func (s *Server) observe(c *call, route route, started time.Time) {
	status, _ := c.w.(*statusWriter)
	took := time.Since(started)
	s.metrics.request(route.path, c.r.Method, status.status, took-c.held)
	email, trace := zap.Skip(), traceID(c.r.Context())
	if c.about != "" && len(s.logKey) > 0 {
		email = zap.String("email_hash", emailHash(s.logKey, c.about))
	}
	s.log.Info("request",
		zap.String("method", c.r.Method), zap.String("route", route.path), zap.Int("status", status.status),
		zap.Duration("took", took), zap.Duration("held", c.held), zap.String("request_id", c.requestID), zap.String("app_key", c.principal.appKey), email, trace)
}

// emailHash stands for an address in the log: the same address has the same hash, and
// without the key nobody can tell which, or try which.
func emailHash(key []byte, email customer.EmailKey) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(email))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// statusWriter remembers the status for the log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requestID is the caller's, if it is fit for a log line, else a new one (R16).
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	sane := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("._-", c)
	}
	if id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return !sane(c) }) < 0 {
		return id
	}
	return uuid.NewString()
}

//go:embed openapi.yaml
var openAPI []byte

func (s *Server) getOpenAPI(c *call) error {
	c.w.Header().Set("Content-Type", "application/yaml")
	_, _ = c.w.Write(openAPI) // the client is gone
	return nil
}

func (s *Server) getDocs(c *call) error {
	page, err := docs.Page(openAPI)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docs.Policy())
	_, _ = c.w.Write(page) // the client is gone
	return nil
}

// deliver takes in a delivery. Auth0 does not repeat what got a 4xx, so only
// forged ones get that. What its headers tell to be forged is not read: strangers
// must not fill the memory.
func (s *Server) deliver(c *call) error {
	largest, err := s.webhook.Admit(c.r.Header)
	if err != nil {
		return err
	}
	body, err := readAll(c, largest)
	if err != nil {
		return err
	}
	understood, err := s.webhook.Deliver(c.r.Context(), c.r.Header, body)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if !understood {
		status = http.StatusAccepted
	}
	writeJSON(c.w, status, success{true})
	return nil
}

// success is the body of calls that have nothing else to say.
type success struct {
	Success bool `json:"success"`
}

// metrics of the API.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_http_requests_total", Help: "Requests by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "customersync_http_request_duration_seconds", Help: "How long requests took, without the time that a client asked to be held.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_http_errors_total", Help: "Error answers by code.",
		}, []string{"code"}),
	}
	r.MustRegister(m.requests, m.seconds, m.failures)
	return m
}

// knownMethod is one of a closed list: methods are the client's to invent.
func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}

func (m metrics) request(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, knownMethod(method), strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}
