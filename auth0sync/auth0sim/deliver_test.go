package auth0sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const testSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func TestActionsAreCalledForTheConnectionsThatTheyFireFor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		signUp    SignUp
		postLogin bool
		want      string
	}{
		"database":                         {SignUp{Email: "a@x"}, false, "post-user-registration"},
		"passwordless":                     {SignUp{Email: "a@x", Connection: Passwordless}, true, "post-user-registration"},
		"text message":                     {SignUp{Connection: SMS}, false, "post-user-registration"},
		"Google":                           {SignUp{Email: "a@x", Connection: Google}, false, ""},
		"enterprise":                       {SignUp{Email: "a@x", Connection: Enterprise}, false, ""},
		"Google with the post-login one":   {SignUp{Email: "a@x", Connection: Google}, true, "post-login"},
		"database with the post-login one": {SignUp{Email: "a@x"}, true, "post-user-registration"},
		"lost on purpose":                  {SignUp{Email: "a@x", DropDeliveries: true}, true, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t, 200)
			c := serve(t, Options{})
			c.tenant.ConnectAction(s.URL, testSecret)
			if test.postLogin {
				c.tenant.ConnectPostLogin()
			}
			c.signUp(test.signUp)
			c.tenant.Settle()
			if got := s.types(t); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestActionIsSignedAndTriedAgain(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		signUp   SignUp
		statuses []int
		waits    string
	}{
		"taken":                  {SignUp{}, []int{204}, "[]"},
		"refused":                {SignUp{}, []int{403}, "[]"},
		"server error":           {SignUp{}, []int{503, 500, 200}, "[500ms 1s]"},
		"rate limit":             {SignUp{}, []int{429, 200}, "[500ms]"},
		"never taken":            {SignUp{}, []int{503}, "[500ms 1s]"},
		"redirected":             {SignUp{}, []int{302}, "[500ms 1s]"},
		"never taken at a login": {SignUp{Connection: Google}, []int{503}, "[200ms]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := newSink(t, test.statuses...), &waits{}
			c := serve(t, Options{Wait: w.wait, Now: time.Now})
			c.tenant.ConnectAction(s.URL, testSecret)
			c.tenant.ConnectPostLogin()
			c.signUp(test.signUp)
			c.tenant.Settle()
			if got := fmt.Sprint(w.asked); got != test.waits {
				t.Errorf("waits %s, want %s", got, test.waits)
			}
			all := s.all()
			if len(all) != 1+len(w.asked) {
				t.Errorf("%d calls after %d waits", len(all), len(w.asked))
			}
			for _, r := range all {
				verifySignature(t, r)
				if r.header.Get("Webhook-Id") != all[0].header.Get("Webhook-Id") {
					t.Error("the id changes")
				}
			}
		})
	}
}

// verifySignature verifies by an implementation that is not ours.
func verifySignature(t *testing.T, r received) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(r.body, r.header); err != nil {
		t.Error(err)
	}
}

func TestActionWithABadSecretIsNotSent(t *testing.T) {
	t.Parallel()
	s, w := newSink(t, 200), &waits{}
	c := serve(t, Options{Wait: w.wait})
	c.tenant.ConnectAction(s.URL, "hunter2")
	c.signUp(SignUp{})
	c.tenant.Settle()
	if n := len(s.all()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestEventIsTriedFourTimesAndA4xxEndsIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		statuses []int
		waits    string
	}{
		"taken":        {[]int{202}, "[]"},
		"refused":      {[]int{404}, "[]"},
		"rate limited": {[]int{429}, "[]"},
		"server error": {[]int{500, 500, 500, 200}, "[1s 2s 4s]"},
		"never taken":  {[]int{503}, "[1s 2s 4s]"},
		"then refused": {[]int{503, 400}, "[1s]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := newSink(t, test.statuses...), &waits{}
			c := serve(t, Options{Wait: w.wait})
			c.tenant.ConnectEventStream(s.URL, "a token")
			c.signUp(SignUp{Email: "ada@example.com"})
			c.tenant.Settle()
			if got := fmt.Sprint(w.asked); got != test.waits {
				t.Errorf("waits %s, want %s", got, test.waits)
			}
			for _, r := range s.all() {
				if r.header.Get("Authorization") != "Bearer a token" || string(r.body) != string(s.all()[0].body) {
					t.Errorf("%v %s", r.header, r.body)
				}
			}
		})
	}
}

func TestEventsTellOfEveryChange(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.tenant.ConnectEventStream(s.URL, "token")
	u := c.signUp(SignUp{Email: "ada@example.com", Connection: Google})
	c.tenant.Settle()
	for _, change := range []func() error{
		func() error { return c.tenant.Verify(u.ID) },
		func() error { return c.tenant.Block(u.ID, true) },
		func() error { return c.tenant.ChangeEmail(u.ID, "new@example.com") },
		func() error { return c.tenant.Login(u.ID) },
		func() error { return c.tenant.Delete(u.ID) },
	} {
		c.must(change())
		c.tenant.Settle()
	}
	if got, want := s.types(t), "user.created"+strings.Repeat(" user.updated", 4)+" user.deleted"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	var changed struct {
		Data struct {
			Object, Previous struct{ Email string }
			PreviousObject   struct{ Email string } `json:"previous_object"`
		}
	}
	if err := json.Unmarshal(s.all()[3].body, &changed); err != nil {
		t.Fatal(err)
	}
	if changed.Data.Object.Email != "new@example.com" || changed.Data.PreviousObject.Email != "ada@example.com" {
		t.Errorf("%+v", changed)
	}
}

func TestEventsComeTwiceAndOutOfOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options Options
		faults  Faults
		want    string
	}{
		"twice":            {Options{}, Faults{DuplicateEvents: true}, "user.created user.created user.updated user.updated"},
		"out of order":     {Options{}, Faults{ReorderEvents: true}, "user.updated user.created"},
		"both, when rude":  {Rude(Options{}), Faults{}, ""},
		"not at all":       {Options{}, Faults{DropEvents: true}, ""},
		"as they are made": {Options{}, Faults{}, "user.created user.updated"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := newSink(t, 200), &waits{}
			test.options.Wait = w.wait
			c := serve(t, test.options)
			c.tenant.ConnectEventStream(s.URL, "token")
			c.tenant.SetFaults(test.faults)
			u := c.signUp(SignUp{Email: "ada@example.com"})
			if !test.faults.ReorderEvents && !test.options.Rude {
				c.tenant.Settle()
			}
			c.must(c.tenant.Verify(u.ID))
			c.tenant.Settle()
			got := s.types(t)
			if test.options.Rude { // copies of one event overtake each other
				if strings.Count(got, "user.created") != 2 || strings.Count(got, "user.updated") != 2 || strings.HasPrefix(got, "user.created") {
					t.Errorf("got %q", got)
				}
			} else if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestHeldEventComesWithoutAnother(t *testing.T) {
	t.Parallel()
	s := newSink(t, 200)
	c := serve(t, Options{})
	c.tenant.SetFaults(Faults{ReorderEvents: true})
	c.tenant.ConnectEventStream(s.URL, "token")
	c.signUp(SignUp{Email: "ada@example.com"})
	c.tenant.Settle()
	if got := s.types(t); got != "user.created" {
		t.Errorf("%q", got)
	}
}

func TestCloseGivesUpDeliveriesUnderWay(t *testing.T) {
	t.Parallel()
	s := newSink(t, http.StatusServiceUnavailable)
	tenant := New(Options{}) // would go on for 7 s
	tenant.ConnectEventStream(s.URL, "token")
	tenant.ConnectAction(s.URL, testSecret)
	if _, err := tenant.SignUp(SignUp{Email: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	tenant.Close()
	n := len(s.all())
	if _, err := tenant.SignUp(SignUp{Email: "bob@example.com"}); err != nil {
		t.Fatal(err)
	}
	tenant.Settle()
	if len(s.all()) != n {
		t.Error("a closed tenant delivers")
	}
}
