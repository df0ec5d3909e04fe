package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
	"github.com/ahiko-io/customersync/worker"
)

func TestStatusSaysHowTheWholeStands(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env := []string{"DATABASE_URL=" + dsn}
	pending(t, s, "ada@example.com")
	well := runProgram(t, env, "status")
	for _, want := range []string{"auth_pending 1  active 0", "waiting", "Auth0 has not been asked", "Nothing needs a person."} {
		if well.code != exitOK || !strings.Contains(well.stdout, want) {
			t.Errorf("no %q in %+v", want, well)
		}
	}
	torn(t, s, "bob@example.com")
	ill := runProgram(t, env, "status")
	if ill.code != exitPartial || !strings.Contains(ill.stdout, "A person is needed. Customers in conflict: 1.") {
		t.Errorf("%+v", ill)
	}
	var told struct {
		Customers   map[string]int
		Conflicts   int
		Pending     []struct{ Reason, Sentence string }
		NeedsPerson []string `json:"needs_person"`
		Inbox       map[string]any
	}
	machine := runProgram(t, env, "status", "--json")
	err := json.Unmarshal([]byte(machine.stdout), &told)
	if err != nil || machine.code != exitPartial || told.Customers["auth_pending"] != 2 || told.Conflicts != 1 ||
		len(told.Pending) != 2 || told.Pending[1].Reason != "several_users" || len(told.NeedsPerson) != 1 || told.Inbox["new"] != 0.0 {
		t.Errorf("%v, %+v", err, machine)
	}
}

func TestStatusSaysWhoWantedARun(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	_, err := s.StartRun(t.Context(), customer.Run{Kind: worker.KindSync, AskedBy: "Joan", Why: "they called"}, 0)
	must(t, err)
	env := []string{"DATABASE_URL=" + dsn}
	if got := runProgram(t, env, "status"); got.code != exitOK || !strings.Contains(got.stdout, "; wanted by Joan; last success never") {
		t.Errorf("%+v", got)
	}
	if got := runProgram(t, env, "status", "--json"); !strings.Contains(got.stdout, `"asked_by":"Joan"`) || !strings.Contains(got.stdout, `"why":"they called"`) {
		t.Errorf("%+v", got)
	}
}
