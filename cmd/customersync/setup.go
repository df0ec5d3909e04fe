package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/deploy/auth0"
)

type setupCmd struct {
	Auth0 setupAuth0Cmd `cmd:"" name:"auth0" help:"Make, or bring up to date, what customersync needs in the Auth0 tenant: two Actions and an Event Stream."`
}

type setupAuth0Cmd struct {
	URL         string `help:"Where Auth0 reaches this daemon's webhook: https://your-host/webhooks/auth0." required:"" placeholder:"URL"`
	DryRun      bool   `help:"Say what would be done and change nothing."`
	EventStream bool   `help:"Make an Event Stream too. It takes one of the plan's connections, as the event feed does." default:"true" negatable:""`
	Rotate      bool   `help:"Replace the secrets of what is there already by new ones where none are configured."`
	JSON        bool   `help:"Print JSON, a line for each step."`
}

// Run sets a tenant up. It may be run again: what is as it should be is left so.
func (v setupAuth0Cmd) Run(ctx context.Context, p process, s *settings) error {
	c, err := s.config(p.getenv, needsAuth0)
	if err != nil {
		return err
	}
	if u, err := url.Parse(v.URL); err != nil || u.Host == "" || u.Scheme != "https" && c.baseURL == "" {
		return usageError{errors.New("--url: expected https://your-host/webhooks/auth0, as Auth0 reaches it")}
	}
	secret := secretFor("CUSTOMERSYNC_ACTION_SECRETS", c.actionSecrets, newActionSecret)
	token := secretFor("CUSTOMERSYNC_EVENT_STREAM_TOKENS", c.streamTokens, newToken)
	setup := auth0sync.Setup{
		URL: v.URL, Actions: actions(), Stream: v.EventStream, Dry: v.DryRun,
		Secret: secret.value, NewSecret: secret.made && !v.Rotate,
		Token: token.value, NewToken: token.made && !v.Rotate,
		Tell: func(step auth0sync.Step) {
			p.printStep(step, v.JSON)
			secret.usedBy(step, "Action ")
			token.usedBy(step, "Event Stream")
		},
	}
	d := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		Domain: c.domain, BaseURL: c.baseURL, ClientID: c.clientID, ClientSecret: c.clientSecret, Share: c.share, Metrics: prometheus.NewRegistry(),
	})
	err = d.SetUp(ctx, setup)
	for _, one := range []*setupSecret{secret, token} {
		// Auth0 may have it already although the call failed.
		unsure := err != nil && !errors.Is(err, auth0sync.ErrForbidden)
		if one.made && !v.DryRun && (one.used || unsure) {
			p.printSecret(one, v.JSON)
		}
	}
	if errors.Is(err, auth0sync.ErrForbidden) {
		return fmt.Errorf("%w: some steps were skipped", errPartial)
	}
	return err
}

// actions are ours, with the newest version of the triggers that they are for.
// https://auth0.com/docs/customize/actions/explore-triggers
func actions() []auth0sync.ActionFor {
	return []auth0sync.ActionFor{
		{Trigger: "post-user-registration", Version: "v2", Name: "customersync post-user-registration", Code: auth0.PostUserRegistration},
		{Trigger: "post-login", Version: "v3", Name: "customersync post-login", Code: auth0.PostLogin},
	}
}

// setupSecret is what deliveries will be known by.
type setupSecret struct {
	env   string // the setting that it belongs into
	value string
	made  bool // just now: nobody knows it yet
	used  bool // Auth0 has it
}

// secretFor is the first configured secret, or a new one.
func secretFor(env string, configured []string, make func() string) *setupSecret {
	if len(configured) > 0 {
		return &setupSecret{env: env, value: configured[0]}
	}
	return &setupSecret{env: env, value: make(), made: true}
}

// usedBy notes whether a step has handed the secret to Auth0.
func (s *setupSecret) usedBy(step auth0sync.Step, kind string) {
	s.used = s.used || strings.HasPrefix(step.What, kind) && (step.Did == "created" || step.Did == "updated")
}

func newActionSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return "whsec_" + base64.StdEncoding.EncodeToString(b)
}

func newToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (p process) printStep(step auth0sync.Step, asJSON bool) {
	if asJSON {
		p.printJSON(map[string]string{"what": step.What, "did": step.Did, "why": step.Why})
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%-16s %s%s\n", step.Did, step.What, prefixed(": ", step.Why)) // nowhere left to report to
}

// printSecret shows a new secret, this once.
func (p process) printSecret(s *setupSecret, asJSON bool) {
	if asJSON {
		p.printJSON(map[string]string{"setting": s.env, "secret": s.value})
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%s=%s\n", s.env, s.value) // nowhere left to report to
}
