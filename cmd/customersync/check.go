package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/store"
)

type checkCmd struct {
	Online     bool   `help:"Ask the database, Auth0 and the webhook too."`
	WebhookURL string `help:"With --online: send a signed sample delivery there, as Auth0's Action would, and to CUSTOMERSYNC_LISTEN." placeholder:"URL"`
	JSON       bool   `help:"Print JSON, a line for each finding."`
}

// verdicts of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn" // something works less well than it could
	checkFail = "fail"
)

// finding is what a check came to.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Says    string `json:"says"`
	ToDo    string `json:"to_do,omitempty"`
}

// checks gathers findings: all run, whatever the others say.
type checks struct {
	config config
	tell   func(finding)
	failed int
	warned int
}

func (c *checks) ok(check, says string) { c.tell(finding{check, checkOK, says, ""}) }

func (c *checks) warn(check, says, toDo string) {
	c.warned++
	c.tell(finding{check, checkWarn, says, toDo})
}

func (c *checks) fail(check string, err error, toDo string) {
	c.failed++
	c.tell(finding{check, checkFail, err.Error(), toDo})
}

// Run checks the configuration, and with --online all that the daemon needs of
// the world.
func (v checkCmd) Run(ctx context.Context, p process, s *settings) error {
	config, err := s.config(p.getenv, needsAll)
	if err != nil {
		return err
	}
	if v.WebhookURL != "" && !v.Online {
		return usageError{errors.New("--webhook-url: expected --online with it")}
	}
	c := &checks{config: config, tell: func(f finding) { p.printFinding(f, v.JSON) }}
	c.ok("configuration", "whole")
	c.audience()
	if v.Online {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		c.online(ctx, p, v.WebhookURL)
	}
	switch {
	case c.failed > 0:
		return fmt.Errorf("%d checks failed", c.failed)
	case c.warned > 0:
		return fmt.Errorf("%w: %d warnings", errPartial, c.warned)
	}
	return nil
}

func (p process) printFinding(f finding, asJSON bool) {
	if asJSON {
		p.printJSON(f)
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%-5s %-16s %s\n", f.Verdict, f.Check, f.Says) // nowhere left to report to
	if f.ToDo != "" {
		_, _ = fmt.Fprintf(p.stdout, "%-22s to do: %s\n", "", f.ToDo) // nowhere left to report to
	}
}

// audience is a common mistake: the Management API's identifier is not ours.
func (c *checks) audience() {
	if strings.HasSuffix(strings.TrimSuffix(c.config.audience, "/"), "/api/v2") {
		c.fail("audience", fmt.Errorf("AUTH0_AUDIENCE is %s, the Management API", c.config.audience),
			"set AUTH0_AUDIENCE to the identifier of your own API (Auth0: Applications, APIs); tokens of the Management API must not open this one")
		return
	}
	c.ok("audience", c.config.audience)
}

func (c *checks) online(ctx context.Context, p process, webhookURL string) {
	c.issuer(ctx)
	d := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		Domain: c.config.domain, BaseURL: c.config.baseURL, ClientID: c.config.clientID, ClientSecret: c.config.clientSecret,
		Share: c.config.share, Metrics: prometheus.NewRegistry(),
	})
	if c.grant(ctx, d) {
		c.users(ctx, d)
	}
	c.database(ctx, p)
	c.webhook(ctx, webhookURL)
}

// issuer fetches what tokens are verified by.
func (c *checks) issuer(ctx context.Context) {
	const toDo = "check AUTH0_DOMAIN: the host of your tenant, or its custom domain if access tokens are issued by that"
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := getJSON(ctx, c.config.issuer()+".well-known/openid-configuration", &discovery); err != nil {
		c.fail("issuer", err, toDo)
		return
	}
	if discovery.Issuer != c.config.issuer() {
		c.fail("issuer", fmt.Errorf("tokens are issued by %s, expected of them is %s", discovery.Issuer, c.config.issuer()), toDo)
		return
	}
	var set struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := getJSON(ctx, discovery.Keys, &set); err != nil || len(set.Keys) == 0 {
		c.fail("issuer", errors.Join(err, errors.New("no signing keys at "+discovery.Keys)), toDo)
		return
	}
	c.ok("issuer", fmt.Sprintf("%s, %d signing keys", discovery.Issuer, len(set.Keys)))
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it has been read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", url, res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(into); err != nil {
		return fmt.Errorf("GET %s: not the JSON expected: %w", url, err)
	}
	return nil
}

// wantedScope is a scope of the Management API that the daemon can do without, and
// what is lost then.
type wantedScope struct{ scope, lost string }

func (c config) wantedScopes() []wantedScope {
	wanted := []wantedScope{
		{"read:events", "the event feed cannot be followed; the tenant's log, or looking, stands in"},
		{"read:logs", "the tenant's log cannot stand in for the event feed"},
	}
	if len(c.streamTokens) > 0 {
		const lost = "the Event Stream is not looked after: failed deliveries are not asked for again, and a disabled stream stays so"
		for _, scope := range []string{"read:event_streams", "update:event_streams", "read:event_deliveries", "update:event_deliveries"} {
			wanted = append(wanted, wantedScope{scope, lost})
		}
	}
	return wanted
}

const (
	skewWarns = 30 * time.Second
	skewFails = 5 * time.Minute // signatures and tokens are refused then
)

// grant checks the machine application, and says whether it is any good.
func (c *checks) grant(ctx context.Context, d *auth0sync.Directory) bool {
	g, err := d.Grant(ctx)
	if err != nil {
		toDo := "see that Auth0 can be reached from here"
		if errors.Is(err, auth0sync.ErrUnauthorized) {
			toDo = "check AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET, and that the application is authorised for the Auth0 Management API (Auth0: Applications, APIs, Auth0 Management API, Machine to Machine Applications)"
		}
		c.fail("credentials", err, toDo)
		return false
	}
	c.ok("credentials", "the machine application gets tokens of the Management API")
	c.skew("clock", "Auth0's clock", g.Skew)
	looksUp := slices.Contains(g.Scopes, "read:users")
	if !looksUp {
		c.fail("scopes", errors.New("the machine application lacks read:users"), "grant it read:users on the Auth0 Management API: without it nobody can be looked up")
	}
	whole := looksUp
	for _, w := range c.config.wantedScopes() {
		if !slices.Contains(g.Scopes, w.scope) {
			whole = false
			c.warn("scopes", "the machine application lacks "+w.scope+": "+w.lost, "grant it "+w.scope+" on the Auth0 Management API")
		}
	}
	if whole {
		c.ok("scopes", "all that are of use: "+strings.Join(g.Scopes, " "))
	}
	return looksUp
}

// skew compares another clock, such as Auth0's, with this machine's.
func (c *checks) skew(check, whose string, skew time.Duration) {
	says := whose + " and this machine's differ by " + skew.Abs().Round(time.Second).String()
	switch {
	case skew.Abs() > skewFails:
		c.fail(check, errors.New(says), "set the clocks (NTP): signatures and tokens are refused like this")
	case skew.Abs() > skewWarns:
		c.warn(check, says, "set the clocks (NTP)")
	default:
		c.ok(check, says)
	}
}

func (c *checks) users(ctx context.Context, d *auth0sync.Directory) {
	n, err := d.Total(ctx)
	if err != nil {
		c.fail("users", err, "see Auth0's status page and the tenant's rate limit")
		return
	}
	c.ok("users", fmt.Sprintf("%d in the tenant; our share of its rate limit is about %.1f calls a second", n, d.Pace()))
}

// database checks that it is there and as this program needs it.
func (c *checks) database(ctx context.Context, p process) {
	const toDo = "check DATABASE_URL; customersync serve brings the schema up to date"
	if c.config.databaseURL == "" {
		c.ok("database", "embedded, in "+c.config.dataDir+"; not started for this")
		return
	}
	s, err := openStore(c.config, c.config.databaseURL, p.logger(zapWarn))
	if err != nil {
		c.fail("database", err, toDo)
		return
	}
	defer func() { _ = s.Close() }() // nothing is pending on it
	if err := s.Ready(ctx); err != nil {
		c.fail("database", err, toDo)
		return
	}
	c.ok("database", "answers, and its schema is as this program needs it")
	asked := time.Now()
	now, err := s.Now(ctx)
	if err != nil {
		c.fail("database", err, toDo)
		return
	}
	c.skew("database clock", "the database's clock", now.Sub(asked))
	c.deliveries(ctx, s, now)
}

// quietFor is how long nothing may come before that is worth a look.
const quietFor = 24 * time.Hour

// deliveries asks whether each kind that is configured has been coming, now being
// the database's time, which deliveries are stamped with.
func (c *checks) deliveries(ctx context.Context, s *store.Store, now time.Time) {
	last, err := s.LastDeliveries(ctx)
	if err != nil {
		c.fail("deliveries", err, "check DATABASE_URL")
		return
	}
	for _, kind := range []struct {
		source     string
		configured bool
	}{
		{auth0sync.SourceAction, len(c.config.actionSecrets) > 0},
		{auth0sync.SourceEventStream, len(c.config.streamTokens) > 0},
		{auth0sync.SourceLogStream, len(c.config.logTokens) > 0},
	} {
		at, came := last[kind.source]
		switch {
		case !kind.configured:
		case !came:
			c.warn("deliveries", "none of "+kind.source+" is remembered: none has come for two days at least", "see that Auth0 sends them to https://YOUR-HOST/webhooks/auth0 (deploy/auth0/README.md)")
		case now.Sub(at) > quietFor:
			c.warn("deliveries", "none of "+kind.source+" has come since "+at.Format(time.RFC3339), "if somebody signed up since then, see Auth0's own log of them, and --webhook-url")
		default:
			c.ok("deliveries", "the last of "+kind.source+" came "+at.Format(time.RFC3339))
		}
	}
}
