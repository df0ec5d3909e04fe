package auth0

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

type action struct{ file, handler string }

func registration() action {
	return action{"post-user-registration.js", "onExecutePostUserRegistration"}
}
func login() action { return action{"post-login.js", "onExecutePostLogin"} }

type object = map[string]any

// event is what Auth0 hands to an Action, as far as ours read it.
// https://auth0.com/docs/actions/reference/post-user-registration/post-user-registration-event-object
func event(url, strategy string) object {
	return object{
		"secrets":     object{"SYNC_URL": url, "SYNC_SECRET": secret},
		"tenant":      object{"id": "acme"},
		"connection":  object{"id": "con_1", "name": "a connection", "strategy": strategy, "metadata": object{}},
		"stats":       object{"logins_count": 1},
		"transaction": object{"protocol": "oidc-basic-profile"},
		"user": object{
			"user_id": "auth0|507f1f77bcf86cd799439020", "email": "zoë+1@bücher.example", "email_verified": false,
			"created_at": "2026-02-01T12:34:56.789Z", "updated_at": "2026-02-01T12:34:57.000Z",
			"app_metadata": object{"customer_id": "0190…\u2028\"😀\"", "plan": "pro"}, "user_metadata": object{"hobby": "skydiving"}, "name": "Zoë",
		},
	}
}

// outcome is what an Action did besides calling.
type outcome struct {
	Waits    []float64 `json:"waits"`    // ms
	Timeouts []float64 `json:"timeouts"` // ms
	Logs     []string  `json:"logs"`
	Threw    string    `json:"threw"`
}

// run runs an Action in testdata/run.js, its timeouts so many times shorter.
func run(t *testing.T, a action, e object, timeoutSpeed string) outcome {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is not installed: make node")
	}
	file, err := filepath.Abs(a.file)
	if err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), node, "testdata/run.js", file, a.handler)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
	cmd.Env = append(os.Environ(), "TIMEOUT_SPEED="+timeoutSpeed)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return o
}

// receiver answers with one status after the other, the last for ever.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	seen     []call
}

type call struct {
	body   []byte
	header http.Header
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.mu.Lock()
	status := r.statuses[min(len(r.seen), len(r.statuses)-1)]
	r.seen = append(r.seen, call{body, req.Header})
	r.mu.Unlock()
	if status == http.StatusTemporaryRedirect {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
}

func (r *receiver) calls() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *receiver) one(t *testing.T) call {
	t.Helper()
	calls := r.calls()
	if len(calls) != 1 {
		t.Fatalf("%d calls, want one", len(calls))
	}
	return calls[0]
}

func TestActionSignsAndSaysWhoAndNoMore(t *testing.T) {
	t.Parallel()
	for a, strategy := range map[action]string{registration(): "auth0", login(): "google-oauth2"} {
		t.Run(a.file, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, http.StatusNoContent)
			if o := run(t, a, event(r.URL, strategy), "1"); o.Threw != "" || len(o.Logs) > 0 {
				t.Errorf("%+v", o)
			}
			got := r.one(t)
			checkSignature(t, got)
			want := object{
				"type": strings.TrimSuffix(a.file, ".js"), "tenant": "acme",
				"connection": object{"id": "con_1", "name": "a connection", "strategy": strategy},
				"user": object{
					"user_id": "auth0|507f1f77bcf86cd799439020", "email": "zoë+1@bücher.example", "email_verified": false,
					"created_at": "2026-02-01T12:34:56.789Z", "updated_at": "2026-02-01T12:34:57.000Z",
					"app_metadata": object{"customer_id": "0190…\u2028\"😀\""},
				},
			}
			if diff := cmp.Diff(want, decoded(t, got.body)); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// checkSignature verifies by an implementation that is not ours.
func checkSignature(t *testing.T, c call) {
	t.Helper()
	verifier, err := webhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(c.body, c.header); err != nil {
		t.Errorf("signature: %v", err)
	}
}

func TestActionTries(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		action   action
		statuses []int
		calls    int
		log      string // "" for none
	}{
		"once when it is taken":                   {registration(), []int{204}, 1, ""},
		"once when it is taken but not used":      {registration(), []int{202}, 1, ""},
		"again after a server error":              {registration(), []int{503, 500, 200}, 3, ""},
		"again after a rate limit":                {registration(), []int{429, 200}, 2, ""},
		"no more than three times":                {registration(), []int{503}, 3, "status 503"},
		"once when it is refused":                 {registration(), []int{403}, 1, "auth0|507f1f77bcf86cd799439020: status 403"},
		"without following a redirect":            {registration(), []int{307}, 3, "status 307"},
		"no more than twice while a login waits":  {login(), []int{503}, 2, "status 503"},
		"again after a server error, for a login": {login(), []int{503, 204}, 2, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, test.statuses...)
			o := run(t, test.action, event(r.URL+"/hook", "google-oauth2"), "1")
			calls := r.calls()
			if len(calls) != test.calls || o.Threw != "" {
				t.Errorf("%d calls, want %d; threw %q", len(calls), test.calls, o.Threw)
			}
			for i, c := range calls {
				checkSignature(t, c)
				if !bytes.Equal(c.body, calls[0].body) || c.header.Get("Webhook-Id") != calls[0].header.Get("Webhook-Id") {
					t.Errorf("attempt %d has another body or id than the first", i+1)
				}
			}
			checkLogs(t, o.Logs, test.log)
		})
	}
}

// checkLogs wants one line with want in it, or none, and never an address.
func checkLogs(t *testing.T, logs []string, want string) {
	t.Helper()
	if want == "" && len(logs) > 0 || want != "" && (len(logs) != 1 || !strings.Contains(logs[0], want)) {
		t.Errorf("logged %q, want %q", logs, want)
	}
	for _, line := range logs {
		if strings.Contains(line, "@") || strings.Contains(line, secret) || len(line) > 256 { // Auth0 keeps 256 characters
			t.Errorf("logged %q", line)
		}
	}
}

func TestActionGivesUpInTime(t *testing.T) {
	t.Parallel()
	for a, most := range map[action]float64{registration(): 20_000, login(): 4_000} {
		t.Run(a.file, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			t.Cleanup(server.Close)
			t.Cleanup(func() { close(release) })
			o := run(t, a, event(server.URL, "google-oauth2"), "20")
			total := 0.0
			for _, ms := range slices.Concat(o.Waits, o.Timeouts) {
				total += ms
			}
			if len(o.Timeouts) < 2 || total >= most || o.Threw != "" {
				t.Errorf("it takes up to %v ms: %+v", total, o)
			}
			checkLogs(t, o.Logs, "TimeoutError")
		})
	}
}

func TestActionNeverThrows(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := map[string]struct {
		action action
		spoil  func(object)
		log    string
	}{
		"nobody listens":          {registration(), func(object) {}, "ECONNREFUSED"},
		"an address for an id":    {registration(), func(e object) { e["user"].(object)["user_id"] = "adfs|ada@example.com" }, "act_"},
		"no URL":                  {registration(), func(e object) { e["secrets"] = object{"SYNC_SECRET": secret} }, "SYNC_URL"},
		"no secret":               {registration(), func(e object) { e["secrets"] = object{"SYNC_URL": gone.URL} }, "SYNC_SECRET"},
		"a secret that is none":   {registration(), func(e object) { e["secrets"] = object{"SYNC_URL": gone.URL, "SYNC_SECRET": "hunter2"} }, "SYNC_SECRET"},
		"no secrets at all":       {registration(), func(e object) { delete(e, "secrets") }, "TypeError"},
		"a URL that is none":      {registration(), func(e object) { e["secrets"] = object{"SYNC_URL": "//", "SYNC_SECRET": secret} }, "ERR_INVALID_URL"},
		"no tenant":               {registration(), func(e object) { delete(e, "tenant") }, "TypeError"},
		"a login without numbers": {login(), func(e object) { delete(e, "stats") }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := event(gone.URL, "google-oauth2")
			test.spoil(e)
			o := run(t, test.action, e, "1")
			if o.Threw != "" {
				t.Errorf("threw %s", o.Threw)
			}
			checkLogs(t, o.Logs, test.log)
		})
	}
}

func TestPostLoginReportsFirstLoginsThatNoRegistrationReports(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(object)
		calls  int
	}{
		"first login with Google":      {func(object) {}, 1},
		"no transaction is told":       {func(e object) { delete(e, "transaction") }, 1},
		"second login with Google":     {func(e object) { e["stats"] = object{"logins_count": 2} }, 0},
		"a token is refreshed":         {func(e object) { e["transaction"] = object{"protocol": "oauth2-refresh-token"} }, 0},
		"the database reports its own": {func(e object) { e["connection"].(object)["strategy"] = "auth0" }, 0},
		"passwordless reports its own": {func(e object) { e["connection"].(object)["strategy"] = "email" }, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, http.StatusOK)
			e := event(r.URL, "google-oauth2")
			test.change(e)
			o := run(t, login(), e, "1")
			if n := len(r.calls()); n != test.calls || o.Threw != "" || len(o.Logs) > 0 {
				t.Errorf("%d calls, want %d; %+v", n, test.calls, o)
			}
		})
	}
}

// The simulator must send what the real Actions send.
func TestActionAndSimulatorSendTheSame(t *testing.T) {
	t.Parallel()
	for connection, a := range map[string]action{
		auth0sim.Database: registration(), auth0sim.SMS: registration(), auth0sim.Google: login(), auth0sim.Enterprise: login(),
	} {
		t.Run(connection, func(t *testing.T) {
			t.Parallel()
			simulated, shipped := newReceiver(t, http.StatusOK), newReceiver(t, http.StatusOK)
			u := simulate(t, connection, simulated.URL)
			ours := simulated.one(t)
			run(t, a, eventAbout(t, shipped.URL, u, ours.body), "1")
			theirs := shipped.one(t)
			if diff := cmp.Diff(decoded(t, theirs.body), decoded(t, ours.body)); diff != "" {
				t.Errorf("body (-Action +simulator):\n%s", diff)
			}
			if diff := cmp.Diff(names(theirs.header), names(ours.header)); diff != "" {
				t.Errorf("headers (-Action +simulator):\n%s", diff)
			}
			if got, want := ours.header.Get("Webhook-Id"), theirs.header.Get("Webhook-Id"); got != want {
				t.Errorf("id %q, the Action's is %q", got, want)
			}
			checkSignature(t, ours)
		})
	}
}

func simulate(t *testing.T, connection, url string) auth0sim.User {
	t.Helper()
	tenant := auth0sim.New(auth0sim.Options{Domain: "acme"})
	t.Cleanup(tenant.Close)
	tenant.ConnectAction(url, secret)
	tenant.ConnectPostLogin()
	s := auth0sim.SignUp{Connection: connection, Email: "ada@example.com", AppMetadata: object{"customer_id": "c1", "plan": "pro"}}
	if connection == auth0sim.SMS {
		s.Email, s.AppMetadata = "", nil
	}
	u, err := tenant.SignUp(s)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Settle()
	return u
}

// eventAbout is what Auth0 would hand to an Action for a simulated user. Only the
// connection is taken from the simulator's own body.
func eventAbout(t *testing.T, url string, u auth0sim.User, body []byte) object {
	t.Helper()
	e := event(url, "")
	e["connection"] = decoded(t, body)["connection"]
	const layout = "2006-01-02T15:04:05.000Z"
	user := object{
		"user_id": u.ID, "email_verified": u.EmailVerified, "created_at": u.CreatedAt.Format(layout), "updated_at": u.UpdatedAt.Format(layout),
		"app_metadata": u.AppMetadata, "name": u.Name, "times_are_dates": u.Email == "", // both kinds work
	}
	if u.Email != "" {
		user["email"] = u.Email
	}
	e["user"] = user
	return e
}

func decoded(t *testing.T, body []byte) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// names are the headers that are not the HTTP client's own.
func names(h http.Header) []string {
	ours := func(name string) bool {
		return strings.HasPrefix(name, "Webhook-") || name == "Content-Type" || name == "Authorization"
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(h)), func(name string) bool { return !ours(name) })
}

// An Action is one file: what both need is in both, and must stay the same.
func TestActionsShareTheirSecondPart(t *testing.T) {
	t.Parallel()
	parts := map[string]bool{}
	for _, a := range []action{registration(), login()} {
		text, err := os.ReadFile(a.file)
		if err != nil {
			t.Fatal(err)
		}
		_, part, ok := strings.Cut(string(text), "// From here on both Actions")
		if !ok || len(text) > 100_000 { // Auth0's limit of code
			t.Fatalf("%s: no mark, or too long", a.file)
		}
		parts[part] = true
	}
	if len(parts) != 1 {
		t.Error("the Actions differ after the mark")
	}
}
