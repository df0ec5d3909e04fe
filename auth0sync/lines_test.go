package auth0sync

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ahiko-io/customersync/customer"
)

// members are an object's, by their very names.
func members(text []byte) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(text, &all) // what is none has none
	return all
}

// FuzzExportLine holds each line of an export against its own members.
func FuzzExportLine(f *testing.F) {
	f.Add([]byte(`{"user_id":"auth0|1","email":"ada@example.com","email_verified":true,"identities":[{"provider":"auth0","user_id":"1"}],"customer_id":"0198c0de-0000-7000-8000-00000000000a"}`))
	f.Add([]byte(`{"user_id":"samlp|1","Email_Verified":true,"APP_METADATA":{"customer_id":"0198c0de-0000-7000-8000-00000000000a"}}`))
	f.Add([]byte(`{"user_id":1,"blocked":"no"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		u, err := (&lines{seen: time.Unix(1, 0)}).user(line)
		if err != nil {
			return
		}
		said := members(line)
		if u.EmailVerified && string(said["email_verified"]) != "true" {
			t.Errorf("verified by %q", line)
		}
		if _, says := said["blocked"]; !says && u.Blocked {
			t.Errorf("blocked by %q", line)
		}
		if u.CustomerID != "" && said["customer_id"] == nil && members(said["app_metadata"])["customer_id"] == nil {
			t.Errorf("%s named by %q", u.CustomerID, line)
		}
		if _, bad := customer.ParseAuthUserID(u.ID); bad != nil && !u.Unread {
			t.Errorf("user %q of %q", u.ID, line)
		}
		if _, bad := customer.ParseID(string(u.CustomerID)); u.CustomerID != "" && bad != nil {
			t.Errorf("customer %q of %q", u.CustomerID, line)
		}
	})
}

// FuzzCloudEvent holds what an event is taken for against its own members.
func FuzzCloudEvent(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"evt_1","type":"user.created","data":{"object":{"user_id":"auth0|1","email":"ada@example.com","email_verified":true}}}`))
	f.Add([]byte(`{"id":"evt_1","type":"user.deleted","data":{"object":{"user_id":"auth0|1","identities":[{"provider":"a","user_id":2}]}}}`))
	f.Add([]byte(`{"id":"","data":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := readEvent(body)
		if d.EventID == "" || len(d.EventID) > longestID || hasControl(d.EventID) {
			t.Errorf("id %q", d.EventID)
		}
		if !d.Understood {
			if string(d.Body) != string(body) {
				t.Errorf("kept %q of %q", d.Body, body)
			}
			return
		}
		if h := d.Hint; h.AuthUserID == "" || len(h.AuthUserID) > longestID || hasControl(h.AuthUserID+h.Email) || !utf8.ValidString(h.AuthUserID+h.Email) || len(h.Identities) > mostIdentities {
			t.Errorf("%q became %+v", body, h)
		}
	})
}

// FuzzFeed: of whatever bytes come, each item can be kept and gone on from.
func FuzzFeed(f *testing.F) {
	f.Add([]byte("id: 1\nevent: user.created\ndata: {\"offset\":\"1\",\"event\":{\"id\":\"evt_1\",\"type\":\"user.created\",\"data\":{\"object\":{\"user_id\":\"auth0|1\"}}}}\n\n"))
	f.Add([]byte(":\n\nevent: offset-only\ndata: {\"offset\":\"2\"}\n\nevent: error\ndata: {\"code\":\"connection_timeout\"}\n\n"))
	f.Add([]byte("event: error\ndata: {\"code\":\"payload_too_large\"}\n\n"))
	f.Add([]byte("id: \xff\ndata: {\ndata: }\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		failed := false
		for item, err := range feedItems(bytes.NewReader(stream)) {
			if failed {
				t.Fatal("it went on after a failure")
			}
			if failed = err != nil; failed {
				continue
			}
			if item.Cursor == "" || len(item.Cursor) > longestCursor || hasControl(item.Cursor) || !utf8.ValidString(item.Cursor) {
				t.Errorf("cursor %q", item.Cursor)
			}
			if d := item.Delivery; d != nil && (d.EventID == "" || hasControl(d.EventID) || d.Understood && d.Hint.AuthUserID == "") {
				t.Errorf("delivery %+v", d)
			}
		}
	})
}
