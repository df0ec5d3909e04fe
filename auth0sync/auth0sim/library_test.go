package auth0sim

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/auth0/go-auth0/management"
)

// shipped is the body that makes the Action of a file in deploy/auth0.
func shipped(t *testing.T, file, trigger, version, url string) string {
	t.Helper()
	code, err := os.ReadFile("../../deploy/auth0/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(encode(map[string]any{
		"name": "customersync " + trigger, "code": string(code), "runtime": "node22",
		"supported_triggers": []any{map[string]any{"id": trigger, "version": version}},
		"secrets":            []any{map[string]any{"name": "SYNC_URL", "value": url}, map[string]any{"name": "SYNC_SECRET", "value": testSecret}},
	}))
}

func (c client) makeAction(body string) (id string) {
	c.t.Helper()
	id = c.do("POST", "/api/v2/actions/actions", body).want(201, "").object()["id"].(string)
	c.tenant.Advance(2 * time.Second)
	return id
}

func TestAnActionIsBuiltThenDeployedThenBoundThenCalled(t *testing.T) {
	t.Parallel()
	for file, test := range map[string]struct{ trigger, version, connection string }{
		"post-user-registration.js": {postRegistration, "v2", Database},
		"post-login.js":             {postLogin, "v3", Google},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, 200)
			c := serve(t, Options{Now: time.Now})
			made := c.do("POST", "/api/v2/actions/actions", shipped(t, file, test.trigger, test.version, s.URL)).want(201, "")
			id := made.object()["id"].(string)
			path := "/api/v2/actions/actions/" + id
			if strings.Contains(string(made.body), testSecret) || strings.Contains(string(made.body), s.URL) || made.object()["status"] != "pending" {
				t.Errorf("%s", made.body)
			}
			c.do("POST", path+"/deploy", "").want(400, "")
			binding := `{"bindings":[{"ref":{"type":"action_id","value":"` + id + `"},"display_name":"sync"}]}`
			bindings := "/api/v2/actions/triggers/" + test.trigger + "/bindings"
			c.do("PATCH", bindings, binding).want(400, "")
			c.tenant.Advance(2 * time.Second)
			if got := c.do("GET", path, "").object(); got["status"] != "built" || got["all_changes_deployed"] != false {
				t.Errorf("%v", got)
			}
			if v := c.do("POST", path+"/deploy", "").want(200, "").object(); v["number"] != 1.0 || v["status"] != "built" || v["action"].(map[string]any)["id"] != id {
				t.Errorf("%v", v)
			}
			if got := c.do("GET", path, "").object(); got["all_changes_deployed"] != true || got["deployed_version"].(map[string]any)["deployed"] != true {
				t.Errorf("%v", got)
			}
			c.signUp(SignUp{Connection: test.connection, Email: "early@example.com"})
			c.do("PATCH", bindings, binding).want(200, "")
			c.signUp(SignUp{Connection: test.connection, Email: "ada@example.com"})
			c.tenant.Settle()
			all := s.all()
			if len(all) != 1 || s.types(t) != test.trigger {
				t.Fatalf("%d calls", len(all))
			}
			verifySignature(t, all[0])
			c.do("DELETE", path, "").want(409, "")
			c.do("DELETE", path+"?force=true", "").want(204, "")
			c.signUp(SignUp{Connection: test.connection, Email: "late@example.com"})
			c.tenant.Settle()
			if n := len(s.all()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestADeployedActionStaysAsItIsUntilItIsDeployedAgain(t *testing.T) {
	t.Parallel()
	old, next := newSink(t, 200), newSink(t, 200)
	c := serve(t, Options{})
	id := c.makeAction(shipped(t, "post-user-registration.js", postRegistration, "v2", old.URL))
	path := "/api/v2/actions/actions/" + id
	c.do("POST", path+"/deploy", "").want(200, "")
	c.do("PATCH", "/api/v2/actions/triggers/post-user-registration/bindings", `{"bindings":[{"ref":{"type":"action_id","value":"`+id+`"}}]}`).want(200, "")
	c.do("PATCH", path, `{"secrets":[{"name":"SYNC_URL","value":"`+next.URL+`"},{"name":"SYNC_SECRET"}]}`).want(200, "")
	c.signUp(SignUp{})
	c.tenant.Settle()
	c.tenant.Advance(2 * time.Second)
	if v := c.do("POST", path+"/deploy", "").want(200, "").object(); v["number"] != 2.0 {
		t.Errorf("%v", v)
	}
	c.signUp(SignUp{})
	c.tenant.Settle()
	if n, m := len(old.all()), len(next.all()); n != 1 || m != 1 {
		t.Errorf("%d calls there, %d here", n, m)
	}
}

func TestCodeThatIsNotShippedCallsNobody(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	body := strings.Replace(shipped(t, "post-user-registration.js", postRegistration, "v2", s.URL), "exports.onExecutePostUserRegistration", "exports.another", 1)
	id := c.makeAction(body)
	c.do("POST", "/api/v2/actions/actions/"+id+"/deploy", "").want(200, "")
	c.do("PATCH", "/api/v2/actions/triggers/post-user-registration/bindings", `{"bindings":[{"ref":{"type":"action_id","value":"`+id+`"}}]}`).want(200, "")
	c.signUp(SignUp{})
	c.tenant.Settle()
	if n := len(s.all()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestActionsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	good := shipped(t, "post-login.js", postLogin, "v3", "https://x.example")
	for _, change := range [][2]string{
		{`"v3"`, `"v9"`},
		{`"post-login","version"`, `"pre-login","version"`},
		{`"node22"`, `"node4"`},
		{`"name":"customersync post-login"`, `"name":""`},
		{`"value":"https://x.example"`, `"value":"` + strings.Repeat("x", 4097) + `"`},
		{`"code":"`, `"code":"` + strings.Repeat(" ", 100_000)},
	} {
		if !strings.Contains(good, change[0]) {
			t.Fatalf("%s is not in the body", change[0])
		}
		c.do("POST", "/api/v2/actions/actions", strings.Replace(good, change[0], change[1], 1)).want(400, "invalid_body")
	}
	c.do("GET", "/api/v2/actions/actions/none", "").want(404, "")
	c.do("GET", "/api/v2/actions/triggers/none/bindings", "").want(404, "")
	id := c.makeAction(good)
	c.do("POST", "/api/v2/actions/actions/"+id+"/deploy", "").want(200, "")
	c.do("PATCH", "/api/v2/actions/triggers/post-user-registration/bindings", `{"bindings":[{"ref":{"type":"action_id","value":"`+id+`"}}]}`).want(400, "")
	narrow := serve(t, Options{Scopes: []string{"read:actions"}})
	narrow.do("POST", "/api/v2/actions/actions", good).want(403, "insufficient_scope")
}

func TestSDKManagesActions(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	m, ctx := c.sdk()
	var a management.Action
	c.must(json.Unmarshal([]byte(shipped(t, "post-user-registration.js", postRegistration, "v2", s.URL)), &a))
	c.must(m.Action.Create(ctx, &a))
	c.tenant.Advance(2 * time.Second)
	if got, err := m.Action.Read(ctx, a.GetID()); err != nil || got.GetStatus() != management.ActionStatusBuilt {
		t.Errorf("%v %v", got, err)
	}
	if list, err := m.Action.List(ctx, management.Parameter("actionName", a.GetName()), management.Parameter("triggerId", postRegistration)); err != nil || list.Total != 1 {
		t.Errorf("%v %v", list, err)
	}
	if list, err := m.Action.List(ctx, management.Parameter("triggerId", postLogin)); err != nil || len(list.Actions) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if v, err := m.Action.Deploy(ctx, a.GetID()); err != nil || v.Number != 1 {
		t.Errorf("%v %v", v, err)
	}
	kind := management.ActionBindingReferenceByName
	c.must(m.Action.UpdateBindings(ctx, postRegistration, []*management.ActionBinding{{Ref: &management.ActionBindingReference{Type: &kind, Value: a.Name}}}))
	if got, err := m.Action.Bindings(ctx, postRegistration); err != nil || len(got.Bindings) != 1 || got.Bindings[0].Action.GetID() != a.GetID() {
		t.Errorf("%v %v", got, err)
	}
	if got, err := m.Action.Triggers(ctx); err != nil || len(got.Triggers) != 2 {
		t.Errorf("%v %v", got, err)
	}
	c.signUp(SignUp{})
	c.tenant.Settle()
	if n := len(s.all()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestSDKMakesLogStreams(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{AllowHTTP: true})
	m, ctx := c.sdk()
	name, kind, to, auth, format := "x", management.LogStreamTypeHTTP, s.URL, "Bearer t", "JSONARRAY"
	fields := []string{"email"}
	stream := &management.LogStream{
		Name: &name, Type: &kind, Sink: &management.LogStreamSinkHTTP{Endpoint: &to, Authorization: &auth, ContentFormat: &format},
		Filters: &[]map[string]string{{"type": "category", "name": "auth.signup.success"}}, PIIConfig: &management.LogStreamPiiConfig{LogFields: &fields},
	}
	c.must(m.LogStream.Create(ctx, stream))
	if all, err := m.LogStream.List(ctx); err != nil || len(all) != 1 || all[0].GetID() != stream.GetID() || all[0].GetStatus() != "active" {
		t.Errorf("%v %v", all, err)
	}
	u := c.signUp(SignUp{Email: "ada@example.com"})
	c.must(c.tenant.Verify(u.ID)) // another category
	c.tenant.Settle()
	if all := s.all(); len(all) != 1 || all[0].header.Get("Authorization") != auth || strings.Contains(string(all[0].body), "ada@") {
		t.Errorf("%v", all)
	}
	c.must(m.LogStream.Delete(ctx, stream.GetID()))
	c.signUp(SignUp{})
	c.tenant.Settle()
	if n := len(s.all()); n != 1 {
		t.Errorf("%d calls", n)
	}
	strict := serve(t, Options{})
	strict.do("POST", "/api/v2/log-streams", `{"type":"http","sink":{"httpEndpoint":"http://x.example"}}`).want(400, "invalid_body")
}
