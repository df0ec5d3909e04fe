package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

const (
	targetSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	eraseKey     = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// A daemon delivers what happens, in the very words of its feed.
func TestTheDaemonDeliversWhatItsFeedSays(t *testing.T) {
	t.Parallel()
	came := make(chan string, 100)
	crm := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came <- string(body)
	}))
	t.Cleanup(crm.Close)
	sim, env := tenantOf(t, auth0sim.Options{})
	dsn := storetest.DSN(t)
	env = append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_EVENT_TARGETS=crm "+crm.URL+" "+targetSecret, "CUSTOMERSYNC_ERASE_KEYS="+eraseKey)
	d := startServe(t, env)
	s := openDSN(t, dsn)
	eventually(t, "the target", func() bool {
		targets, err := s.EventTargets(t.Context())
		return err == nil && len(targets) == 1
	})
	_, key, err := s.CreateAppKey(t.Context(), "test")
	must(t, err)
	token := sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: []string{"read:customers", "create:customers", "update:customers", "erase:customers"}})
	do := func(method, path, body string) (got struct {
		ID   string `json:"customer_id"`
		Data json.RawMessage
	}) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, d.api+"/customer/v1"+path, strings.NewReader(body))
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Ahiko-App-Id", key)
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		must(t, err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d", method, path, res.StatusCode)
		}
		must(t, json.NewDecoder(res.Body).Decode(&got))
		return got
	}
	eventually(t, "signing keys", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == http.StatusOK })
	id := do("POST", "/customers", `{"first_name":"Ada","last_name":"Lovelace"}`).ID
	do("PATCH", "/customers/"+id, `{"last_name":"King"}`)
	var feed []any
	must(t, json.Unmarshal(do("GET", "/events", "").Data, &feed))
	for i := range 2 {
		var delivered any
		must(t, json.Unmarshal([]byte(<-came), &delivered))
		if !reflect.DeepEqual(delivered, feed[i]) {
			t.Errorf("delivered %v, in the feed %v", delivered, feed[i])
		}
	}
	do("DELETE", "/customers/"+id+"?erase=true", "")
	if last := <-came; !strings.Contains(last, `"customer.erased"`) || !strings.Contains(last, id) {
		t.Errorf("last came %s", last)
	}
	if _, metrics := get(t, d.ops+"/metrics"); !strings.Contains(metrics, `customersync_event_deliveries_total{result="delivered",target="crm"}`) {
		t.Error("no metric of it")
	}
	if log := d.log.String(); strings.Contains(log, targetSecret) || strings.Contains(log, eraseKey) {
		t.Error("a secret is in the log")
	}
}

func TestAnOperatorLooksAfterEvents(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env := []string{"DATABASE_URL=" + dsn}
	must(t, s.AddEventTarget(t.Context(), "crm"))
	id := pending(t, s, "ada@example.com")
	work, err := s.EventWork(t.Context(), "crm", 10)
	must(t, err)
	must(t, s.SettleEvents(t.Context(), 0, "crm", customer.EventReport{
		From: work.Position, To: work.Fresh[0].Position, Failed: []customer.EventOutcome{{Event: work.Fresh[0], Note: "status 500", Again: time.Nanosecond}},
	}))
	work, err = s.EventWork(t.Context(), "crm", 10)
	must(t, err)
	must(t, s.SettleEvents(t.Context(), 0, "crm", customer.EventReport{
		From: work.Position, To: work.Position, Due: []customer.EventOutcome{{Event: work.Due[0].Event, Note: "status 500", Dead: true}},
	}))
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"events", "list"}, exitOK, string(id) + "  version 1  customer.created"},
		{[]string{"events", "list", "--since", "2020-01-01T00:00:00Z", "--json"}, exitOK, `"customer_id":"` + string(id)},
		{[]string{"events", "list", "--since", "2099-01-01T00:00:00Z"}, exitOK, ""},
		{[]string{"events", "list", "--since", "yesterday"}, exitUsage, "--since: expected a time"},
		{[]string{"events", "targets"}, exitOK, "crm  0 unread  0 waiting  1 dead"},
		{[]string{"events", "dead"}, exitOK, "after 2 attempts: status 500"},
		{[]string{"events", "dead", "--target", "other"}, exitOK, ""},
		{[]string{"events", "dead", "--json"}, exitOK, `"why":"status 500"`},
		{[]string{"events", "replay"}, exitUsage, "--since"},
		{[]string{"events", "replay", "--since", "1h", "--target", "other"}, exitFailed, `there is no target "other"`},
		{[]string{"events", "replay", "--since", "1h", "--target", "crm"}, exitOK, "delivers 1 events again, to crm."},
		{[]string{"events", "targets", "--json"}, exitOK, `"dead":0,"oldest":"20`},
	} {
		got := runProgram(t, env, test.args...)
		if said := got.stdout + got.stderr; got.code != test.code || !strings.Contains(said, test.want) || test.want == "" && said != "" {
			t.Errorf("%v: %+v", test.args, got)
		}
	}
}

func TestTargetsAndKeysAreChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ env, want string }{
		{"CUSTOMERSYNC_EVENT_TARGETS=crm http://crm.example " + targetSecret, "https"},
		{"CUSTOMERSYNC_EVENT_TARGETS=crm https://a.example " + targetSecret + ", crm https://b.example " + targetSecret, "must be there once"},
		{"CUSTOMERSYNC_EVENT_TARGETS=crm https://a.example hush-hush", "whsec_"},
		{"CUSTOMERSYNC_ERASE_KEYS=" + eraseKey + ",aHVzaC1odXNo", "32 bytes in base64"},
	} {
		got := runProgram(t, []string{"DATABASE_URL=postgres://u@h/d?sslmode=disable", test.env}, "keys", "list")
		if got.code != exitUsage || !strings.Contains(got.stderr, test.want) || strings.Contains(got.stderr, targetSecret) || strings.Contains(got.stderr, "hush") || strings.Contains(got.stderr, "aHVzaC1odXNo") {
			t.Errorf("%s: %+v", test.env, got)
		}
	}
}
