package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nastiness is one way to answer badly.
type nastiness struct {
	name   string
	but    []string // calls that it would be no nastiness for, but a message
	only   string   // call; "": any
	answer func(e *exchange)
}

func (n nastiness) fits(call string) bool {
	return !slices.Contains(n.but, call) && (n.only == "" || n.only == call)
}

// exchange is a call that is to be answered badly.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	nasty  *nasty
	call   string
	healed context.Context //nolint:containedctx // the end of the attack
}

const (
	endless = "pages without end"
	inWords = "verified in words"
)

// nastinesses are all there are. A 403, or a 404 of a lane that follows, says that the
// plan does not have it: then it is let be for an hour, as it should.
func nastinesses() []nastiness {
	const day = 24 * time.Hour
	say := func(status int, body string, headers ...string) func(*exchange) {
		return func(e *exchange) { e.say(status, []byte(body), headers...) }
	}
	lanes := []string{callEvents, callLogs}
	return []nastiness{
		{name: "429 with Retry-After", answer: say(429, `{"statusCode":429}`, "Retry-After", "1")},
		{name: "429 with a reset", answer: func(e *exchange) {
			reset := strconv.FormatInt(time.Now().Unix()+2, 10)
			e.say(429, nil, "X-Ratelimit-Limit", "10", "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", reset)
		}},
		{name: "429 with nothing", answer: say(429, "")},
		{name: "500", answer: say(500, `{"statusCode":500}`)},
		{name: "502 in HTML", answer: say(502, "<html>Bad Gateway</html>", "Content-Type", "text/html")},
		{name: "503", answer: say(503, `{"statusCode":503}`)},
		{name: "404 of somebody else", but: lanes, answer: say(404, "<html>Not Found</html>", "Content-Type", "text/html")},
		{name: "401", answer: say(401, `{"statusCode":401}`)},
		{name: "403", but: lanes, answer: say(403, `{"statusCode":403,"errorCode":"insufficient_scope"}`)},
		{name: "slow bytes", answer: (*exchange).slowly},
		{name: "silence", answer: func(e *exchange) { e.wait(time.Minute) }},
		{name: "cut", answer: (*exchange).cut},
		{name: "200 in HTML", answer: say(200, "<html>Please wait</html>", "Content-Type", "text/html")},
		{name: "200 and nothing", answer: say(200, "")},
		{name: "null", answer: say(200, "null")},
		{name: "wrong types", answer: func(e *exchange) { e.turned(`("[a-z_]+":)("[^"]*"|\d+|true|false)`, `$1{"is":$2}`) }},
		{name: inWords, answer: func(e *exchange) { e.turned(`"email_verified":false`, `"email_verified":"true"`) }},
		{name: "verified in numbers", answer: func(e *exchange) { e.turned(`"email_verified":false`, `"email_verified":1`) }},
		{name: "another user", answer: (*exchange).another},
		{name: endless, answer: (*exchange).endless},
		{name: "redirect", answer: func(e *exchange) { e.say(302, nil, "Location", "http://"+e.nasty.trap+e.r.URL.Path) }},
		{name: "redirect that keeps the body", answer: func(e *exchange) { e.say(307, nil, "Location", "http://"+e.nasty.trap+e.r.URL.Path) }},
		{name: "huge", answer: (*exchange).huge},
		{name: "gzip bomb", answer: func(e *exchange) { e.say(200, bomb(), "Content-Encoding", "gzip") }},
		{name: "tomorrow", answer: func(e *exchange) { e.at(day) }},
		{name: "yesterday", answer: func(e *exchange) { e.at(-day) }},
		{name: "a token that opens nothing", only: callToken, answer: say(200, `{"access_token":"x","token_type":"Bearer","expires_in":86400}`)},
	}
}

func (e *exchange) say(status int, body []byte, headers ...string) {
	e.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(headers); i += 2 {
		e.w.Header().Set(headers[i], headers[i+1]) //nolint:gosec // they come in pairs
	}
	e.w.WriteHeader(status)
	_, _ = e.w.Write(body) // the client may be gone
}

// wait lets time pass, until the attack is over or the client gone.
func (e *exchange) wait(d time.Duration) {
	select {
	case <-e.r.Context().Done():
	case <-e.healed.Done():
	case <-time.After(d):
	}
}

// kept is an answer that is not sent.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) { k.status = status }

// Write implements io.Writer.
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

// Flush implements http.Flusher.
func (k *kept) Flush() {}

// truth is what the tenant answers, or has said so far after a moment.
func (e *exchange) truth() *kept {
	ctx, cancel := context.WithTimeout(e.r.Context(), 500*time.Millisecond)
	defer cancel()
	k := &kept{header: http.Header{}, status: http.StatusOK}
	e.nasty.tenant.ServeHTTP(k, e.r.WithContext(ctx))
	for name, values := range k.header {
		e.w.Header()[name] = values
	}
	return k
}

func (e *exchange) slowly() {
	k := e.truth()
	e.w.WriteHeader(k.status)
	for _, b := range k.body.Bytes() {
		if _, err := e.w.Write([]byte{b}); err != nil {
			return
		}
		_ = http.NewResponseController(e.w).Flush() // as far as it goes
		e.wait(200 * time.Millisecond)
	}
}

func (e *exchange) cut() {
	k := e.truth()
	e.w.Header().Set("Content-Length", strconv.Itoa(k.body.Len()+1))
	e.w.WriteHeader(k.status)
	_, _ = e.w.Write(k.body.Bytes()[:k.body.Len()/2])
	_ = http.NewResponseController(e.w).Flush() // as far as it goes
	panic(http.ErrAbortHandler)
}

// turned is the truth with something in it changed.
func (e *exchange) turned(from, to string) {
	k := e.truth()
	body := regexp.MustCompile(from).ReplaceAll(k.body.Bytes(), []byte(to))
	e.w.WriteHeader(k.status)
	_, _ = e.w.Write(body) // the client may be gone
}

// at is the truth, said by a clock that is wrong.
func (e *exchange) at(d time.Duration) {
	k := e.truth()
	e.w.Header().Set("Date", time.Now().Add(d).UTC().Format(http.TimeFormat))
	e.w.WriteHeader(k.status)
	_, _ = e.w.Write(k.body.Bytes()) // the client may be gone
}

// stranger is a verified user, as Auth0 shows it, whom nobody asked for.
func stranger() map[string]any {
	long := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	return map[string]any{
		"user_id": "auth0|stranger", "email": "stranger@example.com", "email_verified": true, "created_at": long, "updated_at": long,
		"identities": []map[string]any{{"provider": "auth0", "connection": "Username-Password-Authentication", "user_id": "stranger", "isSocial": false}},
	}
}

// another answers about somebody who was not asked for.
func (e *exchange) another() {
	var body any = stranger()
	switch e.call {
	case callEmail:
		body = []any{stranger()}
	case callSearch:
		body = map[string]any{"start": 0, "limit": 100, "length": 1, "total": 1, "users": []any{stranger()}}
	}
	text, _ := json.Marshal(body) // plain values
	e.say(http.StatusOK, text)
}

// endless has always one more.
func (e *exchange) endless() {
	one, _ := json.Marshal(stranger()) // plain values
	switch e.call {
	case callSearch:
		e.say(http.StatusOK, fmt.Appendf(nil, `{"start":0,"limit":100,"length":1,"total":999,"users":[%s]}`, one))
	case callEvents:
		e.w.Header().Set("Content-Type", "text/event-stream")
		for i := range 1000 {
			_, _ = fmt.Fprintf(e.w, "id: x%d\nevent: user.created\ndata: {\"offset\":\"x%d\",\"event\":{\"id\":\"evt_%d\",\"type\":\"user.created\",\"data\":{\"object\":%s}}}\n\n", i, i, i, one)
		}
	default:
		e.say(http.StatusOK, []byte("["+strings.Repeat(string(one)+",", 5000)+string(one)+"]"))
	}
}

func (e *exchange) huge() {
	e.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	blank := bytes.Repeat([]byte(" "), 1<<20)
	_, err := io.WriteString(e.w, "[")
	for n := 0; n < 64 && err == nil; n++ {
		_, err = e.w.Write(blank)
	}
}

// bomb is half a gigabyte of blanks, packed: one member of a gzip file many times
// over (RFC 1952, section 2.2), since to pack it all takes a race detector minutes.
var bomb = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 16<<20)) // into memory
	_ = z.Close()                                     // the same
	return bytes.Repeat(packed.Bytes(), 32)
})
