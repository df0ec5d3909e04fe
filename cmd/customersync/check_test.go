package main

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestCheckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(sim *auth0sim.Tenant)
		env    []string
		args   []string
		code   int
		says   []string
	}{
		"nothing":        {code: 0, says: []string{"ok    issuer", "ok    credentials", "ok    clock", "ok    scopes", "ok    users", "ok    database ", "ok    database clock"}},
		"offline":        {args: []string{"--offline"}, code: 0, says: []string{"ok    configuration"}},
		"a wrong secret": {env: []string{"AUTH0_CLIENT_SECRET=wrong"}, code: 1, says: []string{"fail  credentials", "AUTH0_CLIENT_SECRET"}},
		"wrong audience": {env: []string{"AUTH0_AUDIENCE=https://acme.eu.auth0.com/api/v2/"}, code: 1, says: []string{"fail  audience", "AUTH0_AUDIENCE"}},
		"missing scope":  {change: func(s *auth0sim.Tenant) { s.SetScopes([]string{"read:events"}) }, code: 1, says: []string{"fail  scopes", "lacks read:users", "lacks read:logs"}},
		"lesser scopes":  {change: func(s *auth0sim.Tenant) { s.SetScopes([]string{"read:users"}) }, code: 3, says: []string{"warn  scopes", "read:events", "read:logs"}},
		"clock skew":     {change: func(s *auth0sim.Tenant) { s.Advance(10 * 60 * 1e9) }, code: 1, says: []string{"fail  clock", "10m"}},
		"a little skew":  {change: func(s *auth0sim.Tenant) { s.Advance(60 * 1e9) }, code: 3, says: []string{"warn  clock"}},
		"Auth0 down": {change: func(s *auth0sim.Tenant) {
			s.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "POST /oauth/token", Status: 503}}})
		}, code: 1, says: []string{"fail  credentials", "503"}},
		"no signing keys": {change: func(s *auth0sim.Tenant) {
			s.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /.well-known/jwks.json", Body: `{"keys":[]}`}}})
		}, code: 1, says: []string{"fail  issuer", "no signing keys"}},
		"no database":   {env: []string{"DATABASE_URL=postgres://x@127.0.0.1:1/x?sslmode=disable"}, code: 1, says: []string{"fail  database", "DATABASE_URL", "ok    users"}},
		"nothing comes": {env: []string{"CUSTOMERSYNC_EVENT_STREAM_TOKENS=a-long-enough-token-for-this"}, code: 3, says: []string{"warn  deliveries", "none of event_stream"}},
		"not online":    {env: []string{"CUSTOMERSYNC_ACTION_SECRETS=" + checkSecret}, args: []string{"--webhook-url=http://127.0.0.1:1/"}, code: 2},
		"nobody here": {
			env:  []string{"CUSTOMERSYNC_ACTION_SECRETS=" + checkSecret, "CUSTOMERSYNC_LISTEN=127.0.0.1:1"},
			args: []string{"--online", "--webhook-url=http://127.0.0.1:1/"}, code: 1, says: []string{"warn  webhook here", "fail  webhook"},
		},
		"no webhook": {env: []string{"CUSTOMERSYNC_ACTION_SECRETS=" + checkSecret}, args: []string{"--online", "--webhook-url=http://127.0.0.1:1/"}, code: 1, says: []string{"fail  webhook"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, env := tenant(t)
			if test.change != nil {
				test.change(sim)
			}
			args := []string{"check", "--online"}
			if len(test.args) > 0 && test.args[0] != "--offline" {
				args = append([]string{"check"}, test.args...)
			} else if len(test.args) > 0 {
				args = args[:1]
			}
			got := runProgram(t, append(append(withoutSecrets(env), "DATABASE_URL="+storetest.DSN(t)), test.env...), args...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d: %+v", got.code, test.code, got)
			}
			for _, want := range test.says {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("no %q in\n%s", want, got.stdout)
				}
			}
			for _, secret := range []string{"sim-secret", checkSecret[6:]} {
				if strings.Contains(got.stdout+got.stderr, secret) {
					t.Errorf("it tells the secret %s", secret)
				}
			}
		})
	}
}

const checkSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// withoutSecrets is an environment in which nothing is expected to be delivered.
func withoutSecrets(env []string) []string {
	var rest []string
	for _, e := range env {
		if !strings.HasPrefix(e, "CUSTOMERSYNC_ACTION_SECRETS=") && !strings.HasPrefix(e, "CUSTOMERSYNC_EVENT_STREAM_TOKENS=") {
			rest = append(rest, e)
		}
	}
	return rest
}

func TestCheckSendsASampleThatTheDaemonTakes(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	dsn := storetest.DSN(t)
	env = append(withoutSecrets(env), "DATABASE_URL="+dsn, "CUSTOMERSYNC_ACTION_SECRETS="+checkSecret)
	d := startServe(t, env)
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	got := runProgram(t, env, "check", "--online", "--webhook-url", d.api+"/webhooks/auth0")
	if !strings.Contains(got.stdout, "ok    webhook") {
		t.Errorf("%+v", got)
	}
	if got := runProgram(t, env, "check", "--online"); !strings.Contains(got.stdout, "warn  deliveries") {
		t.Errorf("the sample counts as one of Auth0's: %+v", got)
	}
	here := append(env, "CUSTOMERSYNC_LISTEN="+strings.TrimPrefix(d.api, "http://"))
	if got := runProgram(t, here, "check", "--online", "--webhook-url", d.api+"/webhooks/auth0"); !strings.Contains(got.stdout, "ok    webhook here") {
		t.Errorf("%+v", got)
	}
	away := httptest.NewServer(http.RedirectHandler(d.api+"/webhooks/auth0", http.StatusTemporaryRedirect))
	t.Cleanup(away.Close)
	if got := runProgram(t, env, "check", "--online", "--webhook-url", away.URL); got.code != 1 || !strings.Contains(got.stdout, "answered with 307") {
		t.Errorf("a redirect, which no Action follows: %+v", got)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	if got := runProgram(t, env, "check", "--online", "--webhook-url", other.URL); got.code != 1 || !strings.Contains(got.stdout, "answered with 404") {
		t.Errorf("%+v", got)
	}
}

func TestCheckTellsOfALaneThatFellSilent(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	dsn := storetest.DSN(t)
	env = append(withoutSecrets(env), "DATABASE_URL="+dsn, "CUSTOMERSYNC_ACTION_SECRETS="+checkSecret)
	connector, err := pq.NewConnector(dsn)
	must(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	for _, step := range []struct{ ago, says string }{
		{"25 hours", "warn  deliveries       none of action has come since"},
		{"23 hours", "ok    deliveries       the last of action came"},
	} {
		_, err := db.ExecContext(t.Context(), `
			insert into inbox (source, event_id, kind, state, actionable, received_at)
			values ('action', $1::text, 'post-user-registration', 'done', false, clock_timestamp() - $1::text::interval)`, step.ago)
		must(t, err)
		if got := runProgram(t, env, "check", "--online"); !strings.Contains(got.stdout, step.says) {
			t.Errorf("%s: %+v", step.ago, got)
		}
	}
}
