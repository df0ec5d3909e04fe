package api_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ahiko-io/customersync/customer/attack"
)

func TestAttackGuessedAppKeysCostNothing(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	token, r := "Bearer "+i.sign(usualHeader, i.claims(c.now())), attack.Dice(t)
	guess := func(key ...string) answer {
		return s.inProcess("GET", customers, "", http.Header{"Ahiko-App-Id": key, "Authorization": {token}})
	}
	guess(s.appKey).want(t, http.StatusOK, "")
	before := s.keys.Load()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for range attack.Times(2_000, 100_000) {
		key := []byte(s.appKey)
		for range 1 + r.IntN(32) { // some of them are near
			key[r.IntN(32)] = alphabet[r.IntN(len(alphabet))]
		}
		if string(key) != s.appKey {
			guess(string(key)).refused(t, "a guess", "app_id_unknown")
		}
	}
	if n := s.keys.Load() - before; n > 10 {
		t.Errorf("the guesses caused %d queries", n)
	}
	for name, keys := range map[string][]string{
		"two":        {s.appKey, s.appKey},
		"a list":     {s.appKey + "," + s.appKey},
		"a space":    {" " + s.appKey[1:]},
		"cut":        {s.appKey[:31]},
		"long":       {s.appKey + "a"},
		"empty":      {""},
		"full width": {strings.Repeat("ａ", 32)},
		"NUL":        {s.appKey[:31] + "\x00"},
	} {
		guess(keys...).refused(t, name, "app_id_malformed")
	}
	guess().refused(t, "none", "app_id_missing")
	guess(swapCase(s.appKey)).refused(t, "another case", "app_id_unknown")
}

func swapCase(s string) string {
	if upper := strings.ToUpper(s); upper != s {
		return upper
	}
	return strings.ToLower(s)
}

// An app key is known by its hash alone, so that a guess takes as long however much of
// it is right. In full it fails beyond what chance makes of the median.
func TestAttackHowLongAGuessTakesTellsNothing(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	token := "Bearer " + i.sign(usualHeader, i.claims(c.now()))
	near, far := s.appKey[:31]+other(s.appKey[31]), strings.Repeat(other(s.appKey[0]), 32)
	took := map[string][]time.Duration{}
	for range attack.Times(200, 50_000) {
		for _, key := range []string{near, far} {
			header := http.Header{"Ahiko-App-Id": {key}, "Authorization": {token}}
			started := time.Now()
			a := s.inProcess("GET", customers, "", header)
			took[key] = append(took[key], time.Since(started))
			a.refused(t, "a guess", "app_id_unknown")
		}
	}
	slices.Sort(took[near])
	slices.Sort(took[far])
	n, f := took[near][len(took[near])/2], took[far][len(took[far])/2]
	t.Logf("a guess that is right but for its last letter takes %s, one that is all wrong %s", n, f)
	if attack.InFull() && (n-f).Abs() > f/20 {
		t.Error("that tells them apart")
	}
}

// other is a letter that one is not.
func other(letter byte) string {
	if letter == 'a' {
		return "b"
	}
	return "a"
}

func TestAttackARevokedKeyIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	id, key, err := s.store.CreateAppKey(t.Context(), "stolen")
	must(t, err)
	replicas := []*service{s, s.replica(), s.replica()}
	ask := func(s *service) answer {
		return s.inProcess("GET", customers, "", http.Header{"Ahiko-App-Id": {key}, "Authorization": {"Bearer " + i.sign(usualHeader, i.claims(c.now()))}})
	}
	for _, one := range replicas {
		ask(one).want(t, http.StatusOK, "")
	}
	must(t, s.store.RevokeAppKey(t.Context(), id))
	c.advance(30 * time.Second)
	for n, one := range replicas {
		ask(one).refused(t, fmt.Sprint("replica ", n), "app_id_unknown")
	}
}

const sent = `{"type":"post-user-registration","user":{"user_id":"auth0|1","email":"ada@example.com","email_verified":true}}`

// signedBy has the headers of a signed delivery, by the reference implementation.
func signedBy(t *testing.T, secret, id string, at time.Time, body string) http.Header {
	t.Helper()
	signer, err := webhooks.NewWebhook(secret)
	must(t, err)
	signature, err := signer.Sign(id, at, []byte(body))
	must(t, err)
	return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature}}
}

func TestAttackForgedDeliveriesLeaveNoTrace(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := &service{t: t, now: c.now}
	s.store = openStore(s)
	s.serve()
	s.create("ada@example.com")
	good := signedBy(t, actionSecret, "act_1", c.now(), sent)
	with := func(name string, values ...string) http.Header {
		h := good.Clone()
		h[name] = values
		return h
	}
	signature := good.Get("Webhook-Signature")
	before := s.contents()
	for name, h := range map[string]http.Header{
		"nothing":               {},
		"an app's credentials":  {"Ahiko-App-Id": {s.appKey}, "Authorization": {"Bearer " + s.machine()}},
		"a guessed token":       {"Authorization": {"Bearer " + strings.Repeat("a", len(streamToken))}},
		"the start of a token":  {"Authorization": {"Bearer " + streamToken[:16]}},
		"more than a token":     {"Authorization": {"Bearer " + streamToken + " "}},
		"a token in Basic":      {"Authorization": {"Basic " + streamToken}},
		"a secret as token":     {"Authorization": {"Bearer " + actionSecret}},
		"another secret":        signedBy(t, "whsec_"+strings.Repeat("QUJD", 10), "act_1", c.now(), sent),
		"another body":          signedBy(t, actionSecret, "act_1", c.now(), sent+" "),
		"another id":            with("Webhook-Id", "act_2"),
		"ids":                   with("Webhook-Id", "act_2", "act_1"),
		"another time":          with("Webhook-Timestamp", strconv.FormatInt(c.now().Unix()+1, 10)),
		"stale":                 signedBy(t, actionSecret, "act_1", c.now().Add(-301*time.Second), sent),
		"of the future":         signedBy(t, actionSecret, "act_1", c.now().Add(301*time.Second), sent),
		"the end of time":       with("Webhook-Timestamp", "9223372036854775807"),
		"before all time":       with("Webhook-Timestamp", "-9223372036854775808"),
		"a list of rubbish":     with("Webhook-Signature", "v1,AAAA v1, v1 ,"),
		"an empty signature":    with("Webhook-Signature", "v1,"),
		"an asymmetric one":     with("Webhook-Signature", strings.Replace(signature, "v1,", "v1a,", 1)),
		"a cut signature":       with("Webhook-Signature", signature[:len(signature)-4]),
		"an endless list":       with("Webhook-Signature", strings.Repeat("v1,AAAA ", 1000)+signature),
		"a forged one and none": with("Webhook-Signature", "v1,AAAA", signature),
	} {
		a := s.inProcess("POST", "/webhooks/auth0", sent, h)
		a.want(t, http.StatusForbidden, "webhook_forbidden")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	if diff := cmp.Diff(before, s.contents()); diff != "" {
		t.Errorf("forgeries left %s", diff)
	}
}

func TestAttackAReplayedDeliveryIsOneRow(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := &service{t: t, now: c.now}
	s.store = openStore(s)
	s.serve()
	good := signedBy(t, actionSecret, "act_1", c.now(), sent)
	s.inProcess("POST", "/webhooks/auth0", sent, good).want(t, http.StatusOK, "")
	once := s.contents()
	for range 20 {
		c.advance(15 * time.Second)
		s.inProcess("POST", "/webhooks/auth0", sent, good).want(t, http.StatusOK, "")
	}
	c.advance(time.Second)
	s.inProcess("POST", "/webhooks/auth0", sent, good).want(t, http.StatusForbidden, "webhook_forbidden")
	both := signedBy(t, nextSecret, "act_1", c.now(), sent)
	both.Set("Webhook-Signature", "v1,AAAA "+both.Get("Webhook-Signature"))
	s.inProcess("POST", "/webhooks/auth0", sent, both).want(t, http.StatusOK, "")
	if diff := cmp.Diff(once, s.contents()); diff != "" {
		t.Errorf("replays changed %s", diff)
	}
}

// counting counts what is read of it.
type counting struct {
	io.Reader
	read int
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func TestAttackStrangersDeliveriesAreReadLittleOrNot(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := &service{t: t, now: c.now}
	s.store = openStore(s)
	s.serve()
	large := strings.Repeat(" ", 1<<20)
	for name, test := range map[string]struct {
		header http.Header
		status int
		most   int
	}{
		"nothing":             {http.Header{}, http.StatusForbidden, 0},
		"a guessed token":     {http.Header{"Authorization": {"Bearer " + streamToken + "x"}}, http.StatusForbidden, 0},
		"a stale signature":   {signedBy(t, actionSecret, "a", c.now().Add(-time.Hour), large), http.StatusForbidden, 0},
		"perhaps a signature": {signedBy(t, "whsec_"+strings.Repeat("QUJD", 10), "a", c.now(), large), http.StatusRequestEntityTooLarge, 65 << 10},
		"a true token":        {http.Header{"Authorization": {"Bearer " + streamToken}}, http.StatusAccepted, 1 << 20},
	} {
		body := &counting{Reader: strings.NewReader(large)}
		r := httptest.NewRequest("POST", "/webhooks/auth0", body)
		r.Header = test.header
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if w.Code != test.status || body.read > test.most {
			t.Errorf("%s: %d, %d bytes were read", name, w.Code, body.read)
		}
	}
}
