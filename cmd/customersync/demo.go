package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/api/client"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/pglocal"
)

type demoCmd struct {
	Fast    bool   `help:"Look every second instead of every five."`
	EnvFile string `help:"Write addresses, keys and tokens to this file as KEY=value lines once the story is told." placeholder:"FILE"`
}

// demo is the daemon on a throw-away database, beside a simulated tenant, and
// somebody who tells what happens.
type demo struct {
	process
	started time.Time
	tenant  *auth0sim.Tenant
	store   *store.Store
	api     string // base URLs
	ops     string
	sim     string
	dsn     string
	shop    *client.Client // the shop's back end
	appID   string
	machine string // access tokens
	user    string
	secret  string
	token   string
}

// demoWithin is how long each step of the story may take.
const demoWithin = time.Minute

// Run tells the story, then keeps serving until ctx ends.
func (v demoCmd) Run(ctx context.Context, p process) (err error) {
	dir, err := os.MkdirTemp("", "customersync-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // Postgres' own user must get to its folder in it
		return err
	}
	d := &demo{process: p, started: time.Now()}
	d.line("Starting Postgres, a simulated Auth0 tenant and customersync …")
	server, err := pglocal.Start(ctx, pglocal.Options{Dir: filepath.Join(dir, "pg")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	d.dsn = server.DSN()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped, err := d.start(ctx, v.Fast)
	if err != nil {
		return err
	}
	defer func() {
		cancel()
		err = errors.Join(err, <-stopped)
		d.tenant.Close()
	}()
	err = d.tell(ctx)
	if err == nil && v.EnvFile != "" {
		err = os.WriteFile(v.EnvFile, []byte(d.env()), 0o600)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // somebody had seen enough
		}
		return err
	}
	d.invite()
	<-ctx.Done()
	d.line("Stopping; nothing is left behind.")
	return nil
}

// start brings tenant and daemon up. What the channel gives is the daemon's end.
func (d *demo) start(ctx context.Context, fast bool) (<-chan error, error) {
	d.secret = "whsec_" + base64.StdEncoding.EncodeToString(randomBytes(32))
	d.token = hex.EncodeToString(randomBytes(16))
	d.tenant = auth0sim.New(auth0sim.Options{SearchLag: time.Second})
	listener, err := listen(ctx, "simulator", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d.sim = "http://" + listener.Addr().String()
	d.tenant.SetBaseURL(d.sim)

	c := config{
		listen: freeAddress(ctx, "127.0.0.1:8080"), opsListen: freeAddress(ctx, "127.0.0.1:9090"),
		baseURL: d.sim, clientID: "sim-client", clientSecret: "sim-secret", audience: "https://api.customersync.test", share: 0.5,
		actionSecrets: []string{d.secret}, streamTokens: []string{d.token},
		schedule: "@every 5s", firstBackoff: 5 * time.Second, emailClaim: "email",
	}
	if fast {
		c.schedule, c.firstBackoff = "@every 1s", time.Second
	}
	log := d.logger(zap.ErrorLevel)
	if d.store, err = openStore(c, d.dsn, log); err != nil {
		return nil, err
	}
	ready, stopped := make(chan addresses, 1), make(chan error, 1)
	p := d.process
	p.ready = func(a addresses) { ready <- a }
	go func() {
		err := p.serve(ctx, c, d.dsn, log)
		stopped <- errors.Join(err, d.store.Close())
	}()
	go func() { _ = serveUntil(ctx, listener, d.tenant) }() // it ends with ctx
	select {
	case err := <-stopped:
		return nil, errors.Join(err, errors.New("the daemon ended at its start"))
	case a := <-ready:
		d.api, d.ops = "http://"+a.api, "http://"+a.ops
	}
	d.tenant.ConnectAction(d.api+"/webhooks/auth0", d.secret)
	d.tenant.ConnectEventStream(d.api+"/webhooks/auth0", d.token)
	return stopped, d.introduce(ctx)
}

// introduce waits until the daemon is ready and makes the demo's keys.
func (d *demo) introduce(ctx context.Context) error {
	err := d.until(ctx, "the daemon to be ready", func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.ops+"/readyz", nil)
		if err != nil {
			return false, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err
		}
		return res.StatusCode == http.StatusOK, res.Body.Close()
	})
	if err != nil {
		return err
	}
	if _, d.appID, err = d.store.CreateAppKey(ctx, "demo"); err != nil {
		return err
	}
	d.machine = d.tenant.MintMachineToken("demo-shop", auth0sim.TokenOptions{
		Permissions: []string{"read:customers", "create:customers", "update:customers", "delete:customers"},
	})
	if d.shop, err = client.New(client.Config{URL: d.api, AppKey: d.appID, Token: client.StaticToken(d.machine)}); err != nil {
		return err
	}
	d.line("Up: API %s, health and metrics %s, simulated Auth0 %s", d.api, d.ops, d.sim)
	return nil
}

// tell is the story: four people, one way each.
func (d *demo) tell(ctx context.Context) error {
	d.heading("1. The webhook")
	grace, err := d.create(ctx, "Grace", "Hopper", "grace@example.com")
	if err != nil {
		return err
	}
	if err := d.untilReason(ctx, grace, customer.NotRegistered); err != nil {
		return err
	}
	d.line("Grace signs up at Auth0 by e-mail code. Its Action calls the webhook.")
	since := time.Now()
	user, err := d.tenant.SignUp(auth0sim.SignUp{Email: "grace@example.com", Connection: auth0sim.Passwordless, Name: "Grace Hopper"})
	if err != nil {
		return err
	}
	if err := d.untilActive(ctx, grace, since); err != nil {
		return err
	}
	d.user = d.tenant.MintUserToken(user.ID, auth0sim.TokenOptions{})

	d.heading("2. A lost webhook, and 3. a Google sign-up that no registration Action reports")
	alan, err := d.create(ctx, "Alan", "Turing", "alan@example.com")
	if err != nil {
		return err
	}
	kate, err := d.create(ctx, "Katherine", "Johnson", "katherine@example.com")
	if err != nil {
		return err
	}
	for _, p := range []person{alan, kate} {
		if err := d.untilReason(ctx, p, customer.NotRegistered); err != nil {
			return err
		}
	}
	d.line("Alan signs up at Auth0. The webhook call is dropped on purpose.")
	d.line("Katherine signs in with Google. Auth0 fires no registration Action for that, and the event is dropped too.")
	since = time.Now()
	for _, s := range []auth0sim.SignUp{
		{Email: "alan@example.com", Connection: auth0sim.Passwordless, DropDeliveries: true},
		{Email: "katherine@example.com", Connection: auth0sim.Google, DropDeliveries: true},
	} {
		if _, err := d.tenant.SignUp(s); err != nil {
			return err
		}
	}
	for _, p := range []person{alan, kate} {
		if err := d.untilActive(ctx, p, since); err != nil {
			return err
		}
	}
	d.line("Nobody told us about either: the cron worker found them.")

	d.heading("4. An e-mail address that is not verified")
	d.line("Ada signs up at Auth0 with a password and has not opened the verification e-mail.")
	unverified, err := d.tenant.SignUp(auth0sim.SignUp{Email: "ada@example.com", Name: "Ada Lovelace"})
	if err != nil {
		return err
	}
	ada, err := d.create(ctx, "Ada", "Lovelace", "ada@example.com")
	if err != nil {
		return err
	}
	if err := d.untilReason(ctx, ada, customer.EmailUnverified); err != nil {
		return err
	}
	d.line("Ada opens the verification e-mail.")
	since = time.Now()
	if err := d.tenant.Verify(unverified.ID); err != nil {
		return err
	}
	return d.untilActive(ctx, ada, since)
}

// person is a customer of the story.
type person struct {
	name string
	id   string
	key  customer.EmailKey
}

func (d *demo) create(ctx context.Context, first, last, address string) (person, error) {
	id, err := d.shop.Create(ctx, client.NewCustomer{FirstName: first, LastName: last, EmailAddress: address})
	if err != nil {
		return person{}, err
	}
	d.line("The shop creates %s %s: auth_pending", first, last)
	return person{first, id, customer.EmailKey(address)}, nil
}

// untilActive waits for a person to be in step, and says how long that took.
func (d *demo) untilActive(ctx context.Context, p person, since time.Time) error {
	found, err := d.shop.WaitActive(ctx, client.ByID(p.id), demoWithin)
	if err != nil {
		return err
	}
	if found.Lifecycle != client.Active {
		return fmt.Errorf("waited in vain for %s to be active", p.name)
	}
	d.line("%s is active, linked to %s, after %s", p.name, found.AuthUserID, rounded(time.Since(since)))
	return nil
}

func rounded(t time.Duration) time.Duration {
	if t < time.Second {
		return t.Round(time.Millisecond)
	}
	return t.Round(100 * time.Millisecond)
}

// untilReason waits for the worker's verdict on a customer.
func (d *demo) untilReason(ctx context.Context, p person, want customer.Reason) error {
	err := d.until(ctx, p.name+" to wait because "+string(want), func() (bool, error) {
		due, err := d.store.DueByEmail(ctx, p.key)
		return len(due) == 1 && due[0].Reason == want, err
	})
	if err == nil {
		d.line("%s waits: %s. %s", p.name, want, want.Meaning().Sentence)
	}
	return err
}

func (d *demo) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	for {
		ok, err := done()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *demo) line(format string, args ...any) {
	_, _ = fmt.Fprintf(d.stdout, "%6.1fs  %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...)) // nowhere left to report to
}

func (d *demo) heading(s string) { _, _ = fmt.Fprintf(d.stdout, "\n%s\n", s) }

// env is what scripts take from --env-file.
func (d *demo) env() string {
	var b bytes.Buffer
	for _, kv := range [][2]string{
		{"API", d.api}, {"OPS", d.ops}, {"SIM", d.sim}, {"DATABASE_URL", d.dsn}, {"APP_ID", d.appID},
		{"MACHINE_TOKEN", d.machine}, {"USER_TOKEN", d.user}, {"ACTION_SECRET", d.secret}, {"EVENT_STREAM_TOKEN", d.token},
	} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], kv[1])
	}
	return b.String()
}

// invite prints what the newcomer may try, in another terminal.
func (d *demo) invite() {
	_, _ = fmt.Fprintf(d.stdout, `
All four are in step. Try it yourself, in another terminal:

export API=%[1]s SIM=%[2]s APP_ID=%[3]s
export MACHINE_TOKEN=%[4]s
export USER_TOKEN=%[5]s

# every customer, and one, as the shop's back end
curl -s "$API/customer/v1/customers" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $MACHINE_TOKEN"
curl -s "$API/customer/v1/customers?email_address=ada@example.com" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $MACHINE_TOKEN"
# Grace's own, as Grace
curl -s "$API/customer/v1/customers/me" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $USER_TOKEN"
# a new customer, who then signs up at the simulated Auth0 with Google
curl -s "$API/customer/v1/customers" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $MACHINE_TOKEN" -H "Content-Type: application/json" -d '{"first_name":"Joan","last_name":"Clarke","email_address":"joan@example.com"}'
curl -s "$SIM/_sim/signup" -d '{"email":"joan@example.com","connection":"google-oauth2"}'
curl -s "$API/customer/v1/customers?email_address=joan@example.com" -H "ahiko-app-id: $APP_ID" -H "Authorization: Bearer $MACHINE_TOKEN"
# is it well? For people the same is at %[6]s/ops/
curl -s %[6]s/readyz

Ctrl-C ends it.
`, d.api, d.sim, d.appID, d.machine, d.user, d.ops)
}

// freeAddress is the address, or a free port if that one is taken.
func freeAddress(ctx context.Context, address string) string {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close() // it was only tried
	return address
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
