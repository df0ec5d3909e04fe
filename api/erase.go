package api

import (
	"errors"
	"net/http"

	"github.com/ahiko-io/customersync/customer"
)

// Parameters of an erasure. Each may be true and nothing else.
const (
	eraseParameter = "erase"
	auth0Parameter = "auth0" // the Auth0 user is deleted too
)

// erasureBody is the proof that a customer was erased.
type erasureBody struct {
	ID        customer.ID    `json:"customer_id"`
	ErasedAt  string         `json:"erased_at"`
	Actor     string         `json:"actor"`
	RequestID *string        `json:"request_id"`
	Removed   map[string]int `json:"removed"`
	Others    []customer.ID  `json:"others"`
}

// erase removes all that is known of a customer. It needs a permission of its own:
// not even a person may do it to itself, since others must be asked first what has to
// be kept.
func (s *Server) erase(c *call) error {
	if !c.principal.may(eraseCustomers) {
		return fail(codeForbidden)
	}
	withUser, err := c.isTrue(auth0Parameter)
	if err != nil {
		return err
	}
	found, err := s.target(c, eraseCustomers, eraseParameter, auth0Parameter)
	if errors.Is(err, customer.ErrNotFound) {
		return s.erasure(c) // perhaps because it was done before
	}
	if err != nil {
		return err
	}
	version, err := c.ifVersion(found)
	if err != nil {
		return err
	}
	if withUser {
		if err := s.deleteUser(c, found); err != nil {
			return err
		}
	}
	proof, err := s.customers.Erase(c.r.Context(), found.ID, version, c.cause("erased through the API"))
	if err != nil {
		return err
	}
	writeErasure(c.w, proof)
	return nil
}

// isTrue reads a parameter that is true or not there.
func (c *call) isTrue(name string) (bool, error) {
	switch value := c.r.URL.Query().Get(name); value {
	case "true":
		return true, nil
	case "":
		return false, nil
	}
	return false, fail("invalid_query").about(name).saying(name + " must be true, or left out.")
}

// deleteUser deletes a customer's Auth0 user. It comes before the erasing, which
// forgets who that is; a closed customer's may be on another one by now.
func (s *Server) deleteUser(c *call, found customer.Customer) error {
	if found.AuthUserID == "" {
		return nil
	}
	holder, err := s.customers.CustomerByAuthUser(c.r.Context(), found.AuthUserID)
	switch {
	case err != nil:
		return err
	case holder.ID != found.ID && holder.Lifecycle != customer.Inactive:
		return customer.ErrAuthUserTaken
	}
	return s.enroller.DeleteUser(c.r.Context(), found.AuthUserID)
}

// getErasure answers with the proof that a customer was erased.
func (s *Server) getErasure(c *call) error {
	if _, err := c.query(); err != nil {
		return err
	}
	if !c.principal.may(eraseCustomers) {
		return fail(codeForbidden)
	}
	return s.erasure(c)
}

func (s *Server) erasure(c *call) error {
	id, err := customer.ParseID(c.r.PathValue("customer_id"))
	if err != nil {
		return customer.ErrNotFound
	}
	proof, err := s.customers.Erasure(c.r.Context(), id)
	if err != nil {
		return err
	}
	writeErasure(c.w, proof)
	return nil
}

func writeErasure(w http.ResponseWriter, e customer.Erasure) {
	writeJSON(w, http.StatusOK, struct {
		Success bool        `json:"success"`
		Data    erasureBody `json:"data"`
	}{true, erasureBody{e.Customer, e.At.Format(customer.TimeFormat), e.Actor, orNull(e.RequestID), e.Removed, append([]customer.ID{}, e.Others...)}})
}
