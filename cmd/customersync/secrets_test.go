package main

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/store/storetest"
)

// plants are texts that must not come to light, by what they are.
type plants map[string]string

const (
	plantedClient = "PLANTED-client-secret-0123456789"
	plantedStream = "PLANTED-stream-token-0123456789"
	plantedLogs   = "PLANTED-log-stream-token-0123456789"
	plantedDB     = "PLANTEDdatabasepassword"
	plantedLogKey = "PLANTED-log-key-0123456789"
	plantedPerson = "planted.person"       // the local part of all addresses
	plantedFirst  = "Plantedfirst"         // names
	plantedLast   = "Plantedlast"          //
	plantedAnswer = "PLANTED-auth0-answer" // in what Auth0 says when it fails
	plantedDetail = "PLANTED-row-value"    // in what Postgres says when it fails
)

// found lists which of them a text holds, plain or as URLs and JSON have them.
func (p plants) found(in string) (all []string) {
	for what, text := range p {
		for _, form := range []string{text, url.QueryEscape(text), base64.StdEncoding.EncodeToString([]byte(text))} {
			if text != "" && strings.Contains(in, form) {
				all = append(all, what)
				break
			}
		}
	}
	return all
}

// scenario is a daemon that logs all it ever logs, and all its answers that are
// errors.
type scenario struct {
	*testing.T
	*daemonProcess
	sim    *auth0sim.Tenant
	dsn    string
	appKey string
	plants plants

	mu     sync.Mutex
	errors strings.Builder
	seen   map[int]int
}

func newScenario(t *testing.T) *scenario {
	t.Helper()
	sim, env := tenantOf(t, auth0sim.Options{ClientSecret: plantedClient})
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("PLANTED-action-secret-0123456789"))
	dsn := storetest.DSN(t)
	withPassword, err := url.Parse(dsn)
	must(t, err)
	withPassword.User = url.UserPassword(withPassword.User.Username(), plantedDB)
	env = append(env, "DATABASE_URL="+withPassword.String(), "AUTH0_CLIENT_SECRET="+plantedClient, "CUSTOMERSYNC_LOG_LEVEL=debug",
		"CUSTOMERSYNC_ACTION_SECRETS="+secret, "CUSTOMERSYNC_EVENT_STREAM_TOKENS="+plantedStream, "CUSTOMERSYNC_LOG_STREAM_TOKENS="+plantedLogs,
		"CUSTOMERSYNC_PROMOTE_SCHEDULE=@every 10s", "CUSTOMERSYNC_FOLLOW=events", "CUSTOMERSYNC_LOG_KEY="+plantedLogKey)
	s := &scenario{T: t, sim: sim, dsn: dsn, seen: map[int]int{}, plants: plants{
		"client secret": plantedClient, "action secret": secret, "stream token": plantedStream, "log stream token": plantedLogs, "database password": plantedDB, "log key": plantedLogKey,
		"e-mail address": plantedPerson, "first name": plantedFirst, "last name": plantedLast, "Auth0's answer": plantedAnswer, "a row's value": plantedDetail,
	}}
	s.daemonProcess = startServe(t, env)
	eventually(t, "readiness", func() bool { status, _ := get(t, s.ops+"/readyz"); return status == 200 })
	if _, s.appKey, err = openDSN(t, dsn).CreateAppKey(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	s.plants["app key"] = s.appKey
	return s
}

// do makes a request and keeps the answer if it is an error.
func (s *scenario) do(method, path, token, body string, headers ...string) (int, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.api+path, strings.NewReader(body))
	must(s.T, err)
	req.Header = http.Header{"Ahiko-App-Id": {s.appKey}, "Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	must(s.T, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	must(s.T, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[res.StatusCode]++
	if res.StatusCode >= 400 {
		fmt.Fprintln(&s.errors, string(answer), res.Header)
	}
	return res.StatusCode, string(answer)
}

// token mints one and plants its parts.
func (s *scenario) token(text string) string {
	parts := strings.Split(text, ".")
	n := strconv.Itoa(len(s.plants))
	s.plants["signature "+n], s.plants["payload "+n] = parts[2][:40], parts[1][20:80]
	return text
}

const theAPI = "/customer/v1/customers"

func address(n int) string { return fmt.Sprintf("%s%d@example.com", plantedPerson, n) }

func draft(address string) string {
	return fmt.Sprintf(`{"first_name":%q,"last_name":%q,"email_address":%q}`, plantedFirst, plantedLast, address)
}

// Secrets, tokens, names and addresses are in every place there is; the daemon
// says all it can say, through its best and worst days; and none comes to light.
func TestAttackNothingThatIsSecretComesToLight(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("the process list is read on Linux only")
	}
	s := newScenario(t)
	machine := s.token(s.sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: []string{"read:customers", "create:customers", "update:customers", "delete:customers"}}))
	s.customers(machine)
	s.badRequests(machine)
	s.deliveries()
	s.badAuth0(machine)
	s.badDatabase(machine)
	_, metrics := get(t, s.ops+"/metrics")
	_, ready := get(t, s.ops+"/readyz")
	if list, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid)); err == nil {
		s.holds("the process list", string(list))
	}
	if code := s.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.holds("the log", s.log.String())
	s.holds("the metrics", metrics)
	s.holds("readyz", ready)
	s.holds("an error's body", s.errors.String())
	t.Logf("answers by status: %v; %d bytes of log", s.seen, len(s.log.String()))
	for _, status := range []int{400, 403, 404, 409, 413, 422, 500, 503} {
		if s.seen[status] == 0 {
			t.Errorf("the scenario met no %d", status)
		}
	}
	if !strings.Contains(s.log.String(), `"level":"error"`) {
		t.Error("the scenario met no error")
	}
}

func (s *scenario) holds(what, text string) {
	s.Helper()
	for _, plant := range s.plants.found(text) {
		for line := range strings.Lines(text) {
			if len((plants{plant: s.plants[plant]}).found(line)) > 0 {
				s.Errorf("%s holds the %s: %.600s", what, plant, line)
				break
			}
		}
	}
}

func (s *scenario) customers(machine string) {
	for n := range 4 {
		s.do("POST", theAPI, machine, draft(address(n)))
	}
	user, err := s.sim.SignUp(auth0sim.SignUp{Email: address(0), EmailVerified: verified()})
	must(s.T, err)
	own := s.token(s.sim.MintUserToken(user.ID, auth0sim.TokenOptions{}))
	s.do("GET", theAPI+"/me", own, "")
	s.do("POST", theAPI+"/me/sync", own, "")
	s.do("PATCH", theAPI+"?email_address="+address(1), machine, `{"first_name":"`+plantedFirst+`x"}`)
	s.do("GET", theAPI+"?email_address="+address(1), machine, "")
	s.do("GET", theAPI, machine, "")
	s.do("GET", theAPI+"?email_address=nobody."+address(1), machine, "")
}

func (s *scenario) badRequests(machine string) {
	_, second, err := openDSN(s.T, s.dsn).CreateAppKey(s.Context(), "second")
	must(s.T, err)
	s.plants["second app key"] = second
	claims := map[string]any{"email": address(3), "email_verified": true, "name": plantedFirst}
	s.do("POST", theAPI, s.token(s.sim.MintUserToken("auth0|other", auth0sim.TokenOptions{Claims: claims})), draft(address(2)))
	s.do("POST", theAPI, machine, draft(address(1)), "Ahiko-App-Id", second)
	s.do("POST", theAPI, machine, strings.Replace(draft(address(1)), plantedFirst, strings.Repeat(plantedFirst, 100), 1))
	s.do("POST", theAPI, machine, draft("not an address "+plantedPerson))
	s.do("POST", theAPI, machine, draft(address(1))[:60])
	s.do("POST", theAPI, machine, draft(strings.Repeat(plantedPerson, 10_000)))
	s.do("GET", theAPI+"?email_address="+plantedPerson, machine, "")
	s.do("GET", theAPI+"?email_address="+address(1)+"&email_address="+address(2), machine, "")
	s.do("GET", theAPI+"/"+plantedPerson+"@example.com", machine, "")
	s.do("GET", "/"+address(1)+"/"+plantedStream, machine, "")
	for _, o := range []auth0sim.TokenOptions{{Lifetime: -time.Hour}, {Audience: "https://other"}, {Forgery: auth0sim.StrangerKey}, {Forgery: auth0sim.AlgNone}, {Header: map[string]any{"kid": plantedPerson}}, {Header: map[string]any{"alg": plantedPerson}}, {Header: map[string]any{"typ": plantedPerson, "crit": plantedPerson}}} {
		o.Claims = map[string]any{"email": address(1), "custom": plantedFirst}
		token := s.sim.MintUserToken("auth0|"+plantedPerson, o)
		s.do("GET", theAPI+"/me", token, "")
		s.do("GET", theAPI+"/me", token+"x", "")
	}
	s.do("GET", theAPI, machine, "", "Ahiko-App-Id", s.appKey[:31]+"-")
	s.do("GET", theAPI, plantedStream, "")
	s.do("GET", theAPI, machine, "", "Authorization", "Basic "+machine)
	s.do("GET", theAPI, machine, "", "X-Request-Id", address(1)+" "+plantedStream)
}

func (s *scenario) deliveries() {
	const path = "/webhooks/auth0"
	event := func(id string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"type":"user.created","data":{"object":{"user_id":"auth0|1","email":%q,"email_verified":true,"name":%q}}}`, id, address(1), plantedFirst)
	}
	s.do("POST", path, plantedStream, event("evt_1"))
	s.do("POST", path, plantedStream, event("evt_1")[:100])
	s.do("POST", path, plantedStream+"x", event("evt_2"))
	s.do("POST", path, plantedLogs, `[{"data":{"log_id":"1","type":"ss","user_id":"auth0|1","user_name":"`+address(1)+`"}},{"data":"`+plantedFirst+`"}]`)
	signer, err := webhooks.NewWebhook(s.plants["action secret"])
	must(s.T, err)
	body := `{"type":"post-user-registration","user":{"user_id":"auth0|2","email":"` + address(2) + `","email_verified":true}}`
	signature, err := signer.Sign("act_1", time.Now(), []byte(body))
	must(s.T, err)
	headers := []string{"Webhook-Id", "act_1", "Webhook-Timestamp", strconv.FormatInt(time.Now().Unix(), 10), "Webhook-Signature", signature}
	s.do("POST", path, "", body, headers...)
	s.do("POST", path, "", body+" ", headers...)
}

// badAuth0 has Auth0 fail in each way, with what nobody should read in its answer,
// while it is asked by address.
func (s *scenario) badAuth0(machine string) {
	say := fmt.Sprintf(`{"statusCode":400,"error":%q,"message":"%s %s"}`, plantedAnswer, plantedAnswer, address(1))
	n := 10
	for _, f := range []auth0sim.Fault{
		{Status: 500, Body: say}, {Status: 400, Body: say}, {Status: 401, Body: say}, {Status: 403, Body: say}, {Status: 404, Body: say}, {Status: 429, Body: say}, {Status: 418, Body: say},
		{Status: 302, Location: "http://127.0.0.1:1/" + plantedAnswer}, {Status: 200, Body: say}, {Status: 200, Body: `[{"user_id":{"` + plantedAnswer + `":1}}]`},
		{Status: 200, Body: "<html>" + plantedAnswer}, {CutAfter: 1},
	} {
		user, err := s.sim.SignUp(auth0sim.SignUp{Email: address(n), EmailVerified: verified()})
		must(s.T, err)
		for _, endpoint := range []string{"GET /api/v2/users-by-email", "GET /userinfo"} {
			f.Endpoint = endpoint
			s.sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{f}})
			if endpoint == "GET /userinfo" {
				s.do("GET", theAPI+"/me", s.sim.MintUserToken(user.ID, auth0sim.TokenOptions{}), "")
				continue
			}
			_, made := s.do("POST", theAPI, machine, draft(address(n)))
			id := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(made), `{"success":true,"customer_id":"`), `"}`)
			s.do("POST", theAPI+"/"+id+"/sync", machine, "")
		}
		n++
	}
	s.sim.SetFaults(auth0sim.Faults{})
}

// badDatabase has Postgres fail with row values in what it says.
func (s *scenario) badDatabase(machine string) {
	connector, err := pq.NewConnector(s.dsn)
	must(s.T, err)
	db := sql.OpenDB(connector)
	defer db.Close()
	_, err = db.ExecContext(s.Context(), `
		create function fails() returns trigger language plpgsql as $$
		begin
		  raise exception 'out of order' using detail = '`+plantedDetail+` ' || new.email_address, hint = '`+plantedDetail+`', errcode = case when new.first_name like '%X' then '53100' else '23514' end;
		end $$;
		create trigger fails before insert or update of first_name on customers for each row execute function fails()`)
	must(s.T, err)
	s.do("POST", theAPI, machine, draft(address(100)))
	s.do("POST", theAPI, machine, strings.Replace(draft(address(101)), plantedFirst, plantedFirst+"X", 1))
	s.do("PATCH", theAPI+"?email_address="+address(1), machine, `{"first_name":"`+plantedFirst+`y"}`)
	_, err = db.ExecContext(s.Context(), `drop trigger fails on customers; alter table customers rename to elsewhere`)
	must(s.T, err)
	s.do("GET", theAPI+"?email_address="+address(1), machine, "")
	s.do("POST", theAPI, machine, draft(address(102)))
	_, err = db.ExecContext(s.Context(), `alter table elsewhere rename to customers`)
	must(s.T, err)
}
