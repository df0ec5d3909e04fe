package auth0sim

import (
	"cmp"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Password is every user's, whatever the connection: nothing is kept to compare with.
const Password = "password"

// signIns are people on their way through the login page of the Regular Web
// Application, and those who came through.
type signIns struct {
	callbacks   []string // that codes may be sent to
	logoutURLs  []string
	permissions map[string][]string      // by user id
	asked       map[string]authorization // by the state of the login page
	codes       map[string]authorization
	sessions    map[string]string // cookie → user id
}

func newSignIns() signIns {
	return signIns{permissions: map[string][]string{}, asked: map[string]authorization{}, codes: map[string]authorization{}, sessions: map[string]string{}}
}

// authorization is what an application asked of /authorize, and who then signed in.
type authorization struct {
	redirectURI, state, nonce, challenge, audience, scope, hint string
	user                                                        string
	expires                                                     time.Time
}

const (
	sessionCookie = "auth0"
	askedLasts    = time.Hour
)

// SetApplication registers where the Regular Web Application has people sent, after the
// login and after the logout.
func (t *Tenant) SetApplication(callbacks, logoutURLs []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signIns.callbacks, t.signIns.logoutURLs = slices.Clone(callbacks), slices.Clone(logoutURLs)
}

// SetPermissions gives a user these permissions on the company's API, and takes all
// others. Tokens of later logins have them.
func (t *Tenant) SetPermissions(userID string, permissions ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signIns.permissions[userID] = slices.Clone(permissions)
}

// serveAuthorize begins a login. Who has a session comes through at once.
// https://auth0.com/docs/get-started/authentication-and-authorization-flow/authorization-code-flow-with-pkce
func (t *Tenant) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a := authorization{
		redirectURI: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"),
		audience: q.Get("audience"), scope: q.Get("scope"), hint: q.Get("login_hint"),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	user := t.session(r)
	switch {
	case q.Get("client_id") != t.o.WebClientID:
		errorPage(w, http.StatusForbidden, "invalid_request: Unknown client: "+q.Get("client_id"))
	case !slices.Contains(t.signIns.callbacks, a.redirectURI):
		errorPage(w, http.StatusForbidden, "Callback URL mismatch. The provided redirect_uri is not in the list of allowed callback URLs.")
	case q.Get("response_type") == "":
		a.refuse(w, r, "invalid_request", "Missing required parameter: response_type")
	case q.Get("response_type") != "code":
		a.refuse(w, r, "unsupported_response_type", "Unsupported response type: "+q.Get("response_type"))
	case a.challenge != "" && q.Get("code_challenge_method") != "S256":
		a.refuse(w, r, "invalid_request", "code_challenge_method: only S256 is simulated")
	case a.audience != "" && a.audience != t.o.Audience:
		a.refuse(w, r, "access_denied", "Service not found: "+a.audience)
	case user != "" && q.Get("prompt") != "login":
		t.admit(w, r, a, user)
	case q.Get("prompt") == "none":
		a.refuse(w, r, "login_required", "Login required")
	default:
		page := randomHex(16)
		a.expires = t.now().Add(askedLasts)
		t.signIns.asked[page] = a
		http.Redirect(w, r, "/u/login?state="+page, http.StatusFound)
	}
}

// session is whom the browser is signed in as, if anybody. t.mu is held.
func (t *Tenant) session(r *http.Request) string {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return ""
	}
	return t.signIns.sessions[cookie.Value]
}

// admit sends the browser back with a code. t.mu is held.
func (t *Tenant) admit(w http.ResponseWriter, r *http.Request, a authorization, user string) {
	if u, err := t.get(user); err != nil || u.Blocked {
		a.refuse(w, r, "unauthorized", "user is blocked")
		return
	}
	code := randomHex(24)
	a.user, a.expires = user, t.now().Add(t.o.CodeLasts)
	t.signIns.codes[code] = a
	a.back(w, r, url.Values{"code": {code}})
}

func (a authorization) refuse(w http.ResponseWriter, r *http.Request, code, description string) {
	a.back(w, r, url.Values{"error": {code}, "error_description": {description}})
}

// back is the redirect to the application, which was registered.
func (a authorization) back(w http.ResponseWriter, r *http.Request, with url.Values) {
	if a.state != "" {
		with.Set("state", a.state)
	}
	separator := "?"
	if strings.Contains(a.redirectURI, "?") {
		separator = "&"
	}
	http.Redirect(w, r, a.redirectURI+separator+with.Encode(), http.StatusFound) //nolint:gosec // it was registered
}

var loginPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Log in | simulated Auth0</title>
<h1>Log in</h1><p>This is a simulated tenant. The password of everybody is <code>` + Password + `</code>.</p>
{{if .Problem}}<p role="alert">{{.Problem}}</p>{{end}}
<form method="post"><label>Email address <input name="username" type="email" required value="{{.Email}}"></label>
<label>Password <input name="password" type="password" required></label> <button>Continue</button></form></html>
`))

func showLogin(w http.ResponseWriter, status int, email, problem string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = loginPage.Execute(w, struct{ Email, Problem string }{email, problem}) // the client is gone
}

func (t *Tenant) serveLoginPage(w http.ResponseWriter, r *http.Request) {
	if a, err := t.beingAsked(r); err != nil {
		errorPage(w, http.StatusBadRequest, err.Error())
	} else {
		showLogin(w, http.StatusOK, a.hint, "")
	}
}

// serveLogin takes address and password, and makes a session.
func (t *Tenant) serveLogin(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, largestBody)
	a, err := t.beingAsked(r)
	if err != nil {
		errorPage(w, http.StatusBadRequest, err.Error())
		return
	}
	email := r.PostFormValue("username")
	user, err := t.find(who{Email: email})
	if err != nil || r.PostFormValue("password") != Password {
		t.FailLogin(email)
		showLogin(w, http.StatusBadRequest, email, "Wrong email or password.")
		return
	}
	if err := t.Login(user); err != nil {
		errorPage(w, http.StatusBadRequest, err.Error())
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.signIns.asked, r.URL.Query().Get("state"))
	session := randomHex(16)
	t.signIns.sessions[session] = user
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // the simulator speaks http on loopback
	t.admit(w, r, a, user)
}

var errNoLogin = errors.New("invalid_request: this login page was not asked for, or too long ago")

func (t *Tenant) beingAsked(r *http.Request) (authorization, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.signIns.asked[r.URL.Query().Get("state")]
	if !ok || !t.now().Before(a.expires) {
		return authorization{}, errNoLogin
	}
	return a, nil
}

// serveLogout ends the session and sends the browser to a registered address.
// https://auth0.com/docs/api/authentication/logout/auth-0-logout
func (t *Tenant) serveLogout(w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	allowed := t.signIns.logoutURLs
	first := ""
	if len(allowed) > 0 {
		first = allowed[0]
	}
	to := cmp.Or(r.URL.Query().Get("returnTo"), first)
	if id := r.URL.Query().Get("client_id"); id != t.o.WebClientID || to != "" && !slices.Contains(allowed, to) {
		errorPage(w, http.StatusBadRequest, `invalid_request: The "returnTo" querystring parameter "`+to+`" is not defined as a valid URL in "Allowed Logout URLs".`)
		return
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		delete(t.signIns.sessions, cookie.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true}) //nolint:gosec // the simulator speaks http on loopback
	if to == "" {
		_, _ = w.Write([]byte("OK")) // the client is gone
		return
	}
	http.Redirect(w, r, to, http.StatusFound) //nolint:gosec // it was registered
}

// errorPage is what a person sees when nothing can be told to the application.
func errorPage(w http.ResponseWriter, status int, problem string) {
	http.Error(w, "Oops!, something went wrong\n\n"+problem, status)
}
