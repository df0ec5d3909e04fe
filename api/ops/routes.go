package ops

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/ahiko-io/customersync/customer"
)

// permission is what a person must have for a route, where there is a login.
type permission string

const (
	opsRead permission = "ops:read" // see pages
	opsPII  permission = "ops:pii"  // have addresses revealed
	opsAct  permission = "ops:act"  // do something about a customer

	signedIn permission = "signed in" // no more than that
	anybody  permission = "anybody"   // the login itself, and what it looks like
)

// route is a page, or something that a form does. One that says no permission is
// refused to everybody who has to sign in.
type route struct {
	pattern string
	needs   permission
	do      func(http.ResponseWriter, *http.Request) error
}

// routes are all there is below /ops/.
func (p *page) routes() []route {
	return []route{
		{"GET /ops/{$}", opsRead, p.home},
		{"POST /ops/find", opsRead, p.find},
		{"GET /ops/customers/{customer_id}", opsRead, p.customer},
		{"POST /ops/customers/{customer_id}/look", opsAct, p.look},
		{"POST /ops/customers/{customer_id}/preview", opsAct, p.preview},
		{"POST /ops/customers/{customer_id}/act", opsAct, p.act},
		{"POST /ops/customers/{customer_id}/reveal", opsPII, p.reveal},
		{"GET /ops/conflicts", opsRead, p.conflicts},
		{"GET /ops/reasons/{reason}", opsRead, p.reason},
		{"GET /ops/runs", opsRead, p.runs},
		{"GET /ops/runs/{run}", opsRead, p.run},
		{"GET /ops/plan", opsRead, p.plan},
		{"POST /ops/plan", opsAct, p.makePlan},
		{"POST /ops/plan/{plan}/apply", opsAct, p.applyPlan},
		{"POST /ops/due/preview", opsAct, p.dry}, // it has Auth0 asked
		{"POST /ops/due/act", opsAct, p.promote},
		{"GET /ops/account", signedIn, p.account},
		{"GET /ops/callback", anybody, p.callback},
		{"POST /ops/logout", anybody, p.logout},
		{"GET /ops/signed-out", anybody, p.signedOut},
		{"GET /ops/style.css", anybody, style},
		{"/ops/", opsRead, func(http.ResponseWriter, *http.Request) error { return errNoPage }},
	}
}

// forbidden says which permission somebody lacks.
type forbidden struct{ permission permission }

func (f forbidden) Error() string { return "permission " + string(f.permission) + " is missing" }

// allow lets in who has what a route needs, if there is a login: who may do something
// may see pages too, or sees nothing.
func (p *page) allow(r route) func(http.ResponseWriter, *http.Request) error {
	if p.login == nil || r.needs == anybody {
		return r.do
	}
	return func(w http.ResponseWriter, req *http.Request) error {
		operator, err := p.login.operator(req)
		if err != nil {
			return p.login.ask(w, req, err)
		}
		req = req.WithContext(context.WithValue(req.Context(), operatorKey{}, operator))
		for _, needed := range []permission{opsRead, r.needs} {
			if r.needs != signedIn && !has(operator, needed) {
				return forbidden{needed}
			}
		}
		return r.do(w, req)
	}
}

func has(o customer.Operator, p permission) bool { return slices.Contains(o.Permissions, string(p)) }

// rights are what a page offers to whoever asks for it: nobody is to fill in a form and
// then be refused. It is allow that refuses.
type rights struct{ Act, Reveal bool }

// rightsOf are all where there is no login: whoever reaches the page may do everything.
func rightsOf(r *http.Request) rights {
	o, ok := operatorOf(r)
	return rights{Act: !ok || has(o, opsAct), Reveal: !ok || has(o, opsPII)}
}

type operatorKey struct{}

// operatorOf is who signed in; false where there is no login.
func operatorOf(r *http.Request) (customer.Operator, bool) {
	o, ok := r.Context().Value(operatorKey{}).(customer.Operator)
	return o, ok
}

// by is who does something, as the history keeps it: who signed in, or the name that
// somebody on this machine typed.
func by(r *http.Request) (string, error) {
	if o, ok := operatorOf(r); ok {
		return "sub:" + o.Subject, nil // as of the same person through the API
	}
	who, err := customer.ParseWhy(r.PostFormValue("who"))
	if err != nil {
		return "", customer.FieldError{Field: "who", Problem: "must be your name, without control characters"}
	}
	return who, nil
}

// says is what somebody without the permission is told.
func (f forbidden) says() message {
	return message{"Not allowed", fmt.Sprintf("This needs the permission %s, which you do not have. Somebody who looks after Auth0 can give it to you; then sign out and in again.", f.permission)}
}
