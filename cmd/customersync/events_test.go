package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/api/client"
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
	shop := clientOf(t, d, s, sim, "read:customers", "create:customers", "update:customers", "erase:customers")
	eventually(t, "signing keys", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == http.StatusOK })
	id, err := shop.Create(t.Context(), client.NewCustomer{FirstName: "Ada", LastName: "Lovelace"})
	must(t, err)
	must(t, shop.Update(t.Context(), client.ByID(id), client.LastName("King")))
	for page, err := range shop.Events(t.Context(), "", 0) {
		must(t, err)
		for _, listed := range page.Events {
			var delivered client.Event
			words := json.NewDecoder(strings.NewReader(<-came))
			words.DisallowUnknownFields()
			must(t, words.Decode(&delivered))
			if delivered != listed || listed.CustomerID != id {
				t.Errorf("delivered %v, in the feed %v", delivered, listed)
			}
		}
	}
	_, err = shop.Erase(t.Context(), client.ByID(id))
	must(t, err)
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
