package ops_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/api/ops"
	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// pictures is where what was seen is kept: people look at it, no test does.
const pictures = "../../bin/screenshots"

// tab is a page of a real Chromium before a desk.
type tab struct {
	t    *testing.T
	ctx  context.Context
	site string
}

// newTab opens the operator page's site in a browser of its own. A dialog that a
// script opens is a failure whenever it comes.
func newTab(d desk) tab {
	d.t.Helper()
	server := httptest.NewServer(ops.NewPage(d.config, d.store))
	d.t.Cleanup(server.Close)
	return d.tabAt(server.URL)
}

func (d desk) tabAt(site string) tab {
	d.t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.UserDataDir(d.t.TempDir())) // root has no sandbox
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	d.t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser; a failure to end it leaves nothing to do
		end()
		stop()
	})
	b := tab{d.t, ctx, site}
	must(d.t, chromedp.Listen(ctx, func(event any) {
		if dialog, ok := event.(*page.EventJavascriptDialogOpening); ok {
			d.t.Errorf("a script ran and said %q", dialog.Message)
		}
	}))
	return b
}

// run has the browser do something, and returns what that comes to.
func run[T any](b tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	must(b.t, err)
	return value
}

func (b tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, chromedp.Steps(actions...))
}

// tells is what an expression comes to on the page.
func tells[T any](b tab, expression string) T {
	b.t.Helper()
	return run(b, chromedp.Evaluate[T](expression))
}

// emulate has the browser behave as another one would.
func emulate[P any](b tab, command cdp.Command[P, cdp.Empty], as P) {
	b.t.Helper()
	run(b, func(ctx context.Context, t *chromedp.Target) (cdp.Empty, error) { return cdp.Call(ctx, t, command, as) })
}

func (b tab) withoutScripts() {
	b.t.Helper()
	emulate(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

func (b tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.site+path), chromedp.WaitReady("#main"))
}

const phone, desktop = 375, 1280 // pixels

// at is a screen this wide.
func (b tab) at(width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 800))
}

// fits is a failure if the page has to be moved sideways, or if a text made elements
// of its own.
func (b tab) fits(what string, width int64) {
	b.t.Helper()
	if is := tells[int64](b, `document.documentElement.scrollWidth`); is > width {
		b.t.Errorf("%s is %d pixels wide on a screen of %d", what, is, width)
	}
	if n := tells[int](b, `document.querySelectorAll('script, iframe, img, svg:not(.track), object, embed, style, marquee, [onerror], [onload], [onclick]').length`); n != 0 {
		b.t.Errorf("%s: a text made %d elements", what, n)
	}
}

// picture keeps what is to be seen, wholly.
func (b tab) picture(name string) {
	b.t.Helper()
	png := run(b, chromedp.FullScreenshot(100))
	must(b.t, os.MkdirAll(pictures, 0o750))
	must(b.t, os.WriteFile(filepath.Join(pictures, name+".png"), png, 0o600))
}

// hostileNames are texts that break pages: some of our own, and the Big List of
// Naughty Strings where it is to be had.
func hostileNames(t *testing.T) []string {
	t.Helper()
	names := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</bdi></h1><svg onload=alert(1)>`, `{{.ID}}`, `javascript:alert(1)`,
		"\u202egnorw ton si siht\u202e", strings.Repeat("W", 199), strings.Repeat("ﷺ", 120), "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030a\u030b",
		"الاسم بالعربية <b>", "&lt;b&gt;&amp;", "👩‍👩‍👧‍👦 family", "' or 1=1 --",
	}
	file, err := os.ReadFile("../../../shared/corpora/blns/blns.json")
	if err != nil {
		return names
	}
	var corpus []string
	must(t, json.Unmarshal(file, &corpus))
	for _, text := range corpus {
		if name, err := customer.ParseName("first_name", text); err == nil && utf8.RuneCountInString(name) < 200 {
			names = append(names, name)
		}
	}
	return names
}

func TestInABrowserNoNameBreaksThePage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := newTab(d)
	b.at(phone)
	for batch := range slices.Chunk(hostileNames(t), 20) { // a page takes long, a name does not
		id := d.made(batch[0], uuid.NewString()+"@example.com")
		for _, name := range batch {
			_, err := d.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldLastName, Value: name + "."}, 0, customer.Cause{Kind: customer.ByAPI, Actor: name, Why: name})
			must(t, err)
		}
		b.open("/ops/customers/" + string(id))
		b.fits(batch[0], phone)
		if diff := cmp.Diff(batch[0]+" "+batch[len(batch)-1]+".", tells[string](b, `document.querySelector('h1 bdi').textContent`)); diff != "" {
			t.Errorf("the heading: %s", diff)
		}
		shown := tells[[]string](b, `[...document.querySelectorAll('#history ~ .timeline bdi')].map(e => e.textContent)`)
		for _, name := range batch {
			if !slices.Contains(shown, name) || !slices.Contains(shown, name+".") {
				t.Errorf("not shown as it is: %q", name)
			}
		}
	}
	b.picture("hostile-name")
}

func TestInABrowserEveryPageFitsInLightAndDark(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	linked, waiting, conflict, run := o.busyDay()
	b := newTab(o.desk)
	b.withoutScripts()
	for name, path := range map[string]string{
		"home": "/ops/", "customer": "/ops/customers/" + string(conflict), "conflicts": "/ops/conflicts", "runs": "/ops/runs",
		"linked-customer": "/ops/customers/" + string(linked), "waiting-customer": "/ops/customers/" + string(waiting),
		"reason": "/ops/reasons/not_registered", "run": run, "plan": "/ops/plan", "missing": "/ops/customers/0198c0de-0000-7000-8000-00000000dead",
	} {
		backgrounds := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			emulate(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			for _, width := range []int64{phone, desktop} {
				b.at(width)
				b.open(path)
				b.fits(name, width)
				b.picture(name + "-" + scheme + "-" + map[int64]string{phone: "phone", desktop: "desktop"}[width])
			}
			backgrounds[tells[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
		}
		if len(backgrounds) != 2 {
			t.Errorf("%s is alike in light and dark", name)
		}
	}
}

// busyDay is what an office looks like that has work: customers of all sorts, runs, a
// plan that is applied in part. It returns a customer that is linked, one that waits,
// one in conflict, and the page of a run.
func (o *office) busyDay() (linked, waiting, conflict customer.ID, run string) {
	o.t.Helper()
	for _, name := range []string{"Ada Lovelace", "Alan Turing", "Barbara Liskov", "Edsger Dijkstra", "Katherine Johnson", "Margaret Hamilton"} {
		address := strings.ToLower(strings.ReplaceAll(name, " ", ".")) + "@example.com"
		user := o.signUp(address, true)
		if last := name[0]; last == 'A' { // Auth0 tells of some
			email, err := customer.ParseEmail(address)
			must(o.t, err)
			_, err = o.store.Receive(o.t.Context(), customer.Delivery{
				Source: "action", EventID: address, Kind: "post-user-registration", Understood: true,
				Hint: customer.Hint{AuthUserID: user.ID, Email: address, Key: email.Key, Verified: true},
			})
			must(o.t, err)
		}
		first, last, _ := strings.Cut(name, " ")
		o.person(first, last, address)
	}
	o.signUp("radia@example.com", false)
	o.person("Radia", "Perlman", "radia@example.com")
	waiting = o.person("Frances", "Allen", "frances@example.com")
	o.person("John", "McCarthy", "john@example.com")
	o.made("</td><script>alert(1)</script>", "hostile@example.com")
	must(o.t, o.store.CloseCustomer(o.t.Context(), o.person("Closed", "Account", "closed@example.com"), 0, customer.Cause{Kind: customer.ByOperator, Actor: "Joan", Why: "they asked us to"}))
	w := o.ask("POST", "/ops/due/act", sam().Encode())
	run = w.Header().Get("Location")
	email, err := customer.ParseEmail("frances@example.com")
	must(o.t, err)
	for range 13 {
		_, err := o.worker.RunOnce(o.t.Context(), worker.Order{Kind: worker.KindSync, Only: email.Key})
		must(o.t, err)
	}
	linked, _ = o.linked("Grace Hopper", "grace@example.com")
	goneAndNew(o)
	o.person("Barbara", "Liskov", "new@example.com")
	o.settled("/ops/plan", sam())
	conflict = o.inConflict("Donald Knuth", "donald@example.com")
	return linked, waiting, conflict, run
}

// Support without a mouse, in a browser without JavaScript.
func TestInABrowserTheKeyboardDoesItAll(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.made("Ada", "ada@example.com")
	b := newTab(d)
	b.withoutScripts()
	b.at(desktop)
	b.open("/ops/")
	b.tabTo("q")
	b.leads("ada@example.com"+kb.Enter, "#why")
	if at := tells[string](b, `location.pathname`); at != "/ops/customers/"+string(id) {
		t.Fatalf("found %s", at)
	}
	b.reachesEveryControl()
	b.tabTo("user")
	b.leads("auth0|ada"+kb.Enter, "#who")
	b.picture("preview")
	b.reachesEveryControl()
	b.tabTo("who")
	b.leads("Joan"+kb.Tab+"she showed her passport"+kb.Enter, "#why")
	b.picture("linked")
	e, err := d.store.Explain(t.Context(), id)
	must(t, err)
	if e.Customer.AuthUserID != "auth0|ada" {
		t.Errorf("linked to %q", e.Customer.AuthUserID)
	}
}

// What would be done is read, and then done, without a mouse and without JavaScript.
func TestInABrowserAPlanIsReadAndApplied(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	_, fresh, user := goneAndNew(o)
	ada := o.signUp("ada@example.com", true)
	due := o.person("Ada", "Lovelace", "ada@example.com")
	o.settled("/ops/plan", sam())
	b := newTab(o.desk)
	b.withoutScripts()
	b.at(desktop)
	b.open("/ops/plan")
	b.reachesEveryControl()
	row := tells[string](b, `document.querySelector('a[href$="`+string(fresh)+`"]').closest('tr').querySelector('input').id`)
	b.tabTo(row)
	b.do(chromedp.KeyEvent(" "))
	b.tabTo("who")
	b.leads("Joan"+kb.Tab+"I read it"+kb.Enter, "#full")
	o.page("/ops/plan") // it may still be under way: that is told, and waited for below
	for deadline := time.Now().Add(time.Minute); o.explain(fresh).AuthUserID != user.ID; {
		if time.Now().After(deadline) {
			t.Fatalf("not applied: %s", o.page("/ops/plan"))
		}
		b.open("/ops/plan")
	}
	b.open("/ops/plan")
	b.do(chromedp.KeyEvent(kb.Tab))
	b.tabTo("see")
	b.leads(kb.Enter, "#would")
	b.picture("dry-run")
	b.at(phone)
	b.fits("the dry run", phone)
	b.picture("dry-run-phone")
	b.reachesEveryControl()
	b.tabTo("who")
	b.leads("Joan"+kb.Tab+"they cannot wait"+kb.Enter, "#did")
	if e := o.explain(due); e.AuthUserID != ada.ID || e.History[len(e.History)-1].Cause.Actor != "Joan" {
		t.Errorf("linked to %q, %+v", e.AuthUserID, e.History)
	}
}

// tabTo presses Tab until the element of this id has the focus.
func (b tab) tabTo(id string) {
	b.t.Helper()
	for range 50 {
		if tells[string](b, `document.activeElement.id`) == id {
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.t.Fatalf("no Tab leads to %s", id)
}

// leads presses keys that lead to another page, and waits until that one is loaded:
// the page that is left may have what is waited for too.
func (b tab) leads(keys, to string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(keys))
	must(b.t, err)
	b.do(chromedp.WaitReady(to))
}

// reachesEveryControl is a failure if Tab passes a link, field or button by, or if
// nobody sees where the focus is.
func (b tab) reachesEveryControl() {
	b.t.Helper()
	const controls = `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary')].filter(e => e.checkVisibility())`
	count := tells[int](b, controls+`.length`)
	reached := map[int]bool{}
	for range count + 5 {
		b.do(chromedp.KeyEvent(kb.Tab))
		at := tells[int](b, controls+`.indexOf(document.activeElement)`)
		reached[at] = true
		if at >= 0 && tells[string](b, `getComputedStyle(document.activeElement).outlineStyle`) == "none" {
			b.t.Errorf("the focus is not seen on control %d", at)
		}
	}
	delete(reached, -1) // what scrolls has the focus too
	if len(reached) != count {
		b.t.Errorf("Tab reaches %d of %d controls", len(reached), count)
	}
}
