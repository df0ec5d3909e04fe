package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ahiko-io/customersync/customer/attack"
)

// attempt is a request in the making: a good one, before it is broken.
type attempt struct {
	method, path, query, body string
	header                    http.Header
}

// grammar makes requests.
type grammar struct {
	*rand.Rand
	service *service
	id      string // of a customer
	corpus  []string
}

func pick[T any](g grammar, from ...T) T { return from[g.IntN(len(from))] }

// good is a request that would be answered with 200, of any route.
func (g grammar) good() attempt {
	a := attempt{header: http.Header{"Ahiko-App-Id": {g.service.appKey}, "Content-Type": {"application/json"}}}
	one := pick(g, customers+"/"+g.id, customers+"/"+strings.ToUpper(g.id), customers)
	if one == customers {
		a.query = "email_address=ada%40example.com"
	}
	switch g.IntN(10) {
	case 0:
		a.method, a.path = pick(g, "GET", "HEAD"), one
	case 1:
		a.method, a.path, a.query = "GET", pick(g, customers, "/customer/v1/conflicts"), pick(g, "", "limit=5")
	case 2:
		a.method, a.path, a.query = "POST", customers, ""
		a.body = `{"first_name":"Eve","last_name":"Evil","email_address":"eve@example.com"}`
	case 3:
		a.method, a.path = "PATCH", one
		a.body = pick(g, `{"first_name":"Eve"}`, `{"last_name":"Evil"}`, `{"auth_user_id":"auth0|evil"}`)
	case 4:
		a.method, a.path = "DELETE", one
	case 5:
		a.method, a.path, a.query = "GET", customers+"/"+g.id+"/explain", ""
	case 6:
		a.method, a.path, a.query = "POST", "/customer/v1/conflicts/"+g.id+"/resolve", ""
		a.body = pick(g, `{"action":"look_again"}`, `{"action":"close","why":"x"}`, `{"auth_user_id":"auth0|evil","why":"x"}`)
	case 7:
		a.method, a.path, a.query = "GET", pick(g, "/customer/v1/events", "/customer/v1/erasures/"+g.id), pick(g, "", "after=0")
		if strings.HasPrefix(a.path, "/customer/v1/erasures") {
			a.query = ""
		}
	case 8:
		a.method, a.path, a.query = "POST", customers+"/"+g.id+"/sync", ""
		if g.IntN(2) == 0 {
			a.method, a.path, a.query = "DELETE", customers+"/"+g.id, "erase=true"
		}
	case 9:
		a.method, a.path, a.query = "POST", "/webhooks/auth0", ""
		a.body = sent
		a.header.Set("Authorization", "Bearer "+streamToken)
	}
	return a
}

// broken makes a request one that must not be granted. Bodies are only broken
// where they are read before anything is written.
func (g grammar) broken() (a attempt, how string) {
	a = g.good()
	ways := []string{"credentials", "query", "path", "method"}
	if a.body != "" && a.path != "/webhooks/auth0" {
		ways = append(ways, "body", "body", "body", "media type")
	}
	if a.path == "/webhooks/auth0" {
		ways = []string{"credentials", "path", "method"} // what is authentic is kept, whatever it is
	}
	how = pick(g, ways...)
	switch how {
	case "credentials":
		g.breakCredentials(a.header)
	case "query":
		a.query = strings.TrimPrefix(a.query+"&"+pick(g, "x=1", "email_address", "email_address=", "%zz=1", "a;b=c", "limit=5&limit=6", g.text()+"=1", "cursor=%00", "wait_for=inactive",
			"email_address=a+b%40example.com", "timeout=1s", "limit=x&limit", "customer_lifecycle=x", "updated_since=x", "\xff=\xff"), "&")
	case "path":
		a.path = pick(g, a.path+"/", a.path+"/x", "/"+a.path, customers+"/"+nobodysID, customers+"/me", customers+"/"+g.text(), "/customer/v2/customers",
			customers+"/..", customers+"/%2e%2e", "/"+g.text(), strings.ToUpper(a.path), customers+"/"+g.id+"\x00", customers+"/{"+g.id+"}")
		if strings.HasPrefix(a.path, customers+"/") {
			a.query = ""
		}
	case "method":
		a.method = pick(g, "PUT", "TRACE", "get", "PROPFIND", "QUERY", "*", "POST ", "\x00")
	case "body":
		a.body = g.badBody(a.body)
	case "media type":
		a.header["Content-Type"] = pick(g, nil, []string{""}, []string{"text/plain"}, []string{"application/json; charset=utf-16"}, []string{"application/json, text/plain"},
			[]string{"application/json;"}, []string{g.text()}, []string{"application/jsonp"}, []string{"text/plain", "application/json"})
		if pick(g, true, false) {
			a.header.Set("Content-Encoding", pick(g, "gzip", "br", "identity, gzip", g.text()+"x"))
		}
		if ct := a.header.Get("Content-Type"); strings.HasPrefix(ct, "application/json;") && !strings.Contains(ct, "utf-16") {
			a.header.Set("Content-Type", "text/json")
		}
	}
	for range g.IntN(3) { // on top of it, what does no good nor harm
		a.header.Add(pick(g, "X-Request-Id", "If-None-Match", "Accept", "X-Forwarded-For", "Idempotency-Key", "Range", "Expect", "Upgrade", "Te"), g.text())
	}
	return a, how
}

func (g grammar) breakCredentials(h http.Header) {
	if g.IntN(2) == 0 && h.Get("Authorization") == "" {
		h["Ahiko-App-Id"] = pick(g, nil, []string{""}, []string{g.text()}, []string{strings.Repeat("a", 32)}, []string{g.service.appKey, g.service.appKey}, []string{g.service.appKey + " "})
		return
	}
	h["Authorization"] = pick(g, []string{""}, []string{"Bearer "}, []string{"Bearer " + g.text()}, []string{g.text()}, []string{"Bearer a.b.c"}, []string{"Basic YTpi"}, []string{"Bearer eyJhbGciOiJub25lIn0.e30."})
}

func (g grammar) text() string {
	switch g.IntN(4) {
	case 0:
		return pick(g, g.corpus...)
	case 1:
		b := make([]byte, g.IntN(20))
		for i := range b {
			b[i] = byte(g.IntN(256))
		}
		return string(b)
	case 2:
		return strings.Repeat(pick(g, "a", "%", "é", "\x00", "..", "/", "\u202e"), g.IntN(300))
	}
	return fmt.Sprint(g.Int64())
}

// badBody breaks an object: its text, its members, or the value of one.
func (g grammar) badBody(good string) string {
	member, _, _ := strings.Cut(strings.TrimPrefix(good, `{"`), `"`)
	switch g.IntN(6) {
	case 0: // cut, or with something behind
		return pick(g, good[:g.IntN(len(good))], good+pick(g, "{}", "x", ",", "\x00", "]", good))
	case 1: // twice, or one too many
		return strings.Replace(good, "{", pick(g, `{"`+member+`":"x",`, `{"\u00`+fmt.Sprintf("%02x", member[0])+member[1:]+`":"x",`, `{"customer_id":"x",`, `{"":1,`, `{"__proto__":{},`), 1)
	case 2: // in another case
		return strings.Replace(good, member, pick(g, strings.ToUpper(member), strings.ToUpper(member[:1])+member[1:], member+" ", member+`\u0000`, "ſ"+member[1:]), 1)
	case 3: // not JSON at all, or no object
		return pick(g, "["+good+"]", "null", "{}", `"`+member+`"`, "\ufeff"+good, strings.ReplaceAll(good, `"`, `'`), "\xff"+good, "/**/"+good, "<x/>", "a=b", strings.Repeat("[", 100_000))
	}
	// a value that is not accepted
	value := pick(g, "1", "true", "{}", "[]", `""`, `" "`, "1e999", `"`+strings.Repeat("x", 1000)+`"`, `"a\u0007b"`, `"\ud800"`, `"\u0000"`, "\"\xff\"", g.tree(20),
		`"`+strings.Repeat("y", 70<<10)+`"`, `["a"]`, `{"a":"b"}`, `"`+"\u200b\x01"+`"`)
	return `{"` + member + `":` + value + `}`
}

// tree is a deep or wide value.
func (g grammar) tree(deep int) string {
	if deep == 0 {
		return quoteAny(pick(g, g.corpus...))
	}
	if g.IntN(2) == 0 {
		return "[" + g.tree(deep-1) + "]"
	}
	return `{` + quoteAny(g.text()) + `:` + g.tree(deep-1) + `}`
}

func quoteAny(s string) string {
	text, _ := json.Marshal(s) // a string always can be
	return string(text)
}

// Requests that are good but for one thing, or more: none is granted, none is our
// fault, every answer is as documented, and nothing is written.
func TestAttackMalformedRequests(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id, token, r := s.create("ada@example.com"), s.machine(), attack.Dice(t)
	before, codes := s.contents(), map[string]int{}
	g := grammar{r, s, id, naughty(t)}
	for n := range attack.Times(20_000, 1_000_000) {
		a, how := g.broken()
		if a.header.Get("Authorization") == "" && a.header["Authorization"] == nil {
			a.header.Set("Authorization", "Bearer "+token)
		}
		got := s.raw(a)
		if got.status < 400 || got.status >= 500 {
			if read := a.method == "GET" || a.method == "HEAD"; !read || got.status >= 500 || how != "path" {
				t.Fatalf("request %d, broken by its %s: %d %s\n%+v", n, how, got.status, got.body, a)
			}
		}
		if got.status >= 400 {
			codes[got.code(t)]++
		}
		if t.Failed() {
			t.Fatalf("request %d: %+v", n, a)
		}
		if n%1000 == 0 {
			if diff := cmp.Diff(before, s.contents()); diff != "" {
				t.Fatalf("up to request %d something was written: %s", n, diff)
			}
		}
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Errorf("something was written: %s", diff)
	}
	var met []string
	for code, n := range codes {
		met = append(met, fmt.Sprintf("%s %d", code, n))
	}
	slices.Sort(met)
	t.Log(strings.Join(met, ", "))
}

// raw makes a request in process that no client library would send.
func (s *service) raw(a attempt) answer {
	r := httptest.NewRequest("GET", "/", strings.NewReader(a.body))
	r.Method, r.URL.RawQuery, r.Header = a.method, a.query, a.header
	r.URL.Path, r.URL.RawPath = a.path, ""
	w := recorder{httptest.NewRecorder()}
	s.handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}
