package api_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer signs whatever it is told to, which a well-behaved one never would, and
// serves whatever key set it is told to.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey

	mu      sync.Mutex
	set     []byte
	status  int
	fetches int
	stall   <-chan struct{} // nil: answers at once
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t), status: http.StatusOK}
	i.publish(t, jwk(&i.key.PublicKey, "k1"))
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return key
}

// jwk is a public key as a set has it, with members to add.
func jwk(key *rsa.PublicKey, kid string, more ...any) map[string]any {
	k := map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
	for i := 0; i < len(more); i += 2 {
		name, _ := more[i].(string)
		if k[name] = more[i+1]; more[i+1] == nil {
			delete(k, name)
		}
	}
	return k
}

func (i *issuer) publish(t *testing.T, keys ...map[string]any) {
	t.Helper()
	set, err := json.Marshal(map[string]any{"keys": keys})
	must(t, err)
	i.say(http.StatusOK, set)
}

// say has the set answered by any status and body.
func (i *issuer) say(status int, set []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.set = status, set
}

// ServeHTTP answers with the key set, wherever it is asked for.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.fetches++
	status, set, stall := i.status, i.set, i.stall
	i.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(set)
}

func (i *issuer) fetched() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// claims of a machine's good token, as the text of a payload; members come in
// pairs of name and JSON, and an empty value takes one away.
func (i *issuer) claims(at time.Time, change ...string) string {
	all := map[string]json.RawMessage{
		"iss": quoted(i.URL + "/"), "aud": quoted(audience), "sub": quoted("shop@clients"),
		"gty": quoted("client-credentials"), "scope": quoted(strings.Join(all(), " ")),
		"iat": number(at.Unix()), "exp": number(at.Add(time.Hour).Unix()),
	}
	for n := 0; n < len(change); n += 2 {
		if all[change[n]] = json.RawMessage(change[n+1]); change[n+1] == "" {
			delete(all, change[n])
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // the test's own mistake
	}
	return string(text)
}

func quoted(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string always can be
	return text
}

func number(n int64) json.RawMessage {
	text, _ := json.Marshal(n) // a number always can be
	return text
}

const usualHeader = `{"alg":"RS256","typ":"JWT","kid":"k1"}`

// sign makes a token of any two texts.
func (i *issuer) sign(header, payload string) string { return signBy(i.key, header, payload) }

func signBy(key *rsa.PrivateKey, header, payload string) string {
	return signWith(key, crypto.SHA256, header, payload)
}

func signWith(key *rsa.PrivateKey, h crypto.Hash, header, payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	hash := h.New()
	hash.Write([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, h, hash.Sum(nil))
	if err != nil {
		panic(err) // the key is our own
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// newServiceTrusting is the API with tokens of an own issuer, by a clock that
// stands still.
func newServiceTrusting(t *testing.T, i *issuer, now func() time.Time) *service {
	t.Helper()
	s := &service{t: t, trusts: i.URL, now: now}
	s.store = openStore(s)
	s.serve()
	return s
}

// inProcess makes a request past the network, which would refuse some of them
// before we can.
func (s *service) inProcess(method, path, body string, header http.Header) answer {
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL.Path, r.RequestURI = path, path
	r.Header = header
	w := recorder{httptest.NewRecorder()}
	s.handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// recorder takes deadlines, which listings set, as connections do.
type recorder struct{ *httptest.ResponseRecorder }

// SetWriteDeadline does nothing.
func (recorder) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (recorder) SetReadDeadline(time.Time) error { return nil }

// bearing makes a request with Authorization headers.
func (s *service) bearing(authorization ...string) answer {
	return s.inProcess("GET", "/customer/v1/conflicts", "", http.Header{"Ahiko-App-Id": {s.appKey}, "Authorization": authorization})
}
