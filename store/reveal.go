package store

import (
	"context"

	"github.com/ahiko-io/customersync/customer"
)

// Reveal returns a customer to somebody who is to see its address in full, and notes
// in its history who that was and why. Nothing else changes: neither the version nor
// what others are told. There is no address without its note, and one note for a
// request, however often it is tried. customer.ErrNotFound if there is no such
// customer.
func (s *Store) Reveal(ctx context.Context, id customer.ID, cause customer.Cause) (customer.Customer, error) {
	var shown row
	err := s.read(ctx, "reveal", func(ctx context.Context) error {
		return s.db.GetContext(ctx, &shown, `
			with shown as (
			  select `+columns+`
			  from customers
			  where id = $1
			  for key share -- it is not erased meanwhile
			), noted as (
			  insert into reveals (customer_id, request_id, version, lifecycle, cause_kind, actor, why)
			  select id, $2, version, lifecycle, $3, $4, $5
			  from shown
			  on conflict (customer_id, request_id) do nothing
			)
			select `+columns+`
			from shown`, string(id), cause.RequestID, string(cause.Kind), cause.Actor, cause.Why)
	})
	return shown.customer(), err
}
