package worker_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest"
)

// Among the users that Auth0 shows is one as it promises none. The others are
// linked, however they are looked up, and its own customer waits.
func TestOneUserThatIsNoneSpoilsNoOther(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(user map[string]any){
		"an id that is none":          func(u map[string]any) { u["user_id"] = "poison" },
		"an id with a NUL":            func(u map[string]any) { u["user_id"] = "auth0|\x00" },
		"an id without end":           func(u map[string]any) { u["user_id"] = "auth0|" + strings.Repeat("x", 1000) },
		"no id":                       func(u map[string]any) { delete(u, "user_id") },
		"an id that is a number":      func(u map[string]any) { u["user_id"] = 7 },
		"identities that are none":    func(u map[string]any) { u["identities"] = "auth0" },
		"an identity that is none":    func(u map[string]any) { u["identities"] = []any{7} },
		"a provider that is a number": func(u map[string]any) { u["identities"] = []any{map[string]any{"provider": 7}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := auth0sim.New(auth0sim.Options{})
			t.Cleanup(tenant.Close)
			server := httptest.NewServer(spoiling(tenant, "poison@example.com", spoil))
			t.Cleanup(server.Close)
			tenant.SetBaseURL(server.URL)
			s := storetest.New(t)
			w := world{newWorker(t, s, server.URL, auth0sync.Policy{}), s, tenant}
			var others []customer.ID
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				w.signUp(t, auth0sim.SignUp{Email: name + "@example.com", Connection: auth0sim.Google, CreatedAt: time.Now().Add(-time.Hour)})
				others = append(others, w.enroll(t, name+"@example.com"))
			}
			w.signUp(t, auth0sim.SignUp{Email: "poison@example.com", Connection: auth0sim.Google})
			poisoned := w.enroll(t, "poison@example.com")
			w.runAs(t, "sync") // searches for them
			for _, id := range others {
				if got := w.get(t, id); got.Lifecycle != customer.Active {
					t.Errorf("%s waits: %s", got.Email.Key, w.reason(t, got.Email.Address))
				}
			}
			if got := w.get(t, poisoned); got.Lifecycle != customer.AuthPending {
				t.Errorf("linked to %q", got.AuthUserID)
			}
			w.look(t, "poison@example.com")
			if got := w.reason(t, "poison@example.com"); got == customer.Waiting {
				t.Errorf("waits as %s", got)
			}
		})
	}
}

// spoiling changes one user in whatever the tenant answers.
func spoiling(next http.Handler, email string, spoil func(map[string]any)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/v2/users") {
			next.ServeHTTP(rw, r)
			return
		}
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		var answer any
		if json.Unmarshal(kept.Body.Bytes(), &answer) == nil {
			spoilIn(answer, email, spoil)
		}
		for name, values := range kept.Header() {
			if name != "Content-Length" {
				rw.Header()[name] = values
			}
		}
		rw.WriteHeader(kept.Code)
		body, _ := json.Marshal(answer)
		_, _ = rw.Write(body)
	})
}

func spoilIn(answer any, email string, spoil func(map[string]any)) {
	switch a := answer.(type) {
	case []any:
		for _, one := range a {
			spoilIn(one, email, spoil)
		}
	case map[string]any:
		if a["email"] == email {
			spoil(a)
		}
		spoilIn(a["users"], email, spoil)
	}
}
