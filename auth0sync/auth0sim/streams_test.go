package auth0sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/auth0/go-auth0/management"
)

// streamTo is the body that makes a stream with a bearer token.
func streamTo(url, kinds string) string {
	subscriptions := []string{}
	for kind := range strings.FieldsSeq(kinds) {
		subscriptions = append(subscriptions, `{"event_type":"`+kind+`"}`)
	}
	return `{"name":"x","subscriptions":[` + strings.Join(subscriptions, ",") + `],"destination":{"type":"webhook","configuration":{"webhook_endpoint":"` + url +
		`","webhook_authorization":{"method":"bearer","token":"hush hush"}}}}`
}

func (c client) makeStream(url, kinds string) (path string) {
	c.t.Helper()
	return "/api/v2/event-streams/" + c.do("POST", "/api/v2/event-streams", streamTo(url, kinds)).want(201, "").object()["id"].(string)
}

func TestEventStreamsAreManaged(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	made := c.do("POST", "/api/v2/event-streams", streamTo("https://hooks.example/x", "user.created")).want(201, "")
	if id := made.object()["id"].(string); len(id) != 26 || !strings.HasPrefix(id, "est_") || strings.Contains(string(made.body), "hush") {
		t.Errorf("%s", made.body)
	}
	path := "/api/v2/event-streams/" + made.object()["id"].(string)
	changed := c.do("PATCH", path, `{"status":"disabled","subscriptions":[{"event_type":"user.deleted"}]}`).want(200, "")
	if got := c.do("GET", path, "").want(200, ""); string(got.body) != string(changed.body) || got.object()["status"] != "disabled" || got.object()["name"] != "x" {
		t.Errorf("%s", got.body)
	}
	second := c.makeStream("https://hooks.example/y", "user.updated")
	first := c.do("GET", "/api/v2/event-streams?take=1", "").want(200, "").object()
	rest := c.do("GET", "/api/v2/event-streams?from="+first["next"].(string), "").want(200, "").object()
	if n, m := len(first["eventStreams"].([]any)), len(rest["eventStreams"].([]any)); n != 1 || m != 1 || rest["next"] != nil {
		t.Errorf("%v %v", first, rest)
	}
	for range 2 { // 204 for a missing one too
		c.do("DELETE", second, "").want(204, "")
	}
	if got := c.do("GET", second, "").want(404, "").object(); got["message"] != "The requested stream does not exist." {
		t.Errorf("%v", got)
	}
}

func TestEventStreamsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{Plan: PlanEssentials})
	for _, body := range []string{
		streamTo("http://127.0.0.1/", "user.created"),
		streamTo("https://hooks.example", ""),
		streamTo("https://hooks.example", "user.blocked"),
		strings.Replace(streamTo("https://hooks.example", "user.created"), "bearer", "hmac", 1),
		strings.Replace(streamTo("https://hooks.example", "user.created"), "token", "password", 1),
		strings.Replace(streamTo("https://hooks.example", "user.created"), `"webhook"`, `"pigeon"`, 1),
	} {
		c.do("POST", "/api/v2/event-streams", body).want(400, "invalid_body")
		c.tenant.Advance(time.Minute) // of the rate limit
	}
	for range 4 {
		c.makeStream("https://hooks.example", "user.created")
	}
	if got := c.do("POST", "/api/v2/event-streams", streamTo("https://hooks.example", "user.created")).want(409, "").object(); got["message"] != "You have reached the maximum number of event streams for your account." {
		t.Errorf("%v", got)
	}
	c.tenant.SetNoEvents(true, 404)
	c.do("GET", "/api/v2/event-streams", "").want(404, "")
	narrow := serve(t, Options{Scopes: []string{"read:event_streams"}})
	path := narrow.tenant.madeFor(t)
	narrow.do("GET", path+"/deliveries", "").want(200, "") // either scope will do
	narrow.do("POST", path+"/redeliver", "{}").want(403, "insufficient_scope")
	narrow.do("DELETE", path, "").want(403, "insufficient_scope")
}

// madeFor is the path of a stream that nobody listens to.
func (t *Tenant) madeFor(test *testing.T) string {
	test.Helper()
	t.ConnectEventStream("http://127.0.0.1:1", "token")
	return "/api/v2/event-streams/" + connected
}

func TestEventStreamsAuthorizeInThreeWays(t *testing.T) {
	t.Parallel()
	for auth, want := range map[string][2]string{
		`{"method":"bearer","token":"t"}`:                                    {"Authorization", "Bearer t"},
		`{"method":"basic","username":"u","password":"p"}`:                   {"Authorization", "Basic dTpw"},
		`{"method":"custom_header","header_key":"X-Key","header_value":"v"}`: {"X-Key", "v"},
	} {
		s := newSink(t, 200)
		c := serve(t, Options{AllowHTTP: true})
		body := strings.Replace(streamTo(s.URL, "user.created"), `{"method":"bearer","token":"hush hush"}`, auth, 1)
		c.do("POST", "/api/v2/event-streams", body).want(201, "")
		u := c.signUp(SignUp{})
		c.must(c.tenant.Verify(u.ID)) // not subscribed to
		c.tenant.Settle()
		if all := s.all(); len(all) != 1 || all[0].header.Get(want[0]) != want[1] {
			t.Errorf("%s: %v", auth, all)
		}
	}
}

func TestFailedDeliveriesAreKeptAndRedelivered(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 503, 503, 503, 503, 404, 200), &waits{}
	c := serve(t, Options{AllowHTTP: true, Wait: w.wait})
	path := c.makeStream(s.URL, "user.created user.deleted")
	u := c.signUp(SignUp{UserID: "auth0|a"})
	c.tenant.Settle()
	c.must(c.tenant.Delete(u.ID))
	c.tenant.Settle()
	c.signUp(SignUp{UserID: "auth0|b"}) // is taken
	c.tenant.Settle()
	all := c.do("GET", path+"/deliveries", "").want(200, "").object()["deliveries"].([]any)
	if len(all) != 2 {
		t.Fatalf("%v", all)
	}
	created := all[0].(map[string]any)
	if created["status"] != "failed" || len(created["attempts"].([]any)) != 4 || created["event"].(map[string]any)["id"] != created["id"] {
		t.Errorf("%v", created)
	}
	deleted := c.do("GET", path+"/deliveries?event_types=user.deleted,user.updated&statuses=failed&date_from=2026-01-01T00:00:00Z", "").object()["deliveries"].([]any)
	if len(deleted) != 1 || len(deleted[0].(map[string]any)["attempts"].([]any)) != 1 {
		t.Errorf("%v", deleted)
	}
	if after := c.do("GET", path+"/deliveries?from="+created["id"].(string), "").object()["deliveries"].([]any); len(after) != 1 {
		t.Errorf("%v", after)
	}
	one := fmt.Sprint(created["id"])
	c.do("POST", path+"/redeliver/"+one, "").want(202, "")
	c.tenant.Settle()
	c.do("GET", path+"/deliveries/"+one, "").want(404, "") // taken
	c.do("POST", path+"/redeliver", `{"event_types":["user.created"]}`).want(202, "")
	c.do("POST", path+"/redeliver", `{}`).want(202, "")
	c.tenant.Settle()
	if left := c.do("GET", path+"/deliveries", "").object()["deliveries"].([]any); len(left) != 0 || len(s.all()) != 8 {
		t.Errorf("%d calls, left %v", len(s.all()), left)
	}
	c.do("GET", path+"/deliveries?date_to=soon", "").want(400, "invalid_query_string")
}

func TestAStreamThatFailsIsDisabledAndMissesWhatHappens(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 503, 503, 503, 200), &waits{}
	c := serve(t, Options{AllowHTTP: true, StreamGivesUp: 3, Wait: w.wait})
	path := c.makeStream(s.URL, "user.created")
	c.signUp(SignUp{UserID: "auth0|a"})
	c.tenant.Settle()
	if got := c.do("GET", path, "").object(); got["status"] != "disabled" || len(s.all()) != 3 {
		t.Fatalf("%d attempts: %v", len(s.all()), got)
	}
	c.do("POST", path+"/redeliver", "{}").want(409, "")
	c.signUp(SignUp{UserID: "auth0|missed"})
	c.do("PATCH", path, `{"status":"enabled"}`).want(200, "")
	c.tenant.Settle()
	all := s.all()
	if len(all) != 4 || !strings.Contains(string(all[3].body), "auth0|a") {
		t.Errorf("%d calls", len(all))
	}
}

func TestAPendingDeliveryIsNotRedelivered(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	path := c.tenant.madeFor(t)
	c.tenant.SetFaults(Faults{ReorderEvents: true}) // held back
	c.signUp(SignUp{})
	pending := c.do("GET", path+"/deliveries?statuses=pending", "").object()["deliveries"].([]any)
	c.do("POST", fmt.Sprintf("%s/redeliver/%s", path, pending[0].(map[string]any)["id"]), "").want(409, "")
}

func TestSDKManagesEventStreams(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 400, 200), &waits{}
	c := serve(t, Options{AllowHTTP: true, Wait: w.wait})
	m, ctx := c.sdk()
	var e management.EventStream
	c.must(json.Unmarshal([]byte(streamTo(s.URL, "user.created")), &e))
	c.must(m.EventStream.Create(ctx, &e))
	if list, err := m.EventStream.List(ctx); err != nil || len(list.EventStreams) != 1 || list.EventStreams[0].GetID() != e.GetID() {
		t.Errorf("%v %v", list, err)
	}
	kind := "user.created"
	test := management.TestEvent{EventType: &kind}
	c.must(m.EventStream.Test(ctx, e.GetID(), &test))
	c.tenant.Settle()
	if *test.Event.A0Purpose != "test" || test.GetStatus() != "pending" {
		t.Errorf("%v", test)
	}
	list, err := m.EventStream.ListDeliveries(ctx, e.GetID(), management.WithEventTypes(kind))
	if err != nil || len(list.Deliveries) != 1 || list.Deliveries[0].GetID() != test.GetID() || list.Deliveries[0].Attempts[0].GetErrorMessage() == "" {
		t.Errorf("%v %v", list, err)
	}
	if d, err := m.EventStream.ReadDelivery(ctx, e.GetID(), test.GetID()); err != nil || d.GetStatus() != "failed" {
		t.Errorf("%v %v", d, err)
	}
	c.must(m.EventStream.Redeliver(ctx, e.GetID(), test.GetID()))
	c.tenant.Settle()
	name := "y"
	c.must(m.EventStream.Update(ctx, e.GetID(), &management.EventStream{Name: &name}))
	if got, err := m.EventStream.Read(ctx, e.GetID()); err != nil || got.GetName() != "y" || len(s.all()) != 2 {
		t.Errorf("%d calls; %v %v", len(s.all()), got, err)
	}
	c.must(m.EventStream.Delete(ctx, e.GetID()))
}

func TestFailuresCountInARow(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 503, 503, 200, 503, 503, 200), &waits{}
	c := serve(t, Options{AllowHTTP: true, StreamGivesUp: 3, Wait: w.wait})
	path := c.makeStream(s.URL, "user.created")
	c.signUp(SignUp{})
	c.tenant.Settle()
	c.signUp(SignUp{})
	c.tenant.Settle()
	if got := c.do("GET", path, "").object(); got["status"] != "enabled" || len(s.all()) != 6 {
		t.Errorf("%d attempts: %v", len(s.all()), got)
	}
}
