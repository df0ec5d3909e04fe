package worker

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

const (
	// fewLookups is up to how many customers are looked up one by one: that is
	// consistent at once, but costs a call each. More are searched for together.
	fewLookups = 3
	// searchTurn makes every third look at a customer a search, however few are
	// due: only search finds a user whose address is spelled in other capitals.
	searchTurn = 3
	// searchBatch is how many addresses go into one search.
	searchBatch = 50
	// patience is how many look-ups in a row may fail before a pass gives up:
	// whoever comes next would fail too, and costs a call each.
	patience = 3
	// together is the grid on which customers that were put off come due.
	together = 30 * time.Second
	// abreast is how many single look-ups are under way at once.
	abreast = 8
)

// errPanicked is a bug of ours.
var errPanicked = errors.New("it met a bug; the log says which")

// errGivenUp ends a pass after too many failures in a row.
var errGivenUp = errors.New("given up: Auth0 fails")

// lookUp asks Auth0 about each customer of a page by the cheapest way that is
// sure enough. The error says that the pass should stop after this page; looks
// that were not made are marked as skipped.
func (p *pass) lookUp(ctx context.Context, page []customer.Due) ([]look, error) {
	looks := make([]look, len(page))
	var urgent, single, several, turn []*look
	for i, due := range page {
		looks[i].due = due
		switch l := &looks[i]; {
		case due.Lifecycle == customer.Active, due.Hint.AuthUserID != "" && !p.settledHint(due):
			single = append(single, l)
		case !due.Email.Key.Matchable():
		case due.Urgent:
			urgent = append(urgent, l)
		case due.Misses%searchTurn == searchTurn-1:
			turn = append(turn, l)
		default:
			several = append(several, l)
		}
	}
	if len(several) <= fewLookups {
		single, several = append(single, several...), nil
	} else if p.putsOff() {
		several = p.putOffYoung(several)
	}
	several = append(several, turn...)
	single = append(urgent, single...)
	p.used(len(single), len(several))
	err := p.oneByOne(ctx, single)
	for batch := range slices.Chunk(several, searchBatch) {
		if err != nil {
			skip(batch)
			continue
		}
		err = p.searchFor(ctx, batch)
	}
	return looks, err
}

// used notes how this page is looked up, for the record of the run.
func (p *pass) used(single, several int) {
	switch {
	case several > 0 && p.tally.Lane != laneExport:
		p.tally.Lane = laneSearch
	case single > 0 && p.tally.Lane == "":
		p.tally.Lane = laneLookUp
	}
}

// settledHint reports whether a delivery named the customer's address so long ago
// that search knows what it told of: after an outage, fifty of them cost one call.
func (p *pass) settledHint(due customer.Due) bool {
	return due.Hint.Key == due.Email.Key && due.Email.Key.Matchable() && p.now.Sub(due.At) > auth0sync.SearchLag
}

// putsOff reports whether young customers may have to wait in this run.
func (p *pass) putsOff() bool { return p.order.Kind == KindPromote || p.order.Kind == KindInbox }

// putOffYoung leaves out customers made so lately that search may not know their
// users yet. Many are due, so many are being made: they wait for each other, and
// one search does for fifty.
func (p *pass) putOffYoung(looks []*look) (rest []*look) {
	for _, l := range looks {
		settled := l.due.CreatedAt.Add(auth0sync.SearchLag)
		if l.due.Hint.AuthUserID == "" && settled.After(p.now) {
			l.putOff = settled.Truncate(together).Add(together)
			continue
		}
		rest = append(rest, l)
	}
	return rest
}

func skip(looks []*look) {
	for _, l := range looks {
		l.skipped = true
	}
}

// oneByOne looks up each customer by itself, a few at a time.
func (p *pass) oneByOne(ctx context.Context, looks []*look) error {
	answered := make(chan *look)
	begun, underWay := 0, 0
	for {
		for ; begun < len(looks) && underWay < abreast && p.failures < patience && ctx.Err() == nil; begun++ {
			underWay++
			go func(l *look) {
				p.askOne(ctx, l)
				answered <- l // each look keeps its own error
			}(looks[begun])
		}
		if underWay == 0 {
			break
		}
		p.count((<-answered).err)
		underWay--
	}
	skip(looks[begun:])
	return p.stopping(ctx)
}

// askOne makes one look. A bug that one user's answer meets is that look's error.
func (p *pass) askOne(ctx context.Context, l *look) {
	l.err = p.safely("look-up", func() (err error) {
		l.found, l.partial, err = p.ask(inTime(ctx, l.due), l.due)
		return err
	})
	l.asked = l.err == nil
}

// safely makes an error of a panic, for what runs on a goroutine of its own: there
// nobody else recovers, and the process would end with all that it serves.
func (w *Worker) safely(what string, do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.Error(what+" panicked", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			err = errPanicked
		}
	}()
	return do()
}

// inTime has the calls for somebody who waits go first at the rate limit.
func inTime(ctx context.Context, due customer.Due) context.Context {
	if due.Urgent {
		return auth0sync.WithPriority(ctx, auth0sync.JIT)
	}
	return ctx
}

// count keeps the number of failures in a row. A budget that is used up ends the
// pass at once; what is about one user alone says nothing of the others.
func (p *pass) count(err error) {
	switch {
	case err == nil, errors.Is(err, auth0sync.ErrUnreadable), errors.Is(err, errPanicked):
		p.failures = 0
	case errors.Is(err, auth0sync.ErrBudget), errors.Is(err, auth0sync.ErrUnauthorized):
		p.failures = patience
	default:
		p.failures++
	}
}

func (p *pass) stopping(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.failures >= patience:
		return errGivenUp
	}
	return nil
}

// searchFor looks up a batch of customers in one search.
func (p *pass) searchFor(ctx context.Context, batch []*look) error {
	var emails []string
	for _, l := range batch {
		emails = append(emails, spellings(l.due.Email)...)
	}
	users, err := p.directory.Search(ctx, emails)
	p.count(err)
	byKey := map[customer.EmailKey][]auth0sync.User{}
	for _, u := range users {
		if email, err := customer.ParseEmail(u.Email); err == nil {
			byKey[email.Key] = append(byKey[email.Key], u)
		}
	}
	for _, l := range batch {
		l.found, l.err, l.asked, l.searched = byKey[l.due.Email.Key], err, err == nil, true
	}
	return p.stopping(ctx)
}

// spellings are the forms of an address that Auth0 may hold and that its search,
// which ignores case, tells apart: the key, and what was typed where that is
// another text, as with a domain outside ASCII.
func spellings(email customer.Email) []string {
	key := string(email.Key)
	if strings.EqualFold(key, email.Address) {
		return []string{key}
	}
	return []string{key, email.Address}
}

// ask looks one customer up. partial says that there may be users of the
// customer's address that were not asked for.
func (p *pass) ask(ctx context.Context, due customer.Due) (found []auth0sync.User, partial bool, err error) {
	switch {
	case due.Lifecycle == customer.Active:
		found, err = p.askLinked(ctx, due)
	case due.Hint.AuthUserID != "":
		return p.byHint(ctx, due)
	default:
		found, err = p.byEmail(ctx, string(due.Email.Key), due.Email.Address)
	}
	return found, false, err
}

// byHint follows a delivery: one call if it says nothing true. A delivery that
// names the customer's address is followed by that address, as Auth0 spells it,
// since that shows rivals for it as well; any other by the user it names.
func (p *pass) byHint(ctx context.Context, due customer.Due) (found []auth0sync.User, partial bool, err error) {
	key := string(due.Email.Key)
	if due.Hint.Key != due.Email.Key || !due.Email.Key.Matchable() {
		return p.byHintedID(ctx, due)
	}
	found, err = p.directory.ByEmail(ctx, due.Hint.Email)
	if err != nil || due.Hint.Email == key {
		return found, false, err
	}
	if len(found) == 0 {
		return nil, true, nil
	}
	rivals, err := p.directory.ByEmail(ctx, key)
	return append(found, rivals...), false, err
}

// byHintedID follows a delivery that does not name the customer's address. If the
// user has that address by now and is not named outright, others may have it too.
func (p *pass) byHintedID(ctx context.Context, due customer.Due) (found []auth0sync.User, partial bool, err error) {
	found, err = p.byID(ctx, due.Hint.AuthUserID)
	if err != nil || !due.Email.Key.Matchable() || len(found) == 0 || found[0].CustomerID == due.ID || found[0].Hint().Key != due.Email.Key {
		return found, due.Email.Key.Matchable(), err
	}
	rivals, err := p.byEmail(ctx, string(due.Email.Key), due.Email.Address)
	return append(found, rivals...), false, err
}

// byEmail asks for an address by its key, and as typed if the key finds nobody:
// Auth0's own database holds addresses in lower case, other connections as the
// provider spells them, and the look-up minds case.
func (p *pass) byEmail(ctx context.Context, key, typed string) ([]auth0sync.User, error) {
	found, err := p.directory.ByEmail(ctx, key)
	if err != nil || len(found) > 0 || typed == key {
		return found, err
	}
	return p.directory.ByEmail(ctx, typed)
}

// byID asks for one user; a user who is gone is nobody found.
func (p *pass) byID(ctx context.Context, id string) ([]auth0sync.User, error) {
	user, err := p.directory.ByID(ctx, id)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []auth0sync.User{user}, nil
}

func isGone(err error) bool { return errors.Is(err, auth0sync.ErrUserNotFound) }

// reasonOf is the reason that a failed look-up gives a customer.
func reasonOf(err error) customer.Reason {
	if errors.Is(err, auth0sync.ErrBudget) || errors.Is(err, auth0sync.ErrRateLimited) {
		return customer.Auth0Budget
	}
	return customer.Auth0Error
}
