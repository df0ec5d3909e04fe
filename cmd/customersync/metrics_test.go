package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/api/client"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

func TestThePageOfMetricsIsTheRegistrys(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/metrics.md")
	must(t, err)
	want := runProgram(t, nil, "metrics", "--markdown")
	if want.code != exitOK || !strings.Contains(string(page), "<!-- metrics -->\n"+want.stdout+"<!-- /metrics -->") {
		t.Errorf("deploy/docs/metrics.md is not as customersync metrics --markdown has it: make docs\n%s", want.stderr)
	}
}

// What the daemon shows is what the page lists, and the other way round but for
// series that come with what they count.
func TestAScrapeShowsWhatThePageLists(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL="+dsn))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	listed := map[string]bool{}
	all, err := catalogue()
	must(t, err)
	for _, m := range all {
		listed[m.name] = true
	}
	_, scrape := get(t, d.ops+"/metrics")
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(scrape, -1) {
		if !listed[found[1]] && !strings.HasPrefix(found[1], "process_") { // those depend on the system
			t.Errorf("%s is not listed", found[1])
		}
	}
	for _, series := range []string{
		"customersync_database_up 1", `customersync_pending_customers{reason="several_users"} 0`, "customersync_inbox_waiting 0",
		`customersync_runs_total{kind="promote",result="failed"} 0`, `customersync_lease_held{lease="worker"}`,
		`go_sql_max_open_connections{db_name="customersync"}`, "customersync_auth0_calls_suspended 0",
	} {
		if !strings.Contains(scrape, "\n"+series) {
			t.Errorf("no %s in the scrape", series)
		}
	}
}

func TestNoMetricHasALabelForAPerson(t *testing.T) {
	t.Parallel()
	all, err := catalogue()
	must(t, err)
	known := map[string]bool{}
	for _, label := range strings.Fields("endpoint status outcome lane result code route method lease found_by reason kind source version path checksum target state") {
		known[label] = true
	}
	for _, m := range all {
		for _, label := range m.labels {
			if !known[label] {
				t.Errorf("%s has a label %s: is it the same for all persons?", m.name, label)
			}
		}
	}
	if len(customer.Reasons()) > 20 {
		t.Error("a series for each reason is too many")
	}
}

// The hash is the one that openssl makes, as the runbook says.
func TestARequestIsLoggedWithAHashOfTheAddressItNames(t *testing.T) {
	t.Parallel()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_LOG_KEY=0123456789abcdef"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	shop := clientOf(t, d, openDSN(t, dsn), sim, "read:customers")
	if _, err := shop.Customer(t.Context(), client.ByEmail("Ada@EXAMPLE.com"), client.RequestID("hashed")); !errors.Is(err, client.ErrCustomerNotFound) {
		t.Error(err)
	}
	openssl := hmac.New(sha256.New, []byte("0123456789abcdef"))
	openssl.Write([]byte("ada@example.com"))
	want := fmt.Sprintf(`"email_hash":"%x"`, openssl.Sum(nil)[:8])
	eventually(t, "the request in the log", func() bool {
		return regexp.MustCompile(`(?m)^.*"request_id":"hashed".*` + want + `.*$`).MatchString(d.log.String())
	})
	if strings.Contains(strings.ToLower(d.log.String()), "ada@") {
		t.Error("the address is in the log")
	}
}
