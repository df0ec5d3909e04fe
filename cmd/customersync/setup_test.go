package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestSetupIsDoneOnceAndThenLeavesAllAsItIs(t *testing.T) {
	t.Parallel()
	sim, env := tenantOf(t, auth0sim.Options{AllowHTTP: true})
	env = append(withoutSecrets(env), "CUSTOMERSYNC_ACTION_SECRETS="+checkSecret, "CUSTOMERSYNC_EVENT_STREAM_TOKENS=a-long-enough-token-for-this")
	d := startServe(t, append(env, "DATABASE_URL="+storetest.DSN(t), "CUSTOMERSYNC_FOLLOW=off", "CUSTOMERSYNC_PROMOTE_SCHEDULE=@every 1h"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	setup := []string{"setup", "auth0", "--url", d.api + "/webhooks/auth0"}

	dry := runProgram(t, env, append(setup, "--dry-run")...)
	if dry.code != 0 || strings.Count(dry.stdout, "to be created") != 3 || strings.Count(dry.stdout, "to be bound") != 2 {
		t.Errorf("dry run: %+v", dry)
	}
	if writes := writesTo(sim); writes != 0 {
		t.Errorf("the dry run made %d writes", writes)
	}
	first := runProgram(t, env, setup...)
	if first.code != 0 || strings.Count(first.stdout, "created") != 3 || strings.Count(first.stdout, "bound") != 2 || strings.Count(first.stdout, "deployed") != 2 {
		t.Errorf("first: %+v", first)
	}
	sim.ResetCalls()
	second := runProgram(t, env, setup...)
	if second.code != 0 || strings.Count(second.stdout, "unchanged") != 5 || writesTo(sim) != 0 {
		t.Errorf("second: %+v, calls %v", second, sim.Calls())
	}
	// It works: a registration and a social login come in through what was set up.
	for _, s := range []auth0sim.SignUp{{Email: "ada@example.com"}, {Email: "bob@example.com", Connection: auth0sim.Google}} {
		if _, err := sim.SignUp(s); err != nil {
			t.Fatal(err)
		}
	}
	sim.Settle()
	_, metrics := get(t, d.ops+"/metrics")
	for _, source := range []string{"action", "event_stream"} {
		if !regexp.MustCompile(`customersync_webhook_deliveries_total\{result="accepted",source="` + source + `"\} 2`).MatchString(metrics) {
			t.Errorf("no two deliveries of %s were accepted", source)
		}
	}
	rotated := runProgram(t, append(env, "CUSTOMERSYNC_ACTION_SECRETS=whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="), setup...)
	if rotated.code != 0 || strings.Count(rotated.stdout, "updated") != 2 || strings.Count(rotated.stdout, "deployed") != 2 {
		t.Errorf("another secret: %+v", rotated)
	}
}

// writesTo counts the calls that change a tenant.
func writesTo(sim *auth0sim.Tenant) int {
	n := 0
	for endpoint, calls := range sim.Calls() {
		if strings.Contains(endpoint, "/api/v2/") && !strings.HasPrefix(endpoint, http.MethodGet+" ") {
			n += calls
		}
	}
	return n
}

func TestSetupSkipsWhatIsNotAllowedAndSaysSo(t *testing.T) {
	t.Parallel()
	sim, env := tenantOf(t, auth0sim.Options{AllowHTTP: true, Scopes: []string{"read:users", "read:event_streams", "create:event_streams"}})
	got := runProgram(t, env, "setup", "auth0", "--url", "http://127.0.0.1:1/webhooks/auth0")
	if got.code != 3 || strings.Count(got.stdout, "skipped") != 2 || !strings.Contains(got.stdout, "read:actions") || strings.Count(got.stdout, "created") != 1 {
		t.Errorf("%+v", got)
	}
	if got := runProgram(t, env, "setup", "auth0", "--url", "http://127.0.0.1:1/x", "--no-event-stream"); strings.Contains(got.stdout, "Event Stream") {
		t.Errorf("%+v", got)
	}
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Status: 500}}})
	if got := runProgram(t, env, "setup", "auth0", "--url", "http://127.0.0.1:1/x"); got.code != 1 {
		t.Errorf("with Auth0 down: %+v", got)
	}
	if got := runProgram(t, env, "setup", "auth0", "--url", "rubbish"); got.code != 2 {
		t.Errorf("rubbish: %+v", got)
	}
}

// Without configured secrets new ones are made, and shown to be configured.
func TestSetupMakesSecrets(t *testing.T) {
	t.Parallel()
	_, env := tenantOf(t, auth0sim.Options{AllowHTTP: true})
	got := runProgram(t, withoutSecrets(env), "setup", "auth0", "--url", "http://127.0.0.1:1/webhooks/auth0")
	made := regexp.MustCompile(`(?m)^(CUSTOMERSYNC_ACTION_SECRETS=whsec_\S{44}|CUSTOMERSYNC_EVENT_STREAM_TOKENS=[0-9a-f]{48})$`).FindAllString(got.stdout, -1)
	if got.code != 0 || len(made) != 2 {
		t.Fatalf("%+v", got)
	}
	again := runProgram(t, append(withoutSecrets(env), made...), "setup", "auth0", "--url", "http://127.0.0.1:1/webhooks/auth0")
	if again.code != 0 || strings.Count(again.stdout, "unchanged") != 5 {
		t.Errorf("%+v", again)
	}
}

// A daemon lives by the secrets that Auth0 has: whoever runs setup without them
// must not replace them in passing.
func TestSetupReplacesNoSecretThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	sim, env := tenantOf(t, auth0sim.Options{AllowHTTP: true})
	setup := []string{"setup", "auth0", "--url", "http://127.0.0.1:1/webhooks/auth0"}
	known := append(withoutSecrets(env), "CUSTOMERSYNC_ACTION_SECRETS="+checkSecret, "CUSTOMERSYNC_EVENT_STREAM_TOKENS=a-long-enough-token-for-this")
	if got := runProgram(t, known, setup...); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	sim.ResetCalls()
	got := runProgram(t, withoutSecrets(env), setup...)
	if got.code != 3 || strings.Count(got.stdout, "skipped") != 3 || strings.Contains(got.stdout, "CUSTOMERSYNC_") || writesTo(sim) != 0 {
		t.Errorf("%+v, calls %v", got, sim.Calls())
	}
	if got := runProgram(t, known, setup...); got.code != 0 || strings.Count(got.stdout, "unchanged") != 5 {
		t.Errorf("they are others now: %+v", got)
	}
	got = runProgram(t, withoutSecrets(env), append(setup, "--rotate")...)
	if got.code != 0 || strings.Count(got.stdout, "updated") != 3 || strings.Count(got.stdout, "CUSTOMERSYNC_") != 2 {
		t.Errorf("--rotate: %+v", got)
	}
}

func TestSetupShowsOnlySecretsThatAuth0Has(t *testing.T) {
	t.Parallel()
	_, env := tenantOf(t, auth0sim.Options{AllowHTTP: true})
	got := runProgram(t, withoutSecrets(env), "setup", "auth0", "--url", "http://127.0.0.1:1/webhooks/auth0", "--no-event-stream", "--json")
	shown := 0
	for line := range strings.Lines(got.stdout) {
		var said struct{ Setting, Secret string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Errorf("not JSON: %q", line)
		}
		if said.Secret != "" {
			shown++
		}
	}
	if got.code != 0 || shown != 1 || strings.Contains(got.stdout, "EVENT_STREAM_TOKENS") {
		t.Errorf("%+v", got)
	}
}
