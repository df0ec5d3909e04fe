package auth0sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// control adds the surface that drives the tenant: whom to sign up, what to
// break, what was called. It has no counterpart at Auth0. README.md tells it.
func (t *Tenant) control(mux *http.ServeMux) {
	mux.HandleFunc("POST /_sim/signup", handle(t.controlSignUp))
	mux.HandleFunc("POST /_sim/verify", t.onUser(func(id string, _ who) error { return t.Verify(id) }))
	mux.HandleFunc("POST /_sim/login", t.onUser(func(id string, _ who) error { return t.Login(id) }))
	mux.HandleFunc("POST /_sim/logout", t.onUser(func(id string, _ who) error { return t.Logout(id) }))
	mux.HandleFunc("POST /_sim/fail-login", handle(func(b who) (any, error) { t.FailLogin(b.Email); return done(), nil }))
	mux.HandleFunc("POST /_sim/block", t.onUser(func(id string, b who) error { return t.Block(id, !b.Undo) }))
	mux.HandleFunc("POST /_sim/email", t.onUser(func(id string, b who) error { return t.ChangeEmail(id, b.NewEmail) }))
	mux.HandleFunc("POST /_sim/delete", t.onUser(func(id string, _ who) error { return t.Delete(id) }))
	mux.HandleFunc("POST /_sim/link", handle(t.controlLink))
	mux.HandleFunc("POST /_sim/token", handle(t.controlToken))
	mux.HandleFunc("PUT /_sim/application", handle(t.controlApplication))
	mux.HandleFunc("POST /_sim/permissions", handle(t.controlPermissions))
	mux.HandleFunc("POST /_sim/rotate-keys", handle(func(struct{}) (any, error) { t.RotateKeys(); return done(), nil }))
	mux.HandleFunc("POST /_sim/fill", handle(t.controlFill))
	mux.HandleFunc("POST /_sim/clock", handle(t.controlClock))
	mux.HandleFunc("PUT /_sim/faults", handle(t.controlFaults))
	mux.HandleFunc("PUT /_sim/plan", handle(t.controlPlan))
	mux.HandleFunc("PUT /_sim/action", handle(t.controlAction))
	mux.HandleFunc("PUT /_sim/event-stream", handle(t.controlEventStream))
	mux.HandleFunc("PUT /_sim/log-stream", handle(t.controlLogStream))
	mux.HandleFunc("POST /_sim/feed", handle(t.controlFeed))
	mux.HandleFunc("GET /_sim/calls", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, t.callReport()) })
	mux.HandleFunc("DELETE /_sim/calls", handle(func(struct{}) (any, error) { t.ResetCalls(); return done(), nil }))
	mux.HandleFunc("/_sim/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "there is no " + r.Method + " " + r.URL.Path + ": see auth0sync/auth0sim/README.md"})
	})
}

func (t *Tenant) controlFill(b struct {
	Users int `json:"users"`
}) (any, error) {
	t.Fill(b.Users)
	return done(), nil
}

func done() any { return map[string]bool{"ok": true} }

// handle decodes a control request strictly: a typo in a test must not pass. No
// body at all is an empty object.
func handle[B any](do func(B) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b B
		answer, err := any(nil), decodeStrictly(http.MaxBytesReader(w, r.Body, largestBody), &b)
		if err == nil {
			answer, err = do(b)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

func decodeStrictly(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("body: something follows the object")
	}
	return nil
}

// who names a user by id or by the address it has now.
type who struct {
	UserID   string `json:"user_id"`
	Email    string `json:"email"`
	NewEmail string `json:"new_email"` // with /_sim/email
	Undo     bool   `json:"undo"`      // with /_sim/block
}

// find looks an address up as it is written, else in lower case, as the database
// connection stores it.
func (t *Tenant) find(b who) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.UserID != "" {
		u, err := t.get(b.UserID)
		return u.ID, err
	}
	ids := t.byEmail[b.Email]
	if len(ids) == 0 {
		ids = t.byEmail[strings.ToLower(b.Email)]
	}
	switch len(ids) {
	case 0:
		return "", errNoUser
	case 1:
		return ids[0], nil
	}
	sorted := slices.Sorted(slices.Values(ids))
	return "", fmt.Errorf("several users have this e-mail address, name one by user_id: %s", strings.Join(sorted, ", "))
}

// onUser does something to a user and answers with the user as it is then.
func (t *Tenant) onUser(do func(id string, b who) error) http.HandlerFunc {
	return handle(func(b who) (any, error) {
		id, err := t.find(b)
		if err == nil {
			err = do(id, b)
		}
		if err != nil {
			return nil, err
		}
		if u, ok := t.User(id); ok {
			return profile(u), nil
		}
		return done(), nil // it was deleted
	})
}

type signUpBody struct {
	Email          string         `json:"email"`
	Connection     string         `json:"connection"`
	EmailVerified  *bool          `json:"email_verified"`
	Blocked        bool           `json:"blocked"`
	Name           string         `json:"name"`
	Username       string         `json:"username"`
	UserID         string         `json:"user_id"`
	AppMetadata    map[string]any `json:"app_metadata"`
	CreatedAt      time.Time      `json:"created_at"`
	DropDeliveries bool           `json:"drop_deliveries"`
}

func (t *Tenant) controlSignUp(b signUpBody) (any, error) {
	u, err := t.SignUp(SignUp(b))
	if err != nil {
		return nil, err
	}
	return profile(u), nil
}

type linkBody struct {
	Primary   string `json:"primary"`
	Secondary string `json:"secondary"`
}

func (t *Tenant) controlLink(b linkBody) (any, error) {
	all, err := t.Link(b.Primary, b.Secondary)
	return identities(all), err
}

type tokenBody struct {
	UserID      string         `json:"user_id"`
	Email       string         `json:"email"`
	ClientID    string         `json:"client_id"`
	Permissions []string       `json:"permissions"`
	Scope       string         `json:"scope"`
	Audience    string         `json:"audience"`
	Lifetime    Duration       `json:"lifetime"`
	Claims      map[string]any `json:"claims"`
	Header      map[string]any `json:"header"`
	Forgery     Forgery        `json:"forgery"`
}

func (t *Tenant) controlToken(b tokenBody) (any, error) {
	o := TokenOptions{
		Permissions: b.Permissions, Scope: b.Scope, Audience: b.Audience, Lifetime: time.Duration(b.Lifetime),
		Claims: b.Claims, Header: b.Header, Forgery: b.Forgery,
	}
	if o.Lifetime == 0 {
		o.Lifetime = tokenLifetime
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(o.Lifetime.Seconds())}
	switch {
	case !slices.Contains([]Forgery{Genuine, StrangerKey, AlgNone, AlgHMAC}, b.Forgery):
		return nil, fmt.Errorf("forgery: expected %s, %s or %s", StrangerKey, AlgNone, AlgHMAC)
	case b.ClientID != "":
		answer["access_token"] = t.MintMachineToken(b.ClientID, o)
		return answer, nil
	}
	id, err := t.find(who{UserID: b.UserID, Email: b.Email})
	if err != nil {
		return nil, fmt.Errorf("expected client_id, or user_id or email of a user: %w", err)
	}
	answer["access_token"] = t.MintUserToken(id, o)
	return answer, nil
}

type applicationBody struct {
	Callbacks  []string `json:"callbacks"`
	LogoutURLs []string `json:"logout_urls"`
}

func (t *Tenant) controlApplication(b applicationBody) (any, error) {
	for _, one := range slices.Concat(b.Callbacks, b.LogoutURLs) {
		if err := checkTarget(one); err != nil {
			return nil, fmt.Errorf("callbacks, logout_urls: %w", err)
		}
	}
	t.SetApplication(b.Callbacks, b.LogoutURLs)
	return b, nil
}

type permissionsBody struct {
	UserID      string   `json:"user_id"`
	Email       string   `json:"email"`
	Permissions []string `json:"permissions"`
}

func (t *Tenant) controlPermissions(b permissionsBody) (any, error) {
	id, err := t.find(who{UserID: b.UserID, Email: b.Email})
	if err != nil {
		return nil, err
	}
	t.SetPermissions(id, b.Permissions...)
	return map[string]any{"user_id": id, "permissions": b.Permissions}, nil
}

type clockBody struct {
	Advance Duration `json:"advance"`
}

func (t *Tenant) controlClock(b clockBody) (any, error) {
	t.Advance(time.Duration(b.Advance))
	t.mu.Lock()
	defer t.mu.Unlock()
	return map[string]string{"now": stamp(t.now())}, nil
}

func (t *Tenant) controlFaults(f Faults) (any, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	t.SetFaults(f)
	return f, nil
}

type planBody struct {
	Plan Plan `json:"plan"`
}

func (t *Tenant) controlPlan(b planBody) (any, error) {
	if err := b.Plan.known(); err != nil {
		return nil, err
	}
	t.SetPlan(b.Plan)
	return b, nil
}

type actionBody struct {
	URL       string `json:"url"`
	Secret    string `json:"secret"`
	PostLogin bool   `json:"post_login"`
}

func (t *Tenant) controlAction(b actionBody) (any, error) {
	_, err := secretKey(b.Secret)
	if err := errors.Join(err, checkTarget(b.URL)); err != nil {
		return nil, err
	}
	t.ConnectAction(b.URL, b.Secret)
	if b.PostLogin {
		t.ConnectPostLogin()
	}
	return done(), nil
}

type connectBody struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

func (t *Tenant) controlEventStream(b connectBody) (any, error) {
	if err := checkTarget(b.URL); err != nil {
		return nil, err
	}
	t.ConnectEventStream(b.URL, b.Token)
	return done(), nil
}

func checkTarget(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("url: expected http:// or https:// and a host")
	}
	return nil
}

func (t *Tenant) callReport() any {
	calls, total := t.Calls(), 0
	for _, n := range calls {
		total += n
	}
	return map[string]any{"calls": calls, "total": total}
}
