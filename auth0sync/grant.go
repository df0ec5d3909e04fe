package auth0sync

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Grant is what Auth0 gives our machine application.
type Grant struct {
	Scopes []string
	Skew   time.Duration // Auth0's clock less ours; good to a second or two
}

// Grant asks for a token as every look-up does, and says what it is good for.
// ErrUnauthorized tells what Auth0 has against us.
// https://auth0.com/docs/secure/tokens/access-tokens/management-api-access-tokens
func (d *Directory) Grant(ctx context.Context) (Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	base := d.base()
	body, err := json.Marshal(map[string]string{
		"grant_type": "client_credentials", "client_id": d.config.ClientID, "client_secret": d.config.ClientSecret, "audience": base + "/api/v2/",
	})
	if err != nil {
		return Grant{}, fmt.Errorf("token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/oauth/token", bytes.NewReader(body))
	if err != nil {
		return Grant{}, fmt.Errorf("token: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	asked := time.Now()
	res, err := d.files.Do(req)
	if err != nil {
		return Grant{}, fmt.Errorf("token: %w", transportError(ctx, err))
	}
	defer func() { _ = res.Body.Close() }() // it has been read
	grant, err := readGrant(res)
	if theirs, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		grant.Skew = theirs.Sub(asked.Truncate(time.Second))
	}
	return grant, err
}

func readGrant(res *http.Response) (Grant, error) {
	var answer struct {
		Token       string `json:"access_token"`
		Scope       string `json:"scope"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&answer)
	switch {
	case res.StatusCode == http.StatusOK && err == nil && answer.Token != "":
		return Grant{Scopes: strings.Fields(answer.Scope)}, nil
	case res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests:
		return Grant{}, fmt.Errorf("token: %w: %s: %s", ErrUnauthorized, answer.Error, answer.Description)
	}
	return Grant{}, fmt.Errorf("token: %w: status %d", ErrUnavailable, res.StatusCode)
}

// base is where Auth0 is, without a slash at its end.
func (d *Directory) base() string {
	if d.config.BaseURL != "" {
		return strings.TrimSuffix(d.config.BaseURL, "/")
	}
	return "https://" + d.config.Domain
}
