// Package client calls the HTTP API of customersync: it makes, finds, lists,
// changes, closes and erases customers, says why one waits, settles conflicts, and
// reads the feed of events. It needs nothing but the standard library.
//
// Errors of the API are *Error; errors.Is tells them apart by the Err… constants:
//
//	if errors.Is(err, client.ErrCustomerNotFound) { … }
//
// A call that the API could not answer just then (429, 502, 503, 504, or a
// connection that broke) is tried again, after the time that Retry-After asks for,
// while the context has time left for it (or, if it has no deadline, for a minute).
// That is safe: the keys that make it so
// for Create are made here. Calls with IfMatch, and Resolve, are the exception:
// after an answer that was lost they could not tell their own change from
// somebody else's, so they are repeated only after a 429, which changed nothing.
//
// All methods may be called by several goroutines at once.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config of a Client. URL, AppKey and Token are required.
type Config struct {
	URL    string // where the API is, without /customer/v1, such as https://customers.acme.example
	AppKey string // of this application, as customersync keys create shows it
	// Token gives an access token for the API. It is asked before each try, so that
	// a long-lived Client goes on when tokens expire: it should keep one until then.
	Token func(context.Context) (string, error)
	// HTTPClient makes the requests; the default one waits 80 seconds for an answer to
	// begin. Redirects are not followed in any case: key and token are for the API alone.
	HTTPClient *http.Client
	// Tries is how often a call is made at most; default 5.
	Tries int
}

// StaticToken is a Config.Token that always gives the same one.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// Client calls the API. New makes one.
type Client struct {
	base   *url.URL
	appKey string
	token  func(context.Context) (string, error)
	http   *http.Client
	tries  int
}

const (
	usualTries = 5
	// answersWithin is longer than the API takes for any answer: it may be asked to
	// hold one for 60 seconds.
	answersWithin = 80 * time.Second
	// idleConnections are kept; net/http would keep two and dial anew for the others.
	idleConnections = 64
)

// New makes a Client. An error is one of the Config: nothing is called yet.
func New(c Config) (*Client, error) {
	base, err := url.Parse(c.URL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("customersync: Config.URL: expected a URL such as https://customers.acme.example")
	case c.AppKey == "":
		return nil, errors.New("customersync: Config.AppKey: expected a key that customersync keys create made")
	case c.Token == nil:
		return nil, errors.New("customersync: Config.Token: expected a function that gives access tokens")
	}
	client := &Client{base: base.JoinPath("customer", "v1"), appKey: c.AppKey, token: c.Token, tries: c.Tries}
	if client.tries < 1 {
		client.tries = usualTries
	}
	client.http = &http.Client{}
	if c.HTTPClient != nil {
		*client.http = *c.HTTPClient
	} else if usual, ok := http.DefaultTransport.(*http.Transport); ok {
		transport := usual.Clone()
		transport.ResponseHeaderTimeout = answersWithin
		transport.MaxIdleConnsPerHost = idleConnections
		client.http.Transport = transport
	}
	client.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

// request is one call of the API.
type request struct {
	method string
	route  string // for errors: it holds no names of customers
	path   []string
	query  url.Values
	header http.Header
	body   any
	once   bool // doing it twice may differ from doing it once
	err    error
}

func newRequest(method, route string, path ...string) *request {
	return &request{method: method, route: "/customer/v1/" + route, path: path, query: url.Values{}, header: http.Header{}}
}

// Option is a condition or detail of a call.
type Option func(*request)

// IfMatch has a change made only if the customer is still as it was read: with the
// ETag that it had then. Otherwise the call is refused with ErrPreconditionFailed.
func IfMatch(etag string) Option {
	return func(r *request) {
		r.header.Set("If-Match", etag)
		r.once = true
	}
}

// IfNoneMatch has Customer and WaitActive return ErrNotModified if the customer is
// still as it was when it had that ETag.
func IfNoneMatch(etag string) Option {
	return func(r *request) { r.header.Set("If-None-Match", etag) }
}

// IdempotencyKey replaces the key that Create makes by itself, for those who repeat
// a call after their own process was started anew. It has 1 to 255 printable ASCII characters.
func IdempotencyKey(key string) Option {
	return func(r *request) { r.header.Set(idempotencyHeader, key) }
}

// RequestID names the call in the log of customersync, and in the history of the
// customer: at most 128 letters, digits, dots, hyphens and underscores. Without it
// the API makes one up.
func RequestID(id string) Option {
	return func(r *request) { r.header.Set("X-Request-Id", id) }
}

const idempotencyHeader = "Idempotency-Key"

func (r *request) with(options []Option) *request {
	for _, o := range options {
		o(r)
	}
	return r
}

// do makes the call, as often as it takes, and decodes the answer.
func (c *Client) do(ctx context.Context, r *request, into any) (http.Header, error) {
	var header http.Header
	err := c.send(ctx, r, func(res *http.Response) error {
		defer func() { _ = res.Body.Close() }() // it has been read
		header = res.Header
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		_, err := io.Copy(io.Discard, res.Body) // so that the connection can be used again
		return err
	})
	return header, err
}

// success is the answer of calls that have nothing else to say.
type success struct{}

// send makes the call, as often as it takes, and hands over the answer of a
// success, with a body that take has to close.
func (c *Client) send(ctx context.Context, r *request, take func(*http.Response) error) error {
	if r.err != nil {
		return r.err
	}
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("customersync: %s %s: %w", r.method, r.route, err)
		}
	}
	for try := 1; ; try++ {
		err := c.try(ctx, r, body, take)
		if err == nil || try >= c.tries || ctx.Err() != nil || !repeatable(err, r.once) || !pause(ctx, try, err) {
			return err
		}
	}
}

// final is an error that another try would not mend.
type final struct{ error }

func (e final) Unwrap() error { return e.error }

// try makes the call once.
func (c *Client) try(ctx context.Context, r *request, body []byte, take func(*http.Response) error) error {
	token, err := c.token(ctx)
	if err != nil {
		return final{fmt.Errorf("customersync: get an access token: %w", err)}
	}
	at := c.base.JoinPath(r.path...)
	at.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, at.String(), bytes.NewReader(body))
	if err != nil {
		return final{fmt.Errorf("customersync: %s %s: %w", r.method, r.route, err)}
	}
	req.Header = r.header.Clone()
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Ahiko-App-Id", c.appKey)
	req.Header.Set("User-Agent", "customersync-go")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	var named *url.Error
	if errors.As(err, &named) {
		err = named.Err // it names the URL, which may have an e-mail address in it
	}
	if err == nil && res.StatusCode == http.StatusOK {
		err = take(res)
	} else if err == nil {
		defer func() { _ = res.Body.Close() }() // what is left of it is of no use
		return refusal(res)
	}
	if err != nil {
		return fmt.Errorf("customersync: %s %s: %w", r.method, r.route, err)
	}
	return nil
}

// repeatable says whether another try may come to something else, and does no harm.
func repeatable(err error, once bool) bool {
	var refused *Error
	switch {
	case errors.As(err, &final{}), errors.Is(err, ErrNotModified):
		return false
	case !errors.As(err, &refused):
		return !once // the connection failed, or the answer was cut off
	case refused.Status == http.StatusTooManyRequests:
		return true
	case once:
		return false
	}
	switch refused.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return refused.Code == ErrIdempotencyKeyInProgress // a try of ours whose answer was lost
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second // unless the API asks for more
	// patience is how long a wait may be asked for if the context has no deadline.
	patience = time.Minute
)

// pause waits before another try: as long as the API asks for, or longer each time,
// by chance between half and all of that, so that clients do not come in step. It
// says no at once if the context would end meanwhile.
func pause(ctx context.Context, try int, why error) bool {
	wait := min(firstPause<<min(try-1, 10), longestPause)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // nobody gains by guessing it
	var refused *Error
	if errors.As(why, &refused) {
		wait = max(wait, refused.RetryAfter)
	}
	left := patience
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	if wait >= left {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter reads the header of that name: seconds, or a time.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
