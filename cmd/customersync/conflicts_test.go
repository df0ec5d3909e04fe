package main

import (
	"encoding/json"
	"os/user"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// torn makes a customer that two Auth0 users qualify for.
func torn(t *testing.T, s *store.Store, address string) customer.ID {
	t.Helper()
	id := pending(t, s, address)
	c, err := s.Customer(t.Context(), id)
	must(t, err)
	due, err := s.DueByEmail(t.Context(), c.Email.Key)
	must(t, err)
	_, err = s.Hold(t.Context(), 0, []customer.Hold{{
		Customer: id, Reason: customer.SeveralUsers, Due: due[0].At, Candidates: []customer.Candidate{
			{AuthUserID: "auth0|" + address, Connections: []string{"db"}, EmailVerified: true},
			{AuthUserID: "google-oauth2|" + address, Connections: []string{"google-oauth2"}, EmailVerified: true},
		},
	}})
	must(t, err)
	return id
}

func TestAnOperatorSettlesConflicts(t *testing.T) {
	t.Parallel()
	dsn := storetest.DSN(t)
	s := openDSN(t, dsn)
	env := []string{"DATABASE_URL=" + dsn}
	ada, bob, eve := torn(t, s, "ada@example.com"), torn(t, s, "bob@example.com"), torn(t, s, "eve@example.com")
	list := runProgram(t, env, "conflicts", "list")
	for _, want := range []string{string(ada), "several_users: Several Auth0 users", "google-oauth2|ada@example.com", "verified"} {
		if list.code != 0 || !strings.Contains(list.stdout, want) {
			t.Errorf("no %q in %+v", want, list)
		}
	}
	if explained := runProgram(t, env, "explain", "ada@example.com"); !strings.Contains(explained.stdout, "google-oauth2|ada@example.com") {
		t.Errorf("explain: %+v", explained)
	}
	for name, args := range map[string][]string{
		"nothing decided":    {string(ada), "--why", "x"},
		"two things decided": {string(ada), "--close", "--look-again", "--why", "x"},
		"no reason":          {string(ada), "--close"},
		"not an id":          {"ada@example.com", "--close", "--why", "x"},
	} {
		if got := runProgram(t, env, append([]string{"conflicts", "resolve"}, args...)...); got.code != exitUsage {
			t.Errorf("%s: %+v", name, got)
		}
	}
	resolve := func(code int, id customer.ID, args ...string) {
		t.Helper()
		if got := runProgram(t, env, append([]string{"conflicts", "resolve", string(id)}, args...)...); got.code != code {
			t.Errorf("%v: %+v", args, got)
		}
	}
	resolve(exitFailed, ada, "--link", "auth0|nobody", "--why", "x")
	resolve(exitOK, ada, "--link", "google-oauth2|ada@example.com", "--why", "she said so")
	resolve(exitFailed, ada, "--close", "--why", "too late")
	resolve(exitOK, bob, "--close", "--why", "made by mistake", "--json")
	resolve(exitOK, eve, "--look-again")
	if e, err := s.Explain(t.Context(), eve); err != nil || !e.Looking {
		t.Errorf("%v, %+v", err, e)
	}
	me, err := user.Current()
	must(t, err)
	for id, why := range map[customer.ID]string{ada: "she said so", bob: "made by mistake"} {
		history, err := s.History(t.Context(), id)
		must(t, err)
		if last := history[len(history)-1]; last.Cause != (customer.Cause{Kind: customer.ByOperator, Actor: me.Username, Why: why}) {
			t.Errorf("%+v", last.Cause)
		}
	}
	left := runProgram(t, env, "conflicts", "list", "--json")
	var one struct {
		ID         customer.ID `json:"customer_id"`
		Candidates []struct {
			AuthUserID string `json:"auth_user_id"`
		}
	}
	if err := json.Unmarshal([]byte(left.stdout), &one); err != nil || one.ID != eve || len(one.Candidates) != 2 {
		t.Errorf("%v, %+v", err, left)
	}
}
