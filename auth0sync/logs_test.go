package auth0sync_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// logStream is what a log stream's post comes to.
func logStream(t *testing.T, body string) []customer.Delivery {
	t.Helper()
	got, err := verifier(t).Verify(http.Header{"Authorization": {"Bearer " + logToken}}, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatLogEntriesSay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		entry string
		want  *customer.Hint // nil: nothing about a customer
	}{
		"a sign-up that is verified": {
			`"type":"ss","user_id":"auth0|1","details":{"body":{"email":"Ada@example.com","email_verified":true}}`,
			&customer.Hint{AuthUserID: "auth0|1", Email: "Ada@example.com", Key: "ada@example.com", Verified: true},
		},
		"a sign-up that is not": {
			`"type":"ss","user_id":"auth0|1","details":{"body":{"email":"ada@example.com","email_verified":false}}`,
			&customer.Hint{AuthUserID: "auth0|1", Email: "ada@example.com", Key: "ada@example.com"},
		},
		"a masked sign-up": {
			`"type":"ss","user_id":"auth0|1","details":{"body":{"email":"***"}}`,
			&customer.Hint{AuthUserID: "auth0|1", Verified: true, Partial: true},
		},
		"a verification": {
			`"type":"sv","user_id":"auth0|1","details":{"body":{"email":"ada@example.com"}}`,
			&customer.Hint{AuthUserID: "auth0|1", Email: "ada@example.com", Key: "ada@example.com", Verified: true},
		},
		"another address": {
			`"type":"sce","user_id":"auth0|1","details":{"body":{"email":"old@example.com"}}`,
			&customer.Hint{AuthUserID: "auth0|1", Email: "old@example.com", Key: "old@example.com", Verified: true, Partial: true},
		},
		"a social login": {
			`"type":"s","user_id":"google-oauth2|1","details":{"body":{"email":"ada@example.com"}}`,
			&customer.Hint{AuthUserID: "google-oauth2|1", Email: "ada@example.com", Key: "ada@example.com", Verified: true},
		},
		"a social login that names the user": {
			`"type":"s","user_id":"google-oauth2|1","user_name":"ada@example.com"`,
			&customer.Hint{AuthUserID: "google-oauth2|1", Email: "ada@example.com", Key: "ada@example.com", Verified: true},
		},
		"a social login by a name": {
			`"type":"s","user_id":"github|1","user_name":"ada"`,
			&customer.Hint{AuthUserID: "github|1", Verified: true, Partial: true},
		},
		"a deletion":                {`"type":"sdu","user_id":"auth0|1"`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Deleted: true}},
		"a deletion by the API":     {`"type":"sapi","details":{"request":{"method":"DELETE","path":"/api/v2/users/auth0%7C1"}}`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Deleted: true}},
		"a change by the API":       {`"type":"sapi","details":{"request":{"method":"PATCH","path":"/api/v2/users/auth0%7C1"}}`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Partial: true}},
		"a linking by the API":      {`"type":"sapi","details":{"request":{"method":"POST","path":"/api/v2/users/auth0%7C1/identities"}}`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Partial: true}},
		"an unlinking":              {`"type":"sapi","details":{"request":{"method":"DELETE","path":"/api/v2/users/auth0%7C1/identities/email/2"}}`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Partial: true}},
		"a call about no user":      {`"type":"sapi","details":{"request":{"method":"POST","path":"/api/v2/clients"}}`, nil},
		"a deletion as recorded":    {`"type":"sapi","details":{"request":{"method":"delete","path":"/api/v2/users/auth0%7C1"}}`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Deleted: true}},
		"a user id that is no text": {`"type":"sapi","details":{"request":{"method":"patch","path":"/api/v2/users/auth0%7C%ff"}}`, nil},
		"a database login":          {`"type":"s","user_id":"auth0|1","details":{"body":{"email":"ada@example.com"}}`, nil},
		"a failed login":            {`"type":"f","user_id":"auth0|1"`, nil},
		"scope as an array":         {`"type":"seccft","scope":["a"]`, nil},
		"an unknown type":           {`"type":"brandnew"`, nil},
		"details of another sort":   {`"type":"sv","user_id":"auth0|1","details":"x"`, &customer.Hint{AuthUserID: "auth0|1", Verified: true, Partial: true}},
		"no user":                   {`"type":"ss"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := logStream(t, `{"log_id":"9001","data":{"log_id":"9001",`+test.entry+`}}`)
			switch {
			case test.want == nil && len(got) != 0:
				t.Errorf("%+v", got)
			case test.want != nil && (len(got) != 1 || !got[0].Understood || got[0].Kind != "s" && got[0].EventID != "9001" || got[0].Source != auth0sync.SourceLogStream):
				t.Errorf("%+v", got)
			case test.want != nil:
				if diff := cmp.Diff(*test.want, got[0].Hint); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestTheFormsOfALogStream(t *testing.T) {
	t.Parallel()
	record := func(n int) string {
		return fmt.Sprintf(`{"log_id":"9%d","data":{"log_id":"9%d","type":"sv","user_id":"auth0|%d"}}`, n, n, n)
	}
	for form, body := range map[string]string{
		"array":              "[" + record(1) + "," + record(2) + "]",
		"lines":              record(1) + "\n" + record(2) + "\n",
		"lines with returns": record(1) + "\r\n" + record(2),
		"spread out":         "[\n" + record(1) + "\n,\n" + record(2) + "\n]\n",
	} {
		if got := logStream(t, body); len(got) != 2 || got[0].EventID != "91" || got[1].Hint.AuthUserID != "auth0|2" {
			t.Errorf("%s: %+v", form, got)
		}
	}
	if got := logStream(t, record(1)); len(got) != 1 {
		t.Errorf("one object: %+v", got)
	}
	if got := logStream(t, "[]"); len(got) != 0 {
		t.Errorf("nothing: %+v", got)
	}
	for _, body := range []string{"rubbish", "[1]", `[{"data":{}}]`, "\xff", "null", `{"log_id":"1","data":null}`} {
		if got := logStream(t, body); len(got) != 1 || got[0].Understood || string(got[0].Body) != body || got[0].EventID == "" {
			t.Errorf("%q: %+v", body, got)
		}
	}
}

// The Authorization header of a log stream is whatever was typed in.
func TestALogStreamMayLeaveOutTheWordBearer(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"Bearer " + logToken: true, "bearer " + logToken: true, logToken: true,
		"Basic " + logToken: false, logToken + " ": false, newToken: false, "": false,
	} {
		got, err := verifier(t).Verify(http.Header{"Authorization": {header}}, []byte("[]"))
		if (err == nil) != want || len(got) != 0 {
			t.Errorf("%q: %+v, %v", header, got, err)
		}
	}
}

// Records that are not understood do not take the others with them.
func TestOneBadRecordOfALogStreamHarmsNoOther(t *testing.T) {
	t.Parallel()
	const one, other = `{"data":{"log_id":"91","type":"sv","user_id":"auth0|1"}}`, `{"data":{"log_id":"92","type":"sv","user_id":"auth0|2"}}`
	for body, want := range map[string]int{
		"[" + one + `,{"data":{}},` + other + "]": 2,
		"[" + one + ",1," + other + "]":           2,
		one + "\n{}\n" + other:                    2,
		one + "\nrubbish\n" + other:               1,
	} {
		got := logStream(t, body)
		if len(got) != want+1 || got[want].Understood || string(got[want].Body) != body {
			t.Errorf("%s: %+v", body, got)
		}
		for _, d := range got[:min(want, len(got))] {
			if !d.Understood {
				t.Errorf("%s: %+v", body, got)
			}
		}
	}
}

// People log in every day: that is one row in the inbox, not thirty.
func TestAllLoginsOfAUserAreOneDelivery(t *testing.T) {
	t.Parallel()
	login := func(id, user string) string {
		return fmt.Sprintf(`{"data":{"log_id":%q,"type":"s","user_id":%q}}`, id, user)
	}
	got := logStream(t, login("1", "apple|1")+login("2", "apple|1")+login("3", "apple|2"))
	if len(got) != 3 || got[0].EventID != got[1].EventID || got[0].EventID == got[2].EventID {
		t.Errorf("%+v", got)
	}
}

// Auth0 answers in any order: the way on is behind all of the page.
func TestLogsAreReadOnFromTheGreatestID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer string
		want   string // "": an error
	}{
		"in order":          {`[{"log_id":"9001"},{"log_id":"9002"}]`, "9002"},
		"in reverse":        {`[{"log_id":"9002"},{"log_id":"9001"}]`, "9002"},
		"more digits":       {`[{"log_id":"10000"},{"log_id":"9001"}]`, "10000"},
		"nothing new":       {`[]`, "9000"},
		"one without an id": {`[{"log_id":"9001"},{"type":"ss"},{"log_id":7}]`, "9001"},
		"none with an id":   {`[{"type":"ss"}]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := directory(t, answering(http.StatusOK, "application/json", test.answer))
			page, err := d.Logs(t.Context(), "9000")
			if page.Cursor != test.want || (err != nil) != (test.want == "") {
				t.Errorf("%+v, %v", page, err)
			}
		})
	}
}

// A day's backlog costs a call a page, in whatever order the pages come.
func TestABacklogOfLogsIsReadOnceFromEndToEnd(t *testing.T) {
	t.Parallel()
	sim := tenant(t, auth0sim.Rude(auth0sim.Options{}))
	d := directory(t, sim)
	signUp(t, sim, auth0sim.SignUp{Email: "first@example.com"})
	start, err := d.Logs(t.Context(), "")
	if err != nil || start.Cursor == "" || len(start.Deliveries) > 0 {
		t.Fatalf("%+v, %v", start, err)
	}
	const people = 250
	for i := range people {
		signUp(t, sim, auth0sim.SignUp{Email: fmt.Sprintf("c%d@example.com", i)})
	}
	found, pages := map[string]bool{}, 0
	for page := (auth0sync.LogPage{Cursor: start.Cursor, More: true}); page.More; pages++ {
		if page, err = d.Logs(t.Context(), page.Cursor); err != nil {
			t.Fatal(err)
		}
		for _, delivery := range page.Deliveries {
			if found[delivery.EventID] {
				t.Errorf("%s came twice", delivery.EventID)
			}
			found[delivery.EventID] = true
		}
	}
	if len(found) != people || pages != 3 {
		t.Errorf("%d entries in %d pages", len(found), pages)
	}
}

func TestRecordedLogsAreUnderstood(t *testing.T) {
	t.Parallel()
	recorded, err := os.ReadFile("../../shared/auth0/recordings/logs_0.json")
	if err != nil {
		recorded = []byte(`[{"log_id":"1","type":"ss","user_id":"auth0|1","details":{"body":{"email":"a@example.com","email_verified":true}},"scope":["x"]}]`)
	}
	var entries []map[string]any
	unmarshal(t, recorded, &entries)
	understood := 0
	for _, e := range entries {
		for _, d := range logStream(t, encode(t, map[string]any{"log_id": e["log_id"], "data": e})) {
			if !d.Understood {
				t.Errorf("%+v", d)
			}
			understood++
		}
	}
	if understood == 0 {
		t.Error("none of the recorded entries is about a user")
	}
}

func FuzzLogStream(f *testing.F) {
	f.Add(`[{"log_id":"1","data":{"log_id":"1","type":"ss","user_id":"auth0|1"}}]`)
	f.Add("{}\n{}")
	f.Fuzz(func(t *testing.T, body string) {
		got, err := verifier(t).Verify(http.Header{"Authorization": {"Bearer " + logToken}}, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			if d.EventID == "" || len(d.EventID) > 255 || d.Understood && d.Hint.AuthUserID == "" {
				t.Fatalf("%+v", d)
			}
		}
	})
}

func unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
