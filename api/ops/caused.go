package ops

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/ahiko-io/customersync/customer"
)

// caused reads who wants something, and why.
func caused(r *http.Request) (customer.Cause, error) {
	who, err := customer.ParseWhy(r.PostFormValue("who"))
	if err != nil {
		return customer.Cause{}, customer.FieldError{Field: "who", Problem: "must be your name, without control characters"}
	}
	why, err := customer.ParseWhy(r.PostFormValue("why"))
	if err != nil {
		return customer.Cause{}, err
	}
	return customer.Cause{Kind: customer.ByOperator, Actor: who, RequestID: uuid.NewString(), Why: why}, nil
}
