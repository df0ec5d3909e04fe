package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/worker"
)

type syncCmd struct {
	Once   bool   `help:"Look once, then end. Without it nothing is done: the daemon looks by itself." required:""`
	DryRun bool   `help:"Say what would happen to each customer and change nothing."`
	Email  string `help:"Look at the customer with this address alone, due or not." placeholder:"ADDRESS"`
	JSON   bool   `help:"Print JSON, a line for each customer and one for the run."`
}

// Run looks at what is due, through the same code as the daemon.
func (v syncCmd) Run(ctx context.Context, p process, s *settings) error {
	order := worker.Order{Kind: worker.KindSync, DryRun: v.DryRun}
	if v.Email != "" {
		email, err := customer.ParseEmail(v.Email)
		if err != nil {
			return usageError{fmt.Errorf("--email: %w", err)}
		}
		order.Only = email.Key
	}
	c, err := s.config(p.getenv, needsAuth0)
	if err != nil {
		return err
	}
	log := p.logger(c.logLevel)
	dsn, stop, err := database(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // the outcome is told by then
	st, w, err := syncer(c, dsn, prometheus.NewRegistry(), nil, log)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }() // nothing is pending on it
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	order.Each = func(o worker.Outcome) { p.printOutcome(o, v) }
	run, err := whenFree(ctx, w, order)
	if err != nil {
		return err
	}
	if worker.Left(run) { // so many are due that this is the cheaper way
		p.printRun(run, v)
		order.Kind = worker.KindReconcile
		if run, err = whenFree(ctx, w, order); err != nil {
			return err
		}
	}
	p.printRun(run, v)
	return verdict(run)
}

// freeWithin is how long a verb waits for the daemon's run to end.
const freeWithin = time.Minute

// whenFree runs as soon as no other run holds the lease. The run itself may take
// as long as it takes.
func whenFree(ctx context.Context, w *worker.Worker, o worker.Order) (customer.Run, error) {
	late := time.After(freeWithin)
	for {
		run, err := w.RunOnce(ctx, o)
		if !errors.Is(err, customer.ErrLeaseHeld) {
			return run, err
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-late:
			return run, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// printOutcome tells of one customer. The operator asked for it by name, so the
// address is shown.
func (p process) printOutcome(o worker.Outcome, v syncCmd) {
	if v.JSON {
		var next *time.Time
		if !o.Next.IsZero() {
			next = &o.Next
		}
		p.printJSON(map[string]any{
			"customer_id": o.Customer.ID, "email_address": o.Customer.Email.Address, "action": o.Action,
			"reason": o.Reason, "auth_user_id": o.AuthUserID, "next_check_at": next, "dry_run": v.DryRun,
		})
		return
	}
	would := ""
	if v.DryRun {
		would = "would "
	}
	what := fmt.Sprintf("%s%s", would, o.Action)
	switch o.Action {
	case worker.ActionLink, worker.ActionFill, worker.ActionRebind, worker.ActionUnlink, worker.ActionClose:
		what += " " + o.AuthUserID
	case worker.ActionHold:
		what += " " + held(o)
	}
	_, _ = fmt.Fprintf(p.stdout, "%s  %s  %s\n", o.Customer.ID, o.Customer.Email.Address, what) // nowhere left to report to
}

// held says why a customer stays as it is.
func held(o worker.Outcome) string {
	switch {
	case o.Gone:
		return o.AuthUserID + ": Auth0 does not know this user any more"
	case o.Customer.Lifecycle == customer.Active:
		return o.AuthUserID + ": linked"
	}
	return fmt.Sprintf("%s: %s", o.Reason, o.Reason.Meaning().Sentence)
}

func (p process) printRun(r customer.Run, v syncCmd) {
	if v.JSON {
		p.printJSON(map[string]any{
			"result": r.Result, "looked": r.Looked, "linked": r.Linked, "filled": r.Filled, "unlinked": r.Unlinked, "rebound": r.Rebound, "conflicts": r.Conflicts,
			"errors": r.Errors, "auth0_calls": r.Auth0Calls, "budget_wait_seconds": r.BudgetWait.Seconds(), "note": r.Note, "dry_run": v.DryRun,
		})
		return
	}
	_, _ = fmt.Fprintf(p.stdout, "%s: looked at %d, linked %d, filled %d, unlinked %d, rebound %d, conflicts %d, errors %d, %d Auth0 calls, waited %s\n",
		r.Result, r.Looked, r.Linked, r.Filled, r.Unlinked, r.Rebound, r.Conflicts, r.Errors, r.Auth0Calls, r.BudgetWait.Round(time.Millisecond))
}

func (p process) printJSON(v any) {
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // nowhere left to report to
}

type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Make a key and print it, this once."`
	List   keysListCmd   `cmd:"" help:"List the keys, without their secrets."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke a key by its id."`
}

type keysCreateCmd struct {
	Name string `arg:"" help:"What the key is for."`
	JSON bool   `help:"Print JSON."`
}

// Run makes an app key (R17).
func (v keysCreateCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		id, key, err := st.CreateAppKey(ctx, v.Name)
		if err != nil {
			return err
		}
		if v.JSON {
			p.printJSON(map[string]any{"id": id, "name": v.Name, "key": key})
			return nil
		}
		_, err = fmt.Fprintf(p.stdout, "id:  %s\nkey: %s\n\nSend it as ahiko-app-id. It is not shown again.\n", id, key)
		return err
	})
}

type keysListCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run lists app keys.
func (v keysListCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		keys, err := st.AppKeys(ctx)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, k := range keys {
			revoked := ""
			if k.RevokedAt.Valid {
				revoked = k.RevokedAt.Time.UTC().Format(time.RFC3339)
			}
			if v.JSON {
				p.printJSON(map[string]any{"id": k.ID, "name": k.Name, "created_at": k.CreatedAt.UTC(), "revoked_at": revoked})
				continue
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\tcreated %s\t%s\n", k.ID, k.Name, k.CreatedAt.UTC().Format(time.RFC3339), prefixed("revoked ", revoked))
		}
		return table.Flush()
	})
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

type keysRevokeCmd struct {
	ID   string `arg:"" help:"The key's id, as list shows it."`
	JSON bool   `help:"Print JSON."`
}

// Run revokes an app key. Replicas follow within ten seconds.
func (v keysRevokeCmd) Run(ctx context.Context, p process, s *settings) error {
	return p.withStore(ctx, s, func(st *store.Store) error {
		if err := st.RevokeAppKey(ctx, v.ID); errors.Is(err, customer.ErrNotFound) {
			return fmt.Errorf("there is no key %q (customersync keys list)", v.ID)
		} else if err != nil {
			return err
		}
		if v.JSON {
			p.printJSON(map[string]any{"id": v.ID, "revoked": true})
			return nil
		}
		_, err := fmt.Fprintf(p.stdout, "%s is revoked.\n", v.ID)
		return err
	})
}

// withStore runs a verb that needs the database and nothing else.
func (p process) withStore(ctx context.Context, s *settings, do func(*store.Store) error) error {
	c, err := s.config(p.getenv, needsDatabase)
	if err != nil {
		return err
	}
	log := p.logger(max(c.logLevel, zapWarn))
	dsn, stop, err := database(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // the work is done by then
	st, err := openStore(c, dsn, log)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }() // nothing is pending on it
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	return do(st)
}

type simCmd struct {
	Listen       string        `help:"Address to listen on: loopback only." default:"127.0.0.1:4000" placeholder:"ADDR" name:"sim-listen"`
	ClientID     string        `help:"Machine application." default:"sim-client"`
	ClientSecret string        `help:"Its secret; it guards nothing." default:"sim-secret"`
	Audience     string        `help:"API identifier in minted tokens." default:"https://api.customersync.test"`
	Plan         string        `help:"Rate limits: free, essentials, enterprise, enterprise-dev; none without." enum:",free,essentials,enterprise,enterprise-dev" default:""`
	Lag          time.Duration `help:"How long search lags behind." default:"1s"`
	Rude         bool          `help:"Fail now and then, deliver twice and out of order."`
	ActionURL    string        `help:"Where the Action posts sign-ups." placeholder:"URL"`
	ActionSecret string        `help:"Secret it signs with." placeholder:"whsec_…"`
	StreamURL    string        `help:"Where the Event Stream posts." placeholder:"URL"`
	StreamToken  string        `help:"Its bearer token." placeholder:"TOKEN"`
	OpsURL       string        `help:"Where the operator page is that people may sign in to." default:"http://127.0.0.1:9090" placeholder:"URL" name:"sim-ops-url"`
}

// Run serves a simulated tenant.
func (v simCmd) Run(ctx context.Context, p process) error {
	if err := auth0sim.CheckAddr(v.Listen); err != nil {
		return usageError{fmt.Errorf("--sim-listen: %w", err)}
	}
	tenant := auth0sim.New(auth0sim.Options{
		ClientID: v.ClientID, ClientSecret: v.ClientSecret, Audience: v.Audience, Plan: auth0sim.Plan(v.Plan), SearchLag: v.Lag, Rude: v.Rude,
	})
	defer tenant.Close()
	if v.ActionURL != "" {
		tenant.ConnectAction(v.ActionURL, v.ActionSecret)
	}
	if v.StreamURL != "" {
		tenant.ConnectEventStream(v.StreamURL, v.StreamToken)
	}
	listener, err := listen(ctx, "--sim-listen", v.Listen)
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	tenant.SetBaseURL(url)
	page := strings.TrimSuffix(v.OpsURL, "/")
	tenant.SetApplication([]string{page + "/ops/callback"}, []string{page + "/ops/signed-out"})
	_, _ = fmt.Fprintf(p.stdout, `Simulated Auth0 tenant on %[1]s. For the daemon:

  export AUTH0_BASE_URL=%[1]s AUTH0_CLIENT_ID=%[2]s AUTH0_CLIENT_SECRET=%[3]s AUTH0_AUDIENCE=%[4]s

Sign somebody up:

  curl -s %[1]s/_sim/signup -d '{"email":"ada@example.com","connection":"google-oauth2"}'

Have people sign in to the operator page, somebody with the password "password":

  export CUSTOMERSYNC_OPS_URL=%[5]s AUTH0_OPS_CLIENT_ID=sim-web AUTH0_OPS_CLIENT_SECRET=sim-web-secret
  curl -s %[1]s/_sim/signup -d '{"email":"sam@acme.example"}'
  curl -s %[1]s/_sim/permissions -d '{"email":"sam@acme.example","permissions":["ops:read","ops:pii","ops:act"]}'
`, url, v.ClientID, v.ClientSecret, v.Audience, page)
	return serveUntil(ctx, listener, tenant)
}

// serveUntil serves until ctx ends.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: headersWithin}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}
