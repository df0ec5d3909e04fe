package auth0sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// kinds are the types of the log's entries after a checkpoint.
func kinds(entries []map[string]any) string {
	all := []string{}
	for _, e := range entries {
		all = append(all, e["type"].(string))
	}
	return strings.Join(all, " ")
}

func TestEachActionWritesItsEntry(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{UserID: "auth0|a b", Email: "ada@example.com"})
	c.signUp(SignUp{UserID: "google-oauth2|g", Email: "ada@example.com", Connection: Google})
	c.must(c.tenant.Verify("auth0|a b"))
	c.must(c.tenant.Login("auth0|a b"))
	c.must(c.tenant.Logout("auth0|a b"))
	c.must(c.tenant.ChangeEmail("auth0|a b", "new@example.com"))
	c.do("POST", "/_sim/fail-login", `{"email":"new@example.com"}`).want(200, "")
	c.do("POST", "/_sim/fail-login", `{"email":"nobody@example.com"}`).want(200, "")
	c.must(c.tenant.Block("auth0|a b", false))
	c.do("PATCH", "/api/v2/users/auth0%7Ca%20b", `{"username":"ada"}`).want(200, "")
	_, err := c.tenant.Link("auth0|a b", "google-oauth2|g")
	c.must(err)
	_, err = c.tenant.Unlink("auth0|a b", "google-oauth2", "g")
	c.must(err)
	c.do("DELETE", "/api/v2/users/auth0%7Ca%20b", "").want(204, "")
	entries := c.do("GET", "/api/v2/logs?take=100", "").list()
	if got, want := kinds(entries), "ss s sv s slo sce fp fu sapi scu sapi sapi sapi sdu sapi"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if e := entries[5]; e["user_id"] != "auth0|a b" || e["user_name"] != "new@example.com" || e["description"] != "" {
		t.Errorf("sce %v", e)
	}
	call := entries[8]["details"].(map[string]any)
	if path := call["request"].(map[string]any)["path"]; path != "/api/v2/users/auth0%7Ca%20b" || entries[8]["user_id"] != nil {
		t.Errorf("sapi %v", entries[8])
	}
	if u := call["response"].(map[string]any)["body"].(map[string]any); u["user_id"] != "auth0|a b" || u["email"] != "new@example.com" {
		t.Errorf("sapi %v", u)
	}
	if path := entries[11]["details"].(map[string]any)["request"].(map[string]any)["path"]; path != "/api/v2/users/auth0%7Ca%20b/identities" {
		t.Errorf("link %v", path)
	}
}

func TestLogsAreKeptByPlanAndOutOfOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options Options
		lost    int // status for a checkpoint that is gone
	}{
		"from the oldest": {Options{LogsKept: time.Hour}, 200},
		"refused":         {Options{LogsKept: time.Hour, RefuseLostLogs: true}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, test.options)
			c.signUp(SignUp{UserID: "auth0|a"})
			first := c.do("GET", "/api/v2/logs?take=1", "").list()[0]["log_id"].(string)
			c.tenant.Advance(30 * time.Minute)
			c.signUp(SignUp{UserID: "auth0|b"})
			c.tenant.Advance(30 * time.Minute)
			if got := c.do("GET", "/api/v2/logs?from="+first, "").want(test.lost, ""); test.lost == 200 && got.ids() != "auth0|b" {
				t.Errorf("%s", got.body)
			}
			if got := c.do("GET", "/api/v2/logs", "").ids(); got != "auth0|b" {
				t.Error(got)
			}
		})
	}
	if kept := New(Options{Plan: PlanFree}).logsKept(); kept != 24*time.Hour {
		t.Error(kept)
	}
}

func TestLogsComeInNoOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"by date":      {Options{}, "auth0|1 auth0|2 auth0|3"},
		"by id":        {Options{LogsUnordered: true}, "auth0|2 auth0|1 auth0|3"},
		"not even so":  {Options{LogsShuffled: true}, "auth0|3 auth0|2 auth0|1"},
		"nor by dates": {Options{LogsUnordered: true, LogsShuffled: true}, "auth0|3 auth0|1 auth0|2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, test.options)
			for i := range 3 {
				c.signUp(SignUp{UserID: fmt.Sprintf("auth0|%d", i+1)})
			}
			c.tenant.Advance(longestHold) // nothing overtakes the third
			answer := c.do("GET", "/api/v2/logs?take=100", "")
			if got := answer.ids(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if sorted := slices.IsSortedFunc(answer.list(), func(a, b map[string]any) int {
				return strings.Compare(a["log_id"].(string), b["log_id"].(string))
			}); sorted == test.options.LogsShuffled {
				t.Errorf("sorted by id: %v", sorted)
			}
		})
	}
}

// logRecord is what a log stream sends about an entry.
type logRecord struct {
	LogID string `json:"log_id"`
	Data  map[string]any
}

func TestLogStreamSendsItsFormat(t *testing.T) {
	t.Parallel()
	for format, read := range map[LogFormat]func([]byte) ([]logRecord, error){
		JSONArray: func(b []byte) (all []logRecord, err error) { return all, json.Unmarshal(b, &all) },
		JSONLines: func(b []byte) (all []logRecord, err error) {
			for line := range bytes.Lines(b) {
				var r logRecord
				if err := json.Unmarshal(line, &r); err != nil {
					return nil, err
				}
				all = append(all, r)
			}
			return all, nil
		},
		JSONObject: func(b []byte) ([]logRecord, error) { var r logRecord; return []logRecord{r}, json.Unmarshal(b, &r) },
	} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := newSink(t, 200)
			c := serve(t, Options{})
			c.signUp(SignUp{Email: "before@example.com"})
			c.do("PUT", "/_sim/log-stream", `{"url":"`+s.URL+`","authorization":"a literal value","format":"`+string(format)+`"}`).want(200, "")
			c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com"})
			c.must(c.tenant.Verify("auth0|a"))
			c.signUp(SignUp{Email: "lost@example.com", DropDeliveries: true})
			c.tenant.SetFaults(Faults{DropLogs: true})
			c.must(c.tenant.Login("auth0|a"))
			c.tenant.Settle()
			total := 0
			for _, r := range s.all() {
				records, err := read(r.body)
				if err != nil || r.header.Get("Authorization") != "a literal value" {
					t.Errorf("%v %s %v", err, r.body, r.header)
				}
				total += len(records)
				for _, one := range records {
					if format != JSONObject && (one.LogID == "" || one.LogID != one.Data["log_id"] || one.Data["user_name"] != "ada@example.com") {
						t.Errorf("%+v", one)
					}
				}
			}
			if total != 2 {
				t.Errorf("%d records", total)
			}
		})
	}
}

func TestLogStreamMasks(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.tenant.ConnectLogStream(s.URL, "", JSONLines, true)
	c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com", AppMetadata: map[string]any{"name": "kept"}})
	c.must(c.tenant.Block("auth0|a", true))
	c.tenant.Settle()
	for _, r := range s.all() {
		if strings.Contains(string(r.body), "example.com") || !strings.Contains(string(r.body), "auth0|a") || !strings.Contains(string(r.body), `"email":"***"`) {
			t.Errorf("%s", r.body)
		}
	}
	if u, _ := c.tenant.User("auth0|a"); u.Email != "ada@example.com" || u.AppMetadata["name"] != "kept" {
		t.Errorf("the user was masked: %v", u)
	}
}

func TestLogStreamGoesOnUntilItIsTaken(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 500, 403, 302, 500, 200), &waits{}
	c := serve(t, Options{Wait: w.wait})
	c.tenant.ConnectLogStream(s.URL, "", JSONArray, false)
	c.signUp(SignUp{UserID: "auth0|a"})
	c.tenant.Settle()
	if n := len(s.all()); n != 3 || fmt.Sprint(w.asked) != "[1s 2s]" {
		t.Fatalf("%d attempts, waits %v", n, w.asked)
	}
	c.signUp(SignUp{UserID: "auth0|b"}) // it rests
	c.tenant.Settle()
	if n := len(s.all()); n != 3 {
		t.Fatalf("%d attempts", n)
	}
	c.tenant.Advance(logRests)
	c.tenant.Settle()
	all := s.all()
	if last := string(all[len(all)-1].body); len(all) != 5 || !strings.Contains(last, "auth0|a") || !strings.Contains(last, "auth0|b") {
		t.Errorf("%d attempts, the last with %s", len(all), last)
	}
}

func TestLogStreamIsPausedAfterAWeek(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 500), &waits{}
	c := serve(t, Options{Wait: w.wait})
	c.tenant.ConnectLogStream(s.URL, "", JSONArray, false)
	c.signUp(SignUp{})
	for range 3 {
		c.tenant.Settle()
		c.tenant.Advance(logGivesUp)
	}
	c.tenant.Settle()
	if n := len(s.all()); n != 6 {
		t.Errorf("%d attempts", n)
	}
}

func TestRudeLogStreamRepeats(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{Rude: true})
	c.tenant.ConnectLogStream(s.URL, "", JSONArray, false)
	c.signUp(SignUp{})
	c.tenant.Settle()
	if all := s.all(); len(all) != 2 || !bytes.Equal(all[0].body, all[1].body) {
		t.Errorf("%d deliveries", len(all))
	}
}

func TestLogsAreMaskedWhenTheyAreRead(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{MaskLogs: true})
	c.signUp(SignUp{UserID: "auth0|a", Email: "ada@example.com"})
	c.must(c.tenant.Block("auth0|a", true))
	for _, query := range []string{"", "?take=10"} {
		if got := string(c.do("GET", "/api/v2/logs"+query, "").want(200, "").body); strings.Contains(got, "example.com") || !strings.Contains(got, `"auth0|a"`) {
			t.Errorf("%s", got)
		}
	}
}
