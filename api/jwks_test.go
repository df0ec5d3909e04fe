package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/customer/attack"
)

// clock stands still until it is moved.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d.Seconds())) }

func TestAttackUnknownKeysCostTheIssuerNothing(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	r, before := attack.Dice(t), i.fetched()
	good := "Bearer " + i.sign(usualHeader, i.claims(c.now()))
	claims := i.claims(c.now())
	guesses := attack.Times(2_000, 100_000)
	for n := range guesses {
		if n%(guesses/6) == 0 {
			c.advance(time.Second) // six in all
		}
		forged := unsigned(fmt.Sprintf(`{"alg":"RS256","kid":"%x"}`, r.Uint64()), claims) + strings.Repeat("A", 342)
		s.bearing("Bearer "+forged).refused(t, "an unknown key", "token_invalid")
		if n%500 == 0 {
			s.bearing(good).want(t, http.StatusOK, "")
		}
	}
	if n := i.fetched() - before; n > 3 {
		t.Errorf("%d fetches", n)
	}
}

func TestAttackARotatedKeyIsFoundDuringAnAttack(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	next := newKey(t)
	token := "Bearer " + signBy(next, `{"alg":"RS256","kid":"k2"}`, i.claims(c.now()))
	s.bearing(token).refused(t, "before the rotation", "token_invalid")
	i.publish(t, jwk(&next.PublicKey, "k2"))
	// One second after the other, each with a forged token first: the good one may
	// lose the race for a fetch, but not for ever.
	for second := range 6 {
		if s.bearing(token).status == http.StatusOK {
			break
		}
		if second == 5 {
			t.Error("the new key was not found within five seconds")
		}
		c.advance(time.Second)
		s.bearing("Bearer " + signBy(next, fmt.Sprintf(`{"alg":"RS256","kid":"x%d"}`, rand.Int()), i.claims(c.now())))
	}
	old := "Bearer " + i.sign(usualHeader, i.claims(c.now()))
	s.bearing(old).refused(t, "the key that is gone", "token_invalid")
}

func TestAttackABadKeySetLeavesTheOldInUse(t *testing.T) {
	t.Parallel()
	c, i := newClock(), newIssuer(t)
	s := newServiceTrusting(t, i, c.now)
	stalled := make(chan struct{})
	t.Cleanup(func() { close(stalled) })
	set := string(i.set)
	stranger := newKey(t)
	other, err := json.Marshal(map[string]any{"keys": []any{jwk(&stranger.PublicKey, "k1")}})
	must(t, err)
	for name, bad := range map[string]struct {
		status int
		set    string
	}{
		"empty":        {200, ``},
		"no keys":      {200, `{"keys":[]}`},
		"null":         {200, `null`},
		"a page":       {200, `<html>`},
		"gone":         {404, string(other)},
		"failing":      {500, string(other)},
		"huge":         {200, strings.Repeat(" ", 2<<20) + set},
		"cut":          {200, set[:len(set)/2]},
		"no RSA keys":  {200, `{"keys":[{"kty":"oct","kid":"k1","k":"AAAA"}]}`},
		"a broken key": {200, `{"keys":[{"kty":"RSA","kid":"k1","use":"sig","n":"!","e":"!"}]}`},
		"a redirect":   {302, string(other)},
	} {
		i.say(bad.status, []byte(bad.set))
		c.advance(3 * time.Second)
		before := i.fetched()
		s.bearing("Bearer "+i.sign(`{"alg":"RS256","kid":"x"}`, i.claims(c.now()))).refused(t, name, "token_invalid")
		if i.fetched() == before {
			t.Errorf("%s: was not fetched", name)
		}
		s.bearing("Bearer "+i.sign(usualHeader, i.claims(c.now(), "jti", string(quoted(name))))).want(t, http.StatusOK, "")
	}
	i.mu.Lock()
	i.stall = stalled
	i.mu.Unlock()
	c.advance(3 * time.Second)
	held := make(chan answer, 1)
	go func() { held <- s.bearing("Bearer " + i.sign(`{"alg":"RS256","kid":"x"}`, i.claims(c.now()))) }()
	s.bearing("Bearer "+i.sign(usualHeader, i.claims(c.now(), "jti", `"slow"`))).want(t, http.StatusOK, "")
	(<-held).refused(t, "slow", "token_invalid") // when the fetch is given up
}

// In full also: how long valid callers take beside it, in turn with none. The attack
// is paced, so that it is not the processor that they share.
func TestAttackUnknownKeysKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	s := newServiceTrusting(t, i, time.Now)
	claims := i.claims(time.Now())
	calls := attack.Times(20, 300)
	p99 := func() time.Duration {
		var took []time.Duration
		for n := range calls {
			good := i.sign(usualHeader, i.claims(time.Now(), "jti", string(number(int64(n)))))
			started := time.Now()
			s.do("GET", "/customer/v1/conflicts", good, "").want(t, http.StatusOK, "")
			took = append(took, time.Since(started))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	beside := func() time.Duration {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				forged := unsigned(fmt.Sprintf(`{"alg":"RS256","kid":"%d"}`, n), claims) + strings.Repeat("A", 342)
				s.do("GET", "/customer/v1/conflicts", forged, "").want(t, http.StatusForbidden, "token_invalid")
				select {
				case <-stop:
					return
				case <-pace.C:
				}
			}
		}()
		took := p99()
		close(stop)
		<-done
		return took
	}
	var quiet, attacked []time.Duration
	for range attack.Times(1, 15) {
		quiet, attacked = append(quiet, p99()), append(attacked, beside())
	}
	slices.Sort(quiet)
	slices.Sort(attacked)
	q, a := quiet[len(quiet)/2], attacked[len(attacked)/2]
	t.Logf("p99 of valid calls: %s, under attack %s", q, a)
	if attack.InFull() && a > 2*q {
		t.Error("that is more than twice as long")
	}
}
