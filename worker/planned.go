package worker

import (
	"context"
	"fmt"
	"slices"

	"github.com/ahiko-io/customersync/customer"
)

// Planned is a change that a full reconcile of KindPlan proposed and a person
// approved.
type Planned struct {
	Customer   customer.ID
	Version    int64 // that the customer had
	Action     Action
	AuthUserID string // to be linked to, or no longer
}

// planAtOnce is how many planned changes are looked into together.
const planAtOnce = searchBatch

// carryOut does what was planned, as far as the world is still as it was: the
// customer has not changed, and Auth0, asked again, leads to the same decision.
// Approval stands in for the grace period and for the limit of unlinks.
func (p *pass) carryOut(ctx context.Context) error {
	for rows := range slices.Chunk(p.order.Planned, planAtOnce) {
		approved := map[customer.ID]Planned{}
		for _, row := range rows {
			approved[row.Customer] = row
		}
		if err := p.carryOutSome(ctx, approved); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) carryOutSome(ctx context.Context, approved map[customer.ID]Planned) error {
	page, err := p.unmoved(ctx, approved)
	if err != nil {
		return err
	}
	looks, stopped := p.lookUp(ctx, page)
	world, err := p.world(ctx, looks...)
	if err != nil {
		return fmt.Errorf("read who holds what: %w", err)
	}
	decided, unasked := newPlan(), map[customer.ID]bool{}
	for _, l := range looks {
		if l.skipped || l.err != nil {
			unasked[l.due.ID] = true
		}
		if l.skipped {
			continue
		}
		p.tally.Looked++
		if err := p.decide(ctx, &decided, l, world); err != nil {
			return err
		}
	}
	p.done = map[customer.ID]bool{}
	if err := p.apply(ctx, decided.only(approved)); err != nil {
		return err
	}
	for _, due := range page {
		switch row := approved[due.ID]; {
		case unasked[due.ID]:
			p.refuse(row, "Auth0 could not be asked")
		case !p.done[due.ID]:
			p.refuse(row, "Auth0 does not say the same any more")
		case p.order.Done != nil:
			p.order.Done(row)
		}
	}
	return stopped
}

// unmoved reads the customers of a plan and refuses those that have changed.
func (p *pass) unmoved(ctx context.Context, approved map[customer.ID]Planned) ([]customer.Due, error) {
	ids := make([]customer.ID, 0, len(approved))
	for id := range approved {
		ids = append(ids, id)
	}
	page, err := p.store.DueByID(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read planned customers: %w", err)
	}
	var same []customer.Due
	found := map[customer.ID]bool{}
	for _, due := range page {
		found[due.ID] = true
		row := approved[due.ID]
		if due.Version != row.Version {
			p.refuse(row, fmt.Sprintf("the customer has changed: version %d, planned at %d", due.Version, row.Version))
			continue
		}
		due.Hint = customer.Hint{}
		if row.Action == ActionRebind || !due.Email.Key.Matchable() {
			due.Hint.AuthUserID = row.AuthUserID // nothing else leads to that user
		}
		same = append(same, due)
	}
	for id, row := range approved {
		if !found[id] {
			p.refuse(row, "the customer is closed, or there is none")
		}
	}
	return same, nil
}

// refuse says that a planned change is not made, and leaves the run not quite ok.
func (p *pass) refuse(row Planned, why string) {
	p.stopped = true
	p.refused++
	p.tally.Note = fmt.Sprintf("%d of %d planned changes refused: the world has moved", p.refused, len(p.order.Planned))
	if p.order.Refused != nil {
		p.order.Refused(row, why)
	}
}

// only keeps the decisions that were approved.
func (d plan) only(approved map[customer.ID]Planned) plan {
	is := func(id customer.ID, action Action, user string) bool {
		row := approved[id]
		return row.Action == action && row.AuthUserID == user
	}
	return plan{
		links: slices.DeleteFunc(d.links, func(l customer.Link) bool { return !is(l.Customer, ActionLink, l.AuthUserID) }),
		rebinds: slices.DeleteFunc(d.rebinds, func(r customer.Rebind) bool {
			return !is(r.Customer, ActionRebind, r.To)
		}),
		unlinks: slices.DeleteFunc(d.unlinks, func(u customer.Unlink) bool {
			return !is(u.Customer, unlinkAction(u), u.AuthUserID)
		}),
		seen: d.seen,
	}
}

// propose tells what would be done about linked customers whose user is not where
// it was, without asking for each: they may be very many.
func (p *pass) propose(ctx context.Context, suspects []customer.Finding) error {
	for some := range slices.Chunk(suspects, pageSize) {
		ids, found := make([]customer.ID, len(some)), map[customer.ID]customer.Finding{}
		for i, f := range some {
			ids[i], found[f.Customer] = f.Customer, f
		}
		page, err := p.store.DueByID(ctx, ids)
		if err != nil {
			return fmt.Errorf("read suspects: %w", err)
		}
		for _, due := range page {
			f := found[due.ID]
			o := Outcome{Customer: due.Customer, Action: ActionRebind, AuthUserID: f.CarriedBy}
			if f.What == customer.FoundGone {
				o = Outcome{Customer: due.Customer, Action: unlinkAction(p.policy.Unlink(due.Customer)), AuthUserID: due.AuthUserID, Reason: customer.UserGone}
			}
			p.report(o)
		}
	}
	return nil
}
