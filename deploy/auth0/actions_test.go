// Package auth0 tests the Actions that are shipped in this folder: they run in
// Node.js, as at Auth0, against a server of the test.
package auth0

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// received is a delivery that the Action made.
type received struct {
	header http.Header
	body   []byte
}

// run runs an Action with an event against a server that answers these statuses
// in turn, and returns what the server received and what the Action logged.
func run(t *testing.T, file, function, change string, statuses ...int) ([]received, string) {
	t.Helper()
	var mu sync.Mutex
	var all []received
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(statuses[min(len(all), len(statuses)-1)])
		all = append(all, received{r.Header.Clone(), body})
	}))
	defer server.Close()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not installed: make node")
	}
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	script := `
const event = {
  tenant: {id: "acme"}, connection: {id: "con_1", name: "Username-Password-Authentication", strategy: "auth0"},
  stats: {logins_count: 1}, secrets: {SYNC_URL: process.env.SYNC_URL, SYNC_SECRET: process.env.SYNC_SECRET},
  user: {user_id: "auth0|1", email: "ada@example.com", email_verified: false,
    created_at: "2026-01-02T03:04:05.678Z", updated_at: "2026-01-02T03:04:05.678Z", app_metadata: {customer_id: "c", plan: "pro"}},
};
(function (event) {` + change + `})(event);
require(process.env.ACTION)[process.env.FUNCTION](event).catch((error) => { console.error(error); process.exit(1); });`
	cmd := exec.CommandContext(t.Context(), node, "-e", script)
	cmd.Env = append(os.Environ(), "SYNC_URL="+server.URL, "SYNC_SECRET="+secret, "ACTION="+path, "FUNCTION="+function)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return all, string(output)
}

func TestRegistrationIsSignedAndSaysWhoAndNoMore(t *testing.T) {
	t.Parallel()
	all, _ := run(t, "post-user-registration.js", "onExecutePostUserRegistration", "", http.StatusOK)
	if len(all) != 1 {
		t.Fatalf("%d deliveries", len(all))
	}
	verifier, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(all[0].body, all[0].header); err != nil {
		t.Errorf("signature: %v", err)
	}
	var body struct {
		Type string
		User map[string]any
	}
	if err := json.Unmarshal(all[0].body, &body); err != nil {
		t.Fatal(err)
	}
	metadata, _ := body.User["app_metadata"].(map[string]any)
	if body.Type != "post-user-registration" || body.User["user_id"] != "auth0|1" || len(metadata) != 1 || metadata["customer_id"] != "c" {
		t.Errorf("body %s", all[0].body)
	}
}

func TestADeliveryIsRepeatedUnderTheSameID(t *testing.T) {
	t.Parallel()
	all, _ := run(t, "post-user-registration.js", "onExecutePostUserRegistration", "",
		http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusOK)
	if len(all) != 3 {
		t.Fatalf("%d deliveries", len(all))
	}
	if id := all[0].header.Get("Webhook-Id"); id == "" || id != all[2].header.Get("Webhook-Id") {
		t.Errorf("ids %q and %q", id, all[2].header.Get("Webhook-Id"))
	}
}

func TestARefusedDeliveryIsNotRepeatedAndTheLogNamesNoAddress(t *testing.T) {
	t.Parallel()
	all, log := run(t, "post-user-registration.js", "onExecutePostUserRegistration", "", http.StatusForbidden)
	if len(all) != 1 {
		t.Errorf("%d deliveries", len(all))
	}
	if !strings.Contains(log, "auth0|1: status 403") || strings.Contains(log, "ada@") {
		t.Errorf("log %q", log)
	}
}

func TestPostLoginReportsFirstSocialLoginsAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change string
		want   int
	}{
		"first login with Google":  {`event.connection.strategy = "google-oauth2"`, 1},
		"second login with Google": {`event.connection.strategy = "google-oauth2"; event.stats.logins_count = 2`, 0},
		"first login by password":  {``, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, _ := run(t, "post-login.js", "onExecutePostLogin", test.change, http.StatusOK)
			if len(all) != test.want {
				t.Errorf("%d deliveries, want %d", len(all), test.want)
			}
		})
	}
}
