package auth0sim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// endpoint is where deliveries go.
type endpoint struct {
	url    string
	secret string
}

// delivery is one message on its way.
type delivery struct {
	to       endpoint
	signed   bool // an Action call; else an event with a bearer token
	id       string
	body     []byte
	attempts []time.Duration // the wait before each attempt
	final    func(status int) bool
}

// ConnectAction has sign-ups reported to url as the Action in deploy/auth0 does:
// signed by Standard Webhooks with secret ("whsec_" and base64).
func (t *Tenant) ConnectAction(url, secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.action = &endpoint{url, secret}
}

// ConnectPostLogin has first logins through social connections reported too, as
// the second Action in deploy/auth0 does.
func (t *Tenant) ConnectPostLogin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.postLogin = true
}

// ConnectEventStream has user events sent to url with a bearer token.
func (t *Tenant) ConnectEventStream(url, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stream = &endpoint{url, token}
}

// actionCalls are what the Actions do about a sign-up. t.mu is held.
func (t *Tenant) actionCalls(u User, via string) []delivery {
	c := connectionOf(via)
	trigger := "post-user-registration"
	if !c.action {
		trigger = "post-login"
	}
	if t.action == nil || t.faults.DropActions || !c.action && !t.postLogin {
		return nil
	}
	if via == "" {
		via = Database
	}
	user := map[string]any{
		"user_id": u.ID, "email_verified": u.EmailVerified, "created_at": stamp(u.CreatedAt), "updated_at": stamp(u.UpdatedAt),
	}
	if u.Email != "" {
		user["email"] = u.Email
	}
	if id, ok := u.AppMetadata["customer_id"]; ok {
		user["app_metadata"] = map[string]any{"customer_id": id}
	}
	id := sha256.Sum256([]byte(trigger + "\n" + u.ID + "\n" + stamp(u.CreatedAt)))
	return []delivery{{
		to: *t.action, signed: true, id: fmt.Sprintf("act_%x", id[:16]),
		body: encode(map[string]any{
			"type": trigger, "tenant": t.o.Domain,
			"connection": map[string]any{"id": c.id, "name": via, "strategy": c.strategy}, "user": user,
		}),
		attempts: []time.Duration{0, 500 * time.Millisecond, time.Second},
		final: func(status int) bool {
			return status >= 200 && status < 300 || status >= 400 && status < 500 && status != http.StatusTooManyRequests
		},
	}}
}

// events are what the Event Stream sends about a user. t.mu is held. Events are
// at least once and in no order.
// https://auth0.com/docs/customize/events/events-best-practices
func (t *Tenant) events(kind string, u User) []delivery {
	if t.stream == nil || t.faults.DropEvents {
		return nil
	}
	object := profile(u)
	object["email_verified"] = u.EmailVerified
	if u.Email == "" {
		delete(object, "email_verified")
	}
	if kind == "user.deleted" {
		object["deleted_at"] = stamp(t.now())
	}
	id := "evt_" + randomHex(11)
	d := delivery{
		to: *t.stream, id: id,
		body: encode(map[string]any{
			"specversion": "1.0", "id": id, "source": "urn:auth0:" + t.o.Domain, "type": kind, "time": stamp(t.now()),
			"data": map[string]any{"object": object}, "a0tenant": t.o.Domain, "a0stream": "est_simStream0000000000001",
		}),
		attempts: []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second},
		final:    func(status int) bool { return status >= 200 && status < 300 || status >= 400 && status < 500 },
	}
	out := []delivery{d}
	if t.faults.DuplicateEvents || t.o.Rude {
		out = append(out, d)
	}
	if t.faults.ReorderEvents || t.o.Rude {
		if len(t.held) == 0 {
			t.held = out[:1]
			return out[1:]
		}
		out = append(out, t.held...)
		t.held = nil
	}
	return out
}

func encode(body any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		panic(err) // plain values
	}
	return bytes.TrimSpace(b.Bytes())
}

// send delivers in the background.
func (t *Tenant) send(out []delivery) {
	for _, d := range out {
		t.deliveries.Go(func() { t.deliver(d) })
	}
}

// Settle sends what is held back to come out of order and waits until every
// delivery has arrived or was given up.
func (t *Tenant) Settle() {
	t.mu.Lock()
	held := t.held
	t.held = nil
	t.mu.Unlock()
	t.send(held)
	t.deliveries.Wait()
}

func (t *Tenant) deliver(d delivery) {
	for attempt, wait := range d.attempts {
		if wait > 0 && t.o.Wait(t.running, wait) != nil {
			return
		}
		status, err := t.post(d)
		if err == nil && d.final(status) {
			return
		}
		t.o.Logger.Debug("delivery attempt failed", zap.String("id", d.id), zap.Int("attempt", attempt+1), zap.Int("status", status), zap.Error(err))
	}
}

func (t *Tenant) post(d delivery) (int, error) {
	req, err := http.NewRequestWithContext(t.running, http.MethodPost, d.to.url, bytes.NewReader(d.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if d.signed {
		t.mu.Lock()
		at := t.now()
		t.mu.Unlock()
		if err := sign(req, d, at); err != nil {
			return 0, err
		}
	} else {
		req.Header.Set("Authorization", "Bearer "+d.to.secret)
	}
	res, err := t.o.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // nothing more is read
	_, _ = io.Copy(io.Discard, res.Body)    // so that the connection is used again
	return res.StatusCode, nil
}

// sign signs by Standard Webhooks.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func sign(req *http.Request, d delivery, at time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.to.secret, "whsec_"))
	if err != nil {
		return fmt.Errorf("action secret: expected whsec_ and base64: %w", err)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", d.id, stamp, d.body) // a hash never fails
	req.Header.Set("Webhook-Id", d.id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}
