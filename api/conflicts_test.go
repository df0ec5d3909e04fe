package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

const conflicts = "/customer/v1/conflicts"

// list is the data of a list.
func (a answer) list(t *testing.T) []map[string]any {
	t.Helper()
	var body struct{ Data []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 200 {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	return body.Data
}

// torn makes a customer that two Auth0 users qualify for.
func (s *service) torn(address string) (id string, one, other auth0sim.User) {
	s.t.Helper()
	yes := true
	one, _ = s.person(address, true)
	other, err := s.tenant.SignUp(auth0sim.SignUp{Email: address, EmailVerified: &yes, Connection: "google-oauth2"})
	must(s.t, err)
	id = s.create(address)
	s.lookOnce()
	return id, one, other
}

func (s *service) lookOnce() {
	s.t.Helper()
	_, err := s.worker.RunOnce(s.t.Context(), worker.Order{Kind: worker.KindPromote})
	must(s.t, err)
}

func TestAConflictIsListedWithItsCandidates(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, one, other := s.torn("ada@example.com")
	s.create("nobody@example.com")
	got := s.do("GET", conflicts, s.machine("read:customers"), "").list(t)
	if len(got) != 1 || got[0]["customer_id"] != id || got[0]["reason"] != "several_users" || got[0]["sentence"] != customer.SeveralUsers.Meaning().Sentence {
		t.Fatalf("got %v", got)
	}
	candidates, _ := json.Marshal(got[0]["candidates"])
	for _, u := range []auth0sim.User{one, other} {
		if !strings.Contains(string(candidates), u.ID) {
			t.Errorf("%s is missing in %s", u.ID, candidates)
		}
	}
	if !strings.Contains(string(candidates), `["google-oauth2"]`) || !strings.Contains(string(candidates), `"email_verified":true`) {
		t.Errorf("candidates %s", candidates)
	}
	explained, _ := json.Marshal(s.do("GET", customers+"/"+id+"/explain", s.machine(), "").data(t)["candidates"])
	if string(explained) != string(candidates) {
		t.Errorf("explained with %s", explained)
	}
	s.do("GET", conflicts, s.machine("update:customers"), "").want(t, 403, "forbidden")
	s.do("GET", conflicts+"?limit=0", s.machine(), "").want(t, 400, "invalid_query")
}

func TestConflictsComeInPages(t *testing.T) {
	t.Parallel()
	s := newService(t)
	want := map[string]bool{}
	for _, name := range []string{"a", "b", "c"} {
		id, _, _ := s.torn(name + "@example.com")
		want[id] = true
	}
	path, pages := conflicts+"?limit=1", 0
	for path != "" && pages < 10 {
		a := s.do("GET", path, s.machine(), "")
		for _, one := range a.list(t) {
			id, _ := one["customer_id"].(string)
			delete(want, id)
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
		pages++
	}
	if pages != 3 || len(want) != 0 {
		t.Errorf("%d pages, without %v", pages, want)
	}
}

func TestAConflictIsSettledByAPerson(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, _, other := s.torn("ada@example.com")
	closed, _, _ := s.torn("bob@example.com")
	resolve := func(id string) string { return conflicts + "/" + id + "/resolve" }
	s.do("POST", resolve(id), s.machine(), `{"auth_user_id":"`+other.ID+`","why":"she said so on the phone"}`, "X-Request-Id", "req-9").want(t, 200, "")
	s.do("POST", resolve(closed), s.machine(), `{"action":"close","why":"made by mistake"}`).want(t, 200, "")
	want := map[string]string{id: "she said so on the phone", closed: "made by mistake"}
	for id, why := range want {
		history, err := s.store.History(t.Context(), customer.ID(id))
		must(t, err)
		last := history[len(history)-1]
		if last.Cause.Why != why || last.Cause.Kind != customer.ByAPI || !strings.HasPrefix(last.Cause.Actor, "app:") {
			t.Errorf("history says %+v", last.Cause)
		}
	}
	if got := s.do("GET", customers+"/"+id, s.machine(), "").data(t); got["auth_user_id"] != other.ID || got["customer_lifecycle"] != "active" {
		t.Errorf("got %v", got)
	}
	if got := s.do("GET", conflicts, s.machine(), "").list(t); len(got) != 0 {
		t.Errorf("still in conflict: %v", got)
	}
	if got := s.do("GET", customers+"/"+id+"/explain", s.machine(), "").data(t)["candidates"]; len(got.([]any)) != 0 {
		t.Errorf("candidates stay behind: %v", got)
	}
	s.do("POST", resolve(id), s.machine(), `{"auth_user_id":"`+other.ID+`","why":"again"}`).want(t, 409, "not_in_conflict")
	s.do("POST", resolve(closed), s.machine(), `{"action":"look_again"}`).want(t, 409, "not_in_conflict")
}

func TestAConflictThatTheTenantSettlesIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, one, other := s.torn("ada@example.com")
	must(t, s.tenant.Delete(other.ID))
	s.do("POST", conflicts+"/"+id+"/resolve", s.machine(), `{"action":"look_again"}`).want(t, 200, "")
	s.lookOnce()
	if got := s.do("GET", customers+"/"+id, s.machine(), "").data(t); got["auth_user_id"] != one.ID {
		t.Errorf("got %v", got)
	}
}

func TestAUserThatIsTakenNamesItsHolder(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, _ := s.person("ada@example.com", true)
	holder := s.create("other@example.com")
	s.do("PATCH", customers+"/"+holder, s.machine(), `{"auth_user_id":"`+ada.ID+`"}`).want(t, 200, "")
	id := s.create("ada@example.com")
	s.lookOnce()
	got, _ := json.Marshal(s.do("GET", conflicts, s.machine(), "").list(t))
	if !strings.Contains(string(got), `"held_by":"`+holder+`"`) || !strings.Contains(string(got), `"reason":"user_taken"`) {
		t.Errorf("got %s", got)
	}
	s.do("POST", conflicts+"/"+id+"/resolve", s.machine(), `{"auth_user_id":"`+ada.ID+`","why":"x"}`).want(t, 409, "auth_user_id_taken")
}

func TestABadResolutionIsRefused(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, one, _ := s.torn("ada@example.com")
	tests := map[string]struct {
		body, token string
		status      int
		code        string
	}{
		"nothing":                       {`{}`, s.machine(), 422, "invalid_field"},
		"both":                          {`{"auth_user_id":"` + one.ID + `","action":"close","why":"x"}`, s.machine(), 422, "invalid_field"},
		"no reason":                     {`{"auth_user_id":"` + one.ID + `"}`, s.machine(), 422, "invalid_field"},
		"an empty reason":               {`{"action":"close","why":"  "}`, s.machine(), 422, "invalid_field"},
		"a long reason":                 {`{"action":"close","why":"` + strings.Repeat("x", 501) + `"}`, s.machine(), 422, "invalid_field"},
		"another action":                {`{"action":"merge","why":"x"}`, s.machine(), 422, "invalid_field"},
		"not a candidate":               {`{"auth_user_id":"auth0|nobody","why":"x"}`, s.machine(), 422, "invalid_field"},
		"an unknown member":             {`{"action":"close","why":"x","force":true}`, s.machine(), 400, "unknown_member"},
		"without permission":            {`{"action":"look_again"}`, s.machine("read:customers"), 403, "forbidden"},
		"closing without that":          {`{"action":"close","why":"x"}`, s.machine("update:customers"), 403, "forbidden"},
		"a person about itself (no me)": {`{"action":"look_again"}`, s.tenant.MintUserToken(one.ID, auth0sim.TokenOptions{}), 403, "forbidden"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.do("POST", conflicts+"/"+id+"/resolve", test.token, test.body).want(t, test.status, test.code)
		})
	}
	s.do("POST", conflicts+"/00000000-0000-7000-8000-000000000000/resolve", s.machine(), `{"action":"look_again"}`).want(t, 404, "customer_not_found")
	s.do("POST", conflicts+"/me/resolve", s.machine(), `{"action":"look_again"}`).want(t, 404, "customer_not_found")
}
