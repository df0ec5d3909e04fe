package auth0sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// control adds the surface that drives the tenant: whom to sign up, what to
// break, what was called. It has no counterpart at Auth0.
func (t *Tenant) control(mux *http.ServeMux) {
	mux.HandleFunc("POST /_sim/signup", handle(t.controlSignUp))
	mux.HandleFunc("POST /_sim/verify", handle(func(b who) (any, error) { return t.onUser(b, t.Verify) }))
	mux.HandleFunc("POST /_sim/block", handle(func(b who) (any, error) {
		return t.onUser(b, func(id string) error { return t.Block(id, !b.Undo) })
	}))
	mux.HandleFunc("POST /_sim/delete", handle(func(b who) (any, error) { return t.onUser(b, t.Delete) }))
	mux.HandleFunc("POST /_sim/email", handle(func(b who) (any, error) {
		return t.onUser(b, func(id string) error { return t.ChangeEmail(id, b.NewEmail) })
	}))
	mux.HandleFunc("POST /_sim/link", handle(func(b linkBody) (any, error) {
		all, err := t.Link(b.Primary, b.Secondary)
		return identities(all), err
	}))
	mux.HandleFunc("POST /_sim/token", handle(t.controlToken))
	mux.HandleFunc("POST /_sim/rotate-keys", handle(func(struct{}) (any, error) { t.RotateKeys(); return ok, nil }))
	mux.HandleFunc("PUT /_sim/faults", handle(func(f Faults) (any, error) { t.SetFaults(f); return f, nil }))
	mux.HandleFunc("PUT /_sim/action", handle(func(b endpointBody) (any, error) { t.ConnectAction(b.URL, b.Secret); return ok, nil }))
	mux.HandleFunc("PUT /_sim/event-stream", handle(func(b endpointBody) (any, error) { t.ConnectEventStream(b.URL, b.Token); return ok, nil }))
	mux.HandleFunc("POST /_sim/clock", handle(t.controlClock))
	mux.HandleFunc("GET /_sim/calls", func(w http.ResponseWriter, _ *http.Request) {
		calls, total := t.Calls(), 0
		for _, n := range calls {
			total += n
		}
		writeJSON(w, http.StatusOK, map[string]any{"calls": calls, "total": total})
	})
	mux.HandleFunc("DELETE /_sim/calls", func(w http.ResponseWriter, _ *http.Request) {
		t.ResetCalls()
		writeJSON(w, http.StatusOK, ok)
	})
}

var ok = map[string]bool{"ok": true}

// handle decodes a control request strictly: a typo in a test must not pass.
func handle[B any](do func(B) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b B
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		d.DisallowUnknownFields()
		if err := d.Decode(&b); err != nil && !errors.Is(err, io.EOF) {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		answer, err := do(b)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// who names a user by id or by the address it has now.
type who struct {
	UserID   string `json:"user_id"`
	Email    string `json:"email"`
	NewEmail string `json:"new_email"` // with email
	Undo     bool   `json:"undo"`      // with block
}

type linkBody struct {
	Primary   string `json:"primary"`
	Secondary string `json:"secondary"`
}

type endpointBody struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
	Token  string `json:"token"`
}

func (t *Tenant) find(b who) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b.UserID != "" {
		u, err := t.get(b.UserID)
		return u.ID, err
	}
	switch ids := t.byEmail[b.Email]; len(ids) {
	case 0:
		return "", errNoUser
	case 1:
		for id := range ids {
			return id, nil
		}
	}
	return "", errors.New("several users have this e-mail address: name one by user_id")
}

func (t *Tenant) onUser(b who, do func(id string) error) (any, error) {
	id, err := t.find(b)
	if err != nil {
		return nil, err
	}
	if err := do(id); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u, err := t.get(id)
	if err != nil { // it was deleted
		return ok, nil //nolint:nilerr // that was the wish
	}
	return profile(u), nil
}

type signUpBody struct {
	Email          string         `json:"email"`
	Connection     string         `json:"connection"`
	EmailVerified  *bool          `json:"email_verified"`
	Name           string         `json:"name"`
	Username       string         `json:"username"`
	UserID         string         `json:"user_id"`
	AppMetadata    map[string]any `json:"app_metadata"`
	CreatedAt      time.Time      `json:"created_at"`
	DropDeliveries bool           `json:"drop_deliveries"`
}

func (t *Tenant) controlSignUp(b signUpBody) (any, error) {
	u, err := t.SignUp(b.signUp())
	if err != nil {
		return nil, err
	}
	return profile(u), nil
}

func (b signUpBody) signUp() SignUp {
	return SignUp{
		Email: b.Email, Connection: b.Connection, EmailVerified: b.EmailVerified, Name: b.Name, Username: b.Username,
		UserID: b.UserID, AppMetadata: b.AppMetadata, CreatedAt: b.CreatedAt, DropDeliveries: b.DropDeliveries,
	}
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
}

func (t *Tenant) controlToken(b tokenBody) (any, error) {
	o := TokenOptions{
		Permissions: b.Permissions, Scope: b.Scope, Audience: b.Audience, Lifetime: time.Duration(b.Lifetime), Claims: b.Claims,
	}
	var token string
	switch {
	case b.ClientID != "":
		token = t.MintMachineToken(b.ClientID, o)
	default:
		id, err := t.find(who{UserID: b.UserID, Email: b.Email})
		if err != nil {
			return nil, fmt.Errorf("expected client_id, or user_id or email of a user: %w", err)
		}
		token = t.MintUserToken(id, o)
	}
	return map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 86400}, nil
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
