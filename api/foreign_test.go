package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

const (
	nobodysID      = "0198c0de-0000-7000-8000-00000000dead"
	nobodysAddress = "nobody@example.com"
)

// owner is a customer and its person.
type owner struct{ id, address, userID, token string }

// household makes customers in every state, each with a person, and marks what is
// theirs by the name.
func (s *service) household() map[string]owner {
	s.t.Helper()
	all := map[string]owner{}
	for _, name := range []string{"linked", "other", "pending", "unverified", "closed"} {
		address := name + "@private.example"
		user, token := s.person(address, name != "unverified")
		o := owner{address: address, userID: user.ID, token: token}
		all["impostor of "+name] = owner{address: address, token: s.personBy(auth0sim.Enterprise, address)}
		o.id = s.do("POST", customers, s.machine(), fmt.Sprintf(`{"first_name":"Secret%[1]s","last_name":"Private%[1]s","email_address":%[2]q}`, name, address)).id(s.t)
		if name != "pending" && name != "unverified" {
			s.do("PATCH", customers+"/"+o.id, s.machine(), fmt.Sprintf(`{"auth_user_id":%q}`, user.ID)).want(s.t, http.StatusOK, "")
		}
		all[name] = o
	}
	s.do("DELETE", customers+"/"+all["closed"].id, s.machine(), "").want(s.t, http.StatusOK, "")
	_, token := s.person("stranger@private.example", true)
	all["stranger"] = owner{address: "stranger@private.example", token: token}
	return all
}

// foreignCall is a call on a customer by id or by address; needs is the
// permission that opens it to anyone's.
type foreignCall struct {
	method, needs string
	path, body    string // with {id} and {address}
	header        []string
}

func foreignCalls() map[string]foreignCall {
	const byID, byAddress = customers + "/{id}", customers + "?email_address={address}"
	const read, update, remove, erase = "read:customers", "update:customers", "delete:customers", "erase:customers"
	return map[string]foreignCall{
		"get":                  {"GET", read, byID, "", nil},
		"get by address":       {"GET", read, byAddress, "", nil},
		"get if changed":       {"GET", read, byID, "", []string{"If-None-Match", "*"}},
		"wait":                 {"GET", read, byID + "?wait_for=active&timeout=0s", "", nil},
		"wait by address":      {"GET", read, byAddress + "&wait_for=active&timeout=0s", "", nil},
		"explain":              {"GET", read, byID + "/explain", "", nil},
		"rename":               {"PATCH", update, byID, `{"first_name":"Mine"}`, nil},
		"rename by address":    {"PATCH", update, byAddress, `{"last_name":"Mine"}`, nil},
		"rename if as it was":  {"PATCH", update, byID, `{"first_name":"Mine"}`, []string{"If-Match", `"1-x"`}},
		"link":                 {"PATCH", update, byID, `{"auth_user_id":"auth0|mine"}`, nil},
		"unlink":               {"PATCH", update, byID, `{"auth_user_id":null}`, nil},
		"close":                {"DELETE", remove, byID, "", nil},
		"close by address":     {"DELETE", remove, byAddress, "", nil},
		"close if as it was":   {"DELETE", remove, byID, "", []string{"If-Match", "*"}},
		"erase":                {"DELETE", erase, byID + "?erase=true", "", nil},
		"erase by address":     {"DELETE", erase, byAddress + "&erase=true", "", nil},
		"erasure":              {"GET", erase, "/customer/v1/erasures/{id}", "", nil},
		"events":               {"GET", read, "/customer/v1/events", "", nil},
		"sync":                 {"POST", update, byID + "/sync", "", nil},
		"resolve":              {"POST", update, "/customer/v1/conflicts/{id}/resolve", `{"action":"look_again"}`, nil},
		"create for another":   {"POST", "create:customers", customers, `{"first_name":"A","last_name":"B","email_address":"{address}"}`, nil},
		"conflicts":            {"GET", read, "/customer/v1/conflicts", "", nil},
		"list":                 {"GET", read, customers, "", nil},
		"list what is pending": {"GET", read, customers + "?customer_lifecycle=auth_pending&limit=10", "", nil},
	}
}

// A call that is added is tried on others' customers too.
func TestEveryCallIsTriedOnOthersCustomers(t *testing.T) {
	t.Parallel()
	paths, ok := newContract(t).document["paths"].(map[string]any)
	if !ok || len(paths) < 10 {
		t.Fatalf("%d paths are documented", len(paths))
	}
	tried := map[string]bool{}
	for _, c := range foreignCalls() {
		path, _, _ := strings.Cut(strings.ReplaceAll(c.path, "{id}", "{customer_id}"), "?")
		tried[c.method+" "+path] = true
	}
	for path, methods := range paths {
		for method := range methods.(map[string]any) {
			call := strings.ToUpper(method) + " " + path
			if strings.HasPrefix(path, "/customer/v1/") && method != "parameters" && !tried[call] {
				t.Errorf("%s is not", call)
			}
		}
	}
}

// Every person and every machine without the permission, by every app, makes
// every call on every customer that is not its own: the answer is byte for byte
// that for a customer that does not exist, and nothing changes.
func TestAttackNobodySeesOrTouchesAnothersCustomer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	people := s.household()
	_, second, err := s.store.CreateAppKey(t.Context(), "second")
	must(t, err)
	staff := s.tenant.MintUserToken("auth0|staff", auth0sim.TokenOptions{Scope: "read:customers"})
	callers := map[string]struct {
		token string
		may   []string
	}{
		"a machine without permission":    {s.machine("read:nothing"), nil},
		"a machine that reads":            {s.machine("read:customers"), []string{"read:customers"}},
		"a machine that updates":          {s.machine("update:customers"), []string{"update:customers"}},
		"a machine with near permissions": {s.machine("read:customers2", "read", "Read:Customers", "read:*", "*"), nil},
		"staff that reads":                {staff, []string{"read:customers"}},
	}
	for name, o := range people {
		callers[name] = struct {
			token string
			may   []string
		}{o.token, nil}
	}
	// A person may make a customer by its own address, whoever verified that.
	own := func(caller, what string, target owner) bool {
		return what == "create for another" && people[caller].address == target.address
	}
	before, pairs := s.contents(), 0
	for caller, with := range callers {
		for what, call := range foreignCalls() {
			for whose, target := range people {
				if slices.Contains(with.may, call.needs) || caller == whose || target.id == "" || own(caller, what, target) {
					continue
				}
				for _, app := range []string{s.appKey, second} {
					foreign := s.onBehalf(with.token, app, call, target)
					missing := s.onBehalf(with.token, app, call, owner{id: nobodysID, address: nobodysAddress})
					if diff := cmp.Diff(missing, foreign, cmp.AllowUnexported(answer{})); diff != "" {
						t.Errorf("%s, %s of %s, differs from a missing one: %s", caller, what, whose, diff)
					}
					if strings.Contains(foreign.body, "private.example") || strings.Contains(foreign.body, "Secret") || foreign.status < 400 {
						t.Errorf("%s, %s of %s: %d %s", caller, what, whose, foreign.status, foreign.body)
					}
					pairs++
				}
			}
		}
	}
	t.Logf("%d calls on others' customers", pairs)
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
}

// onBehalf makes a call, under the same request id each time.
func (s *service) onBehalf(token, app string, call foreignCall, on owner) answer {
	s.t.Helper()
	fill := strings.NewReplacer("{id}", on.id, "{address}", on.address)
	headers := append([]string{"Ahiko-App-Id", app, "X-Request-Id", "same"}, call.header...)
	a := s.do(call.method, fill.Replace(call.path), token, fill.Replace(call.body), headers...)
	a.header = maps.Clone(a.header)
	delete(a.header, "Date")
	return a
}

func TestAttackAnotherPersonsIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, ada := s.person("ada@example.com", true)
	_, eve := s.person("eve@example.com", true)
	_, second, err := s.store.CreateAppKey(t.Context(), "second")
	must(t, err)
	const name = `{"first_name":"A","last_name":"B"}`
	adas := s.do("POST", customers, ada, name, "Idempotency-Key", "k").id(t)
	if eves := s.do("POST", customers, eve, name, "Idempotency-Key", "k").id(t); eves == adas {
		t.Error("Eve got Ada's customer by her key")
	}
	machines := s.do("POST", customers, s.machine(), name, "Idempotency-Key", "k").id(t)
	if other := s.do("POST", customers, s.machine(), name, "Idempotency-Key", "k", "Ahiko-App-Id", second).id(t); other == machines || other == adas {
		t.Error("an app got another's customer by its key")
	}
}

func TestAttackAnotherPersonsAddress(t *testing.T) {
	t.Parallel()
	s := newService(t)
	bobs := s.create("bob@example.com")
	_, eve := s.person("eve@example.com", true)
	s.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{
		Endpoint: "GET /userinfo", Status: http.StatusOK, Body: `{"sub":"auth0|bob","email":"bob@example.com","email_verified":true}`,
	}}})
	s.do("GET", customers+"/"+bobs, eve, "").want(t, http.StatusServiceUnavailable, "userinfo_unavailable")
	s.do("GET", customers+"/me", eve, "").want(t, http.StatusServiceUnavailable, "userinfo_unavailable")
}

func TestAttackAClosedCustomerIsNobodysByItsAddress(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := s.create("ada@example.com")
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, http.StatusOK, "")
	_, ada := s.person("ada@example.com", true)
	for _, path := range []string{customers + "/" + id, customers + "/me", customers + "?email_address=ada@example.com"} {
		s.do("GET", path, ada, "").want(t, http.StatusNotFound, "customer_not_found")
	}
}
