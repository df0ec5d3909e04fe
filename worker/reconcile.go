package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// pass is one run over all that is due.
type pass struct {
	*Worker
	order         Order
	fence         int64
	asOf          time.Time // of a full reconcile: its listing shows no user older than this
	tally         customer.Run
	now           time.Time            // database time at the start
	began         time.Time            // the same moment by our own clock
	answered      int                  // customers that Auth0 answered for
	failures      int                  // look-ups that failed in a row
	confirmations int                  // fresh search results that may still be confirmed one by one
	breaker       *bool                // whether customers may be unlinked; nil: not asked yet
	stopped       bool                 // something was left undone for a person to see to
	refused       int                  // planned changes that were not made
	writing       sync.Mutex           // for the tally of what was written, and done
	done          map[customer.ID]bool // of planned changes: customers that were written; nil: not asked for
}

// all looks at everybody, or takes in the inbox and then reconciles what was due
// when the pass began, page by page. What becomes due meanwhile is for the next run.
func (p *pass) all(ctx context.Context) error {
	if err := p.takeIn(ctx); err != nil {
		return err
	}
	now, err := p.store.Now(ctx)
	if err != nil {
		return fmt.Errorf("read clock: %w", err)
	}
	p.began = time.Now()
	switch p.now = now; p.order.Kind {
	case KindReconcile, KindPlan:
		return p.full(ctx)
	case KindApply:
		return p.carryOut(ctx)
	}
	if p.order.Only != "" {
		page, err := p.store.DueByEmail(ctx, p.order.Only)
		if err != nil {
			return fmt.Errorf("read customer: %w", err)
		}
		return p.reconcile(ctx, page)
	}
	many, err := p.tooMany(ctx)
	if err != nil {
		return err
	}
	if many { // a full reconcile looks the others up
		p.tally.Lane = laneExport
	}
	var last *customer.Due
	for {
		page, err := p.store.Due(ctx, p.now, last, many, p.order.page())
		if err != nil {
			return fmt.Errorf("read due customers: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		if err := p.reconcile(ctx, page); err != nil {
			return err
		}
		if p.order.Most > 0 {
			return nil // a page is no more than that
		}
		last = &page[len(page)-1]
	}
}

// takeIn turns what the inbox holds into customers that are due.
func (p *pass) takeIn(ctx context.Context) error {
	if p.order.DryRun || ofAll(p.order.Kind) {
		return nil
	}
	if err := p.absorb(ctx); err != nil {
		return err
	}
	completed, err := p.complete(ctx)
	if err != nil || completed == 0 {
		return err
	}
	return p.absorb(ctx)
}

// mostPartial is how many deliveries a run asks Auth0 about: they cost a call each.
const mostPartial = 20

// complete asks Auth0 whom the deliveries are about that do not tell. What it
// cannot be asked about waits for another run, and does not hold up the others.
func (p *pass) complete(ctx context.Context) (completed int, err error) {
	rows, err := p.store.Partial(ctx, mostPartial)
	if err != nil {
		return 0, fmt.Errorf("read partial deliveries: %w", err)
	}
	inARow := 0
	for _, row := range rows {
		if inARow == patience {
			break
		}
		found, err := p.byID(ctx, row.AuthUserID)
		if errors.Is(err, auth0sync.ErrUnreadable) {
			found, err = nil, nil // asked again it would be no better
		}
		switch {
		case errors.Is(err, auth0sync.ErrBudget), errors.Is(err, auth0sync.ErrRateLimited), errors.Is(err, auth0sync.ErrUnauthorized):
			inARow = patience
		case err != nil:
			inARow++
		}
		if err != nil {
			p.tally.Errors++
			p.tally.Note = err.Error()
			continue
		}
		inARow = 0
		var h *customer.Hint
		if len(found) > 0 {
			h = found[0].Hint()
		}
		if err := p.store.Complete(ctx, p.fence, row, h); err != nil {
			return completed, fmt.Errorf("complete delivery: %w", err)
		}
		completed++
	}
	return completed, nil
}

func (p *pass) absorb(ctx context.Context) error {
	for {
		got, err := p.store.Absorb(ctx, p.fence, absorbBatch)
		if err != nil {
			return fmt.Errorf("take in the inbox: %w", err)
		}
		p.metrics.absorbed(got)
		if !got.Left {
			return nil
		}
	}
}

// look is what is known of one customer after Auth0 was asked.
type look struct {
	due      customer.Due
	found    []auth0sync.User
	asked    bool      // Auth0 answered
	partial  bool      // but only about what a delivery named: enough to link, not to say why not
	searched bool      // by search, where a miss is no proof of absence
	listed   bool      // in a full listing: nothing is written of customers it has no news of
	skipped  bool      // the pass stopped before it was its turn: stays due
	putOff   time.Time // not asked about before then; zero: no
	err      error     // Auth0 could not be asked
}

// plan is what a page came to.
type plan struct {
	links   []customer.Link
	holds   []customer.Hold
	keeps   []customer.Keep
	rebinds []customer.Rebind
	unlinks []customer.Unlink
	seen    map[string]customer.Seen
}

func newPlan() plan { return plan{seen: map[string]customer.Seen{}} }

// reconcile brings one page of due customers in step: read what Auth0 says and
// who holds what, decide, write. An error of Auth0's is a customer's reason to
// wait; the error returned means that the pass cannot go on.
func (p *pass) reconcile(ctx context.Context, page []customer.Due) error {
	looks, stopped := p.lookUp(ctx, page)
	if err := p.settle(ctx, looks); err != nil {
		return err
	}
	return stopped
}

// settle decides about looks and writes what was decided.
func (p *pass) settle(ctx context.Context, looks []look) error {
	decided, err := p.decideAll(ctx, looks)
	if err != nil || p.order.DryRun {
		return err
	}
	return p.apply(ctx, decided)
}

func (p *pass) decideAll(ctx context.Context, looks []look) (plan, error) {
	decided := newPlan()
	world, err := p.world(ctx, looks...)
	if err != nil {
		return decided, fmt.Errorf("read who holds what: %w", err)
	}
	for _, l := range looks {
		switch {
		case l.skipped:
			continue
		case !l.putOff.IsZero():
			p.hold(&decided, l, customer.Hold{Reason: l.standing(), Misses: l.due.Misses, Next: l.putOff})
			continue
		}
		p.tally.Looked++
		if err := p.decide(ctx, &decided, l, world); err != nil {
			return decided, err
		}
	}
	return decided, nil
}

// world reads who holds what, as far as the decisions about these looks ask.
func (p *pass) world(ctx context.Context, looks ...look) (customer.World, error) {
	users, named, keys := premises(looks)
	return p.store.World(ctx, users, named, keys)
}

// premises lists whom and what the decisions about these looks will ask for.
func premises(looks []look) (users []string, named []customer.ID, keys []customer.EmailKey) {
	for _, l := range looks {
		for _, u := range l.found {
			users = append(users, u.ID)
			if u.CustomerID != "" {
				named = append(named, u.CustomerID)
			}
			if l.due.Email.Key != "" {
				continue // no address is filled in
			}
			if email, err := customer.ParseEmail(u.Email); err == nil {
				keys = append(keys, email.Key)
			}
		}
	}
	return users, named, keys
}

// decide adds one customer's outcome to the plan.
func (p *pass) decide(ctx context.Context, to *plan, l look, world customer.World) error {
	switch {
	case l.err != nil:
		p.addFailure(to, l)
		return nil
	case l.due.Lifecycle == customer.Active:
		return p.decideLinked(ctx, to, l, world)
	}
	verdict := p.policy.Decide(l.due.Customer, l.found, world)
	if verdict.Reason == customer.Auth0Error {
		l.err = auth0sync.ErrUnreadable
		p.addFailure(to, l)
		return nil
	}
	if verdict.Link != nil {
		if fresh, found := freshlySearched(l, verdict.Link.AuthUserID); found {
			verdict = p.confirm(ctx, to, &l, fresh, world)
			if verdict.Link == nil && verdict.Reason == "" {
				return nil // put off
			}
		}
	}
	p.answered++
	for _, u := range l.found {
		if to.seen[u.ID].Before(u.Seen()) {
			to.seen[u.ID] = u.Seen()
		}
	}
	if verdict.Link != nil {
		verdict.Link.Since, verdict.Link.FoundBy = l.since(verdict.Link.AuthUserID), p.foundBy(l.due)
		to.links = append(to.links, *verdict.Link)
		p.report(Outcome{Customer: l.due.Customer, Action: ActionLink, AuthUserID: verdict.Link.AuthUserID})
		return nil
	}
	p.addHold(to, l, l.reason(verdict.Reason), l.rivals(verdict))
	return nil
}

// standing is the reason of a customer that is put off: what was known of it still
// is, but that Auth0 could not be asked is not what it waits for now.
func (l look) standing() customer.Reason {
	if l.due.Reason == customer.Auth0Error || l.due.Reason == customer.Auth0Budget {
		return customer.Waiting
	}
	return l.due.Reason
}

// by is how the customer was looked for.
func (l look) by() string {
	switch {
	case l.listed:
		return laneExport
	case l.searched:
		return laneSearch
	case l.due.Hint.AuthUserID != "":
		return string(customer.FoundByDelivery)
	}
	return laneLookUp
}

// reason is why the customer waits, given what the rule says of the users found.
// A look that may have missed some does not replace what a better one told, and
// a deleted user stays the reason until there is another.
func (l look) reason(decided customer.Reason) customer.Reason {
	if l.due.Reason == customer.UserGone && decided == customer.NotRegistered {
		return customer.UserGone
	}
	known := !slices.Contains([]customer.Reason{customer.Waiting, customer.Auth0Error, customer.Auth0Budget}, l.due.Reason)
	if l.partial || known && l.searched && decided == customer.NotRegistered {
		return l.due.Reason
	}
	return decided
}

// rivals are the users of a conflict; none where some may have been missed, so
// that those kept so far stay.
func (l look) rivals(decided auth0sync.Verdict) []customer.Candidate {
	if l.reason(decided.Reason) != decided.Reason || l.partial {
		return nil
	}
	return decided.Rivals
}

// addHold keeps a customer waiting. A look that only a delivery or a request asked
// for and that found nothing does not count as a miss: else a replayed delivery
// could push a customer's next look a day away.
func (p *pass) addHold(to *plan, l look, reason customer.Reason, rivals []customer.Candidate) {
	if l.listed && reason == l.due.Reason && !p.isDue(l.due) {
		return
	}
	misses := l.due.Misses
	if l.due.Hint.AuthUserID == "" && !l.due.Urgent || misses == 0 {
		misses++
	}
	if reason.IsConflict() {
		p.tally.Conflicts++
	}
	p.hold(to, l, customer.Hold{
		Reason: reason,
		Misses: misses,
		Next:   p.nextCheck(p.now, l.due.ID, reason, misses),
		Asked:  l.asked,
		By:     l.by(),

		Candidates: rivals,
	})
}

// addFailure keeps a customer as it was and looks again soon.
func (p *pass) addFailure(to *plan, l look) {
	p.tally.Errors++
	reason := reasonOf(l.err)
	if p.tally.Note == "" {
		p.tally.Note = l.err.Error()
	}
	next := p.nextCheck(p.now, l.due.ID, reason, l.due.Misses)
	if l.due.Lifecycle == customer.Active {
		p.keep(to, l, customer.Keep{Next: next, Misses: l.due.Misses})
		return
	}
	p.hold(to, l, customer.Hold{Reason: reason, Misses: l.due.Misses, Next: next, By: l.by()})
}

func (p *pass) isDue(due customer.Due) bool { return !due.At.IsZero() && !due.At.After(p.now) }

func (p *pass) hold(to *plan, l look, h customer.Hold) {
	h.Customer = l.due.ID
	h.Due = l.due.At
	to.holds = append(to.holds, h)
	p.report(Outcome{Customer: l.due.Customer, Action: ActionHold, Reason: h.Reason, Next: h.Next})
}

// freshlySearched finds the user that a link stands on if it came from search, or
// an export, so soon after it changed that this may have shown an older state.
func freshlySearched(l look, userID string) (auth0sync.User, bool) {
	for _, u := range l.found {
		if u.ID == userID && (u.Lane == auth0sync.LaneSearch || u.Lane == auth0sync.LaneExport) && u.Fresh() {
			return u, true
		}
	}
	return auth0sync.User{}, false
}

// confirm asks for a fresh user by id before it is linked. Beyond a few a run it
// is cheaper to wait: the customer is put off until the user has settled, which
// is the empty Verdict.
func (p *pass) confirm(ctx context.Context, to *plan, l *look, fresh auth0sync.User, world customer.World) auth0sync.Verdict {
	if p.confirmations == 0 {
		p.hold(to, *l, customer.Hold{
			Reason: l.standing(),
			Misses: l.due.Misses,
			Next:   p.now.Add(fresh.SettledAt().Sub(fresh.SeenAt)),
			Asked:  true,
		})
		p.answered++
		return auth0sync.Verdict{}
	}
	p.confirmations--
	others := slices.DeleteFunc(slices.Clone(l.found), func(u auth0sync.User) bool { return u.ID == fresh.ID })
	user, err := p.directory.ByID(ctx, fresh.ID)
	if err == nil {
		world, err = p.world(ctx, look{found: append(others, user)}) // it may name other customers than before
	}
	switch {
	case isGone(err):
		l.found = others
	case err != nil:
		l.err = err
		p.addFailure(to, *l)
		return auth0sync.Verdict{}
	default:
		l.found = append(others, user)
	}
	return p.policy.Decide(l.due.Customer, l.found, world)
}

// apply writes a plan. Links first: they are what people wait for.
func (p *pass) apply(ctx context.Context, decided plan) error {
	linked, err := p.store.Link(ctx, p.fence, decided.links, p.cause("matched with an Auth0 user"))
	p.wrote(&p.tally.Linked, linked)
	p.tellLags(linked, decided.links)
	if err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if err := p.applyLinked(ctx, decided); err != nil {
		return err
	}
	if _, err := p.store.Hold(ctx, p.fence, decided.holds); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	if err := p.store.Observed(ctx, p.fence, decided.seen); err != nil {
		return fmt.Errorf("note what was seen: %w", err)
	}
	return nil
}

// cause is what the history says of a change that this run makes.
func (p *pass) cause(why string) customer.Cause {
	c := customer.Cause{Kind: customer.ByRun, Actor: p.order.Kind, Run: p.tally.ID, Why: why}
	if p.order.By != "" {
		c.Kind, c.Actor, c.Why = customer.ByOperator, p.order.By, why+"; "+p.order.Why
	}
	return c
}

// wrote notes and counts customers that were changed. Several pages may be written
// at once.
func (p *pass) wrote(count *int, ids []customer.ID) {
	p.writing.Lock()
	defer p.writing.Unlock()
	*count += len(ids)
	for _, id := range ids {
		if p.done != nil {
			p.done[id] = true
		}
	}
}

// filled counts addresses that were filled in: no change that anybody plans.
func (p *pass) filled(n int) {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.tally.Filled += n
}

// applyLinked writes what becomes of customers that are linked.
func (p *pass) applyLinked(ctx context.Context, decided plan) error {
	rebound, err := p.store.Rebind(ctx, p.fence, decided.rebinds, p.cause("the Auth0 user was linked into another one"))
	p.wrote(&p.tally.Rebound, rebound)
	if err != nil {
		return fmt.Errorf("rebind: %w", err)
	}
	unlinked, err := p.store.Unlink(ctx, p.fence, decided.unlinks, p.cause("the Auth0 user is gone"))
	p.wrote(&p.tally.Unlinked, unlinked)
	if err != nil {
		return fmt.Errorf("unlink: %w", err)
	}
	filled, err := p.store.Keep(ctx, p.fence, decided.keeps, p.cause("e-mail address taken from the linked Auth0 user"))
	p.filled(len(filled))
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

func (p *pass) report(o Outcome) {
	if p.order.Each != nil {
		p.order.Each(o)
	}
}
