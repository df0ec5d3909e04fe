package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// userInfo asks the issuer whose e-mail address is behind a token, where the
// token does not say (R10).
type userInfo struct {
	url    string
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]userInfoAnswer
}

type userInfoAnswer struct {
	claim    customer.Claim
	rawEmail string
	until    time.Time
}

const (
	userInfoWithin  = 5 * time.Second
	userInfoFor     = time.Minute
	userInfoMost    = 10_000
	userInfoLargest = 64 << 10 // bytes
)

func newUserInfo(c Config) *userInfo {
	return &userInfo{url: c.Issuer + "userinfo", client: c.HTTPClient, now: c.Now, known: map[[sha256.Size]byte]userInfoAnswer{}}
}

// complete adds to a person's principal the e-mail address that the issuer
// knows. Without an address there the principal stays as it is.
func (u *userInfo) complete(ctx context.Context, p principal) (principal, error) {
	if p.machine || p.rawEmail != "" {
		return p, nil
	}
	hash := sha256.Sum256([]byte(p.token))
	u.mu.Lock()
	answer, ok := u.known[hash]
	u.mu.Unlock()
	if !ok || !u.now().Before(answer.until) {
		var err error
		if answer, err = u.ask(ctx, p); err != nil {
			return p, fail("userinfo_unavailable").because(err)
		}
		u.keep(hash, answer)
	}
	p.claim, p.rawEmail = answer.claim, answer.rawEmail
	return p, nil
}

func (u *userInfo) keep(hash [sha256.Size]byte, answer userInfoAnswer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) >= userInfoMost {
		clear(u.known)
	}
	u.known[hash] = answer
}

func (u *userInfo) ask(ctx context.Context, p principal) (userInfoAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, userInfoWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return userInfoAnswer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := u.client.Do(req)
	if err != nil {
		return userInfoAnswer{}, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	if res.StatusCode != http.StatusOK {
		return userInfoAnswer{}, fmt.Errorf("userinfo: status %d", res.StatusCode)
	}
	// A map, since a struct would take Email_Verified for email_verified.
	var info map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(res.Body, userInfoLargest)).Decode(&info); err != nil {
		return userInfoAnswer{}, fmt.Errorf("userinfo: not the JSON expected: %w", err)
	}
	subject, err := claimIn(info, "sub")
	if err != nil {
		return userInfoAnswer{}, err
	}
	address, err := claimIn(info, "email")
	if err != nil {
		return userInfoAnswer{}, err
	}
	// OpenID Connect Core section 5.3.2: another sub means another person.
	if subject != p.subject {
		return userInfoAnswer{}, fmt.Errorf("userinfo: another sub than the token's")
	}
	now := u.now()
	answer := userInfoAnswer{
		claim:    customer.Claim{AuthUserID: p.subject, IssuedAt: now.UTC()},
		rawEmail: address,
		until:    now.Add(userInfoFor),
	}
	if p.expires.Before(answer.until) {
		answer.until = p.expires
	}
	if email, err := customer.ParseEmail(address); err == nil {
		answer.claim.Email, answer.claim.Verified = email, string(info["email_verified"]) == "true"
	}
	return answer, nil
}

// claimIn is a text of the answer; "" if it is not there.
func claimIn(info map[string]json.RawMessage, name string) (text string, err error) {
	if raw, there := info[name]; there {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", fmt.Errorf("userinfo: %s is not a text", name)
		}
	}
	return text, nil
}
