package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// This file is about customers that are linked already: whether their user is
// still there, and whether it has an address for those without one.

// askLinked returns the user that a linked customer has, or the one that this was
// linked into; nobody if Auth0 knows neither. Whoever it returns was asked for by
// id, which is consistent at once.
func (p *pass) askLinked(ctx context.Context, due customer.Due) ([]auth0sync.User, error) {
	found, err := p.byID(ctx, due.AuthUserID)
	if err != nil || len(found) > 0 {
		return found, err
	}
	if due.Hint.AuthUserID != "" && due.Hint.AuthUserID != due.AuthUserID {
		found, err = p.carrier(ctx, due.Hint.AuthUserID, due.AuthUserID)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	carriers, err := p.directory.ByIdentity(ctx, due.AuthUserID)
	if err != nil {
		return nil, err
	}
	for _, u := range carriers {
		found, err = p.carrier(ctx, u.ID, due.AuthUserID)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, nil
}

// carrier is the user with this id if the identity is one of its own.
func (p *pass) carrier(ctx context.Context, id, identity string) ([]auth0sync.User, error) {
	found, err := p.byID(ctx, id)
	if err != nil || len(found) == 0 || !found[0].HasIdentity(identity) {
		return nil, err
	}
	return found, nil
}

// goneAgain is how soon a user that was not there is asked for once more: search,
// which tells of account linking, may lag behind so long.
const goneAgain = 2 * auth0sync.SearchLag

// decideLinked adds a linked customer's outcome to the plan.
func (p *pass) decideLinked(ctx context.Context, to *plan, l look, world customer.World) error {
	p.answered++
	c := l.due.Customer
	bond := p.policy.DecideLinked(c, l.found, world, p.goneFor(l.due))
	switch {
	case bond.Rebind != nil:
		to.rebinds = append(to.rebinds, *bond.Rebind)
		p.report(Outcome{Customer: c, Action: ActionRebind, AuthUserID: bond.Rebind.To})
		return nil
	case bond.Unlink != nil:
		allowed, err := p.mayUnlink(ctx)
		if err != nil {
			return err
		}
		if allowed {
			to.unlinks = append(to.unlinks, *bond.Unlink)
			p.report(Outcome{Customer: c, Action: unlinkAction(*bond.Unlink), AuthUserID: c.AuthUserID, Reason: customer.UserGone})
			return nil
		}
	}
	keep := customer.Keep{Email: bond.Fill, Gone: bond.Gone, Asked: true, Misses: l.due.Misses + 1}
	switch {
	case bond.Gone:
		keep.Next = p.goneNext(l.due)
	case c.Email.Key == "" && bond.Fill.Key == "":
		keep.Next = p.now.Add(spread(c.ID, doubled(p.backoff, keep.Misses)))
	}
	p.keep(to, l, keep)
	return nil
}

func unlinkAction(u customer.Unlink) Action {
	if u.Close {
		return ActionClose
	}
	return ActionUnlink
}

// goneFor is for how long Auth0 has been saying that the user is gone.
func (p *pass) goneFor(due customer.Due) time.Duration {
	if p.order.Kind == KindApply {
		return p.policy.Grace() // a person does not want to wait
	}
	if due.GoneAt.IsZero() {
		return 0
	}
	return p.now.Sub(due.GoneAt)
}

// goneNext is when to ask again for a user that is gone: soon after it was first
// missed, then when its grace ends, then daily.
func (p *pass) goneNext(due customer.Due) time.Time {
	switch end := due.GoneAt.Add(p.policy.Grace()); {
	case due.GoneAt.IsZero():
		return p.now.Add(min(goneAgain, p.policy.Grace()))
	case end.After(p.now):
		return end
	default:
		return p.now.Add(spread(due.ID, lastBackoff))
	}
}

func (p *pass) keep(to *plan, l look, k customer.Keep) {
	k.Customer, k.AuthUserID, k.Due = l.due.ID, l.due.AuthUserID, l.due.At
	to.keeps = append(to.keeps, k)
	action := ActionFill
	if k.Email.Key == "" {
		action = ActionHold
	}
	p.report(Outcome{Customer: l.due.Customer, Action: action, AuthUserID: k.AuthUserID, Gone: k.Gone, Next: k.Next})
}

// Breaker stops a run that would unlink more customers than is likely to be
// right: a tenant that was emptied, or restored from an old backup, must not
// wipe the links. The zero Breaker has the defaults.
type Breaker struct {
	Least int     // so many may always be unlinked; 0 means 10
	Share float64 // of the linked customers; 0 means 0.01
}

const (
	leastUnlinks = 10
	unlinkShare  = 0.01
	// remembered is for how long customers that were unlinked count.
	remembered = 24 * time.Hour
)

// limit is how many of so many linked customers may lose their user in a day.
func (b Breaker) limit(linked int) int {
	least, share := b.Least, b.Share
	if least == 0 {
		least = leastUnlinks
	}
	if share == 0 {
		share = unlinkShare
	}
	return max(least, int(share*float64(linked)))
}

// mayUnlink asks, once a run, whether so few users are gone that customers may be
// unlinked for it. All that are missing count, not only those whose time has
// come: a mass unlink is to be stopped before it starts.
func (p *pass) mayUnlink(ctx context.Context) (bool, error) {
	if p.order.Kind == KindApply {
		return true, nil
	}
	if p.breaker != nil {
		return *p.breaker, nil
	}
	gone, linked, err := p.store.Gone(ctx, p.now.Add(-p.policy.Grace()-remembered))
	if err != nil {
		return false, fmt.Errorf("count users that are gone: %w", err)
	}
	allowed := gone <= p.unlinks.limit(linked)
	p.breaker = &allowed
	if !allowed {
		p.stopUnlinks(gone, linked)
	}
	return allowed, nil
}

// stopUnlinks says that a person is needed.
func (p *pass) stopUnlinks(gone, linked int) {
	p.tally.Note = fmt.Sprintf("nobody unlinked: the users of %d of %d linked customers are gone, more than the limit of %d; "+
		"see that the tenant is the right one and whole, or approve by reconcile --plan and --apply", gone, linked, p.unlinks.limit(linked))
	p.stopped = true
	p.log.Error("mass unlink stopped", zap.Int("gone", gone), zap.Int("linked", linked), zap.Int("limit", p.unlinks.limit(linked)))
}
