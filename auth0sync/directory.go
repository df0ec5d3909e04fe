package auth0sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/auth0/go-auth0/management"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"
)

// What a look-up may fail with. No error ever means "no users".
var (
	ErrUserNotFound = errors.New("no such Auth0 user")
	ErrUnauthorized = errors.New("Auth0 refuses our credentials")
	ErrRateLimited  = errors.New("Auth0's rate limit is used up")
	ErrBudget       = errors.New("the share of Auth0's rate limit that is ours is used up")
	ErrForbidden    = fmt.Errorf("%w: a scope or the plan does not allow it", ErrUnauthorized)
	ErrNoExport     = errors.New("Auth0 gives no export")
	ErrUnavailable  = errors.New("Auth0 gives no usable answer")
	// ErrUnreadable is about one user alone: the next question may well be answered.
	ErrUnreadable = fmt.Errorf("%w about a user", ErrUnavailable)
	errTooBroad   = errors.New("more than one search can tell")
	errConflict   = errors.New("Auth0 has no room for it")
	errBadRequest = errors.New("Auth0 does not accept the question")
)

// DirectoryConfig says which tenant to ask and as whom.
type DirectoryConfig struct {
	Domain       string  // acme.eu.auth0.com
	BaseURL      string  // of a simulator, instead of Domain; plain http is allowed here alone
	ClientID     string  // machine-to-machine application
	ClientSecret string  //
	Share        float64 // of the rate limit that we may use, above 0 and at most 1
	Metrics      prometheus.Registerer
	Traces       trace.TracerProvider // nil: none
	StreamTokens []string             // bearer tokens that our Event Stream may have, by which OurStream knows it
	// Wait is how the end of an export is waited for; nil is by the clock.
	Wait func(context.Context, time.Duration) error
}

// Directory asks Auth0's Management API about users. Every answer is complete or
// an error. Calls keep to the tenant's rate limit, counted on the context by
// Meter.
//
// The SDK makes the requests; its answers are read by our own types, since it
// takes the text "true" for a verified address and panics on a number there
// (go-auth0 v1.45.0).
type Directory struct {
	config DirectoryConfig
	budget *budget
	client *http.Client
	files  *http.Client // for downloads: without our token, as long as they take
	wait   func(context.Context, time.Duration) error

	mu  sync.Mutex
	api *management.Management // nil: to be made, with a new token
}

// NewDirectory makes a Directory. Auth0 need not be up: the first call fetches
// the token.
func NewDirectory(c DirectoryConfig) *Directory {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	b := newBudget(c.Share, bounded{newTransport()}, c.Metrics)
	if c.Traces != nil {
		b.tracer = c.Traces.Tracer("auth0")
	}
	d := &Directory{
		config: c,
		budget: b,
		client: &http.Client{Transport: b, CheckRedirect: stay},
		files:  &http.Client{Transport: newTransport(), CheckRedirect: stay},
		wait:   waitFor,
	}
	if c.Wait != nil {
		d.wait = c.Wait
	}
	return d
}

// Pace is how many searches a second Auth0 lets us make for long, by what its
// answers say of the rate limit.
func (d *Directory) Pace() float64 { return d.budget.limiter.pace("GET /api/v2/users") }

// CallsLeft is what is left of the tenant's rate limit, as Auth0 last told.
func (d *Directory) CallsLeft() int { return d.budget.limiter.left() }

// management returns the SDK's client. Its tokens come through our client too:
// the SDK would fetch them without a time limit.
func (d *Directory) management() (*management.Management, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.api != nil {
		return d.api, nil
	}
	// Tokens outlive the call that needs the first one, so its context must not
	// be theirs.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, d.client)
	options := []management.Option{management.WithClient(d.client), management.WithNoRetries()}
	domain := d.config.Domain
	if d.config.BaseURL != "" {
		domain = strings.TrimPrefix(strings.TrimSuffix(d.config.BaseURL, "/"), "http://")
		options = append(options, management.WithInsecure()) // before the credentials, which replace its token
	}
	options = append(options, management.WithClientCredentials(ctx, d.config.ClientID, d.config.ClientSecret))
	api, err := management.New(domain, options...)
	if err != nil {
		return nil, fmt.Errorf("auth0 client: %w", err)
	}
	d.api = api
	return api, nil
}

// forget drops a client whose token Auth0 refused, unless another already took
// its place.
func (d *Directory) forget(refused *management.Management) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.api == refused {
		d.api = nil
	}
}

// ByEmail returns all users that have this very spelling of an address. It is
// consistent at once and minds case.
// https://auth0.com/docs/manage-users/user-search/retrieve-users-with-get-users-by-email-endpoint
func (d *Directory) ByEmail(ctx context.Context, email string) ([]User, error) {
	var found []userJSON
	seen, err := d.get(ctx, []string{"users-by-email"}, url.Values{"email": {email}}, &found)
	if err != nil {
		return nil, fmt.Errorf("users by e-mail: %w", needs(err, "read:users"))
	}
	if found == nil {
		return nil, fmt.Errorf("users by e-mail: %w: null instead of a list", ErrUnavailable)
	}
	all := users(found, seen, LaneByEmail)
	return all, addressed(all)
}

// ByID returns one user, consistent at once; ErrUserNotFound if Auth0 says so, and
// ErrUnreadable if it does not take the id for one, or shows a user that is Unread.
func (d *Directory) ByID(ctx context.Context, userID string) (User, error) {
	var found userJSON
	seen, err := d.get(ctx, []string{"users", userID}, nil, &found)
	if errors.Is(err, errBadRequest) {
		err = fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if err != nil {
		return User{}, fmt.Errorf("user by id: %w", needs(err, "read:users"))
	}
	u := found.user(seen, LaneByID)
	if u.Unread {
		return User{}, fmt.Errorf("user by id: %w", ErrUnreadable)
	}
	if u.ID != userID && !u.HasIdentity(userID) {
		return User{}, fmt.Errorf("user by id: %w: another user than the one asked for", ErrUnavailable)
	}
	return u, nil
}

const (
	pageSize   = 100  // most users a page of search may have
	mostFound  = 1000 // most users search gives in all
	callWithin = 60 * time.Second
)

// Search returns all users that have one of these addresses, in whatever case.
// It is eventually consistent. Emails that one search cannot answer for are
// halved until it can.
// https://auth0.com/docs/manage-users/user-search/view-search-results-by-page
func (d *Directory) Search(ctx context.Context, emails []string) ([]User, error) {
	found, err := d.searchAll(ctx, query(emails))
	if err == nil {
		return found, addressed(found)
	}
	if !errors.Is(err, errTooBroad) {
		return nil, err
	}
	if len(emails) == 1 {
		return nil, fmt.Errorf("search for one address: %w: %w", ErrUnavailable, err)
	}
	half := len(emails) / 2
	left, err := d.Search(ctx, emails[:half])
	if err != nil {
		return nil, err
	}
	right, err := d.Search(ctx, emails[half:])
	if err != nil {
		return nil, err
	}
	return append(left, right...), nil
}

// addressed refuses the answer to a question for addresses that has an Unread user
// without one: whose it is cannot be told.
func addressed(found []User) error {
	if slices.ContainsFunc(found, func(u User) bool { return u.Unread && u.Email == "" }) {
		return fmt.Errorf("users by address: %w", ErrUnreadable)
	}
	return nil
}

// ByIdentity returns the users, one at most in truth, that have this user among
// their linked identities. It is eventually consistent.
func (d *Directory) ByIdentity(ctx context.Context, userID string) ([]User, error) {
	_, id, _ := strings.Cut(userID, "|")
	found, err := d.searchAll(ctx, "identities.user_id:"+quote(id))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(found, func(u User) bool { return u.Unread }) {
		return nil, fmt.Errorf("users by identity: %w", ErrUnreadable)
	}
	return slices.DeleteFunc(found, func(u User) bool { return !u.HasIdentity(userID) }), nil
}

// query is a search for any of the addresses.
func query(emails []string) string {
	quoted := make([]string, len(emails))
	for i, email := range emails {
		quoted[i] = quote(email)
	}
	return "email:(" + strings.Join(quoted, " OR ") + ")"
}

// quote makes a text a search term in which nothing is taken for an operator.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// searchAll reads page after page until it has as many users as there are, and no
// more pages than there can be: each would be a call.
func (d *Directory) searchAll(ctx context.Context, q string) ([]User, error) {
	var all []User
	for page := 0; ; page++ {
		var answer struct {
			Users []userJSON `json:"users"`
			Total *int       `json:"total"`
		}
		seen, err := d.get(ctx, []string{"users"}, url.Values{
			"q": {q}, "search_engine": {"v3"}, "include_totals": {"true"},
			"per_page": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)}, "sort": {"created_at:1"},
		}, &answer)
		switch {
		case err != nil:
			return nil, fmt.Errorf("search: %w", needs(err, "read:users"))
		case answer.Users == nil || answer.Total == nil:
			return nil, fmt.Errorf("search: %w: no users or no total in it", ErrUnavailable)
		case *answer.Total > mostFound:
			return nil, errTooBroad
		}
		some := users(answer.Users, seen, LaneSearch)
		all = append(all, some...)
		if len(all) >= *answer.Total {
			return all, nil
		}
		if len(some) == 0 || (page+1)*pageSize >= mostFound {
			return nil, fmt.Errorf("search: %w: %d of %d users came", ErrUnavailable, len(all), *answer.Total)
		}
	}
}

func (d *Directory) get(ctx context.Context, path []string, query url.Values, into any) (time.Time, error) {
	return d.call(ctx, http.MethodGet, path, query, nil, into)
}

// call makes one call and decodes its answer; it returns when Auth0 said so. A
// token that is refused is replaced, once.
func (d *Directory) call(ctx context.Context, method string, path []string, query url.Values, payload, into any) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	res, err := d.send(ctx, method, path, query, payload) //nolint:bodyclose // read does
	if err != nil {
		return time.Time{}, err
	}
	return read(res, into)
}

// send makes one call; whoever gets the answer closes it.
func (d *Directory) send(ctx context.Context, method string, path []string, query url.Values, payload any) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		api, err := d.management() //nolint:contextcheck // tokens outlive the call
		if err != nil {
			return nil, err
		}
		uri := api.URI(path...)
		if query != nil {
			uri += "?" + query.Encode()
		}
		req, err := api.NewRequest(ctx, method, uri, payload)
		if err != nil {
			return nil, err
		}
		res, err := api.Do(req)
		if err != nil {
			d.forget(api) // it may hold the token's error
			return nil, transportError(ctx, err)
		}
		if res.StatusCode == http.StatusUnauthorized && attempt == 1 {
			_ = res.Body.Close() // the answer is of no use
			d.forget(api)
			continue
		}
		return res, nil
	}
}

func read(res *http.Response, into any) (time.Time, error) {
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	if res.StatusCode == http.StatusNotFound {
		return time.Time{}, notFound(res.Body)
	}
	if err := statusError(res.StatusCode); err != nil {
		return time.Time{}, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: answer cut short: %w", ErrUnavailable, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return time.Time{}, fmt.Errorf("%w: %s", ErrUnavailable, shape(err))
	}
	seen, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		seen = time.Now() //nolint:nilerr // no Date: our own clock must do
	}
	return seen.UTC(), nil
}

// notFound tells Auth0's word that a user does not exist from the 404 of a proxy
// or of a wrong address: customers lose their link for the one.
func notFound(body io.Reader) error {
	var answer struct {
		Code string `json:"errorCode"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil || answer.Code != "inexistent_user" {
		return fmt.Errorf("%w: status 404, but not about a user", ErrUnavailable)
	}
	return ErrUserNotFound
}

// shape describes a decoding error without the text it met, which may be
// personal.
func shape(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return "unexpected JSON type in " + wrong.Field
	}
	return "answer is not the JSON expected"
}

func statusError(status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%w: token refused (AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET)", ErrUnauthorized)
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusConflict:
		return fmt.Errorf("%w: %w: status 409", ErrUnavailable, errConflict)
	case status == http.StatusBadRequest:
		return fmt.Errorf("%w: %w", ErrUnavailable, errBadRequest)
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status == http.StatusRequestURITooLong, status == http.StatusServiceUnavailable:
		// 503 is also how search says that a query took longer than 2 seconds.
		return fmt.Errorf("%w: status %d: %w", ErrUnavailable, status, errTooBroad)
	}
	return fmt.Errorf("%w: status %d", ErrUnavailable, status)
}

// transportError translates what happened below the SDK.
func transportError(ctx context.Context, err error) error {
	var token *oauth2.RetrieveError
	switch {
	case errors.Is(err, ErrBudget):
		return ErrBudget
	case errors.As(err, &token) && token.Response != nil && token.Response.StatusCode < 500 && token.Response.StatusCode >= 400 &&
		token.Response.StatusCode != http.StatusTooManyRequests:
		return fmt.Errorf("%w: no token for AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET (%s)", ErrUnauthorized, token.ErrorCode)
	case errors.As(err, &token):
		return fmt.Errorf("%w: token endpoint answers %d", ErrUnavailable, token.Response.StatusCode)
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	var u *url.Error // repeats the URL, which has e-mail addresses in it
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
