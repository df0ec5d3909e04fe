package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/store/storetest"
)

func TestConfigPrintSaysWhereEachValueComesFromAndKeepsSecrets(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("auth0_audience: https://api.acme.example\nfollow: sideways\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "correct-horse-battery-staple"
	env := []string{"AUTH0_DOMAIN=acme.eu.auth0.com", "AUTH0_CLIENT_ID=id", "AUTH0_CLIENT_SECRET=" + secret, "CUSTOMERSYNC_LOG_KEY=" + secret}
	for _, args := range [][]string{{}, {"--json"}} {
		got := runProgram(t, env, append([]string{"config", "print", "--config", file, "--log-level", "debug"}, args...)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, `"sideways" from the configuration file`) {
			t.Errorf("exit code %d, %s: a wrong setting is not named", got.code, got.stderr)
		}
		for _, line := range []string{
			"AUTH0_DOMAIN acme.eu.auth0.com the environment", "AUTH0_CLIENT_SECRET *** the environment", "CUSTOMERSYNC_FOLLOW sideways the configuration file",
			"CUSTOMERSYNC_LOG_LEVEL debug the flag --log-level", "CUSTOMERSYNC_STOP_DELAY 5s its default", "AUTH0_BASE_URL not set",
		} {
			if len(args) == 0 && !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), line) {
				t.Errorf("without %q:\n%s", line, got.stdout)
			}
		}
		if strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("a secret is shown:\n%s", got.stdout)
		}
		if wanted := `{"environment":"AUTH0_CLIENT_SECRET","secret":true,"setting":"auth0_client_secret","source":"the environment","value":"***"}`; len(args) > 0 && !strings.Contains(got.stdout, wanted) {
			t.Errorf("without %s:\n%s", wanted, got.stdout)
		}
	}
}

func TestWebhookSendSaysWhatBecameOfASample(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	const secret, another = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	env = append(env, "DATABASE_URL="+storetest.DSN(t))
	d := startServe(t, append(env, "CUSTOMERSYNC_ACTION_SECRETS="+secret))
	send := func(secret, path string, args ...string) outcome {
		return runProgram(t, append(env, "CUSTOMERSYNC_ACTION_SECRETS="+secret), append([]string{"webhook", "send", d.api + path}, args...)...)
	}
	if got := send(secret, "/webhooks/auth0"); got.code != exitOK || !strings.Contains(got.stdout, "a signed sample was taken in") {
		t.Errorf("a good one: %+v", got)
	}
	if got := send(secret, "/webhooks/auth0", "--json"); !strings.Contains(got.stdout, `"taken_in":true`) {
		t.Errorf("a good one: %+v", got)
	}
	if got := send(another, "/webhooks/auth0"); got.code != exitFailed || !strings.Contains(got.stderr, "another CUSTOMERSYNC_ACTION_SECRETS") {
		t.Errorf("with another secret: %+v", got)
	}
	if got := send(secret, "/elsewhere"); got.code != exitFailed || !strings.Contains(got.stderr, "404") {
		t.Errorf("elsewhere: %+v", got)
	}
	if got := send("", "/webhooks/auth0"); got.code != exitUsage || !strings.Contains(got.stderr, "set CUSTOMERSYNC_ACTION_SECRETS") {
		t.Errorf("without a secret: %+v", got)
	}
}

func TestAShellIsToldWhatMayComeNext(t *testing.T) {
	t.Parallel()
	for line, next := range map[string][]string{
		"customersync conf":        {"config", "conflicts"},
		"customersync config ":     {"list", "print"},
		"customersync sync --dry":  {"--dry-run"},
		"customersync completion ": {"bash", "fish", "zsh"},
	} {
		got := runProgram(t, []string{"COMP_LINE=" + line})
		for _, one := range next {
			if !strings.Contains(got.stdout, one+"\n") {
				t.Errorf("%s: without %s: %s", line, one, got.stdout)
			}
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := runProgram(t, nil, "completion", "-c", shell); got.code != exitOK || !strings.Contains(got.stdout, "complete ") {
			t.Errorf("%s: %+v", shell, got)
		}
	}
}
