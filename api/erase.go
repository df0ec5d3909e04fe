package api

import (
	"errors"
	"net/http"

	"github.com/ahiko-io/customersync/customer"
)

const eraseParameter = "erase"

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
	found, err := s.target(c, eraseCustomers, eraseParameter)
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
	proof, err := s.customers.Erase(c.r.Context(), found.ID, version, c.cause("erased through the API"))
	if err != nil {
		return err
	}
	writeErasure(c.w, proof)
	return nil
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
	}{true, erasureBody{e.Customer, e.At.Format(timeFormat), e.Actor, orNull(e.RequestID), e.Removed, append([]customer.ID{}, e.Others...)}})
}
