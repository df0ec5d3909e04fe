package auth0sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFaultsStrike(t *testing.T) {
	t.Parallel()
	const users = "GET /api/v2/users"
	tests := map[string]struct {
		fault Fault
		want  string // statuses of six calls
	}{
		"each call":             {Fault{Endpoint: users, Status: 500}, "500 500 500 500 500 500"},
		"the next two":          {Fault{Endpoint: users, Status: 503, Times: 2}, "503 503 200 200 200 200"},
		"each third":            {Fault{Endpoint: users, Status: 500, Every: 3}, "200 200 500 200 200 500"},
		"each second, twice":    {Fault{Endpoint: users, Status: 500, Every: 2, Times: 2}, "200 500 200 500 200 200"},
		"one in two, by dice":   {Fault{Endpoint: users, Status: 500, Probability: 0.5}, "200 500 200 500 200 500"},
		"any endpoint":          {Fault{Status: 500, Times: 1}, "500 200 200 200 200 200"},
		"another endpoint":      {Fault{Endpoint: "GET /api/v2/users/{id}", Status: 500}, "200 200 200 200 200 200"},
		"a redirect":            {Fault{Location: "/elsewhere", Times: 1}, "302 200 200 200 200 200"},
		"a body and no status":  {Fault{Body: "{", Times: 1}, "200 200 200 200 200 200"},
		"a status with a body":  {Fault{Body: "{", Status: 418, Times: 1}, "418 200 200 200 200 200"},
		"a rate limit":          {Fault{Status: 429, Times: 1}, "429 200 200 200 200 200"},
		"nothing but a delay":   {Fault{Delay: Duration(time.Millisecond)}, "200 200 200 200 200 200"},
		"never outside the API": {Fault{Endpoint: "POST /oauth/token", Status: 500}, "200 200 200 200 200 200"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, Options{})
			for range 2 { // setting faults begins anew
				c.tenant.SetFaults(Faults{Requests: []Fault{test.fault}})
				got := []string{}
				for range 6 {
					got = append(got, fmt.Sprint(c.do("GET", "/api/v2/users", "").status))
				}
				if got := strings.Join(got, " "); got != test.want {
					t.Errorf("%s, want %s", got, test.want)
				}
			}
			c.tenant.SetFaults(Faults{})
			c.do("GET", "/api/v2/users", "").want(200, "")
		})
	}
}

func TestFaultsAnswer(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.signUp(SignUp{Email: "ada@example.com"})
	strike := func(f Fault) answer {
		c.tenant.SetFaults(Faults{Requests: []Fault{f}})
		return c.do("GET", "/api/v2/users", "")
	}
	if got := strike(Fault{Status: 500}).object(); got["statusCode"] != 500.0 || got["error"] != "Internal Server Error" {
		t.Errorf("500: %v", got)
	}
	got := strike(Fault{Status: 429, RetryAfter: "7"}).want(429, "too_many_requests")
	if got.header.Get("Retry-After") != "7" || got.header.Get("X-Ratelimit-Remaining") != "0" {
		t.Errorf("429: %v", got.header)
	}
	got = strike(Fault{Status: 502, Body: "<h1>Bad gateway</h1>", ContentType: "text/html"})
	if string(got.body) != "<h1>Bad gateway</h1>" || got.header.Get("Content-Type") != "text/html" {
		t.Errorf("HTML: %s %s", got.header.Get("Content-Type"), got.body)
	}
	got = strike(Fault{Location: "https://evil.example/"})
	if got.status != 302 || got.header.Get("Location") != "https://evil.example/" {
		t.Errorf("redirect: %d %v", got.status, got.header)
	}
	got = strike(Fault{Huge: 1 << 20})
	if len(got.body) != 1<<20 || len(got.list()) != 0 {
		t.Errorf("huge: %d bytes", len(got.body))
	}
}

// The answer is lost, what was asked for is done.
func TestCutAnswerEndsInAnError(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	c.tenant.SetFaults(Faults{Requests: []Fault{{CutAfter: 10}}})
	got, err := c.try("POST", "/api/v2/users", `{"connection":"email","email":"ada@example.com"}`)
	if err == nil || len(got.body) != 10 || !bytes.HasPrefix(got.body, []byte("{")) {
		t.Errorf("%q, error %v", got.body, err)
	}
	c.tenant.SetFaults(Faults{})
	if got := c.do("GET", "/api/v2/users-by-email?email=ada@example.com", "").list(); len(got) != 1 {
		t.Errorf("users %v", got)
	}
}

func TestFaultOfAnEndpointThatDoesNotExistPanics(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{})
	defer func() {
		if recover() == nil {
			t.Error("the typo passes")
		}
	}()
	c.tenant.SetFaults(Faults{Requests: []Fault{{Endpoint: "GET /api/v2/user", Status: 500}}})
}

func TestRudeTenantFailsTheSameCallsEachTime(t *testing.T) {
	t.Parallel()
	failures := func() string {
		c := serve(t, Rude(Options{}))
		got := []string{}
		for i := range 40 {
			if a := c.do("GET", "/api/v2/connections", ""); a.status != 200 {
				got = append(got, fmt.Sprintf("%d:%d", i+1, a.status))
			}
		}
		return strings.Join(got, " ")
	}
	first, second := failures(), failures()
	if want := "11:500 22:503 33:429"; first != want || second != want {
		t.Errorf("%s and %s, want %s", first, second, want)
	}
}
