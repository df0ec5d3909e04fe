package ops

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ahiko-io/customersync/customer"
)

// What a person may do to a customer's record.
const (
	doLink   = "link"
	doUnlink = "unlink"
	doClose  = "close"
)

// errNothing says that an action would change nothing.
var errNothing = errors.New("nothing to change")

// action is what a person wants done.
type action struct {
	Do, User string // User: with doLink, the Auth0 user
}

// step is one value before and after an action; "" is none.
type step struct{ Name, Before, After string }

// steps are what the action would change, and a sentence on what follows from it.
func (a action) steps(c customer.Customer) (steps []step, note string, err error) {
	if c.Lifecycle == customer.Inactive {
		return nil, "", customer.ErrInactive
	}
	lifecycle := func(to customer.Lifecycle) step {
		return step{"customer_lifecycle", string(c.Lifecycle), string(to)}
	}
	switch {
	case a.Do == doClose:
		return []step{lifecycle(customer.Inactive)}, "This is final: signing up again makes a new customer. The Auth0 user is left alone.", nil
	case a.Do == doUnlink && c.AuthUserID != "":
		return []step{lifecycle(customer.AuthPending), {"auth_user_id", c.AuthUserID, ""}},
			"Auth0 is asked at once. If this user is still the only one that matches, it is linked again.", nil
	case a.Do == doLink && c.AuthUserID != a.User:
		if _, err := customer.ParseAuthUserID(a.User); err != nil {
			return nil, "", err
		}
		return []step{lifecycle(customer.Active), {"auth_user_id", c.AuthUserID, a.User}},
			"Whoever signs in as this Auth0 user acts as this customer. Nothing is checked but that no other customer has the user.", nil
	}
	return nil, "", errNothing
}

// preview shows what an action would change, and asks who wants it and why.
func (p *page) preview(w http.ResponseWriter, r *http.Request) error {
	id, a, err := asked(w, r)
	if err != nil {
		return err
	}
	e, err := p.store.Explain(r.Context(), id)
	if err != nil {
		return err
	}
	steps, note, err := a.steps(e.Customer)
	if err != nil {
		return err
	}
	render(w, http.StatusOK, "preview", previewed{person: customerOf(e, rightsOf(r)), action: a, Steps: steps, Note: note})
	return nil
}

// act does what was previewed, unless the customer has changed since. The history
// keeps who said so and why.
func (p *page) act(w http.ResponseWriter, r *http.Request) error {
	id, a, err := asked(w, r)
	if err != nil {
		return err
	}
	cause, version, err := confirmed(r)
	if err != nil {
		return err
	}
	switch a.Do {
	case doClose:
		err = p.store.CloseCustomer(r.Context(), id, version, cause)
	case doLink, doUnlink:
		_, err = p.store.Patch(r.Context(), id, customer.Patch{Field: customer.FieldAuthUserID, Value: a.User}, version, cause)
	default:
		err = errNothing
	}
	if err != nil {
		return err
	}
	backTo(w, r, id)
	return nil
}

// look has Auth0 asked about a customer at once. It is no change of the record.
func (p *page) look(w http.ResponseWriter, r *http.Request) error {
	id, _, err := asked(w, r)
	if err != nil {
		return err
	}
	switch e, err := p.store.Explain(r.Context(), id); {
	case err != nil:
		return err
	case e.Lifecycle == customer.Inactive:
		return customer.ErrInactive
	}
	if err := p.store.LookNow(r.Context(), id); err != nil {
		return err
	}
	backTo(w, r, id)
	return nil
}

func backTo(w http.ResponseWriter, r *http.Request, id customer.ID) {
	http.Redirect(w, r, "/ops/customers/"+string(id), http.StatusSeeOther) //nolint:gosec // a UUID below our own path
}

// asked reads whom and what a form is about.
func asked(w http.ResponseWriter, r *http.Request) (customer.ID, action, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id, err := customer.ParseID(r.PathValue("customer_id"))
	if err != nil {
		return "", action{}, customer.ErrNotFound
	}
	a := action{Do: r.PostFormValue("do")}
	if a.Do == doLink {
		a.User = strings.TrimSpace(r.PostFormValue("user"))
		if _, err := customer.ParseAuthUserID(a.User); err != nil {
			return "", action{}, err
		}
	}
	return id, a, nil
}

// confirmed reads who wants a previewed action, why, and of which version.
func confirmed(r *http.Request) (customer.Cause, int64, error) {
	cause, err := caused(r)
	if err != nil {
		return customer.Cause{}, 0, err
	}
	version, err := strconv.ParseInt(r.PostFormValue("version"), 10, 64)
	if err != nil || version < 1 {
		return customer.Cause{}, 0, customer.FieldError{Field: "version", Problem: "must be that of the preview"}
	}
	return cause, version, nil
}
