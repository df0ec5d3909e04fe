package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/api/client"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
)

// asProgram has the test binary be the program itself: tests run it as users do,
// in a process of its own.
const asProgram = "CUSTOMERSYNC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(storetest.Main(m))
}

// program is the binary with arguments and nothing in its environment but env.
func program(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR"),
		"CUSTOMERSYNC_PGBOUNCER=" + strconv.FormatBool(storetest.PgBouncer()),
	}, env...)
	return cmd
}

// outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

func runProgram(t *testing.T, env []string, args ...string) outcome {
	t.Helper()
	cmd := program(t.Context(), env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// tenant is a simulated tenant over HTTP, and the settings that lead to it.
func tenant(t *testing.T) (*auth0sim.Tenant, []string) {
	t.Helper()
	return tenantOf(t, auth0sim.Options{})
}

func tenantOf(t *testing.T, o auth0sim.Options) (*auth0sim.Tenant, []string) {
	t.Helper()
	sim := auth0sim.New(o)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(server.URL)
	return sim, []string{
		"AUTH0_BASE_URL=" + server.URL, "AUTH0_CLIENT_ID=sim-client", "AUTH0_CLIENT_SECRET=sim-secret",
		"AUTH0_AUDIENCE=https://api.customersync.test", "CUSTOMERSYNC_LISTEN=127.0.0.1:0", "CUSTOMERSYNC_OPS_LISTEN=127.0.0.1:0", "CUSTOMERSYNC_STOP_DELAY=0s",
	}
}

// daemonProcess is a running serve.
type daemonProcess struct {
	cmd      *exec.Cmd
	api, ops string
	log      *lockedBuffer
	ended    chan struct{}
}

// lockedBuffer gathers what a process logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startServe starts the daemon and waits until it says where it serves.
func startServe(t *testing.T, env []string, args ...string) *daemonProcess {
	t.Helper()
	env = append([]string{"CUSTOMERSYNC_LOG_LEVEL=debug"}, env...)
	d := &daemonProcess{cmd: program(context.Background(), env, append([]string{"serve"}, args...)...), log: &lockedBuffer{}, ended: make(chan struct{})}
	stderr, err := d.cmd.StderrPipe()
	must(t, err)
	must(t, d.cmd.Start())
	serving := make(chan struct{})
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			_, _ = fmt.Fprintln(d.log, lines.Text())
			var line struct{ Msg, API, Ops string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				d.api, d.ops = "http://"+line.API, "http://"+line.Ops
				close(serving)
			}
		}
		_ = d.cmd.Wait() // tests look at ProcessState
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // it may have ended
		<-d.ended
		discreet.Check(t, d.log.String(), secretsOf(env)...)
		if t.Failed() {
			t.Logf("daemon said:\n%s", d.log)
		}
	})
	select {
	case <-serving:
	case <-d.ended:
		t.Fatalf("the daemon ended at its start:\n%s", d.log)
	}
	return d
}

// secretsOf are the secrets that a program is given.
func secretsOf(env []string) (all []string) {
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if regexp.MustCompile(`SECRETS?$|TOKENS?$|KEYS?$`).MatchString(name) {
			all = append(all, strings.Split(value, ",")...)
		}
	}
	return all
}

// stop ends the daemon by a signal and returns its exit code.
func (d *daemonProcess) stop(t *testing.T, signal os.Signal) int {
	t.Helper()
	must(t, d.cmd.Process.Signal(signal))
	<-d.ended
	return d.cmd.ProcessState.ExitCode()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return res.StatusCode, string(body)
}

// eventually polls, as only end-to-end tests may.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func openDSN(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer()})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// clientOf is an application's client of a daemon, which may do what is said.
func clientOf(t *testing.T, d *daemonProcess, s *store.Store, sim *auth0sim.Tenant, permissions ...string) *client.Client {
	t.Helper()
	_, key, err := s.CreateAppKey(t.Context(), "test")
	must(t, err)
	c, err := client.New(client.Config{
		URL: d.api, AppKey: key, Token: client.StaticToken(sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: permissions})),
	})
	must(t, err)
	return c
}

func pending(t *testing.T, s *store.Store, address string) customer.ID {
	t.Helper()
	email, err := customer.ParseEmail(address)
	must(t, err)
	id := customer.ID(fmt.Sprintf("0198c0de-0000-7000-8000-%012x", time.Now().UnixNano()&0xffffffffffff))
	_, _, err = s.Create(t.Context(), customer.Draft{ID: id, FirstName: "Ada", LastName: "L", Email: email, CreatedBy: "test"}, nil,
		customer.Cause{Kind: customer.ByAPI})
	must(t, err)
	return id
}

func verified() *bool { yes := true; return &yes }

func TestAllFaultsOfAConfigurationAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	must(t, os.WriteFile(file, []byte("listen: nowhere\nlog_lvl: debug\n"), 0o600))
	got := runProgram(t, []string{
		"CUSTOMERSYNC_AUTH0_SHARE=2", "CUSTOMERSYNC_PROMOTE_SCHEDULE=0 0 30 2 *", "CUSTOMERSYNC_ACTION_SECRETS=hush-hush",
		"AUTH0_DOMAIN=https://acme.auth0.com/", "DATABASE_URL=postgres://u:pw@h/d",
	}, "serve", "--config", file, "--ops-listen", "x")
	if got.code != 2 {
		t.Errorf("exit code %d", got.code)
	}
	for _, want := range []string{
		`CUSTOMERSYNC_LISTEN (listen): "nowhere" from the configuration file: expected`,
		`log_lvl: in the configuration file: no such setting`,
		`CUSTOMERSYNC_OPS_LISTEN (ops_listen): "x" from the flag --ops-listen: expected`,
		`CUSTOMERSYNC_AUTH0_SHARE (auth0_share): "2" from the environment: expected`,
		`CUSTOMERSYNC_PROMOTE_SCHEDULE`, `CUSTOMERSYNC_ACTION_SECRETS (action_secrets): the value from the environment: expected`,
		`AUTH0_DOMAIN (auth0_domain): "https://acme.auth0.com/"`, `AUTH0_CLIENT_ID (auth0_client_id): not set: expected`,
		`AUTH0_CLIENT_SECRET`, `AUTH0_AUDIENCE`,
	} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("nothing of %q in:\n%s", want, got.stderr)
		}
	}
	if strings.Contains(got.stderr, "hush") || strings.Contains(got.stderr, "pw@") {
		t.Errorf("a secret is told:\n%s", got.stderr)
	}
}

func TestSchedulesThatCrashOrFloodAreRefused(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"TZ=0", "CRON_TZ=UTC", "0 0 30 2 *", "@every -5s", "@every 1s", "@every 9s", "", "* * * * * *", "rubbish"} {
		s := settings{PromoteSchedule: spec, ConfigFile: ""}
		getenv := func(key string) string {
			if key == "CUSTOMERSYNC_PROMOTE_SCHEDULE" {
				return spec
			}
			return ""
		}
		_, err := s.config(getenv, needsDatabase)
		if accepted := err == nil; accepted != (spec == "") { // empty is the default
			t.Errorf("%q: %v", spec, err)
		}
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "secret")
	must(t, os.WriteFile(file, []byte("listen: 127.0.0.1:1\nops_listen: 127.0.0.1:1\nauth0_share: 0.1\ntrusted_providers: [a, b]\n"), 0o600))
	must(t, os.WriteFile(secret, []byte("from-a-file\n"), 0o600))
	env := map[string]string{
		"CUSTOMERSYNC_LISTEN": "127.0.0.1:2", "CUSTOMERSYNC_OPS_LISTEN": "127.0.0.1:2", "CUSTOMERSYNC_CONFIG": file,
		"AUTH0_CLIENT_SECRET_FILE": secret, "CUSTOMERSYNC_DATA_DIR": dir,
	}
	c, err := settings{Listen: "127.0.0.1:3"}.config(func(key string) string { return env[key] }, needsDatabase)
	must(t, err)
	if c.listen != "127.0.0.1:3" || c.opsListen != "127.0.0.1:2" || c.share != 0.1 || c.clientSecret != "from-a-file" || len(c.policy.TrustedProviders) != 2 {
		t.Errorf("config %+v", c)
	}
	env["AUTH0_CLIENT_SECRET"] = "too"
	if _, err := (settings{}).config(func(key string) string { return env[key] }, needsDatabase); err == nil || !strings.Contains(err.Error(), "both") {
		t.Errorf("two secrets: %v", err)
	}
}

func TestTheSimulatorListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, address := range []string{":4000", "0.0.0.0:4000", "192.0.2.1:4000", "[::]:4000"} {
		if got := runProgram(t, nil, "sim", "--sim-listen", address); got.code != 2 || !strings.Contains(got.stderr, "loopback") {
			t.Errorf("%s: %+v", address, got)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if got := runProgram(t, nil, "--help"); got.code != 0 || !strings.Contains(got.stdout, "serve") {
		t.Errorf("help: %+v", got)
	}
	for _, args := range [][]string{{"srve"}, {"serve", "--nope"}, {"sync"}, {"sync", "--once", "--email", "ada"}, {"keys", "revoke"}} {
		if got := runProgram(t, nil, args...); got.code != 2 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestServeHealsWhenTheDatabaseAndAuth0ComeUp(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	// A port where nothing listens yet, and later the database's doorman.
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := door.Addr().String()
	must(t, door.Close())
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /.well-known/jwks.json", Status: 503}}})
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL=postgres://customersync@"+address+"/"+databaseOf(t, dsn)+"?sslmode=disable"))
	if status, _ := get(t, d.ops+"/livez"); status != 200 {
		t.Errorf("livez %d", status)
	}
	if status, page := get(t, d.ops+"/ops/"); status != 503 || !strings.Contains(page, "The database does not answer") {
		t.Errorf("operator page %d %s", status, page)
	}
	status, body := get(t, d.ops+"/readyz")
	if status != 503 || !strings.Contains(body, "database does not answer") || !strings.Contains(body, "signing keys") {
		t.Errorf("readyz %d %s", status, body)
	}
	if status, body := get(t, d.api+"/customer/v1/customers"); status != 403 {
		t.Errorf("API without key: %d %s", status, body)
	}
	stranger, err := client.New(client.Config{URL: d.api, AppKey: strings.Repeat("a", 32), Token: client.StaticToken("none"), Tries: 1})
	must(t, err)
	var refused *client.Error
	if _, err := stranger.Customer(t.Context(), client.ByID(client.Me)); !errors.As(err, &refused) || refused.Status != 503 || refused.RetryAfter == 0 {
		t.Errorf("API without database: %v", err)
	}
	door, err = net.Listen("tcp", address)
	must(t, err)
	defer door.Close()
	go forward(door, socketOf(t, dsn))
	sim.SetFaults(auth0sim.Faults{})
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	if status, page := get(t, d.ops+"/ops/"); status != 200 || !strings.Contains(page, "Nothing needs a person") {
		t.Errorf("operator page %d %s", status, page)
	}
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func databaseOf(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	return strings.TrimPrefix(u.Path, "/")
}

func socketOf(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	return filepath.Join(u.Query().Get("host"), ".s.PGSQL."+u.Port())
}

// forward is a door to a database: TCP in front, its socket behind.
func forward(door net.Listener, socket string) {
	for {
		in, err := door.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", socket)
		if err != nil {
			_ = in.Close()
			return
		}
		go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
	}
}

func TestKilledDuringATickTheRowsAreAsIfItHadNotBeen(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env = append(env, "DATABASE_URL="+dsn)
	var ids []customer.ID
	for i := range 3 {
		address := fmt.Sprintf("c%d@example.com", i)
		ids = append(ids, pending(t, s, address))
		if _, err := sim.SignUp(auth0sim.SignUp{Email: address, EmailVerified: verified()}); err != nil {
			t.Fatal(err)
		}
	}
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users-by-email", Delay: auth0sim.Duration(time.Minute)}}})
	d := startServe(t, env)
	eventually(t, "a tick to be under way", func() bool { return sim.Calls()["GET /api/v2/users-by-email"] > 0 })
	d.stop(t, syscall.SIGKILL)
	for _, id := range ids {
		if c, err := s.Customer(t.Context(), id); err != nil || c.Lifecycle != customer.AuthPending || c.Version != 1 {
			t.Errorf("after the kill: %+v, %v", c, err)
		}
	}
	sim.SetFaults(auth0sim.Faults{})
	startServe(t, env) // the lease of the killed one runs out by itself
	eventually(t, "all to be linked", func() bool {
		c, err := s.Customer(t.Context(), ids[len(ids)-1])
		return err == nil && c.Lifecycle == customer.Active
	})
	for _, id := range ids {
		history, err := s.History(t.Context(), id)
		if err != nil || len(history) != 2 {
			t.Errorf("history %+v, %v", history, err)
		}
	}
	// The full reconcile that the new daemon owes has a lease of its own, and may have been quicker.
	eventually(t, "the killed run to be told as aborted", func() bool {
		runs, err := s.Runs(t.Context(), 10)
		return err == nil && len(runs) >= 2 && runs[len(runs)-1].Result == customer.RunAborted
	})
}

func TestATermDuringATickReleasesTheLeaseAndEndsCleanly(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	pending(t, s, "ada@example.com")
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users-by-email", Delay: auth0sim.Duration(time.Minute)}}})
	d := startServe(t, append(env, "DATABASE_URL="+dsn))
	eventually(t, "a tick to be under way", func() bool { return sim.Calls()["GET /api/v2/users-by-email"] > 0 })
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := s.Acquire(t.Context(), customer.LeaseWorker, "test", time.Second); err != nil {
		t.Errorf("lease: %v", err)
	}
	runs, err := s.Runs(t.Context(), 1)
	if err != nil || len(runs) != 1 || runs[0].Result != customer.RunAborted {
		t.Errorf("runs %+v, %v", runs, err)
	}
}

// Postgres takes no part any more and does not hang up either.
func TestATermWhileTheDatabaseIsFrozenEndsCleanly(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	dsn := storetest.DSN(t)
	door, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer door.Close()
	var frozen atomic.Bool
	go freezable(door, socketOf(t, dsn), &frozen)
	d := startServe(t, append(env, "DATABASE_URL=postgres://customersync@"+door.Addr().String()+"/"+databaseOf(t, dsn)+"?sslmode=disable"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	frozen.Store(true)
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// freezable is a door that lets nothing through while it is frozen.
func freezable(door net.Listener, socket string, frozen *atomic.Bool) {
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 4096)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				_ = to.Close()
				return
			}
			if !frozen.Load() {
				_, _ = to.Write(buffer[:n]) // the next read fails if it is gone
			}
		}
	}
	for {
		in, err := door.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", socket)
		if err != nil {
			_ = in.Close()
			continue
		}
		go pass(out, in)
		go pass(in, out)
	}
}

func TestSyncOnce(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env = append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_LOG_LEVEL=error")
	id := pending(t, s, "ada@example.com")
	user, err := sim.SignUp(auth0sim.SignUp{Email: "ada@example.com", EmailVerified: verified()})
	must(t, err)

	dry := runProgram(t, env, "sync", "--once", "--dry-run")
	if dry.code != 0 || !strings.Contains(dry.stdout, string(id)+"  ada@example.com  would link "+user.ID) {
		t.Errorf("dry run: %+v", dry)
	}
	if c, err := s.Customer(t.Context(), id); err != nil || c.Version != 1 {
		t.Errorf("the dry run wrote: %+v, %v", c, err)
	}
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Status: 500}}})
	if got := runProgram(t, env, "sync", "--once"); got.code != 1 || !strings.Contains(got.stderr, "run failed") {
		t.Errorf("with Auth0 down: %+v", got)
	}
	sim.SetFaults(auth0sim.Faults{})
	got := runProgram(t, env, "sync", "--once", "--email", "ADA@example.com", "--json")
	var line struct {
		Action, Reason string
		Linked         int
	}
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != 0 || len(lines) != 2 || json.Unmarshal([]byte(lines[0]), &line) != nil || line.Action != "link" {
		t.Errorf("json: %+v", got)
	}
	if c, err := s.Customer(t.Context(), id); err != nil || c.AuthUserID != user.ID {
		t.Errorf("linked: %+v, %v", c, err)
	}
}

func TestExplainSaysWhyInWords(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	id := pending(t, s, "ada@example.com")
	for _, who := range []string{"ADA@example.com", string(id)} {
		got := runProgram(t, []string{"DATABASE_URL=" + dsn}, "explain", who)
		for _, want := range []string{"auth_pending, waiting: Auth0 has not been asked", "Auth0 last asked: never", "created", string(id)} {
			if got.code != 0 || !strings.Contains(got.stdout, want) {
				t.Errorf("%s: no %q in %+v", who, want, got)
			}
		}
	}
	_, env := tenant(t)
	for range 2 {
		if got := runProgram(t, append(env, "DATABASE_URL="+dsn), "sync", "--once", "--email", "ada@example.com"); got.code != 0 {
			t.Fatalf("sync: %+v", got)
		}
	}
	if got := runProgram(t, []string{"DATABASE_URL=" + dsn}, "explain", "ada@example.com"); !regexp.MustCompile(`(?s) created .*\n\S+  looked ×2 since \S+: not_registered  by look-up\n$`).MatchString(got.stdout) {
		t.Errorf("after two looks: %+v", got)
	}
	for who, code := range map[string]int{"nobody@example.com": 1, "00000000-0000-7000-8000-000000000000": 1, "ada": 2, "a b@c": 2} {
		if got := runProgram(t, []string{"DATABASE_URL=" + dsn}, "explain", who); got.code != code {
			t.Errorf("%s: %+v", who, got)
		}
	}
}

func TestSyncThatCouldDoSomeExitsThree(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	pending(t, s, "ada@example.com")
	pending(t, s, "bob@example.com")
	// One call in two fails, and so does its repetition.
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users-by-email", Status: 403, Times: 1}}})
	if got := runProgram(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_LOG_LEVEL=error"), "sync", "--once"); got.code != 3 {
		t.Errorf("%+v", got)
	}
}

func TestKeysInAnEmbeddedDatabaseThatTheDaemonRuns(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dir, err := os.MkdirTemp("", "customersync-embedded-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o711))
	env = append(env, "CUSTOMERSYNC_DATA_DIR="+filepath.Join(dir, "data"))
	d := startServe(t, env)
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	made := runProgram(t, env, "keys", "create", "shop")
	key := regexp.MustCompile(`key: ([A-Za-z0-9]{32})`).FindStringSubmatch(made.stdout)
	if made.code != 0 || key == nil {
		t.Fatalf("create: %+v", made)
	}
	token := sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: []string{"read:customers"}})
	shop, err := client.New(client.Config{URL: d.api, AppKey: key[1], Token: client.StaticToken(token)})
	must(t, err)
	find := func() error {
		_, err := shop.Customer(t.Context(), client.ByEmail("ada@example.com"))
		return err
	}
	if err := find(); !errors.Is(err, client.ErrCustomerNotFound) {
		t.Errorf("with the new key: %v", err)
	}
	id := regexp.MustCompile(`id: +(key_\w+)`).FindStringSubmatch(made.stdout)[1]
	if got := runProgram(t, env, "keys", "list"); got.code != 0 || !strings.Contains(got.stdout, id) || strings.Contains(got.stdout, key[1]) {
		t.Errorf("list: %+v", got)
	}
	if got := runProgram(t, env, "keys", "revoke", id); got.code != 0 {
		t.Errorf("revoke: %+v", got)
	}
	eventually(t, "the key to be refused", func() bool { return errors.Is(find(), client.ErrAppIDUnknown) })
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := runProgram(t, env, "keys", "list"); got.code != 0 || !strings.Contains(got.stdout, "revoked") {
		t.Errorf("after the daemon: %+v", got)
	}
}

func TestReconcileIsPlannedThenApplied(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env = append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_LOG_LEVEL=error")
	ada, bob := pending(t, s, "ada@example.com"), pending(t, s, "bob@example.com")
	user, err := sim.SignUp(auth0sim.SignUp{Email: "ada@example.com", EmailVerified: verified()})
	must(t, err)
	_, err = sim.SignUp(auth0sim.SignUp{Email: "bob@example.com", EmailVerified: verified()})
	must(t, err)
	linked := pending(t, s, "linked@example.com")
	blocked, err := sim.SignUp(auth0sim.SignUp{Email: "linked@example.com", EmailVerified: verified()})
	must(t, err)
	_, err = s.Patch(t.Context(), linked, customer.Patch{Field: customer.FieldAuthUserID, Value: blocked.ID}, 0, customer.Cause{Kind: customer.ByAPI})
	must(t, err)
	must(t, sim.Block(blocked.ID, true))
	sim.Advance(2 * time.Minute)

	plan := filepath.Join(t.TempDir(), "plan")
	got := runProgram(t, env, "reconcile", "--plan", plan)
	if got.code != 0 || !strings.Contains(got.stderr, "2 changes are planned") {
		t.Fatalf("plan: %+v", got)
	}
	text, err := os.ReadFile(plan)
	must(t, err)
	if want := `"action":"note","customer_id":"` + string(linked) + `"`; !strings.Contains(string(text), want) || !strings.Contains(string(text), `"note":"blocked"`) {
		t.Errorf("the plan does not tell that a linked user is blocked:\n%s", text)
	}
	if want := `{"action":"link","customer_id":"` + string(ada) + `","email_address":"ada@example.com","customer_lifecycle":"auth_pending","version":1,"auth_user_id":"` + user.ID + `"}`; !strings.Contains(string(text), want) {
		t.Errorf("plan:\n%s", text)
	}
	if got := runProgram(t, env, "reconcile", "--plan", plan); got.code != 2 {
		t.Errorf("a plan was written over: %+v", got)
	}
	if _, err := s.Patch(t.Context(), bob, customer.Patch{Field: customer.FieldFirstName, Value: "Robert"}, 0, customer.Cause{Kind: customer.ByAPI}); err != nil {
		t.Fatal(err)
	}
	got = runProgram(t, env, "reconcile", "--apply", plan)
	if got.code != 3 || !strings.Contains(got.stdout, string(bob)+"  refused: link") || !strings.Contains(got.stdout, "linked 1") {
		t.Errorf("apply: %+v", got)
	}
	if got := runProgram(t, env, "reconcile", "--json"); got.code != 0 || !strings.Contains(got.stdout, `"linked":1`) {
		t.Errorf("reconcile: %+v", got)
	}
	for _, id := range []customer.ID{ada, bob} {
		if c, err := s.Customer(t.Context(), id); err != nil || c.Lifecycle != customer.Active {
			t.Errorf("%+v, %v", c, err)
		}
	}
	must(t, os.WriteFile(plan, []byte("rubbish"), 0o600))
	if got := runProgram(t, env, "reconcile", "--apply", plan); got.code != 2 || !strings.Contains(got.stderr, "expected a plan") {
		t.Errorf("rubbish: %+v", got)
	}
}

// The page of a daemon has a worker behind it: it plans, and knows the process.
func TestTheDaemonPlansFromItsPage(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	d := startServe(t, append(env, "DATABASE_URL="+storetest.DSN(t)))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	res, err := http.PostForm(d.ops+"/ops/plan", url.Values{"who": {"Joan"}, "why": {"to see"}})
	must(t, err)
	must(t, res.Body.Close())
	if res.StatusCode != 200 { // after the redirect
		t.Fatalf("plan %d", res.StatusCode)
	}
	eventually(t, "the plan", func() bool {
		_, page := get(t, d.ops+"/ops/plan")
		return strings.Contains(page, "0 changes</strong> planned")
	})
	if status, page := get(t, d.ops+"/ops/"); status != 200 || !strings.Contains(page, "signing keys are here") || !strings.Contains(page, "Runs of kind plan") {
		t.Errorf("home %d %s", status, page)
	}
	if code := d.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
