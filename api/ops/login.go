package ops

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/ahiko-io/customersync/customer"
)

// Login is how people sign in to the page: OpenID Connect with the company's own
// tenant, authorization code and PKCE. All fields but HTTPClient are required.
type Login struct {
	URL          *url.URL // where people open the page: scheme and host alone
	Issuer       string   // with its trailing slash
	ClientID     string   // of a regular web application whose callback is URL and /ops/callback
	ClientSecret string
	Audience     string // of the access tokens that hold the permissions
	Tokens       Tokens
	HTTPClient   *http.Client // default: five seconds, no redirects
}

// Tokens verifies what Auth0 signed. *api.Server does it as it does for requests to
// the API. Errors are customer.ErrAuth0Away, or the token is refused.
type Tokens interface {
	Operator(ctx context.Context, accessToken string) (customer.Operator, error)
	Identity(ctx context.Context, idToken, clientID, nonce string) (subject string, err error)
}

// login keeps no session: the cookie is the access token, verified at each request, so
// any replica takes it and it ends with the token. What a sign-in under way needs to
// know is in a cookie too.
type login struct {
	Login
	oauth     oauth2.Config
	site      string // URL as a text
	prefix    string // of cookies' names
	secure    bool   // https
	exchanges *rate.Limiter
}

const (
	loginWithin = 10 * time.Minute
	// longestSession is what browsers keep of a cookie, less its name and attributes.
	longestSession = 3900 // bytes
)

func newLogin(l *Login) *login {
	if l == nil {
		return nil
	}
	on := &login{
		Login: *l, site: l.URL.Scheme + "://" + l.URL.Host, secure: l.URL.Scheme == "https",
		oauth: oauth2.Config{
			ClientID: l.ClientID, ClientSecret: l.ClientSecret, RedirectURL: l.URL.Scheme + "://" + l.URL.Host + "/ops/callback", Scopes: []string{"openid"},
			Endpoint: oauth2.Endpoint{AuthURL: l.Issuer + "authorize", TokenURL: l.Issuer + "oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		},
		// Anybody may come with a made-up code. The tenant's limits are for others too.
		exchanges: rate.NewLimiter(2, 20),
	}
	if on.secure {
		on.prefix = "__Host-" // neither a subdomain nor plain http can set these
	}
	if on.HTTPClient == nil {
		on.HTTPClient = &http.Client{
			Timeout:       5 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the secret goes nowhere else
		}
	}
	return on
}

// names reports whether a request is for the page by its own name.
func (l *login) names(r *http.Request) bool {
	port := map[string]string{"https": ":443", "http": ":80"}[l.URL.Scheme] // browsers leave it out
	return strings.EqualFold(strings.TrimSuffix(r.Host, port), strings.TrimSuffix(l.URL.Host, port))
}

// Why somebody has to sign in, or cannot.
var (
	errNoSession = errors.New("nobody signed in")
	errNotBegun  = errors.New("the sign-in was not begun in this browser, or too long ago")
	errTooOften  = errors.New("too many sign-ins at once")
	errSignIn    = errors.New("the sign-in failed")
	errTooLong   = errors.New("the access token is longer than a cookie may be")
)

func (l *login) sessionName() string { return l.prefix + "customersync_ops" }
func (l *login) begunName() string   { return l.prefix + "customersync_ops_login" }

// operator is who a request comes from. The token must have been issued to this page:
// another application's, which may lie about in browsers, does not open it.
func (l *login) operator(r *http.Request) (customer.Operator, error) {
	cookies := r.CookiesNamed(l.sessionName())
	if len(cookies) != 1 { // of two, one is somebody else's
		return customer.Operator{}, errNoSession
	}
	o, err := l.verified(r.Context(), cookies[0].Value)
	if err != nil && !errors.Is(err, customer.ErrAuth0Away) {
		return o, fmt.Errorf("%w: %w", errNoSession, err)
	}
	return o, err
}

func (l *login) verified(ctx context.Context, token string) (customer.Operator, error) {
	o, err := l.Tokens.Operator(ctx, token)
	if err == nil && o.Application != l.ClientID {
		err = errors.New("access token: is of another application")
	}
	return o, err
}

// begun is a sign-in under way, as its cookie holds it.
type begun struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	Return   string `json:"return"`
}

// ask sends somebody who wanted to see a page to sign in, and back to it. A form is not
// sent there: what it says would be lost on the way, and the policy forbids it.
func (l *login) ask(w http.ResponseWriter, r *http.Request, because error) error {
	if !errors.Is(because, errNoSession) || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return because
	}
	b := begun{State: oauth2.GenerateVerifier(), Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Return: localPath(r.URL.RequestURI())}
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	http.SetCookie(w, l.cookie(l.begunName(), base64.RawURLEncoding.EncodeToString(text), loginWithin))
	to := l.oauth.AuthCodeURL(b.State, oauth2.S256ChallengeOption(b.Verifier), oauth2.SetAuthURLParam("audience", l.Audience), oauth2.SetAuthURLParam("nonce", b.Nonce))
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// cookie is one of ours; for 0 it is taken away.
func (l *login) cookie(name, value string, lasts time.Duration) *http.Cookie {
	seconds := int(lasts / time.Second)
	if seconds <= 0 {
		seconds = -1
	}
	// Lax, not Strict: the browser comes back from Auth0.
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: seconds, Secure: l.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode} //nolint:gosec // plain http on loopback alone
}

// wasBegun reads the sign-in that a callback belongs to. It is good once.
func (l *login) wasBegun(w http.ResponseWriter, r *http.Request) (begun, error) {
	var b begun
	http.SetCookie(w, l.cookie(l.begunName(), "", 0))
	cookies := r.CookiesNamed(l.begunName())
	if len(cookies) != 1 {
		return b, errNotBegun
	}
	text, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || json.Unmarshal(text, &b) != nil {
		return b, errNotBegun
	}
	state := r.URL.Query().Get("state")
	if b.State == "" || subtle.ConstantTimeCompare([]byte(state), []byte(b.State)) != 1 {
		return b, errNotBegun
	}
	return b, nil
}

// callback is where Auth0 sends people back to.
func (p *page) callback(w http.ResponseWriter, r *http.Request) error {
	l := p.login
	if l == nil {
		return errNoPage
	}
	b, err := l.wasBegun(w, r)
	if err != nil {
		return err
	}
	code := r.URL.Query().Get("code")
	if code == "" {
		return fmt.Errorf("%w: Auth0 says %s", errSignIn, word(r.URL.Query().Get("error")))
	}
	token, o, err := l.exchange(r.Context(), code, b)
	if err != nil {
		return err
	}
	http.SetCookie(w, l.cookie(l.sessionName(), token, o.Expires.Sub(p.now())))
	http.Redirect(w, r, localPath(b.Return), http.StatusSeeOther)
	return nil
}

// exchange turns a code into the access token of who signed in.
func (l *login) exchange(ctx context.Context, code string, b begun) (accessToken string, o customer.Operator, err error) {
	if !l.exchanges.Allow() {
		return "", o, errTooOften
	}
	token, err := l.oauth.Exchange(context.WithValue(ctx, oauth2.HTTPClient, l.HTTPClient), code, oauth2.VerifierOption(b.Verifier))
	if err != nil {
		return "", o, exchangeFailure(err)
	}
	idToken, _ := token.Extra("id_token").(string)
	subject, err := l.Tokens.Identity(ctx, idToken, l.ClientID, b.Nonce)
	if err == nil {
		o, err = l.verified(ctx, token.AccessToken)
	}
	switch {
	case errors.Is(err, customer.ErrAuth0Away):
		return "", o, err
	case err != nil:
		return "", o, fmt.Errorf("%w: %w", errSignIn, err)
	case o.Subject != subject:
		return "", o, fmt.Errorf("%w: access token and ID token are of two people", errSignIn)
	case len(token.AccessToken) > longestSession:
		return "", o, errTooLong
	}
	return token.AccessToken, o, nil
}

// exchangeFailure is why Auth0 gave no tokens, without its answer, which may repeat the
// code.
func exchangeFailure(err error) error {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("%w: Auth0 says %s to the code", errSignIn, word(answer.ErrorCode))
	}
	return fmt.Errorf("%w: the code could not be exchanged", customer.ErrAuth0Away)
}

// word is an error code of OAuth; whatever else stands in its place is not repeated.
func word(code string) string {
	if code == "" || len(code) > 40 || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "something else than an error code"
	}
	return code
}

// longestPath leaves the cookie that keeps it room for the rest.
const longestPath = 1000

// localPath is a page of ours, whatever was asked for.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || len(to) > longestPath || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/ops/") || strings.Contains(u.Path, "..") {
		return "/ops/"
	}
	return u.RequestURI()
}

// account says who signed in.
func (p *page) account(w http.ResponseWriter, r *http.Request) error {
	o, ok := operatorOf(r)
	if !ok {
		return errNoPage
	}
	render(w, http.StatusOK, "account", o)
	return nil
}

// logout ends the session here, and then at Auth0: without that, signing in would ask
// nothing. The browser goes there by itself and not by a redirect, which the policy
// forbids to forms.
func (p *page) logout(w http.ResponseWriter, _ *http.Request) error {
	l := p.login
	if l == nil {
		return errNoPage
	}
	http.SetCookie(w, l.cookie(l.sessionName(), "", 0))
	there := l.Issuer + "v2/logout?" + url.Values{"client_id": {l.ClientID}, "returnTo": {l.site + "/ops/signed-out"}}.Encode()
	w.Header().Set("Refresh", "0; url="+there)
	render(w, http.StatusOK, "leaving", there)
	return nil
}

func (p *page) signedOut(w http.ResponseWriter, _ *http.Request) error {
	if p.login == nil {
		return errNoPage
	}
	render(w, http.StatusOK, "signed-out", nil)
	return nil
}

// refuse is the page for an error of the login; false if it is none.
func (p *page) refuse(w http.ResponseWriter, err error) bool {
	missing, isForbidden := errors.AsType[forbidden](err)
	switch {
	case isForbidden:
		render(w, http.StatusForbidden, "message", missing.says())
	case errors.Is(err, errNoSession):
		render(w, http.StatusForbidden, "again", message{"Sign in first", "Nothing was done: nobody is signed in, or the session has ended."})
	case errors.Is(err, errNotBegun):
		render(w, http.StatusForbidden, "again", message{"Sign in again", "This sign-in was not begun in this browser, or is over, or took too long."})
	case errors.Is(err, errTooOften):
		w.Header().Set("Retry-After", "5")
		render(w, http.StatusServiceUnavailable, "again", message{"One moment", "Too many sign in at once. Try it again in some seconds."})
	case errors.Is(err, errTooLong):
		p.log.Error("operator page: sign-in", zap.Error(err))
		render(w, http.StatusForbidden, "message", message{"Too many permissions", "Your access token is longer than a cookie may be. Roles with fewer permissions make it shorter."})
	case errors.Is(err, errSignIn):
		p.log.Warn("operator page: sign-in", zap.Error(err))
		render(w, http.StatusForbidden, "again", message{"Not signed in", "Auth0 did not let you in, or what it sent was not understood. The log says which."})
	case errors.Is(err, customer.ErrAuth0Away):
		p.log.Warn("operator page: sign-in", zap.Error(err))
		w.Header().Set("Retry-After", "5")
		render(w, http.StatusServiceUnavailable, "message", message{"Auth0 does not answer", "Who you are cannot be told now. /readyz says what is wrong; reload in a while."})
	default:
		return false
	}
	return true
}
