package ops_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ahiko-io/customersync/api/ops"
)

// A browser without JavaScript, from the first visit to signing out, by the keyboard.
func TestInABrowserPeopleSignInRevealAndSignOut(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	site := "http://" + server.Listener.Addr().String()
	g := newGateAt(t, site)
	server.Config.Handler = ops.NewPage(g.config, g.store)
	server.Start()
	t.Cleanup(server.Close)
	sam := g.person("sam@acme.example", "ops:read", "ops:pii")
	id := g.made("Grace", "grace.secret@example.com")
	path := "/ops/customers/" + string(id)
	b := g.tabAt(site)
	b.withoutScripts()
	b.at(desktop)
	b.signsIn(path, sam.Email)
	b.fits("customer", desktop)
	b.reachesEveryControl()
	if text := tells[string](b, `document.body.textContent`); strings.Contains(text, "secret") || tells[bool](b, `!!document.getElementById('who')`) {
		t.Errorf("shown, or asked for a name: %s", text)
	}
	if cookies := tells[string](b, `document.cookie`); cookies != "" {
		t.Errorf("a script could read %s", cookies)
	}
	b.tabTo("purpose")
	b.leads("they called us"+kb.Enter, "#record")
	if text := tells[string](b, `document.querySelector('#record ~ dl').textContent`); !strings.Contains(text, "grace.secret@example.com") {
		t.Errorf("revealed: %s", text)
	}
	b.picture("revealed")
	e := g.explain(id)
	if last := e.History[len(e.History)-1]; len(e.History) != 2 || last.What != "revealed" || last.Cause.Actor != "sub:"+sam.ID {
		t.Errorf("history %+v", e.History)
	}
	b.open(path)
	if text := tells[string](b, `document.body.textContent`); strings.Contains(text, "secret") {
		t.Errorf("still shown: %s", text)
	}
	if text := tells[string](b, `document.getElementById('act').parentElement.textContent`); !strings.Contains(text, "ops:act") {
		t.Errorf("offered, or not said why not: %s", text)
	}
	b.open("/ops/account")
	b.reachesEveryControl()
	b.picture("account")
	b.do(chromedp.Click(`form[action="/ops/logout"] button`))
	b.comesTo(site + "/ops/signed-out") // by way of the tenant
	b.picture("signed-out")
	// The tenant's session has ended too: it asks for a password again.
	b.signsIn("/ops/", g.person("kim@acme.example").Email)
	if text := tells[string](b, `document.getElementById('main').textContent`); !strings.Contains(text, "ops:read") {
		t.Errorf("allowed: %s", text)
	}
	for _, width := range []int64{phone, desktop} {
		b.at(width)
		b.fits("not allowed", width)
	}
	b.picture("not-allowed")
}

// comesTo waits for the browser to be at an address. It is asked again and again, since a
// question gets no answer while the page goes from one site to another.
func (b tab) comesTo(address string) {
	b.t.Helper()
	at := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, time.Second)
		now, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.readyState === 'complete' ? location.href : ''`))
		cancel()
		if err == nil && now == address {
			return
		}
		at = now
	}
	b.t.Fatalf("at %s, not at %s", at, address)
}

// signsIn opens a page and goes through the tenant's login on the way.
func (b tab) signsIn(path, email string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.site+path), chromedp.WaitReady(`input[name="password"]`))
	b.do(chromedp.SendKeys(`input[name="username"]`, email), chromedp.SendKeys(`input[name="password"]`, "password"+kb.Enter))
	b.comesTo(b.site + path)
}
