package auth0sync_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
)

func directory(t *testing.T, h http.Handler) *auth0sync.Directory {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return auth0sync.NewDirectory(auth0sync.DirectoryConfig{
		BaseURL: server.URL, ClientID: "sim-client", ClientSecret: "sim-secret", Share: 1, Metrics: prometheus.NewRegistry(),
	})
}

func tenant(t *testing.T, o auth0sim.Options) *auth0sim.Tenant {
	t.Helper()
	sim := auth0sim.New(o)
	t.Cleanup(sim.Close)
	return sim
}

func signUp(t *testing.T, sim *auth0sim.Tenant, s auth0sim.SignUp) auth0sim.User {
	t.Helper()
	u, err := sim.SignUp(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestSearchIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	var emails []string
	for i := range 50 {
		emails = append(emails, fmt.Sprintf("somebody-with-a-rather-long-name-%d@a-rather-long-domain.example.com", i))
	}
	tests := map[string]struct {
		options auth0sim.Options
		each    int // users of each address
		calls   int // at least
	}{
		"one page":                    {auth0sim.Options{}, 1, 1},
		"several pages":               {auth0sim.Options{}, 5, 3},
		"more than search ever tells": {auth0sim.Options{}, 25, 4},
		"a query too long for a URL":  {auth0sim.Options{MaxURL: 1500}, 1, 4},
		"a query with too many terms": {auth0sim.Options{MaxTerms: 20}, 1, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := tenant(t, test.options)
			for _, email := range emails {
				for range test.each {
					signUp(t, sim, auth0sim.SignUp{Email: strings.ToUpper(email[:1]) + email[1:], Connection: auth0sim.Google})
				}
			}
			found, err := directory(t, sim).Search(t.Context(), emails)
			if err != nil || len(found) != 50*test.each {
				t.Errorf("%d users, %v", len(found), err)
			}
			if n := sim.Calls()["GET /api/v2/users"]; n < test.calls {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestMoreUsersOfOneAddressThanSearchTellsIsAnError(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{})
	for range 1001 {
		signUp(t, sim, auth0sim.SignUp{Email: "ada@example.com", Connection: auth0sim.Google})
	}
	if found, err := directory(t, sim).Search(t.Context(), []string{"ada@example.com"}); err == nil {
		t.Errorf("%d users and no error", len(found))
	}
}

func TestPagesWithoutEndAreGivenUp(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{})
	signUp(t, sim, auth0sim.SignUp{Email: "ada@example.com"})
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{
		Endpoint: "GET /api/v2/users", Body: `{"total":999,"users":[{"user_id":"auth0|1","email":"ada@example.com"}]}`,
	}}})
	found, err := directory(t, sim).Search(t.Context(), []string{"ada@example.com"})
	if calls := sim.Calls()["GET /api/v2/users"]; !errors.Is(err, auth0sync.ErrUnavailable) || calls > 10 {
		t.Errorf("%d users, %v, after %d calls", len(found), err, calls)
	}
}

func TestIDsAreSentAsTheyAre(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{})
	d := directory(t, sim)
	for _, id := range []string{"auth0|1", "samlp|acme|Ada Lovelace", "adfs|john@fabrikam.com", "oidc|x|a/b?c#d%2F+é", "waad|.."} {
		signUp(t, sim, auth0sim.SignUp{UserID: id, Connection: auth0sim.Google})
		if u, err := d.ByID(t.Context(), id); err != nil || u.ID != id {
			t.Errorf("%q: %q, %v", id, u.ID, err)
		}
	}
	if _, err := d.ByID(t.Context(), "auth0|nobody"); !errors.Is(err, auth0sync.ErrUserNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestEmailsAreSentAsTheyAre(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{})
	d := directory(t, sim)
	for _, email := range []string{"ada+shop@example.com", "a&b=c@example.com", "o'neill@example.com", "a*b@example.com", "ada@bücher.de"} {
		signUp(t, sim, auth0sim.SignUp{Email: email, Connection: auth0sim.Google})
		byEmail, err1 := d.ByEmail(t.Context(), email)
		searched, err2 := d.Search(t.Context(), []string{email})
		if err := errors.Join(err1, err2); err != nil || len(byEmail) != 1 || len(searched) != 1 {
			t.Errorf("%q: %d by e-mail, %d searched, %v", email, len(byEmail), len(searched), err)
		}
	}
}

// Whatever Auth0, or somebody in between, answers: an error, never "nobody".
func TestRubbishIsNeverNobody(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]auth0sim.Fault{
		"HTML":                    {Body: "<html>", ContentType: "text/html"},
		"an empty body":           {Body: " "},
		"null":                    {Body: "null"},
		"a number":                {Body: "1"},
		"a text":                  {Body: `"x"`},
		"another shape":           {Body: `{"users":null,"total":0}`},
		"no total":                {Body: `{"users":[]}`},
		"a total that is not met": {Body: `{"users":[],"total":3}`},
		"null users":              {Body: `[null]`},
		"an object for an e-mail": {Body: `[{"user_id":"a|b","email":{}}]`},
		"another user":            {Body: `{"user_id":"auth0|other","email":"ada@example.com","email_verified":true,"users":[{}],"total":1}`},
		"no content":              {Status: 204, Body: " "},
		"cut":                     {CutAfter: 20},
		"a redirect":              {Location: "http://127.0.0.1:1/"},
		"400":                     {Status: 400},
		"500":                     {Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := tenant(t, auth0sim.Options{})
			signUp(t, sim, auth0sim.SignUp{Email: "ada@example.com", UserID: "auth0|1"})
			d := directory(t, sim)
			sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{fault}})
			if found, err := d.ByEmail(t.Context(), "ada@example.com"); err == nil {
				t.Errorf("by e-mail: %+v", found)
			}
			if found, err := d.Search(t.Context(), []string{"ada@example.com"}); err == nil {
				t.Errorf("search: %+v", found)
			}
			if found, err := d.ByID(t.Context(), "auth0|1"); err == nil || errors.Is(err, auth0sync.ErrUserNotFound) {
				t.Errorf("by id: %+v, %v", found, err)
			}
		})
	}
}

// What a connection adds to a profile may have names that only look like Auth0's.
func TestAttackAttributesThatLookLikeAuth0sOwn(t *testing.T) {
	t.Parallel()
	const own = `"user_id":"samlp|evil","email":"ada@example.com","email_verified":false,"blocked":true,"identities":[{"provider":"samlp","connection":"evil","user_id":"evil"}]`
	for name, attribute := range map[string]string{
		"capitals":          `"EMAIL_VERIFIED":true,"Blocked":false`,
		"a long s":          `"app_metadata":{},"app_metadata ":{},"identitieſ":[{"provider":"auth0"}]`,
		"a kelvin sign":     `"bloc\u212Aed":false`,
		"another customer":  `"App_Metadata":{"customer_id":"` + string(ada) + `"}`,
		"escaped":           `"\u0041pp_metadata":{"customer_id":"` + string(ada) + `"}`,
		"in metadata":       `"user_metadata":{"customer_id":"` + string(ada) + `"},"app_metadata":{"Customer_ID":"` + string(ada) + `"}`,
		"other identities":  `"Identities":[{"provider":"auth0","connection":"db","user_id":"1"}]`,
		"another's user id": `"USER_ID":"auth0|1"`,
		"another's address": `"Email":"eve@example.com"`,
	} {
		sim := tenant(t, auth0sim.Options{})
		d := directory(t, sim)
		for _, body := range []string{`[{` + own + `,` + attribute + `}]`, `[{` + attribute + `,` + own + `}]`} {
			sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /api/v2/users-by-email", Status: 200, Body: body}}})
			found, err := d.ByEmail(t.Context(), "ada@example.com")
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %+v, %v", name, found, err)
			}
			u := found[0]
			if u.ID != "samlp|evil" || u.Email != "ada@example.com" || u.EmailVerified || !u.Blocked || u.CustomerID != "" || len(u.Identities) != 1 || u.Identities[0].Provider != "samlp" {
				t.Errorf("%s: %+v", name, u)
			}
		}
	}
}

// The token of the Management API opens every user: it must not follow a redirect.
func TestAttackARedirectTakesTheTokenNowhere(t *testing.T) {
	t.Parallel()
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		sim := tenant(t, auth0sim.Options{})
		d := directory(t, sim)
		for _, endpoint := range []string{"POST /oauth/token", ""} {
			sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: endpoint, Status: status, Location: elsewhere.URL + "/api/v2/users-by-email"}}})
			if _, err := d.ByEmail(t.Context(), "ada@example.com"); err == nil {
				t.Errorf("%d by e-mail: no error", status)
			}
			if _, err := d.Logs(t.Context(), "1"); err == nil {
				t.Errorf("%d of the logs: no error", status)
			}
		}
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestTroubleWithTheTokenIsToldApart(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{ClientSecret: "another"})
	_, err := directory(t, sim).ByID(t.Context(), "auth0|1")
	if !errors.Is(err, auth0sync.ErrUnauthorized) || !strings.Contains(err.Error(), "AUTH0_CLIENT_SECRET") || strings.Contains(err.Error(), "sim-secret") {
		t.Errorf("wrong secret: %v", err)
	}
	sim = tenant(t, auth0sim.Options{})
	sim.SetScopes([]string{"read:logs"})
	if _, err = directory(t, sim).ByID(t.Context(), "auth0|1"); !errors.Is(err, auth0sync.ErrUnauthorized) || !strings.Contains(err.Error(), "read:users") {
		t.Errorf("missing scope: %v", err)
	}
	sim = tenant(t, auth0sim.Options{})
	sim.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "POST /oauth/token", Status: 500}}})
	if _, err = directory(t, sim).ByID(t.Context(), "auth0|1"); !errors.Is(err, auth0sync.ErrUnavailable) {
		t.Errorf("token endpoint down: %v", err)
	}
}

func TestAnObservationIsDatedByAuth0(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Options{})
	d := directory(t, sim)
	u := signUp(t, sim, auth0sim.SignUp{Email: "ada@example.com"})
	young, err := d.ByID(t.Context(), u.ID)
	sim.Advance(time.Hour)
	old, err2 := d.ByID(t.Context(), u.ID)
	if err := errors.Join(err, err2); err != nil || !young.Fresh() || old.Fresh() || !slices.Equal(young.Identities, old.Identities) {
		t.Errorf("%+v, %+v, %v", young, old, err)
	}
}
