package auth0sim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ConnectAction has sign-ups reported to url as the Action in deploy/auth0 does:
// signed by Standard Webhooks with secret ("whsec_" and base64).
func (t *Tenant) ConnectAction(url, secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.action = &endpoint{url, secret}
}

// ConnectPostLogin has first logins through social and enterprise connections
// reported too, as the second Action in deploy/auth0 does.
func (t *Tenant) ConnectPostLogin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.postLogin = true
}

// Triggers of the Actions that are shipped.
const (
	postRegistration = "post-user-registration"
	postLogin        = "post-login"
)

// actionCalls are what the Actions do about a sign-up. Registration fires for
// database and passwordless connections only. t.mu is held.
// https://auth0.com/docs/customize/actions/explore-triggers/post-user-registration
func (t *Tenant) actionCalls(u User) []delivery {
	c, err := connectionOf(u.Identities[0].Connection)
	trigger, attempts := postRegistration, []time.Duration{0, 500 * time.Millisecond, time.Second}
	within := 4 * time.Second
	if !c.action { // a login waits for it: it gives up sooner
		trigger, attempts, within = postLogin, []time.Duration{0, 200 * time.Millisecond}, 1500*time.Millisecond
	}
	if err != nil || t.faults.DropActions {
		return nil
	}
	var out []delivery
	for _, to := range t.targets(trigger) {
		out = append(out, delivery{
			to: to, sign: signStandard, id: actionID(trigger, u), body: t.actionBody(trigger, c, u),
			attempts: attempts, within: within,
			final: func(status int) bool {
				return status >= 200 && status < 300 || status >= 400 && status < 500 && status != http.StatusTooManyRequests
			},
		})
	}
	return out
}

// actionID is the same each time the Action runs for a sign-up: Auth0 gives it no
// id of its own.
func actionID(trigger string, u User) string {
	id := sha256.Sum256([]byte(trigger + "\n" + u.ID + "\n" + stamp(u.CreatedAt)))
	return fmt.Sprintf("act_%x", id[:16])
}

func (t *Tenant) actionBody(trigger string, c connection, u User) []byte {
	metadata := map[string]any{}
	if id, ok := u.AppMetadata["customer_id"]; ok {
		metadata["customer_id"] = id
	}
	user := map[string]any{
		"user_id": u.ID, "email_verified": u.EmailVerified, "created_at": stamp(u.CreatedAt), "updated_at": stamp(u.UpdatedAt),
		"app_metadata": metadata,
	}
	if u.Email != "" {
		user["email"] = u.Email
	}
	return encode(map[string]any{
		"type": trigger, "tenant": t.o.Domain,
		"connection": map[string]any{"id": c.id, "name": c.name, "strategy": c.strategy}, "user": user,
	})
}

const secretMark = "whsec_"

// signStandard signs by Standard Webhooks.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func signStandard(req *http.Request, d delivery, at time.Time) error {
	key, err := secretKey(d.to.secret)
	if err != nil {
		return err
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", d.id, stamp, d.body) // a hash never fails
	req.Header.Set("Webhook-Id", d.id)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

func secretKey(secret string) ([]byte, error) {
	text, marked := strings.CutPrefix(secret, secretMark)
	key, err := base64.StdEncoding.DecodeString(text)
	if !marked || err != nil || len(key) == 0 {
		return nil, fmt.Errorf("action secret: expected %s and base64", secretMark)
	}
	return key, nil
}
