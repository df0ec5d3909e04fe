package auth0sync_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

const (
	ourToken   = "a-token-of-our-stream"
	ourWebhook = "https://api.acme.example/webhooks/auth0"
)

// tenantWithStreams is a tenant in which streams can be made, and its address.
func tenantWithStreams(t *testing.T) (sim *auth0sim.Tenant, url string) {
	t.Helper()
	sim = tenant(t, auth0sim.Options{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return sim, server.URL
}

func watcher(url string, tokens ...string) *auth0sync.Directory {
	return auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: url, ClientID: "sim-client", ClientSecret: "sim-secret", Share: 1, Metrics: prometheus.NewRegistry(), StreamTokens: tokens,
	})
}

// setUpStream makes an Event Stream as setup does; it returns what was done.
func setUpStream(t *testing.T, url, webhook, token string) (did string) {
	t.Helper()
	if err := watcher(url).SetUp(t.Context(), auth0sync.Setup{
		URL: webhook, Stream: true, Token: token, Tell: func(s auth0sync.Step) { did = s.Did },
	}); err != nil {
		t.Fatal(err)
	}
	return did
}

// othersStream makes a stream as somebody else would.
func othersStream(t *testing.T, url, name, destination string) {
	t.Helper()
	var token struct {
		Text string `json:"access_token"`
	}
	ask := func(path, bearer, body string, into any) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // it has been read
		if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode > 299 {
			t.Fatalf("%s: status %d, %v", path, res.StatusCode, err)
		}
	}
	ask("/oauth/token", "", `{"grant_type":"client_credentials","client_id":"sim-client","client_secret":"sim-secret","audience":"`+url+`/api/v2/"}`, &token)
	var made struct{}
	ask("/api/v2/event-streams", token.Text, `{"name":"`+name+`","subscriptions":[{"event_type":"user.created"}],"destination":`+destination+`}`, &made)
}

const (
	toABus     = `{"type":"eventbridge","configuration":{"aws_account_id":"123456789012","aws_region":"us-east-1"}}`
	toAWebhook = `{"type":"webhook","configuration":{"webhook_endpoint":"https://others.example/hook","webhook_authorization":{"method":"bearer","token":"not ours"}}}`
)

func TestStreamsOfOthersAreNotOurs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ name, destination string }{
		"one that has no webhook":     {"to the warehouse", toABus},
		"one whose name is like ours": {"customersync of the other team", toAWebhook},
		"one that is named as ours":   {"customersync 0123456789abcdef", toAWebhook},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := tenantWithStreams(t)
			othersStream(t, url, test.name, test.destination)
			if s, err := watcher(url, ourToken).OurStream(t.Context()); !errors.Is(err, auth0sync.ErrNoStream) {
				t.Errorf("watched: %+v, %v", s, err)
			}
			if did := setUpStream(t, url, ourWebhook, ourToken); did != "created" {
				t.Errorf("setup: %s", did)
			}
			if s, err := watcher(url, ourToken).OurStream(t.Context()); err != nil || !s.Enabled {
				t.Errorf("ours: %+v, %v", s, err)
			}
		})
	}
}

// Two installations may share a tenant: each has a stream of its own.
func TestEachInstallationHasItsOwnStream(t *testing.T) {
	t.Parallel()
	_, url := tenantWithStreams(t)
	const staging = "a-token-of-the-other-stream"
	for _, made := range [][2]string{{ourWebhook, ourToken}, {"https://staging.acme.example/webhooks/auth0", staging}} {
		if did := setUpStream(t, url, made[0], made[1]); did != "created" {
			t.Errorf("%s: %s", made[0], did)
		}
	}
	one, err := watcher(url, "a-newer-token", ourToken).OurStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, err := watcher(url, staging).OurStream(t.Context())
	if err != nil || one.ID == other.ID {
		t.Errorf("%+v and %+v, %v", one, other, err)
	}
	if did := setUpStream(t, url, ourWebhook, "a-newer-token"); did != "updated" {
		t.Errorf("another token: %s", did)
	}
	if did := setUpStream(t, url, "https://new.acme.example/webhooks/auth0", "a-newer-token"); did != "updated" {
		t.Errorf("another URL: %s", did)
	}
	if again, err := watcher(url, staging).OurStream(t.Context()); err != nil || again != other {
		t.Errorf("the other one was touched: %+v, %v", again, err)
	}
}
