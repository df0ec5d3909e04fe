package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer"
)

// naughty are texts that break programs; the whole Big List of Naughty Strings
// where it is at hand.
func naughty(t *testing.T) []string {
	t.Helper()
	list := []string{
		"", "undefined", "null", "1/0", "-1", "0x0", "NaN", "̡͓̞ͅI", "田中さんにあげて下さい", "表ポあA鷗ŒéＢ逍Üßªąñ丂㐀𠀀", "ﷺ", "🏳0🌈️",
		"<script>alert(1)</script>", "1;DROP TABLE customers", "' OR 1=1 --", "%s%s%n", "../../etc/passwd", "$(touch /tmp/x)", "{{7*7}}",
		"\u202etest\u202c", "\ufeff", "Ω≈ç√∫", "\x00", "\xff\xfe", "a\r\nSet-Cookie: x=y", strings.Repeat("x", 3000), "\u2028", `\`, `"`,
	}
	if file, err := os.ReadFile("../../shared/corpora/blns/blns.json"); err == nil {
		var all []string
		if err := json.Unmarshal(file, &all); err != nil || len(all) < 400 {
			t.Fatalf("%d strings: %v", len(all), err)
		}
		list = append(list, all...)
	}
	return list
}

func TestNaughtyStringsInEveryPlace(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.machine()
	id := s.create("ada@example.com")
	for _, text := range naughty(t) {
		quoted, err := json.Marshal(text)
		must(t, err)
		escaped := url.QueryEscape(text)
		answers := map[string]answer{
			"first name": s.do("POST", customers, token, fmt.Sprintf(`{"first_name":%s,"last_name":"X"}`, quoted)),
			"last name":  s.do("PATCH", customers+"/"+id, token, fmt.Sprintf(`{"last_name":%s}`, quoted)),
			"address":    s.do("POST", customers, token, fmt.Sprintf(`{"first_name":"A","last_name":"B","email_address":%s}`, quoted)),
			"user id":    s.do("PATCH", customers+"/"+id, token, fmt.Sprintf(`{"auth_user_id":%s}`, quoted)),
			"member":     s.do("PATCH", customers+"/"+id, token, fmt.Sprintf(`{%s:1}`, quoted)),
			"query":      s.do("GET", customers+"?email_address="+escaped, token, ""),
			"parameter":  s.do("GET", customers+"?"+escaped+"=1", token, ""),
			"cursor":     s.do("GET", customers+"?limit=1&cursor="+escaped, token, ""),
			"path":       s.do("GET", customers+"/"+url.PathEscape(text), token, ""),
			"body":       s.do("POST", customers, token, text),
			"webhook":    s.do("POST", "/webhooks/auth0", streamToken, text),
		}
		if !strings.ContainsAny(text, "\r\n\x00") && text != "" {
			header := map[string]string{"token": "Authorization", "app key": "Ahiko-App-Id", "request id": "X-Request-Id", "condition": "If-Match", "key": "Idempotency-Key"}
			for what, name := range header {
				if sendable(text) {
					answers[what] = s.do("DELETE", customers+"/00000000-0000-7000-8000-000000000000", token, "", name, text)
				}
			}
		}
		for where, a := range answers {
			if a.status >= 500 {
				t.Errorf("%q as %s: %d %s", text, where, a.status, a.body)
			}
			a.code(t)
		}
	}
	if got := s.do("GET", customers+"/"+id, token, "").data(t); got["customer_id"] != id {
		t.Errorf("the customer is %v", got)
	}
}

// sendable tells what net/http lets a client send as a header.
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func TestANameComesBackAsItWas(t *testing.T) {
	t.Parallel()
	s := newService(t)
	path := customers + "/" + s.create("ada@example.com")
	for _, text := range naughty(t) {
		want, err := customer.ParseName("first_name", text)
		if err != nil {
			continue
		}
		quoted, err := json.Marshal(text)
		must(t, err)
		s.do("PATCH", path, s.machine(), fmt.Sprintf(`{"first_name":%s}`, quoted)).want(t, 200, "")
		if got := s.do("GET", path, s.machine(), "").data(t)["first_name"]; got != want {
			t.Errorf("%q came back as %q", want, got)
		}
	}
}

func TestNoMalformedRequestIsOurFault(t *testing.T) {
	t.Parallel()
	s := newService(t)
	token := s.machine()
	id := s.create("ada@example.com")
	rapid.Check(t, func(r *rapid.T) {
		method := rapid.SampledFrom([]string{"GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "X"}).Draw(r, "method")
		path := rapid.SampledFrom([]string{customers, customers + "/" + id, customers + "/me", customers + "/%2e%2e", "/webhooks/auth0", "/openapi.yaml", "/%00", "/customer/v1"}).Draw(r, "path")
		query := rapid.SampledFrom([]string{"", "?", "?limit=1", "?email_address=ada@example.com", "?cursor=%ff", "?limit=1&limit=2", "?%", "?;", "?updated_since=0001-01-01T00:00:00Z", "?updated_since=9999-12-31T23:59:59%2B00:00", "?updated_since=0000-01-01T00:00:00Z"}).Draw(r, "query")
		body := rapid.OneOf(
			rapid.SampledFrom([]string{"", "{}", "[]", `{"first_name":"A","last_name":"B"}`, `{"first_name":"A"}`, `{"auth_user_id":"a|b"}`, `{"first_name":{}}`, `{"first_name":1e999}`}),
			rapid.StringN(0, 100, 200),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 100), func(b []byte) string { return string(b) }),
		).Draw(r, "body")
		media := rapid.SampledFrom([]string{"application/json", "application/json;charset=UTF-8", "text/plain", ";", ""}).Draw(r, "media")
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path+query, strings.NewReader(body))
		must(t, err)
		req.Header = http.Header{
			"Ahiko-App-Id": {s.appKey}, "Authorization": {"Bearer " + token}, "Content-Type": {media},
			"If-Match":      rapid.SliceOfN(rapid.SampledFrom([]string{"*", `"x"`, "", "W/"}), 0, 2).Draw(r, "if-match"),
			"X-Request-Id":  {rapid.SampledFrom([]string{"a", "", "a b"}).Draw(r, "request id")},
			"Cache-Control": {"no-cache"},
		}
		a := s.send(req)
		if a.status >= 500 {
			r.Fatalf("%s %s%s %q: %d %s", method, path, query, body, a.status, a.body)
		}
		if method != "HEAD" && a.status != 304 && path != "/openapi.yaml" {
			a.code(t)
		}
	})
}

// What no client library sends: requests by hand.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	s := newService(t)
	address := strings.TrimPrefix(s.url, "http://")
	for name, raw := range map[string]string{
		"two keys":             "GET " + customers + " HTTP/1.1\r\nHost: x\r\nahiko-app-id: " + s.appKey + "\r\nahiko-app-id: " + s.appKey + "\r\n\r\n",
		"two tokens":           "GET " + customers + " HTTP/1.1\r\nHost: x\r\nahiko-app-id: " + s.appKey + "\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
		"two idempotency keys": "POST " + customers + " HTTP/1.1\r\nHost: x\r\nahiko-app-id: " + s.appKey + "\r\nAuthorization: Bearer " + s.machine() + "\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Type: application/json\r\nContent-Length: 37\r\n\r\n{\"first_name\":\"A\",\"last_name\":\"Bcde\"}",
		"an absolute path":     "GET http://evil/customer/v1/customers HTTP/1.1\r\nHost: x\r\n\r\n",
		"a star":               "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"dots":                 "GET /customer/../customer/v1/customers HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		must(t, err)
		_, err = conn.Write([]byte(raw))
		must(t, err)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		must(t, conn.Close())
		if res.StatusCode >= 500 || res.StatusCode >= 300 && res.StatusCode < 400 || res.StatusCode == 200 && name != "a star" {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
}

func TestAListingIsStreamedAndFlat(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const rows = 60_000
	must(t, s.fill(rows))
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+customers, nil)
	must(t, err)
	req.Header = http.Header{"Ahiko-App-Id": {s.appKey}, "Authorization": {"Bearer " + s.machine()}}
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	if res.ContentLength != -1 {
		t.Errorf("the listing was gathered before it was sent: %d bytes", res.ContentLength)
	}
	d := json.NewDecoder(res.Body)
	var body struct {
		Success bool
		Data    []struct {
			ID    string `json:"customer_id"`
			Email string `json:"email_address"`
		}
	}
	if err := d.Decode(&body); err != nil || !body.Success || len(body.Data) != rows {
		t.Errorf("%d rows, %v", len(body.Data), err)
	}
	seen := map[string]bool{}
	for _, row := range body.Data {
		seen[row.ID] = true
	}
	if len(seen) != rows {
		t.Errorf("%d different", len(seen))
	}
}

func TestTheIssuerBeingAwayIsToldApart(t *testing.T) {
	t.Parallel()
	s := newService(t)
	good := s.machine()
	s.do("GET", customers, good, "").want(t, 200, "")
	s.tenant.SetFaults(auth0sim.Faults{Requests: []auth0sim.Fault{{Endpoint: "GET /.well-known/jwks.json", Status: 500}}})
	s.tenant.RotateKeys()
	s.do("GET", customers, s.machine(), "").want(t, 403, "token_invalid") // its key cannot be had
	s.do("GET", customers, good, "").want(t, 200, "")                     // the old set stays in use
	again := s.tenant.Calls()["GET /.well-known/jwks.json"]
	for range 50 {
		s.do("GET", customers, s.machine(), "")
	}
	if n := s.tenant.Calls()["GET /.well-known/jwks.json"] - again; n > 2 {
		t.Errorf("%d fetches for 50 tokens of unknown keys", n)
	}
}
