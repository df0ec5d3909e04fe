package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

const erasures = "/customer/v1/erasures"

func TestAnErasedCustomerIsGoneButForItsProof(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, token := s.person("ada.planted@example.com", true)
	created := s.do("POST", customers, token, `{"first_name":"Adaplanted","last_name":"Lovelaceplanted"}`, "Idempotency-Key", "k")
	id := created.id(t)
	eraser := s.machine("erase:customers")

	proof := s.do("DELETE", customers+"/"+id+"?erase=true", eraser, "", "X-Request-Id", "req-9").data(t)
	if proof["customer_id"] != id || proof["request_id"] != "req-9" || !strings.HasPrefix(proof["actor"].(string), "app:") {
		t.Errorf("proof %v", proof)
	}
	for _, text := range []string{"planted", strings.TrimPrefix(ada.ID, "auth0|")} {
		if dump := storetest.Dump(t, s.dsn); strings.Contains(dump, text) {
			t.Errorf("%q is left", text)
		}
	}
	for _, again := range []answer{
		s.do("DELETE", customers+"/"+id+"?erase=true", eraser, ""),
		s.do("GET", erasures+"/"+id, eraser, ""),
	} {
		if got := again.data(t); got["erased_at"] != proof["erased_at"] || got["request_id"] != "req-9" {
			t.Errorf("again %v", got)
		}
	}
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 404, "customer_not_found")
	s.do("GET", customers+"/"+id+"/explain", s.machine(), "").want(t, 404, "customer_not_found")
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 404, "customer_not_found")
	s.do("POST", customers, token, `{"first_name":"Adaplanted","last_name":"Lovelaceplanted"}`).want(t, 409, "customer_erased")
	if last := s.events("", "10").Data; len(last) != 1 || last[0].Type != "customer.erased" || last[0].Customer != id {
		t.Errorf("events %+v", last)
	}
}

// The shop may make the customer again, but the user that Auth0 still has is not
// linked to it until the person signs in, or somebody says so.
// What /userinfo says is new whenever it is asked; the token that it is asked by is not.
func TestATokenFromBeforeAnErasureMakesNoCustomer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, token := s.person("ada@example.com", true)
	claims := map[string]any{"jti": "another", "email": "ada@example.com", "email_verified": true}
	said := s.tenant.MintUserToken(ada.ID, auth0sim.TokenOptions{Claims: claims})
	delete(claims, "email")
	asked := s.tenant.MintUserToken(ada.ID, auth0sim.TokenOptions{Claims: claims})
	id := s.do("POST", customers, token, `{"first_name":"Ada","last_name":"Lovelace"}`).id(t)
	s.do("DELETE", customers+"/"+id+"?erase=true", s.machine("erase:customers"), "").want(t, 200, "")
	for _, old := range []string{token, said, asked} {
		s.do("POST", customers, old, `{"first_name":"Ada","last_name":"Lovelace"}`).want(t, 409, "customer_erased")
	}
}

func TestWhoComesBackAfterAnErasureIsSomebodyNew(t *testing.T) {
	t.Parallel()
	s := newService(t)
	ada, token := s.person("ada@example.com", true)
	first := s.do("POST", customers, token, `{"first_name":"Ada","last_name":"Lovelace"}`).id(t)
	s.do("DELETE", customers+"/"+first+"?erase=true", s.machine("erase:customers"), "").want(t, 200, "")

	again := s.create("ada@example.com")
	s.lookOnce()
	if why := s.do("GET", customers+"/"+again+"/explain", s.machine(), "").data(t); why["reason"] != "user_erased" || why["sentence"] != customer.UserErased.Meaning().Sentence {
		t.Fatalf("got %v", why)
	}
	s.do("PATCH", customers+"/"+again, s.machine(), `{"auth_user_id":"`+ada.ID+`"}`).want(t, 200, "")

	bob, _ := s.person("bob@example.com", true)
	old := s.tenant.MintUserToken(bob.ID, auth0sim.TokenOptions{})
	second := s.do("POST", customers, old, `{"first_name":"Bob","last_name":"Byrne"}`).id(t)
	s.do("DELETE", customers+"/"+second+"?erase=true", s.machine("erase:customers"), "").want(t, 200, "")
	s.tenant.Advance(2 * time.Second) // tokens tell seconds
	newer := s.tenant.MintUserToken(bob.ID, auth0sim.TokenOptions{})
	third := s.do("POST", customers, newer, `{"first_name":"Bob","last_name":"Byrne"}`).id(t)
	if got := s.do("GET", customers+"/"+third, s.machine(), "").data(t); got["customer_lifecycle"] != "active" || third == second {
		t.Errorf("got %v", got)
	}
}

func TestErasingIsForThoseWhoMay(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, token := s.person("ada@example.com", true)
	id := s.do("POST", customers, token, `{"first_name":"Ada","last_name":"Lovelace"}`).id(t)
	path := customers + "/" + id + "?erase=true"
	s.do("DELETE", path, s.machine(), "").want(t, 403, "forbidden") // delete:customers is not enough
	s.do("DELETE", path, token, "").want(t, 403, "forbidden")       // nor is it to be oneself
	s.do("DELETE", customers+"/me?erase=true", token, "").want(t, 403, "forbidden")
	s.do("GET", erasures+"/"+id, s.machine(), "").want(t, 403, "forbidden")
	eraser := s.machine("erase:customers")
	s.do("DELETE", customers+"/"+id+"?erase=yes", eraser, "").want(t, 400, "invalid_query")
	s.do("DELETE", customers+"/"+id+"?erase=true&erase=true", eraser, "").want(t, 400, "invalid_query")
	s.do("DELETE", customers+"/"+id+"?erase=true&auth0=1", eraser, "").want(t, 400, "invalid_query")
	s.do("DELETE", customers+"/"+id+"?auth0=true", s.machine(), "").want(t, 400, "invalid_query")
	s.do("DELETE", path, eraser, "", "If-Match", `"99-000000000000"`).want(t, 412, "precondition_failed")
	s.do("GET", erasures+"/"+id, eraser, "").want(t, 404, "customer_not_found")
	s.do("DELETE", customers+"/00000000-0000-7000-8000-000000000000?erase=true", eraser, "").want(t, 404, "customer_not_found")
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 200, "")
	s.do("DELETE", customers+"?erase=true&email_address=ada@example.com", eraser, "").want(t, 200, "")
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 404, "customer_not_found")
}

func TestWithoutAKeyNobodyIsErased(t *testing.T) {
	t.Parallel()
	s := &service{t: t, dsn: storetest.DSN(t)}
	var err error
	s.store, err = store.Open(store.Options{DSN: s.dsn, PgBouncer: storetest.PgBouncer()})
	must(t, err)
	t.Cleanup(func() { _ = s.store.Close() })
	s.serve()
	id := s.create("ada@example.com")
	s.do("DELETE", customers+"/"+id+"?erase=true", s.machine("erase:customers"), "").want(t, 501, "erase_not_set_up")
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 200, "")
}

// The Auth0 user goes first: without it nothing is erased.
func TestTheAuth0UserGoesWithTheCustomer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	eraser := s.machine("erase:customers")
	ada, token := s.person("ada@example.com", true)
	id := s.do("POST", customers, token, `{"first_name":"Ada","last_name":"Lovelace"}`).id(t)
	path := customers + "/" + id + "?erase=true&auth0=true"
	s.tenant.SetScopes([]string{"read:users"})
	s.do("DELETE", path, eraser, "").want(t, 501, "auth0_refuses")
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 200, "")
	s.do("DELETE", customers+"/"+id, s.machine(), "").want(t, 200, "")

	other := s.create("other@example.com")
	s.do("PATCH", customers+"/"+other, s.machine(), `{"auth_user_id":"`+ada.ID+`"}`).want(t, 200, "")
	s.do("DELETE", path, eraser, "").want(t, 409, "auth_user_id_taken")
	s.do("PATCH", customers+"/"+other, s.machine(), `{"auth_user_id":null}`).want(t, 200, "")

	s = s.replica() // with a tenant and a token of its own
	eraser = s.machine("erase:customers")
	bob, token := s.person("bob@example.com", true)
	id = s.do("POST", customers, token, `{"first_name":"Bob","last_name":"Byrne"}`).id(t)
	s.do("DELETE", customers+"/"+id+"?erase=true&auth0=true", eraser, "").want(t, 200, "")
	if _, there := s.tenant.User(bob.ID); there {
		t.Error("the Auth0 user is still there")
	}
	s.do("GET", customers+"/"+id, s.machine(), "").want(t, 404, "customer_not_found")
}
