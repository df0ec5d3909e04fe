package ops_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/worker"
)

// looks has a customer looked up by the worker, due or not.
func (o *office) looks(address string, times int) {
	o.t.Helper()
	email, err := customer.ParseEmail(address)
	must(o.t, err)
	for range times {
		_, err := o.worker.RunOnce(o.t.Context(), worker.Order{Kind: worker.KindSync, Only: email.Key})
		must(o.t, err)
	}
}

func TestLooksThatCameToTheSameAreOneMoment(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	id := o.made("Ada", "ada@example.com")
	o.looks("ada@example.com", 4)
	user := o.signUp("ada@example.com", false)
	o.looks("ada@example.com", 1)
	body := o.page("/ops/customers/" + string(id))
	o.says("the customer", body, "Looked <strong>4 times</strong> between", "nothing changed: <code>not_registered</code>", "Looked once,", "<code>email_unverified</code>",
		`The address is verified: <span class="mark">stops here</span>`, `Auth0 has a user with this address: <span class="mark">passed</span>`, `The user is not blocked: <span class="mark">not reached</span>`)
	if once, four, made := strings.Index(body, "Looked once"), strings.Index(body, "4 times"), strings.Index(body, "<strong>created"); once > four || four > made {
		t.Errorf("the newest is not first:\n%s", body)
	}
	must(t, o.tenant.Verify(user.ID))
	o.looks("ada@example.com", 1)
	body = o.page("/ops/customers/" + string(id))
	o.says("the linked customer", body, "What the link stands on", "<dt>Address verified</dt><dd>yes</dd>", "4 times")
	if strings.Contains(body, "Checks, as of") {
		t.Errorf("it still stops at a check:\n%s", body)
	}
	_, err := o.store.Patch(t.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: "auth0|by-hand"}, 0, customer.Cause{Kind: customer.ByOperator, Actor: "Joan"})
	must(t, err)
	o.says("one linked by hand", o.page("/ops/customers/"+string(id)), "Somebody said so: <bdi>operator Joan</bdi>")
}

func TestHomeTellsHowLongTheyWaitedByWhatLedToThem(t *testing.T) {
	t.Parallel()
	o := newOffice(newDesk(t))
	for name, tells := range map[string]bool{"ada@example.com": true, "eve@example.com": false} {
		user := o.signUp(name, true)
		o.made("Ada", name)
		if tells { // Auth0 tells of the one, the other is found by looking
			email, err := customer.ParseEmail(name)
			must(t, err)
			_, err = o.store.Receive(t.Context(), customer.Delivery{
				Source: "action", EventID: name, Kind: "x", Understood: true, Hint: customer.Hint{AuthUserID: user.ID, Email: name, Key: email.Key, Verified: true},
			})
			must(t, err)
		}
	}
	_, err := o.worker.RunOnce(t.Context(), worker.Order{Kind: worker.KindPromote})
	must(t, err)
	for _, path := range []string{"/ops/", "/ops/?lag=week", "/ops/?lag=nonsense"} {
		body := o.page(path)
		for _, title := range []string{"By a delivery", "By cron"} {
			if !regexp.MustCompile(`<h3>` + title + `</h3><p class="quiet">[^<]*</p>\s*<p><strong class="big">1</strong> customer`).MatchString(body) {
				t.Errorf("%s: %s led to another number:\n%s", path, title, body)
			}
		}
		o.says(path, body, "The last delivery came", "from an Action", "last looked for work")
	}
}
