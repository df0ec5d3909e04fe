package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync/auth0sim"
	"github.com/ahiko-io/customersync/customer/attack"
	"github.com/ahiko-io/customersync/store/storetest"
)

// besieged is a daemon, and a client of its that means well.
type besieged struct {
	*daemonProcess
	sim           *auth0sim.Tenant
	appKey, token string
	at            string
}

func newBesieged(t *testing.T) besieged {
	t.Helper()
	sim, env := tenant(t)
	dsn := storetest.DSN(t)
	d := startServe(t, append(env, "DATABASE_URL="+dsn, "CUSTOMERSYNC_FOLLOW=off"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	_, key, err := openDSN(t, dsn).CreateAppKey(t.Context(), "shop")
	must(t, err)
	token := sim.MintMachineToken("shop", auth0sim.TokenOptions{Permissions: []string{"read:customers", "create:customers"}})
	return besieged{d, sim, key, token, strings.TrimPrefix(d.api, "http://")}
}

func (b besieged) headers() string {
	return "Host: x\r\nahiko-app-id: " + b.appKey + "\r\nAuthorization: Bearer " + b.token + "\r\n"
}

// good makes a request on a connection of its own.
func (b besieged) good(t *testing.T) time.Duration {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.api+"/customer/v1/conflicts", nil)
	must(t, err)
	req.Header = http.Header{"Ahiko-App-Id": {b.appKey}, "Authorization": {"Bearer " + b.token}}
	req.Close = true
	started := time.Now()
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	must(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	must(t, err)
	must(t, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		t.Errorf("a good client got %d", res.StatusCode)
	}
	return time.Since(started)
}

func (b besieged) p99(t *testing.T, n int) time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		took = append(took, b.good(t))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// memory is how many KiB the daemon has, as Linux says; 0 elsewhere.
func (b besieged) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	resident := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(status)
	if runtime.GOOS != "linux" {
		return 0
	}
	if err != nil || resident == nil {
		t.Fatalf("no memory in %.200q: %v", status, err)
	}
	kib, err := strconv.Atoi(string(resident[1]))
	must(t, err)
	return kib
}

const (
	// siegeSlows is what a good client waits at most beside a siege: 99 of 100 times.
	siegeSlows = 100 * time.Millisecond
	// siegeTakes is how much memory a siege may take, in KiB.
	siegeTakes = 100 << 10
)

// Thousands of connections that send nothing, or little, or read nothing: others
// are answered all the same.
func TestAttackSlowClientsKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	b := newBesieged(t)
	calls := attack.Times(50, 1000)
	quiet, before := b.p99(t, calls), b.memory(t)
	request := "GET /customer/v1/customers HTTP/1.1\r\n" + b.headers() + "\r\n"
	post := "POST /customer/v1/customers HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n" + b.headers() + "\r\n{"
	large := func(body string) string {
		return strings.Replace(strings.TrimSuffix(post, "{"), "60000", fmt.Sprint(len(body)), 1) + body
	}
	starts := []string{large(strings.Repeat("[", 60_000)), large(strings.Repeat(" ", 1<<20)), "", "G", "GET / HTTP/1.1\r\nHost", request[:len(request)-2], post, "POST /webhooks/auth0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", strings.Repeat(request, 20)}
	r := attack.Dice(t)
	for range attack.Times(210, 2000) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.at)
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() }) // the daemon may have been quicker
		must(t, conn.SetWriteDeadline(time.Now().Add(time.Minute)))
		_, _ = conn.Write([]byte(starts[r.IntN(len(starts))])) // it may not want it all
	}
	besieged := b.p99(t, calls)
	after := b.memory(t)
	t.Logf("p99 of good calls: %s, besieged %s; memory: %d KiB, besieged %d KiB", quiet, besieged, before, after)
	if after-before > siegeTakes {
		t.Error("that is too much memory")
	}
	if attack.InFull() && besieged > siegeSlows {
		t.Error("that is too slow")
	}
}

// Requests in which two readers could see two things, or too much of one. Each is
// answered once at most, and what hides behind it is not.
func TestAttackRequestsHiddenInOthers(t *testing.T) {
	t.Parallel()
	b := newBesieged(t)
	hidden := "GET /customer/v1/conflicts HTTP/1.1\r\n" + b.headers() + "X-Request-Id: hidden\r\n\r\n"
	post := "POST /customer/v1/customers HTTP/1.1\r\nContent-Type: application/json\r\n" + b.headers()
	for name, raw := range map[string]string{
		"two lengths":              post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" + hidden,
		"a list of lengths":        post + "Content-Length: 4, 5\r\n\r\nabcd" + hidden,
		"a signed length":          post + "Content-Length: +0\r\n\r\n" + hidden,
		"a negative length":        post + "Content-Length: -1\r\n\r\n" + hidden,
		"length and chunks":        post + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 5+len(hidden)) + hidden,
		"chunks and length":        post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
		"chunks, oddly named":      post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks twice":             post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"chunks with a space":      post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks by a tab":          post + "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n" + hidden,
		"a chunk with a bad size":  post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n0\r\n\r\n" + hidden,
		"a chunk of endless size":  post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n" + hidden,
		"a chunk without its end":  post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + hidden,
		"a folded header":          "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: a\r\n b\r\n\r\n" + hidden,
		"a header without a colon": "GET / HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n" + hidden,
		"a space in a name":        "GET / HTTP/1.1\r\nHost: x\r\nContent Length: 5\r\n\r\n" + hidden,
		"NUL in a value":           "GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n" + hidden,
		"bare returns":             "GET / HTTP/1.1\rHost: x\r\r" + hidden,
		"no host":                  "GET / HTTP/1.1\r\n\r\n" + hidden,
		"two hosts":                "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + hidden,
		"another version":          "GET / HTTP/9.9\r\nHost: x\r\n\r\n" + hidden,
		"an older one":             "GET /\r\n\r\n" + hidden,
		"large headers":            "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n" + hidden,
		"many headers":             "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 20_000) + "\r\n" + hidden,
		"a long target":            "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n" + hidden,
		"TLS":                      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + hidden,
		"HTTP/2":                   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
	} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.at)
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(time.Minute))) // should it never end
		go func() { _, _ = conn.Write([]byte(raw)) }()         // the daemon may not want it all
		said, _ := io.ReadAll(bufio.NewReader(conn))           // a reset ends it as well
		_ = conn.Close()                                       // it has been read to its end
		if n := strings.Count(string(said), "HTTP/1.1 "); n > 1 || strings.Contains(string(said), "hidden") || strings.Contains(string(said), "HTTP/1.1 500") {
			t.Errorf("%s: %d answers: %.600s", name, n, said)
		}
	}
	b.good(t)
}

// Requests one after the other without waiting for answers get each theirs.
func TestAttackPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	b := newBesieged(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.at)
	must(t, err)
	defer conn.Close()
	const n = 500
	go func() {
		for i := range n {
			_, _ = fmt.Fprintf(conn, "GET /customer/v1/conflicts HTTP/1.1\r\n%sX-Request-Id: r%d\r\n\r\n", b.headers(), i)
		}
	}()
	r := bufio.NewReader(conn)
	for i := range n {
		res, err := http.ReadResponse(r, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must(t, err)
		if id := res.Header.Get("X-Request-Id"); id != fmt.Sprint("r", i) || res.StatusCode != http.StatusOK {
			t.Fatalf("answer %d: %d for %s", i, res.StatusCode, id)
		}
	}
}

func TestAttackTheServersHaveLimits(t *testing.T) {
	t.Parallel()
	s := httpServer(http.NotFoundHandler(), zap.NewNop())
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout <= time.Minute || s.IdleTimeout == 0 || s.MaxHeaderBytes == 0 || s.MaxHeaderBytes > 64<<10 {
		t.Errorf("limits %+v", s)
	}
	l, err := listen(t.Context(), "x", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	if _, unlimited := l.(*net.TCPListener); unlimited {
		t.Error("any number of connections is accepted")
	}
}
