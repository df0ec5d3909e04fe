package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ahiko-io/customersync/api/client"
)

// answers is a transport that gives one answer after the other, without a network,
// so that time can be the test's own.
type answers struct {
	list  []func(*http.Request) (*http.Response, error)
	tries []*http.Request
	at    []time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.tries, a.at = append(a.tries, r), append(a.at, time.Now())
	return a.list[min(len(a.tries), len(a.list))-1](r)
}

func says(status int, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return w.Result(), nil
	}
}

func refuses(status int, code string, headers ...string) func(*http.Request) (*http.Response, error) {
	return says(status, fmt.Sprintf(`{"success":false,"error":{"code":%q,"message":"No.","field":"last_name","request_id":"r1"}}`, code), headers...)
}

func breaks(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

const made = `{"success":true,"customer_id":"01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11"}`

func from(t *testing.T, list ...func(*http.Request) (*http.Response, error)) (*client.Client, *answers) {
	t.Helper()
	a := &answers{list: list}
	tokens := 0
	c, err := client.New(client.Config{
		URL: "http://api.test", AppKey: "key", HTTPClient: &http.Client{Transport: a},
		Token: func(context.Context) (string, error) { tokens++; return fmt.Sprint("token", tokens), nil },
	})
	must(t, err)
	return c, a
}

func TestACreateIsTriedAgainUnderOneKeyAndAFreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, a := from(t, refuses(503, "unavailable", "Retry-After", "7"), breaks, refuses(409, "idempotency_key_in_progress"), says(502, "<html>"), says(200, made))
		id, err := c.Create(t.Context(), client.NewCustomer{FirstName: "Ada", LastName: "L"})
		if err != nil || id != "01993a3c-5f4e-7c1a-9d0e-6a1f0c5b2e11" || len(a.tries) != 5 {
			t.Fatalf("%q, %v after %d tries", id, err, len(a.tries))
		}
		key := a.tries[0].Header.Get("Idempotency-Key")
		for i, r := range a.tries {
			body, err := io.ReadAll(r.Body)
			if got := r.Header.Get("Authorization"); err != nil || got != fmt.Sprint("Bearer token", i+1) || len(body) == 0 || key == "" || r.Header.Get("Idempotency-Key") != key {
				t.Errorf("try %d: %v %s", i+1, r.Header, body)
			}
		}
		if waited := a.at[1].Sub(a.at[0]); waited != 7*time.Second {
			t.Errorf("waited %s, asked for were 7s", waited)
		}
		if waited := a.at[2].Sub(a.at[1]); waited < 100*time.Millisecond || waited > 200*time.Millisecond {
			t.Errorf("waited %s", waited)
		}
		other, b := from(t, says(200, made))
		_, err = other.Create(t.Context(), client.NewCustomer{FirstName: "Ada", LastName: "L"})
		if err != nil || b.tries[0].Header.Get("Idempotency-Key") == key {
			t.Errorf("another call has the same key, %v", err)
		}
	})
}

func TestNothingIsTriedAgainBeyondTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, asked := range []struct{ retryAfter, within string }{{"10", "10s"}, {"3600", ""}} {
			c, a := from(t, refuses(503, "unavailable", "Retry-After", asked.retryAfter))
			ctx, started := t.Context(), time.Now()
			if within, err := time.ParseDuration(asked.within); err == nil {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, within)
				defer cancel()
			}
			err := c.Close(ctx, client.ByID("1"))
			if !errors.Is(err, client.ErrUnavailable) || len(a.tries) != 1 || time.Since(started) != 0 {
				t.Errorf("%v after %d tries and %s", err, len(a.tries), time.Since(started))
			}
		}
		c, a := from(t, refuses(503, "unavailable"))
		if err := c.Close(t.Context(), client.ByID("1")); !errors.Is(err, client.ErrUnavailable) || len(a.tries) != 5 {
			t.Errorf("%v after %d tries", err, len(a.tries))
		}
	})
}

// A second try could be refused for what the first one did, or undo what was done since.
func TestConditionalCallsAreRepeatedOnlyIfTheyCannotHaveBeenDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := map[string]func(*client.Client) error{
			"Update": func(c *client.Client) error {
				return c.Update(t.Context(), client.ByID("1"), client.FirstName("Ada"), client.IfMatch(`"1"`))
			},
			"Resolve": func(c *client.Client) error {
				return c.Resolve(t.Context(), "1", client.Resolution{Action: client.LookAgain})
			},
		}
		for name, call := range calls {
			for what, first := range map[string]func(*http.Request) (*http.Response, error){"503": refuses(503, "unavailable"), "a cut": breaks} {
				c, a := from(t, first, says(200, `{"success":true}`))
				if err := call(c); err == nil || len(a.tries) != 1 {
					t.Errorf("%s: after %s: %v, %d tries", name, what, err, len(a.tries))
				}
			}
			c, a := from(t, says(429, "", "Retry-After", "1"), says(200, `{"success":true}`))
			if err := call(c); err != nil || len(a.tries) != 2 {
				t.Errorf("%s: after 429: %v, %d tries", name, err, len(a.tries))
			}
		}
	})
}

func TestErrorsSayAllThereIsToKnow(t *testing.T) {
	t.Parallel()
	c, a := from(t, refuses(422, "invalid_field"))
	_, err := c.Customer(t.Context(), client.ByEmail("ada@example.com"))
	var refused *client.Error
	if !errors.As(err, &refused) || *refused != (client.Error{Status: 422, Code: "invalid_field", Message: "No.", Field: "last_name", RequestID: "r1"}) {
		t.Errorf("%#v", err)
	}
	if !errors.Is(err, client.ErrInvalidField) || errors.Is(err, client.ErrInvalidJSON) || errors.Is(err, client.Code("")) || len(a.tries) != 1 {
		t.Errorf("%v is not what it is, or %d tries", err, len(a.tries))
	}
	c, _ = from(t, says(302, "<html>", "Location", "http://elsewhere.test", "X-Request-Id", "r2"))
	if _, err = c.Explain(t.Context(), "1"); !errors.As(err, &refused) || refused.Status != 302 || refused.Code != "" || refused.RequestID != "r2" {
		t.Errorf("a proxy's answer: %#v", err)
	}
	c, _ = from(t, says(304, ""))
	if _, err = c.Customer(t.Context(), client.ByID("1"), client.IfNoneMatch(`"1"`)); !errors.Is(err, client.ErrNotModified) {
		t.Errorf("not modified: %v", err)
	}
}

func TestErrorsDoNotNameTheAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := from(t, breaks)
		_, err := c.Customer(t.Context(), client.ByEmail("ada@example.com"))
		if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "ada") || !strings.Contains(err.Error(), "GET /customer/v1/customers") {
			t.Errorf("%v", err)
		}
	})
}

func TestATokenThatCannotBeHadIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	c, err := client.New(client.Config{URL: "http://api.test", AppKey: "key", Token: func(context.Context) (string, error) { return "", down }})
	must(t, err)
	if _, err := c.Sync(t.Context(), client.Me); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
}

func TestNoIDLeadsElsewhere(t *testing.T) {
	t.Parallel()
	c, a := from(t, says(200, `{"success":true}`))
	for _, id := range []string{"", ".", "..", "../conflicts", "a/b", "a?b", "a%2fb", "ä"} {
		if err := c.Close(t.Context(), client.ByID(id)); err == nil || len(a.tries) > 0 {
			t.Errorf("%q: %v, %d tries", id, err, len(a.tries))
		}
	}
}

func TestAConfigThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	whole := client.Config{URL: "https://api.test", AppKey: "key", Token: client.StaticToken("token")}
	for name, spoil := range map[string]func(*client.Config){
		"Config.URL": func(c *client.Config) { c.URL = "api.test" }, "Config.AppKey": func(c *client.Config) { c.AppKey = "" },
		"Config.Token": func(c *client.Config) { c.Token = nil },
	} {
		spoilt := whole
		spoil(&spoilt)
		if _, err := client.New(spoilt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func listed(c *client.Client, f client.Filter) (ids string, err error) {
	for one, err := range c.Customers(context.Background(), f) {
		if err != nil {
			return ids, err
		}
		ids += one.ID
	}
	return ids, nil
}

func TestAListThatBreaksOffIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	const whole = `{"success":true,"data":[{"customer_id":"1","email_address":"a@b.c"},{"customer_id":"2","email_address":null}]}`
	for n := range len(whole) {
		c, a := from(t, says(200, whole[:n]))
		ids, err := listed(c, client.Filter{})
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(a.tries) != 1 {
			t.Errorf("%s: %q, %v, %d tries", whole[:n], ids, err, len(a.tries))
		}
	}
	c, _ := from(t, says(200, whole+"\n"))
	if ids, err := listed(c, client.Filter{}); ids != "12" || err != nil {
		t.Errorf("the whole: %q, %v", ids, err)
	}
	for range c.Customers(t.Context(), client.Filter{}) {
		break // nobody has to read to the end
	}
}

func TestPagesFollowEachOtherAndAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		page := func(id, next string) func(*http.Request) (*http.Response, error) {
			return says(200, `{"success":true,"data":[{"customer_id":"`+id+`"}]}`, "Link", next)
		}
		c, a := from(t, page("1", `<http://elsewhere.test/?cursor=two%2B&limit=9>; rel="next"`), refuses(503, "unavailable"), page("2", `</x?cursor=z>; rel="prev"`))
		ids, err := listed(c, client.Filter{PageSize: 1, Lifecycle: client.Active})
		if ids != "12" || err != nil || len(a.tries) != 3 {
			t.Fatalf("%q, %v, %d tries", ids, err, len(a.tries))
		}
		if got := a.tries[2].URL.String(); got != "http://api.test/customer/v1/customers?cursor=two%2B&customer_lifecycle=active&limit=1" {
			t.Errorf("the second page is %s", got)
		}
	})
}

func TestEventsGoOnWhereTheyEnded(t *testing.T) {
	t.Parallel()
	c, a := from(t, says(200, `{"success":true,"data":[{"event_id":"1"}],"after":"b","more":true}`), says(200, `{"success":true,"data":[],"after":"b","more":false}`))
	after := "a"
	for page, err := range c.Events(t.Context(), after, 1) {
		must(t, err)
		after = page.After
	}
	if len(a.tries) != 2 || a.tries[0].URL.Query().Get("after") != "a" || a.tries[1].URL.Query().Get("after") != "b" || after != "b" {
		t.Errorf("%d tries, after %s", len(a.tries), after)
	}
}
