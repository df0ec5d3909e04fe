package api

import (
	"context"
	"errors"
	"strings"

	"github.com/ahiko-io/customersync/customer"
)

// Permissions (R2).
const (
	readCustomers   = "read:customers"
	createCustomers = "create:customers"
	updateCustomers = "update:customers"
	deleteCustomers = "delete:customers"
	eraseCustomers  = "erase:customers"
)

// authenticate finds out who calls: the app by its key, then the person or
// machine by its access token.
func (s *Server) authenticate(c *call) error {
	appKey, err := s.appKeys.id(c.r.Context(), c.r.Header.Values("Ahiko-App-Id"))
	if err != nil {
		return err
	}
	headers := c.r.Header.Values("Authorization")
	if len(headers) == 0 {
		return fail("token_missing").about("Authorization")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return fail("token_missing").about("Authorization")
	}
	if c.principal, err = s.tokens.principal(c.r.Context(), token); err != nil {
		return err
	}
	c.principal.appKey = appKey
	return nil
}

// allow lets the principal act on a customer that it asked for: by permission on
// anyone, else a person on itself alone. Somebody else's customer is not found,
// in the very bytes of one that is missing (R2).
func (s *Server) allow(c *call, permission string, found customer.Customer, err error) (customer.Customer, error) {
	switch {
	case err != nil && !errors.Is(err, customer.ErrNotFound):
		return customer.Customer{}, err
	case c.principal.may(permission):
		return found, err
	case c.principal.machine:
		return customer.Customer{}, fail(codeForbidden)
	case err == nil && found.AuthUserID == c.principal.subject:
		return found, nil
	}
	// Asked for missing customers too, so that a failure tells nothing.
	p, completed := s.userInfo.complete(c.r.Context(), c.principal)
	if completed != nil {
		return customer.Customer{}, completed
	}
	c.principal = p
	if err == nil && s.isOwnPending(p, found) {
		return found, nil
	}
	return customer.Customer{}, customer.ErrNotFound
}

// isOwnPending reports whether a customer that is not linked yet is the
// principal's, by its verified e-mail address. Only a provider that could link it
// can have verified that: else whoever runs another one would see and close it.
func (s *Server) isOwnPending(p principal, c customer.Customer) bool {
	return c.Lifecycle == customer.AuthPending && s.enroller.Vouched(p.claim) && p.claim.Email.Key.Matchable() && c.Email.Key == p.claim.Email.Key
}

// me finds the person's own customer: the live one, linked or not yet, else the
// one closed last.
func (s *Server) me(ctx context.Context, c *call) (customer.Customer, error) {
	if c.principal.machine {
		return customer.Customer{}, customer.ErrNotFound
	}
	linked, err := s.customers.CustomerByAuthUser(ctx, c.principal.subject)
	if err == nil && linked.Lifecycle != customer.Inactive || err != nil && !errors.Is(err, customer.ErrNotFound) {
		return linked, err
	}
	p, completed := s.userInfo.complete(ctx, c.principal)
	if completed != nil {
		return customer.Customer{}, completed
	}
	c.principal = p
	if p.claim.Email.Key != "" {
		pending, err := s.customers.CustomerByEmail(ctx, p.claim.Email.Key)
		switch {
		case err != nil && !errors.Is(err, customer.ErrNotFound):
			return customer.Customer{}, err
		case err == nil && s.isOwnPending(p, pending):
			return pending, nil
		}
	}
	return linked, err
}
