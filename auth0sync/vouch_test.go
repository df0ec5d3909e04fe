package auth0sync

import (
	"encoding/json"
	"testing"
	"time"
)

// Whoever has a stranger's address in an untrusted connection may link a trusted
// identity of their own: it must vouch for that very address, or it says nothing.
func TestALinkedIdentityVouchesForTheAddressThatItHasVerified(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		linked string
		want   bool
	}{
		"the same, verified":             {`{"provider":"google-oauth2","user_id":1,"profileData":{"email":"Ada@example.com","email_verified":true}}`, true},
		"the same, not verified":         {`{"provider":"google-oauth2","user_id":1,"profileData":{"email":"ada@example.com","email_verified":false}}`, false},
		"the same, as if verified":       {`{"provider":"google-oauth2","user_id":1,"profileData":{"email":"ada@example.com","email_verified":"true"}}`, false},
		"the same, not said if verified": {`{"provider":"auth0","user_id":"1","profileData":{"email":"ada@example.com"}}`, false},
		"another":                        {`{"provider":"auth0","user_id":"1","profileData":{"email":"eve@example.com","email_verified":true}}`, false},
		"none: a user with a name only":  {`{"provider":"auth0","user_id":"1","profileData":{"username":"eve"}}`, false},
		"no profile":                     {`{"provider":"auth0","user_id":"1"}`, true},
		"no profile that can be read":    {`{"provider":"auth0","user_id":"1","profileData":[]}`, false},
	} {
		var j userJSON
		body := `{"user_id":"samlp|acme|1","email":"ada@example.com","email_verified":true,"identities":[{"provider":"samlp","user_id":"acme|1"},` + test.linked + `]}`
		if err := json.Unmarshal([]byte(body), &j); err != nil {
			t.Fatal(err)
		}
		if got := (Policy{}).Trusts(j.user(time.Now(), LaneByEmail)); got != test.want {
			t.Errorf("%s: trusted is %t", name, got)
		}
	}
}
