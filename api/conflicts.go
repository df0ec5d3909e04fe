package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ahiko-io/customersync/customer"
)

// candidateBody is an Auth0 user that a conflict is about.
type candidateBody struct {
	AuthUserID    string   `json:"auth_user_id"`
	Connections   []string `json:"connections"`
	EmailVerified bool     `json:"email_verified"`
	CreatedAt     *string  `json:"created_at"`
	HeldBy        *string  `json:"held_by"` // customer_id
}

// conflictBody is a customer that waits for a person.
type conflictBody struct {
	ID           customer.ID     `json:"customer_id"`
	EmailAddress *string         `json:"email_address"`
	Reason       customer.Reason `json:"reason"`
	Sentence     string          `json:"sentence"`
	Then         string          `json:"then"`
	AskedAt      *string         `json:"auth0_asked_at"`
	Next         *string         `json:"next_look_at"`
	Candidates   []candidateBody `json:"candidates"`
}

func candidatesOf(candidates []customer.Candidate) []candidateBody {
	bodies := make([]candidateBody, 0, len(candidates))
	for _, c := range candidates {
		bodies = append(bodies, candidateBody{
			c.AuthUserID, append([]string{}, c.Connections...), c.EmailVerified, timeOrNull(c.CreatedAt), orNull(string(c.Holder)),
		})
	}
	return bodies
}

func conflictOf(c customer.Conflict) conflictBody {
	meaning := c.Reason.Meaning()
	return conflictBody{
		c.ID, orNull(c.Email.Address), c.Reason, meaning.Sentence, meaning.Next,
		timeOrNull(c.AskedAt), timeOrNull(c.Next), candidatesOf(c.Candidates),
	}
}

// usualPage is how many conflicts an answer has unless limit says otherwise.
const usualPage = 100

// conflicts lists the customers that a person has to see to, a page at a time.
func (s *Server) conflicts(c *call) error {
	if !c.principal.may(readCustomers) {
		return fail(codeForbidden)
	}
	values, err := c.query("limit", "cursor")
	if err != nil {
		return err
	}
	if !values.Has("limit") {
		values.Set("limit", strconv.Itoa(usualPage))
	}
	page, err := filterOf(values)
	if err != nil {
		return err
	}
	found, err := s.customers.Conflicts(c.r.Context(), page.After, page.Limit+1) // one more, to know whether there is a next page
	if err != nil {
		return err
	}
	if len(found) > page.Limit {
		found = found[:page.Limit]
		next := url.Values{"limit": values["limit"], "cursor": {cursor(found[page.Limit-1].ID)}}
		c.w.Header().Set("Link", "<"+basePath+"/conflicts?"+next.Encode()+`>; rel="next"`)
	}
	bodies := make([]conflictBody, 0, len(found))
	for _, one := range found {
		bodies = append(bodies, conflictOf(one))
	}
	writeJSON(c.w, http.StatusOK, struct {
		Success bool           `json:"success"`
		Data    []conflictBody `json:"data"`
	}{true, bodies})
	return nil
}

// resolution is what a person decided about a conflict.
type resolution struct {
	link      string // auth_user_id
	closeIt   bool
	lookAgain bool
	why       string
}

// resolve settles a conflict as a person says. Nothing but a customer in conflict
// is touched, and only if it is still as it was read.
func (s *Server) resolve(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if !c.principal.may(updateCustomers) {
		return fail(codeForbidden)
	}
	_, object, err := readObject(c, "auth_user_id", "action", "why")
	if err != nil {
		return err
	}
	decided, err := resolutionOf(object)
	if err != nil {
		return err
	}
	if decided.closeIt && !c.principal.may(deleteCustomers) {
		return fail(codeForbidden).about("action") // no way around the permission to close
	}
	id, err := customer.ParseID(c.r.PathValue("customer_id"))
	if err != nil {
		return customer.ErrNotFound
	}
	err = s.settle(c, id, decided)
	if errors.Is(err, customer.ErrStale) || errors.Is(err, customer.ErrInactive) {
		err = customer.ErrNoConflict // somebody was quicker
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, success{true})
	return nil
}

func (s *Server) settle(c *call, id customer.ID, decided resolution) error {
	ctx := c.r.Context()
	conflict, err := s.customers.Conflict(ctx, id)
	switch {
	case err != nil:
		return err
	case decided.lookAgain:
		return s.lookNow(ctx, id)
	case decided.closeIt:
		return s.customers.CloseCustomer(ctx, id, conflict.Version, c.cause(decided.why))
	}
	patch, err := conflict.Choose(decided.link)
	if err != nil {
		return err
	}
	_, err = s.customers.Patch(ctx, id, patch, conflict.Version, c.cause(decided.why))
	return err
}

// resolutionOf reads a decision: a user or an action, and why. A look changes
// nothing that the history keeps, so it needs no why.
func resolutionOf(object map[string]json.RawMessage) (r resolution, err error) {
	_, link := object["auth_user_id"]
	_, action := object["action"]
	_, why := object["why"]
	if link == action {
		return r, fail("invalid_field").about("auth_user_id").saying("Exactly one of auth_user_id and action is required.")
	}
	if link {
		r.link, err = text(object, "auth_user_id")
	} else if err = r.act(object); err == nil && r.lookAgain && !why {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	given, err := text(object, "why")
	if err != nil {
		return r, err
	}
	r.why, err = customer.ParseWhy(given)
	return r, err
}

func (r *resolution) act(object map[string]json.RawMessage) error {
	action, err := text(object, "action")
	if err != nil {
		return err
	}
	r.closeIt, r.lookAgain = action == "close", action == "look_again"
	if !r.closeIt && !r.lookAgain {
		return fail("invalid_field").about("action").saying("action must be close or look_again.")
	}
	return nil
}
