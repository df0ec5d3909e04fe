package api_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/api"
	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
	"github.com/ahiko-io/customersync/worker"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// service is the API over HTTP, with a real database, worker and issuer.
type service struct {
	t      *testing.T
	url    string
	store  *store.Store
	dsn    string
	tenant *auth0sim.Tenant
	issuer *httptest.Server
	trusts string // another issuer than the tenant; "": the tenant
	appKey string
	now    func() time.Time // nil: time.Now

	worker  *worker.Worker
	handler http.Handler
	waits   chan struct{} // a value for each request that begins to wait for a customer
	left    chan struct{} // and for each that waits no more
	keys    atomic.Int64  // how often the app keys were read
	stop    context.CancelFunc
}

// watching says when somebody begins and ends to wait.
type watching struct {
	*store.Store
	service *service
}

func (w watching) Watch(id customer.ID) (<-chan struct{}, func()) {
	told, stop := w.Store.Watch(id)
	w.service.waits <- struct{}{}
	return told, func() {
		stop()
		w.service.left <- struct{}{}
	}
}

// LiveAppKeys counts.
func (w watching) LiveAppKeys(ctx context.Context) (map[[sha256.Size]byte]string, error) {
	w.service.keys.Add(1)
	return w.Store.LiveAppKeys(ctx)
}

const (
	actionSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	nextSecret   = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	streamToken  = "a-bearer-token-for-tests"
	logToken     = "a-log-stream-token-for-tests"
	audience     = "https://api.customersync.test"
)

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t}
	s.store = openStore(s)
	s.serve()
	return s
}

// replica is another daemon on the same database, with an issuer of its own.
func (s *service) replica() *service {
	s.t.Helper()
	other := &service{t: s.t, store: s.store, dsn: s.dsn, trusts: s.trusts, now: s.now}
	other.serve()
	return other
}

func (s *service) serve() {
	t, st := s.t, s.store
	t.Helper()
	s.tenant = auth0sim.New(auth0sim.Options{})
	s.issuer = httptest.NewServer(s.tenant)
	t.Cleanup(s.issuer.Close)
	t.Cleanup(s.tenant.Close)
	s.tenant.SetBaseURL(s.issuer.URL)
	metrics, log := prometheus.NewRegistry(), discreet.Logger(t, actionSecret, nextSecret, streamToken, logToken)
	directory := auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: s.issuer.URL, ClientID: "sim-client", ClientSecret: "sim-secret", Share: 1, Metrics: metrics,
	})
	verifier, err := auth0sync.NewVerifier(auth0sync.Secrets{
		Actions: []string{actionSecret, nextSecret}, EventStreams: []string{streamToken}, LogStreams: []string{logToken},
	}, func() time.Time {
		if s.now == nil {
			return time.Now()
		}
		return s.now()
	})
	must(t, err)
	w, err := worker.New(worker.Config{Schedule: "@every 30s", Holder: "test", Logger: log, Metrics: metrics}, st, directory, verifier)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s.worker, s.stop = w, cancel
	s.waits, s.left = make(chan struct{}, 1000), make(chan struct{}, 1000)
	server, err := api.New(ctx, api.Config{
		Issuer: cmp.Or(s.trusts, s.issuer.URL) + "/", Audience: audience, Logger: log, Metrics: metrics, Now: s.now,
	}, watching{st, s}, w, w)
	must(t, err)
	s.handler = newContract(t).checked(t, server)
	h := httptest.NewServer(s.handler)
	t.Cleanup(h.Close)
	s.url = h.URL
	if _, s.appKey, err = st.CreateAppKey(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); server.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("signing keys were never loaded")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func all() []string {
	return []string{"read:customers", "create:customers", "update:customers", "delete:customers"}
}

// machine is an access token of an application with all or some permissions.
func (s *service) machine(permissions ...string) string {
	if len(permissions) == 0 {
		permissions = all()
	}
	return s.tenant.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: permissions})
}

// person signs somebody up and returns the user and an access token.
func (s *service) person(address string, verified bool) (auth0sim.User, string) {
	s.t.Helper()
	u, err := s.tenant.SignUp(auth0sim.SignUp{Email: address, EmailVerified: &verified})
	must(s.t, err)
	return u, s.tenant.MintUserToken(u.ID, auth0sim.TokenOptions{})
}

// personBy signs somebody up by a connection that calls the address verified, and
// returns an access token.
func (s *service) personBy(connection, address string) string {
	s.t.Helper()
	verified := true
	u, err := s.tenant.SignUp(auth0sim.SignUp{Email: address, Connection: connection, EmailVerified: &verified})
	must(s.t, err)
	return s.tenant.MintUserToken(u.ID, auth0sim.TokenOptions{})
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var body struct {
		Success *bool
		Error   *struct {
			Code      string
			Message   string
			Field     *string
			RequestID string `json:"request_id"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("status %d, body is not JSON: %v: %.200q", a.status, err, a.body)
	}
	if a.status < 400 {
		if body.Success == nil || !*body.Success {
			t.Errorf("status %d without success: %s", a.status, a.body)
		}
		return ""
	}
	if body.Success == nil || *body.Success || body.Error == nil || body.Error.Code == "" || body.Error.Message == "" ||
		body.Error.RequestID == "" || body.Error.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("status %d in another shape: %s", a.status, a.body)
		return ""
	}
	return body.Error.Code
}

// data is a customer in an answer.
func (a answer) data(t *testing.T) map[string]any {
	t.Helper()
	var body struct{ Data map[string]any }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusOK {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	return body.Data
}

func (a answer) id(t *testing.T) string {
	t.Helper()
	var body struct {
		ID string `json:"customer_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusOK || body.ID == "" {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	return body.ID
}

// do makes a request. Headers come in pairs and replace the usual ones; an empty
// value takes one away.
func (s *service) do(method, path, token, body string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	must(s.t, err)
	req.Header.Set("Ahiko-App-Id", s.appKey)
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	return s.send(req)
}

func (s *service) send(req *http.Request) answer {
	s.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	must(s.t, err)
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	must(s.t, err)
	return answer{res.StatusCode, res.Header, string(read)}
}

const customers = "/customer/v1/customers"

func (s *service) create(address string) string {
	s.t.Helper()
	body := `{"first_name":"Ada","last_name":"Lovelace"}`
	if address != "" {
		body = `{"first_name":"Ada","last_name":"Lovelace","email_address":"` + address + `"}`
	}
	return s.do("POST", customers, s.machine(), body).id(s.t)
}

// want checks status and code.
func (a answer) want(t *testing.T, status int, code string) {
	t.Helper()
	if got := a.code(t); a.status != status || got != code {
		t.Errorf("%d %q, want %d %q: %s", a.status, got, status, code, a.body)
	}
}

func TestR01AQueryThatIsNotUnderstoodNeverListsEveryone(t *testing.T) {
	t.Parallel()
	s := newService(t)
	tests := map[string]struct{ query, code string }{
		"two addresses":             {"?email_address=a@example.com&email_address=b@example.com", "invalid_query"},
		"an empty address":          {"?email_address=", "invalid_query"},
		"an address without value":  {"?email_address", "invalid_query"},
		"a bare plus":               {"?email_address=ada+shop@example.com", "invalid_email_address"},
		"a misspelt parameter":      {"?email=ada@example.com", "invalid_query"},
		"another case":              {"?Email_Address=ada@example.com", "invalid_query"},
		"not an address":            {"?email_address=ada", "invalid_email_address"},
		"bad escapes":               {"?email_address=%zz", "invalid_query"},
		"a semicolon":               {"?a=1;email_address=ada@example.com", "invalid_query"},
		"an address and a filter":   {"?email_address=ada@example.com&limit=5", "invalid_query"},
		"a cursor without limit":    {"?cursor=AAAA", "invalid_query"},
		"limit zero":                {"?limit=0", "invalid_query"},
		"limit beyond the most":     {"?limit=1001", "invalid_query"},
		"a cursor that nobody gave": {"?limit=5&cursor=AAAA", "invalid_query"},
		"an unknown lifecycle":      {"?customer_lifecycle=Active", "invalid_query"},
		"a date":                    {"?updated_since=2026-01-01", "invalid_query"},
		"NUL":                       {"?email_address=a%00@example.com", "invalid_query"},
		"invalid UTF-8":             {"?email_address=%ff@example.com", "invalid_query"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.do("GET", customers+test.query, s.machine(), "")
			a.want(t, http.StatusBadRequest, test.code)
			if name == "a bare plus" && !strings.Contains(a.body, "encode + as %2B") {
				t.Errorf("says %s", a.body)
			}
		})
	}
}

func TestR02WhoMayDoWhat(t *testing.T) {
	t.Parallel()
	s := newService(t)
	adaUser, ada := s.person("ada@example.com", true)
	_, eve := s.person("eve@example.com", true)
	_, unverified := s.person("carl@example.com", false)
	vouched := s.personBy(auth0sim.Enterprise, "dora@example.com") // by whom nobody trusts
	adas := s.do("POST", customers, ada, `{"first_name":"Ada","last_name":"Lovelace"}`).id(t)
	pending := s.create("eve@example.com") // eve's by her verified address, not yet linked
	doras := s.create("dora@example.com")  // not provably Dora's
	carls := s.create("carl@example.com")  // not provably Carl's
	staff := s.tenant.MintUserToken(adaUser.ID, auth0sim.TokenOptions{Scope: "read:customers"})
	missing := "00000000-0000-7000-8000-000000000000"
	tests := map[string]struct {
		method, path, token, body string
		status                    int
		code                      string
	}{
		"a person reads itself":                            {"GET", "/" + adas, ada, "", 200, ""},
		"a person reads itself as me":                      {"GET", "/me", ada, "", 200, ""},
		"a person reads itself by address":                 {"GET", "?email_address=ada@example.com", ada, "", 200, ""},
		"a person reads itself by verified address":        {"GET", "/" + pending, eve, "", 200, ""},
		"an unverified address proves nothing":             {"GET", "/" + carls, unverified, "", 404, "customer_not_found"},
		"me by an unverified address is nobody":            {"GET", "/me", unverified, "", 404, "customer_not_found"},
		"an untrusted provider's word proves nothing":      {"GET", "/" + doras, vouched, "", 404, "customer_not_found"},
		"nor does it by address":                           {"GET", "?email_address=dora@example.com", vouched, "", 404, "customer_not_found"},
		"nor does it as me":                                {"GET", "/me", vouched, "", 404, "customer_not_found"},
		"nor does it change anything":                      {"PATCH", "/" + doras, vouched, `{"first_name":"X"}`, 404, "customer_not_found"},
		"nor does it close anybody":                        {"DELETE", "/" + doras, vouched, "", 404, "customer_not_found"},
		"a person reads another":                           {"GET", "/" + adas, eve, "", 404, "customer_not_found"},
		"a person reads another by address":                {"GET", "?email_address=ada@example.com", eve, "", 404, "customer_not_found"},
		"a person changes another":                         {"PATCH", "/" + adas, eve, `{"first_name":"Eve"}`, 404, "customer_not_found"},
		"a person closes another":                          {"DELETE", "/" + adas, eve, "", 404, "customer_not_found"},
		"a person lists":                                   {"GET", "", ada, "", 403, "forbidden"},
		"staff lists":                                      {"GET", "", staff, "", 200, ""},
		"staff reads anyone":                               {"GET", "/" + carls, staff, "", 200, ""},
		"staff without the permission changes nobody else": {"PATCH", "/" + carls, staff, `{"first_name":"X"}`, 404, "customer_not_found"},
		"a machine without permission reads":               {"GET", "/" + adas, s.machine("update:customers"), "", 403, "forbidden"},
		"a machine without permission lists":               {"GET", "", s.machine("update:customers"), "", 403, "forbidden"},
		"a machine without permission creates":             {"POST", "", s.machine("read:customers"), `{"first_name":"A","last_name":"B"}`, 403, "forbidden"},
		"a machine without permission changes":             {"PATCH", "/" + adas, s.machine("read:customers"), `{"first_name":"X"}`, 403, "forbidden"},
		"a machine without permission closes":              {"DELETE", "/" + adas, s.machine("read:customers"), "", 403, "forbidden"},
		"a machine has no me":                              {"GET", "/me", s.machine(), "", 404, "customer_not_found"},
		"not an id":                                        {"GET", "/nobody", s.machine(), "", 404, "customer_not_found"},
		"a missing customer":                               {"GET", "/" + missing, eve, "", 404, "customer_not_found"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.do(test.method, customers+test.path, test.token, test.body).want(t, test.status, test.code)
		})
	}
	strip := func(a answer) string { return strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "") }
	if foreign, none := strip(s.do("GET", customers+"/"+adas, eve, "")), strip(s.do("GET", customers+"/"+missing, eve, "")); foreign != none {
		t.Errorf("a foreign customer answers %s, a missing one %s", foreign, none)
	}
}

func TestR03NoWayInWithoutKeyAndToken(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const app, auth = "Ahiko-App-Id", "Authorization"
	good := s.machine()
	expired := s.tenant.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: all(), Lifetime: -time.Hour})
	other := s.tenant.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: all(), Claims: map[string]any{"aud": "https://other"}})
	claims := func(c map[string]any) string {
		return s.tenant.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: all(), Claims: c})
	}
	parts := strings.Split(good, ".")
	tests := map[string]struct {
		headers []string
		code    string
	}{
		"no key":              {[]string{app, ""}, "app_id_missing"},
		"a short key":         {[]string{app, "abc"}, "app_id_malformed"},
		"a key with a dash":   {[]string{app, strings.Repeat("-", 32)}, "app_id_malformed"},
		"an unknown key":      {[]string{app, strings.Repeat("a", 32)}, "app_id_unknown"},
		"no token":            {[]string{auth, ""}, "token_missing"},
		"another scheme":      {[]string{auth, "Basic abc"}, "token_missing"},
		"rubbish":             {[]string{auth, "Bearer rubbish"}, "token_invalid"},
		"an expired token":    {[]string{auth, "Bearer " + expired}, "token_expired"},
		"another audience":    {[]string{auth, "Bearer " + other}, "token_audience"},
		"another issuer":      {[]string{auth, "Bearer " + claims(map[string]any{"iss": "https://evil/"})}, "token_invalid"},
		"no expiry":           {[]string{auth, "Bearer " + claims(map[string]any{"exp": nil})}, "token_invalid"},
		"not yet valid":       {[]string{auth, "Bearer " + claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})}, "token_invalid"},
		"issued later":        {[]string{auth, "Bearer " + claims(map[string]any{"iat": time.Now().Add(time.Hour).Unix()})}, "token_invalid"},
		"no subject":          {[]string{auth, "Bearer " + claims(map[string]any{"sub": nil})}, "token_invalid"},
		"an ID token":         {[]string{auth, "Bearer " + claims(map[string]any{"nonce": "n"})}, "token_invalid"},
		"no signature":        {[]string{auth, "Bearer " + parts[0] + "." + parts[1] + "."}, "token_invalid"},
		"a changed signature": {[]string{auth, "Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))}, "token_invalid"},
		"alg none":            {[]string{auth, "Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + "."}, "token_invalid"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := s.do("GET", customers, good, "", test.headers...)
			a.want(t, http.StatusForbidden, test.code)
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer error="`) {
				t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
			}
		})
	}
	if a := s.do("GET", customers, good, ""); a.status != http.StatusOK {
		t.Errorf("the good token: %d %s", a.status, a.body)
	}
}

func TestR03ARotatedKeyIsFoundAndOldTokensStayGood(t *testing.T) {
	t.Parallel()
	s := newService(t)
	old := s.machine()
	s.tenant.RotateKeys()
	for _, token := range []string{s.machine(), old} {
		if a := s.do("GET", customers, token, ""); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func TestR05EveryErrorHasTheOneShape(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, path := range []string{"/", "/nothing", "/customer/v1", customers + "/", "/customer//v1/customers", "/customer/./v1/customers", customers + "/a/b/c"} {
		s.do("GET", path, "", "", "Authorization", "").want(t, http.StatusNotFound, "not_found")
	}
	for _, method := range []string{"PUT", "OPTIONS", "PROPFIND"} {
		a := s.do(method, customers, "", "", "Authorization", "")
		a.want(t, http.StatusMethodNotAllowed, "method_not_allowed")
		if a.header.Get("Allow") != "GET, POST, PATCH, DELETE" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
	}
}

func TestR06AListingStreamsAllAndPagesByKeyset(t *testing.T) {
	t.Parallel()
	s := newService(t)
	want := map[string]bool{}
	for i := range 25 {
		want[s.create("c"+strings.Repeat("x", i)+"@example.com")] = true
	}
	list := func(a answer) []map[string]any {
		var body struct{ Data []map[string]any }
		if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 200 {
			t.Fatalf("%d %v: %s", a.status, err, a.body)
		}
		return body.Data
	}
	whole := list(s.do("GET", customers, s.machine(), ""))
	if len(whole) != len(want) || len(whole[0]) != 2 || whole[0]["email_address"] == nil {
		t.Errorf("listing %v", whole)
	}
	got := map[string]bool{}
	for path := customers + "?limit=10"; path != ""; {
		a := s.do("GET", path, s.machine(), "")
		for _, row := range list(a) {
			got[row["customer_id"].(string)] = true
		}
		path = ""
		if link := a.header.Get("Link"); link != "" {
			path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d of %d by pages", len(got), len(want))
	}
	if n := len(list(s.do("GET", customers+"?customer_lifecycle=active", s.machine(), ""))); n != 0 {
		t.Errorf("%d active", n)
	}
	if n := len(list(s.do("GET", customers+"?updated_since=2099-01-01T00:00:00Z", s.machine(), ""))); n != 0 {
		t.Errorf("%d from the future", n)
	}
	empty := newService(t)
	if a := empty.do("GET", customers, empty.machine(), ""); a.body != `{"success":true,"data":[]}`+"\n" {
		t.Errorf("empty listing %q", a.body)
	}
}

func TestR07R14BodiesThatAreNotAccepted(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	tests := map[string]struct {
		body   string
		status int
		code   string
	}{
		"no field":             {`{}`, 400, "exactly_one_field"},
		"two fields":           {`{"first_name":"A","last_name":"B"}`, 400, "exactly_one_field"},
		"an unknown member":    {`{"nickname":"A"}`, 400, "unknown_member"},
		"a read-only member":   {`{"email_address":"b@example.com"}`, 400, "unknown_member"},
		"another case":         {`{"First_Name":"A"}`, 400, "unknown_member"},
		"a member twice":       {`{"first_name":"A","first_name":"B"}`, 400, "invalid_json"},
		"escaped twins":        {`{"first_name":"A","first_n\u0061me":"B"}`, 400, "invalid_json"},
		"a number":             {`{"first_name":1}`, 422, "invalid_field"},
		"null":                 {`{"first_name":null}`, 422, "invalid_field"},
		"an empty name":        {`{"first_name":"  "}`, 422, "invalid_field"},
		"a long name":          {`{"first_name":"` + strings.Repeat("é", 201) + `"}`, 422, "invalid_field"},
		"a control character":  {`{"first_name":"A\u0007"}`, 422, "invalid_field"},
		"not connection|id":    {`{"auth_user_id":"abc"}`, 422, "invalid_field"},
		"NUL":                  {`{"first_name":"A\u0000"}`, 400, "invalid_json"},
		"half a surrogate":     {`{"first_name":"\ud800"}`, 400, "invalid_json"},
		"the other half":       {`{"first_name":"\udc00x"}`, 400, "invalid_json"},
		"trailing data":        {`{"first_name":"A"}{}`, 400, "invalid_json"},
		"an array":             {`["first_name"]`, 400, "invalid_json"},
		"nothing but space":    {` `, 400, "invalid_json"},
		"invalid UTF-8":        {"{\"first_name\":\"\xff\"}", 400, "invalid_json"},
		"a byte order mark":    {"\ufeff{\"first_name\":\"A\"}", 400, "invalid_json"},
		"too deep":             {`{"first_name":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, 400, "invalid_json"},
		"too large":            {`{"first_name":"` + strings.Repeat("a", 70000) + `"}`, 413, "body_too_large"},
		"cut":                  {`{"first_name":"A`, 400, "invalid_json"},
		"duplicate deep below": {`{"first_name":{"a":1,"a":2}}`, 400, "invalid_json"},
	}
	t.Run("bodies", func(t *testing.T) { // returns when all of them are done
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s.do("PATCH", customers+"/"+id, s.machine(), test.body).want(t, test.status, test.code)
			})
		}
	})
	for _, media := range []string{"text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded", "json"} {
		s.do("PATCH", customers+"/"+id, s.machine(), `{"first_name":"A"}`, "Content-Type", media).want(t, 415, "unsupported_media_type")
	}
	if got := s.do("GET", customers+"/"+id, s.machine(), "").data(t); got["created_at"] != got["updated_at"] || got["first_name"] != "Ada" {
		t.Errorf("something was written: %v", got)
	}
}

func TestR08TheSameValueChangesNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	path := customers + "/" + id
	before := s.do("GET", path, s.machine(), "").body
	s.do("PATCH", path, s.machine(), `{"first_name":"Ada"}`).want(t, 200, "")
	if after := s.do("GET", path, s.machine(), "").body; after != before {
		t.Errorf("%s became %s", before, after)
	}
	s.do("PATCH", path, s.machine(), `{"first_name":"Augusta"}`).want(t, 200, "")
	got := s.do("GET", path, s.machine(), "").data(t)
	if got["first_name"] != "Augusta" || got["updated_at"] == got["created_at"] {
		t.Errorf("got %v", got)
	}
	s.do("DELETE", path, s.machine(), "").want(t, 200, "")
	s.do("DELETE", path, s.machine(), "").want(t, 200, "")
	s.do("PATCH", path, s.machine(), `{"first_name":"A"}`).want(t, 409, "customer_inactive")
	history, err := s.store.History(t.Context(), customer.ID(id))
	must(t, err)
	var changes []string
	for _, h := range history {
		changes = append(changes, h.What)
	}
	if strings.Join(changes, " ") != "created patched closed" {
		t.Errorf("history %v", changes)
	}
}

func TestR09LinkingByHand(t *testing.T) {
	t.Parallel()
	s := newService(t)
	a, b := s.create("ada@example.com"), s.create("bob@example.com")
	link := `{"auth_user_id":"auth0|1"}`
	s.do("PATCH", customers+"/"+a, s.machine(), link).want(t, 200, "")
	if got := s.do("GET", customers+"/"+a, s.machine(), "").data(t); got["customer_lifecycle"] != "active" || got["auth_user_id"] != "auth0|1" {
		t.Errorf("linked %v", got)
	}
	s.do("PATCH", customers+"/"+b, s.machine(), link).want(t, 409, "auth_user_id_taken")
	s.do("PATCH", customers+"/"+a, s.machine(), `{"auth_user_id":null}`).want(t, 200, "")
	if got := s.do("GET", customers+"/"+a, s.machine(), "").data(t); got["customer_lifecycle"] != "auth_pending" || got["auth_user_id"] != nil {
		t.Errorf("unlinked %v", got)
	}
	_, ada := s.person("ada@example.com", true)
	s.do("PATCH", customers+"/me", ada, link).want(t, 403, "forbidden")
}

func TestR10WhereTheAddressComesFrom(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const name = `{"first_name":"Ada","last_name":"Lovelace"}`
	read := func(id string) map[string]any { return s.do("GET", customers+"/"+id, s.machine(), "").data(t) }
	if got := read(s.create("")); got["email_address"] != nil || got["customer_lifecycle"] != "auth_pending" {
		t.Errorf("a machine without address: %v", got)
	}
	_, ada := s.person("ada@example.com", false)
	if got := read(s.do("POST", customers, ada, name).id(t)); got["email_address"] != "ada@example.com" {
		t.Errorf("from userinfo: %v", got)
	}
	bob, _ := s.person("bob@example.com", false)
	claim := s.tenant.MintUserToken(bob.ID, auth0sim.TokenOptions{Claims: map[string]any{"email": "Claimed@example.com"}})
	if got := read(s.do("POST", customers, claim, name).id(t)); got["email_address"] != "Claimed@example.com" {
		t.Errorf("from the claim: %v", got)
	}
	_, eve := s.person("eve@example.com", true)
	s.do("POST", customers, eve, `{"first_name":"E","last_name":"E","email_address":"ada@example.com"}`).want(t, 422, "email_mismatch")
	_, dan := s.person("dan@example.com", true)
	s.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /userinfo", Status: 500}}})
	a := s.do("POST", customers, dan, name)
	a.want(t, 503, "userinfo_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestR11AVerifiedTokenLinksAtOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const name = `{"first_name":"Ada","last_name":"Lovelace"}`
	user, ada := s.person("ada@example.com", true)
	id := s.do("POST", customers, ada, name).id(t)
	got := s.do("GET", customers+"/me", ada, "").data(t)
	if got["customer_id"] != id || got["customer_lifecycle"] != "active" || got["auth_user_id"] != user.ID {
		t.Errorf("verified: %v", got)
	}
	history, err := s.store.History(t.Context(), customer.ID(id))
	must(t, err)
	if len(history) != 2 || history[1].What != "linked" || history[1].Cause.Kind != "token" || !strings.Contains(string(history[1].Evidence), `"token"`) {
		t.Errorf("history %+v", history)
	}
	bobUser, bob := s.person("bob@example.com", false)
	id = s.do("POST", customers, bob, name).id(t)
	if got := s.do("GET", customers+"/"+id, s.machine(), "").data(t); got["customer_lifecycle"] != "auth_pending" {
		t.Errorf("unverified: %v", got)
	}
	must(t, s.tenant.Verify(bobUser.ID))
	verified := s.tenant.MintUserToken(bobUser.ID, auth0sim.TokenOptions{Claims: map[string]any{"email": "bob@example.com", "email_verified": true}})
	if again := s.do("POST", customers, verified, name).id(t); again != id {
		t.Errorf("again %s, want %s", again, id)
	}
	if got := s.do("GET", customers+"/me", verified, "").data(t); got["customer_lifecycle"] != "active" {
		t.Errorf("verified since: %v", got)
	}
	carl, _ := s.person("carl@example.com", true)
	text := s.tenant.MintUserToken(carl.ID, auth0sim.TokenOptions{Claims: map[string]any{"email": "carl@example.com", "email_verified": "true"}})
	id = s.do("POST", customers, text, name).id(t)
	if got := s.do("GET", customers+"/"+id, s.machine(), "").data(t); got["customer_lifecycle"] != "auth_pending" {
		t.Errorf(`"true" is not true: %v`, got)
	}
}

func TestR12AskingAgain(t *testing.T) {
	t.Parallel()
	s := newService(t)
	body := func(address string) string {
		return `{"first_name":"Ada","last_name":"Lovelace","email_address":"` + address + `"}`
	}
	first := s.create("ada@example.com")
	if again := s.create("ADA@example.com"); again != first {
		t.Errorf("the same app got %s, then %s", first, again)
	}
	_, otherKey, err := s.store.CreateAppKey(t.Context(), "other")
	must(t, err)
	s.do("POST", customers, s.machine(), body("ada@example.com"), "Ahiko-App-Id", otherKey).want(t, 409, "email_taken")

	one := s.do("POST", customers, s.machine(), body("bob@example.com"), "Idempotency-Key", "k1")
	two := s.do("POST", customers, s.machine(), body("bob@example.com"), "Idempotency-Key", "k1")
	if one.body != two.body {
		t.Errorf("%s, then %s", one.body, two.body)
	}
	s.do("POST", customers, s.machine(), body("carl@example.com"), "Idempotency-Key", "k1").want(t, 422, "idempotency_key_reused")
	taken := []string{"Ahiko-App-Id", otherKey, "Idempotency-Key", "k2"}
	s.do("POST", customers, s.machine(), body("bob@example.com"), taken...).want(t, 409, "email_taken")
	s.do("DELETE", customers+"/"+one.id(t), s.machine(), "").want(t, 200, "")
	s.do("POST", customers, s.machine(), body("bob@example.com"), taken...).want(t, 409, "email_taken") // the same answer again
	for _, key := range []string{strings.Repeat("k", 256), "k\x01"} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+customers, strings.NewReader(body("x@example.com")))
		must(t, err)
		req.Header = http.Header{"Ahiko-App-Id": {s.appKey}, "Authorization": {"Bearer " + s.machine()}, "Content-Type": {"application/json"}, "Idempotency-Key": {key}}
		if strings.Contains(key, "\x01") {
			continue // net/http itself refuses to send it
		}
		s.send(req).want(t, 400, "invalid_header")
	}
}

func TestR13AClosedCustomerByAddress(t *testing.T) {
	t.Parallel()
	s := newService(t)
	byAddress := customers + "?email_address=ada@example.com"
	closed := s.create("ada@example.com")
	s.do("DELETE", byAddress, s.machine(), "").want(t, 200, "")
	if got := s.do("GET", byAddress, s.machine(), "").data(t); got["customer_id"] != closed || got["customer_lifecycle"] != "inactive" {
		t.Errorf("closed: %v", got)
	}
	live := s.create("ada@example.com")
	if got := s.do("GET", byAddress, s.machine(), "").data(t); got["customer_id"] != live || live == closed {
		t.Errorf("live: %v", got)
	}
}

func TestR15Conditions(t *testing.T) {
	t.Parallel()
	s := newService(t)
	path := customers + "/" + s.create("ada@example.com")
	a := s.do("GET", path, s.machine(), "")
	tag := a.header.Get("ETag")
	if a.header.Get("Cache-Control") != "private, no-store" || !strings.HasPrefix(tag, `"`) {
		t.Errorf("headers %v", a.header)
	}
	for _, condition := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if a := s.do("GET", path, s.machine(), "", "If-None-Match", condition); a.status != 304 || a.body != "" {
			t.Errorf("If-None-Match %s: %d", condition, a.status)
		}
	}
	for _, condition := range []string{`"x"`, "W/" + tag, "x"} {
		s.do("PATCH", path, s.machine(), `{"first_name":"X"}`, "If-Match", condition).want(t, 412, "precondition_failed")
		s.do("DELETE", path, s.machine(), "", "If-Match", condition).want(t, 412, "precondition_failed")
	}
	s.do("PATCH", path, s.machine(), `{"first_name":"Y"}`, "If-Match", tag).want(t, 200, "")
	s.do("PATCH", path, s.machine(), `{"first_name":"Z"}`, "If-Match", tag).want(t, 412, "precondition_failed")
	if a := s.do("GET", path, s.machine(), "", "If-None-Match", tag); a.status != 200 {
		t.Errorf("changed: %d", a.status)
	}
}

func TestR16RequestIDs(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if a := s.do("GET", "/nothing", "", "", "X-Request-Id", "abc-1"); a.header.Get("X-Request-Id") != "abc-1" {
		t.Errorf("a sane id became %q", a.header.Get("X-Request-Id"))
	}
	for _, id := range []string{"", "a b", strings.Repeat("a", 129), "é", "<script>"} {
		if a := s.do("GET", "/nothing", "", "", "X-Request-Id", id); a.header.Get("X-Request-Id") == id {
			t.Errorf("%q was taken", id)
		}
	}
	id := s.do("POST", customers, s.machine(), `{"first_name":"A","last_name":"B"}`, "X-Request-Id", "abc-2").id(t)
	history, err := s.store.History(t.Context(), customer.ID(id))
	must(t, err)
	if history[0].Cause.RequestID != "abc-2" {
		t.Errorf("history has %q", history[0].Cause.RequestID)
	}
}

func TestR17KeysAreMadeAndRevoked(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.do("GET", customers, s.machine(), "").want(t, 200, "")
	id, key, err := s.store.CreateAppKey(t.Context(), "second")
	must(t, err)
	deadline := time.Now().Add(10 * time.Second) // a reload is allowed once a second
	for s.do("GET", customers, s.machine(), "", "Ahiko-App-Id", key).status != 200 {
		if time.Now().After(deadline) {
			t.Fatal("a new key never worked")
		}
		time.Sleep(50 * time.Millisecond)
	}
	must(t, s.store.RevokeAppKey(t.Context(), id))
	fresh := s.replica()
	fresh.do("GET", customers, fresh.machine(), "", "Ahiko-App-Id", key).want(t, 403, "app_id_unknown")
}

func TestR19WhyACustomerWaits(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	path := customers + "/" + id + "/explain"
	got := s.do("GET", path, s.machine(), "").data(t)
	want := customer.Waiting.Meaning()
	if got["reason"] != "waiting" || got["sentence"] != want.Sentence || got["who_acts"] != want.Who || got["next_look_at"] == nil || got["auth0_asked_at"] != nil {
		t.Errorf("waiting: %v", got)
	}
	if looks, listed := got["looks"].([]any); !listed || len(looks) != 0 {
		t.Errorf("nobody looked yet: %v", got["looks"])
	}
	for range 2 {
		_, err := s.worker.RunOnce(t.Context(), worker.Order{Kind: worker.KindSync, Only: "ada@example.com"})
		must(t, err)
	}
	looks, _ := s.do("GET", path, s.machine(), "").data(t)["looks"].([]any)
	if look, _ := looks[0].(map[string]any); len(looks) != 1 || look["reason"] != "not_registered" || look["count"] != 2. || look["by"] != "look-up" || look["first_at"].(string) >= look["last_at"].(string) {
		t.Errorf("two looks: %v", looks)
	}
	user, _ := s.person("ada@example.com", true)
	s.do("PATCH", customers+"/"+id, s.machine(), `{"auth_user_id":"`+user.ID+`"}`, "X-Request-Id", "req-7").want(t, 200, "")
	got = s.do("GET", path, s.machine(), "").data(t)
	history, _ := got["history"].([]any)
	if got["reason"] != nil || got["customer_lifecycle"] != "active" || len(history) != 2 {
		t.Fatalf("linked: %v", got)
	}
	if last, _ := history[1].(map[string]any); last["change"] != "linked" || last["to"] != user.ID || last["request_id"] != "req-7" || last["from_lifecycle"] != "auth_pending" {
		t.Errorf("history: %v", last)
	}
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 200, "")
	if got = s.do("GET", path, s.machine(), "").data(t); got["customer_lifecycle"] != "inactive" || got["sentence"] == "" {
		t.Errorf("closed: %v", got)
	}
	_, ada := s.person("eve@example.com", true)
	s.do("GET", path, ada, "").want(t, 403, "forbidden")
	s.do("GET", customers+"/00000000-0000-7000-8000-000000000000/explain", s.machine(), "").want(t, 404, "customer_not_found")
	s.do("GET", customers+"/me/explain", s.machine(), "").want(t, 404, "customer_not_found")
}

func TestTheWebhookTakesInWhatIsAuthentic(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const path = "/webhooks/auth0"
	event := `{"specversion":"1.0","id":"evt_1","type":"user.created","data":{"object":{"user_id":"auth0|1","email":"ada@example.com","email_verified":true}}}`
	s.do("POST", path, streamToken, event).want(t, 200, "")
	s.do("POST", path, streamToken, event).want(t, 200, "") // a duplicate is as good
	if a := s.do("POST", path, streamToken, `{"what":"ever"}`); a.status != 202 {
		t.Errorf("not understood: %d", a.status)
	}
	if a := s.do("POST", path, streamToken, `rubbish`); a.status != 202 {
		t.Errorf("rubbish: %d", a.status)
	}
	s.do("POST", path, "another-bearer-token-for-tests", event).want(t, 403, "webhook_forbidden")
	s.do("POST", path, "", event, "Authorization", "").want(t, 403, "webhook_forbidden")
	s.do("POST", path, "", event, "Authorization", "", "Webhook-Signature", "v1,AAAA", "Webhook-Id", "x", "Webhook-Timestamp", "1").want(t, 403, "webhook_forbidden")
}

func TestTheBodyOfACustomerIsThis(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	c, err := s.store.Customer(t.Context(), customer.ID(id))
	must(t, err)
	stamp := c.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000Z")
	want := `{"success":true,"data":{"customer_id":"` + id + `","created_at":"` + stamp + `","updated_at":"` + stamp +
		`","first_name":"Ada","last_name":"Lovelace","auth_user_id":null,"email_address":"ada@example.com","customer_lifecycle":"auth_pending","property_list":[]}}` + "\n"
	if got := s.do("GET", customers+"/"+id, s.machine(), "").body; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
