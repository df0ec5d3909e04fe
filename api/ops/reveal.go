package ops

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/customer"
)

// reveal shows a customer's address in full, in this answer alone. The history keeps
// who was shown it and why.
func (p *page) reveal(w http.ResponseWriter, r *http.Request) error {
	id, _, err := asked(w, r)
	if err != nil {
		return err
	}
	cause, err := caused(r)
	if err != nil {
		return err
	}
	switch e, err := p.store.Explain(r.Context(), id); {
	case err != nil:
		return err
	case e.Email.Address == "":
		return errNothing
	}
	shown, err := p.store.Reveal(r.Context(), id, cause)
	if err != nil {
		return err
	}
	e, err := p.store.Explain(r.Context(), id)
	if err != nil {
		return err
	}
	seen := customerOf(e, rightsOf(r))
	seen.Address, seen.Revealed = shown.Email.Address, true
	render(w, http.StatusOK, "customer", seen)
	return nil
}

// caused reads who wants something, and why.
func caused(r *http.Request) (customer.Cause, error) {
	who, err := by(r)
	if err != nil {
		return customer.Cause{}, err
	}
	why, err := customer.ParseWhy(r.PostFormValue("why"))
	if err != nil {
		return customer.Cause{}, err
	}
	return customer.Cause{Kind: customer.ByOperator, Actor: who, RequestID: uuid.NewString(), Why: why}, nil
}
