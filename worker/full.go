package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ahiko-io/customersync/auth0sync"
	"github.com/ahiko-io/customersync/customer"
)

// This file is the full reconcile: one listing of all users of the tenant, held
// against every customer that waits and every one that is linked.

// How users were looked up, as runs tell it.
const (
	laneLookUp  = "look-up" // one by one
	laneSearch  = "search"  // many at once
	laneExport  = "export"  // an export job
	laneWindows = "windows" // searches by when users were created
)

// Progress is how far a full listing has come.
type Progress struct {
	Users int // seen so far
	Total int // as search counts them
	// CallsLeft is what is left of the tenant's rate limit, as Auth0 last told.
	CallsLeft int
}

const (
	// listAtOnce is how many users are written to the listing together. Those that are
	// kept whole take half a kilobyte each, here.
	listAtOnce = 1000
	// tellEvery is how many users lie between two reports of progress.
	tellEvery = 1000
)

// full brings all customers in step with one listing of the tenant.
func (p *pass) full(ctx context.Context) error {
	waiting, linked, err := p.everybody(ctx)
	if err != nil {
		return err
	}
	if err := p.list(ctx, waiting, linked); err != nil {
		return err
	}
	if err := p.settleListed(ctx, waiting.ids); err != nil {
		return err
	}
	if err := p.compare(ctx, linked); err != nil {
		return err
	}
	// What is personal is not kept for longer than it is of use.
	if err := p.store.ClearListing(ctx, p.fence); err != nil {
		return fmt.Errorf("clear the listing: %w", err)
	}
	if p.order.Kind == KindPlan {
		return nil
	}
	err = errors.Join(p.store.NoteExportJob(ctx, p.fence, ""), p.store.SettleGaps(ctx, p.fence, p.asOf))
	if err != nil {
		return fmt.Errorf("note the end: %w", err)
	}
	return nil
}

// everybody reads who waits and who is linked, both at once: each is a page of the
// server's, then one of ours, in turn.
func (p *pass) everybody(ctx context.Context) (w *waitingList, l *linkedList, err error) {
	reading, ctx := errgroup.WithContext(ctx)
	reading.Go(func() error {
		return p.safely("reading who waits", func() (err error) {
			w, err = p.waiting(ctx)
			return err
		})
	})
	reading.Go(func() error {
		return p.safely("reading who is linked", func() (err error) {
			l, err = p.linked(ctx)
			return err
		})
	})
	return w, l, reading.Wait()
}

// waitingList is every customer that is auth_pending when a full reconcile begins,
// with each name that an Auth0 user may say of one. A name that happens to be taken
// for another keeps one user too many.
type waitingList struct {
	ids   []uuid.UUID
	names hashes
}

// readAtOnce is how many customers that wait, or are linked, are read together.
const readAtOnce = 2000

func (p *pass) waiting(ctx context.Context) (*waitingList, error) {
	w := &waitingList{names: newHashes()}
	for after := customer.ID(""); ; {
		page, err := p.store.SoughtCustomers(ctx, after, readAtOnce)
		if err != nil {
			return nil, fmt.Errorf("read who waits: %w", err)
		}
		if len(page) == 0 {
			w.names.seal()
			return w, nil
		}
		for _, c := range page {
			id, err := uuid.Parse(string(c.ID))
			if err != nil {
				return nil, fmt.Errorf("read who waits: %w", err)
			}
			w.ids = append(w.ids, id)
			w.names.add(string(c.ID))
			if c.Key.Matchable() {
				w.names.add(string(c.Key))
			}
		}
		after = page[len(page)-1].ID
	}
}

// meet has a user kept whole in the listing that may belong to a customer that waits.
func (w *waitingList) meet(u auth0sync.User, s *customer.Sighting) (met bool, err error) {
	if !w.names.has(string(s.Key)) && (u.CustomerID == "" || !w.names.has(string(u.CustomerID))) {
		return false, nil
	}
	s.Observation, err = json.Marshal(u)
	s.CustomerID = u.CustomerID
	return true, err
}

// linkedList is every customer that is linked when a listing begins, by its user's
// id and address as they should be. Users that are as they should be, nearly all,
// need not be written down.
type linkedList struct {
	pairs hashes
	seen  []bool // which of pairs the listing has shown
}

func (p *pass) linked(ctx context.Context) (*linkedList, error) {
	l := &linkedList{pairs: newHashes()}
	err := p.eachLinked(ctx, func(page []customer.Linked) error {
		for _, c := range page {
			l.pairs.add(c.AuthUserID, string(c.Key))
		}
		return nil
	})
	l.pairs.seal()
	l.seen = make([]bool, len(l.pairs.sorted))
	return l, err
}

// eachLinked reads all customers that are linked, in pages.
func (p *pass) eachLinked(ctx context.Context, do func([]customer.Linked) error) error {
	for after := customer.ID(""); ; {
		page, err := p.store.LinkedCustomers(ctx, after, readAtOnce)
		if err != nil {
			return fmt.Errorf("read who is linked: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		if err := do(page); err != nil {
			return err
		}
		after = page[len(page)-1].ID
	}
}

// meet notes that the listing shows a user of a linked customer, and reports whether
// nothing is to be said of it.
func (l *linkedList) meet(s customer.Sighting) bool {
	if s.Blocked || !s.Verified && s.Key != "" {
		return false
	}
	i, found := l.pairs.place(s.UserID, string(s.Key))
	if found {
		l.seen[i] = true
	}
	return found
}

// missed reports whether the customer was linked when the listing began, and the
// listing has not shown its user as it should be.
func (l *linkedList) missed(c customer.Linked) bool {
	i, found := l.pairs.place(c.AuthUserID, string(c.Key))
	return found && !l.seen[i]
}

// writers is how many pages are written at once: two keep a server of two processors
// busy.
const writers = 2

// settleListed decides about customers by what the listing has of them. A page is
// decided while those before it are written: what a decision stands on is checked
// again where it is written.
func (p *pass) settleListed(ctx context.Context, ids []uuid.UUID) error {
	return beside(ctx, p, writers, p.apply, func(ctx context.Context, write func(plan) error) error {
		for page := range slices.Chunk(ids, pageSize) {
			looks, err := p.listed(ctx, page)
			if err != nil {
				return err
			}
			decided, err := p.decideAll(ctx, looks)
			if err != nil {
				return err
			}
			if p.order.DryRun {
				continue
			}
			if err := write(decided); err != nil {
				return err
			}
		}
		return nil
	})
}

// beside produces things while those before them are consumed, by so many other
// goroutines, each one thing at a time. It returns when all have come to an end; an
// error of any ends the others.
func beside[T any](ctx context.Context, p *pass, consumers int, consume func(context.Context, T) error, produce func(context.Context, func(T) error) error) error {
	things := make(chan T)
	consuming, ctx := errgroup.WithContext(ctx)
	for range consumers {
		consuming.Go(func() error {
			return p.safely("writing", func() error {
				for thing := range things {
					if err := consume(ctx, thing); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	err := produce(ctx, func(thing T) error {
		select {
		case things <- thing:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(things)
	if failed := consuming.Wait(); failed != nil {
		return failed // it is what ended produce
	}
	return err
}

// listed reads what the listing has of customers. Those that wait no longer are
// left alone.
func (p *pass) listed(ctx context.Context, waiting []uuid.UUID) ([]look, error) {
	ids := make([]customer.ID, len(waiting))
	for i, id := range waiting {
		ids[i] = customer.ID(id.String())
	}
	page, err := p.store.DueByID(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read who waits: %w", err)
	}
	byKey, byID := map[customer.EmailKey]*look{}, map[customer.ID]*look{}
	looks := make([]look, 0, len(page))
	var keys []customer.EmailKey
	for _, due := range page {
		if due.Lifecycle != customer.AuthPending {
			continue
		}
		looks = append(looks, look{due: due, asked: true, searched: true, listed: true})
		l := &looks[len(looks)-1]
		byID[due.ID] = l
		if due.Email.Key.Matchable() {
			byKey[due.Email.Key] = l
			keys = append(keys, due.Email.Key)
		}
	}
	observations, err := p.store.Met(ctx, keys, ids)
	if err != nil {
		return nil, fmt.Errorf("read who was met: %w", err)
	}
	for _, o := range observations {
		var u auth0sync.User
		if err := json.Unmarshal(o, &u); err != nil {
			return nil, fmt.Errorf("read who was met: %w", err)
		}
		key := u.Sighting().Key
		keyed, named := byKey[key], byID[u.CustomerID]
		if keyed != nil {
			keyed.found = append(keyed.found, u)
		}
		if named != nil && named != keyed {
			named.found = append(named.found, u)
		}
	}
	return looks, nil
}

// list reads all users of the tenant, by an export where that is allowed, else by
// searches.
func (p *pass) list(ctx context.Context, w *waitingList, l *linkedList) error {
	p.asOf = p.now
	before, err := p.directory.Total(ctx)
	if err != nil {
		return err
	}
	job, err := p.unfinished(ctx)
	if err != nil {
		return err
	}
	p.tally.Lane = laneExport
	started := func(job string) error { return p.store.NoteExportJob(ctx, p.fence, job) }
	n, err := p.read(ctx, w, l, p.directory.Export(ctx, job, started), before)
	if errors.Is(err, auth0sync.ErrNoExport) {
		p.log.Warn("no export to be had; listing users by search instead", zap.Error(err))
		p.tally.Lane, p.asOf = laneWindows, p.now
		n, err = p.read(ctx, w, l, p.directory.Windows(ctx), before)
	}
	if err != nil {
		return err
	}
	err = p.checkTotal(ctx, n, before)
	if errors.Is(err, errIncomplete) { // the same file would be no better
		err = errors.Join(err, p.store.NoteExportJob(ctx, p.fence, ""))
	}
	return err
}

const (
	// resumeOwn is how old the job of a full reconcile that was cut off may be for
	// the next to go on with it by itself: users change meanwhile.
	resumeOwn = 2 * time.Hour
	// resumeAsked is how old it may be when a person wants it; Auth0 keeps it a day.
	resumeAsked = 23 * time.Hour
)

// unfinished is the export job to go on with, "" to make one.
func (p *pass) unfinished(ctx context.Context) (string, error) {
	within := resumeOwn
	if p.order.Resume {
		within = resumeAsked
	}
	job, made, err := p.store.ExportJob(ctx, within)
	if err != nil {
		return "", fmt.Errorf("read export job: %w", err)
	}
	if job == "" {
		return "", nil
	}
	missed, err := p.store.Owed(ctx, made)
	if err != nil {
		return "", fmt.Errorf("ask for gaps: %w", err)
	}
	if missed && !p.order.Resume {
		return "", nil // it was made too early to show what a lane has missed since
	}
	p.asOf = made
	return job, nil
}

// read takes in a listing: each user that is not as a linked customer says is written
// down, to be compared with those who are linked, and whole if somebody who waits
// may be meant.
func (p *pass) read(ctx context.Context, w *waitingList, l *linkedList, users iter.Seq2[auth0sync.User, error], total int) (n int, err error) {
	if err := p.store.ClearListing(ctx, p.fence); err != nil {
		return 0, fmt.Errorf("clear the listing: %w", err)
	}
	clear(l.seen) // by a listing that broke off
	// What was read is written while more is read.
	write := func(ctx context.Context, batch []customer.Sighting) error {
		if err := p.store.List(ctx, p.fence, batch); err != nil {
			return fmt.Errorf("write the listing: %w", err)
		}
		return nil
	}
	err = beside(ctx, p, 1, write, func(_ context.Context, send func([]customer.Sighting) error) (err error) {
		n, err = p.gather(w, l, users, total, send)
		return err
	})
	p.tell(n, total)
	return n, err
}

// gather makes batches of a listing.
func (p *pass) gather(w *waitingList, l *linkedList, users iter.Seq2[auth0sync.User, error], total int, send func([]customer.Sighting) error) (n int, err error) {
	var batch []customer.Sighting
	for u, err := range users {
		if err != nil {
			return n, err
		}
		own := u.Sighting()
		met, err := w.meet(u, &own)
		if err != nil {
			return n, fmt.Errorf("keep who was met: %w", err)
		}
		if agrees := l.meet(own); met || !agrees {
			batch = append(batch, own)
		}
		if batch = append(batch, u.Carried(own)...); len(batch) >= listAtOnce {
			if err := send(batch); err != nil {
				return n, err
			}
			batch = make([]customer.Sighting, 0, listAtOnce+1)
		}
		if n++; n%tellEvery == 0 {
			p.tell(n, total)
		}
	}
	return n, send(batch)
}

func (p *pass) tell(users, total int) {
	if p.order.Progress != nil {
		p.order.Progress(Progress{users, total, p.directory.CallsLeft()})
	}
}

// missingUsers is how many users a listing may lack of what search counts, as a
// fraction and at least: search lags behind, and users are deleted meanwhile. It
// is a check on listings that were cut short, not on single users: of those that
// are missed, each is asked for by id.
const (
	missingShare = 0.001
	missingLeast = 5
)

// checkTotal refuses a listing that is shorter than the tenant.
func (p *pass) checkTotal(ctx context.Context, listed, before int) error {
	after, err := p.directory.Total(ctx)
	if err != nil {
		return err
	}
	total := min(before, after)
	if missing := total - listed; missing > max(missingLeast, int(missingShare*float64(total))) {
		return fmt.Errorf("%w: %d users listed of %d", errIncomplete, listed, total)
	}
	return nil
}

var errIncomplete = errors.New("listing is incomplete")

// compare holds the linked customers against the listing. Those whose user is not
// in it, or is part of another one, are looked into one by one. Who was linked since
// it began is for the next.
func (p *pass) compare(ctx context.Context, l *linkedList) error {
	findings := findings{counts: map[customer.FindingKind]int{}}
	err := p.eachLinked(ctx, func(page []customer.Linked) error {
		findings.linked += len(page)
		var missed []customer.ID
		for _, c := range page {
			if l.missed(c) {
				missed = append(missed, c.ID)
			}
		}
		if len(missed) == 0 {
			return nil
		}
		found, err := p.store.Compare(ctx, missed)
		if err != nil {
			return fmt.Errorf("compare with listing: %w", err)
		}
		findings.add(found, p.order.Found)
		return nil
	})
	if err != nil {
		return err
	}
	p.tally.Looked += findings.linked
	p.answered += findings.linked
	p.log.Info("compared with listing", zap.Int("linked", findings.linked), zap.Any("found", findings.counts))
	if p.order.Kind == KindPlan {
		return p.propose(ctx, findings.suspects)
	}
	if gone := findings.counts[customer.FoundGone]; gone > p.unlinks.limit(findings.linked) {
		p.stopUnlinks(gone, findings.linked)
		findings.suspects = slices.DeleteFunc(findings.suspects, func(f customer.Finding) bool { return f.What == customer.FoundGone })
	}
	for some := range slices.Chunk(findings.suspects, pageSize) {
		if err := p.lookInto(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// findings are what the comparison came to.
type findings struct {
	linked   int
	counts   map[customer.FindingKind]int
	suspects []customer.Finding
}

// mostSuspects are kept to be looked into; whoever is left over is found again by
// the next full reconcile.
const mostSuspects = 50_000

func (f *findings) add(found []customer.Finding, tell func(customer.Finding)) {
	for _, one := range found {
		f.counts[one.What]++
		if tell != nil {
			tell(one)
		}
		if (one.What == customer.FoundGone || one.What == customer.FoundMoved) && len(f.suspects) < mostSuspects {
			f.suspects = append(f.suspects, one)
		}
	}
}

// lookInto asks Auth0 about linked customers that the listing does not agree with.
func (p *pass) lookInto(ctx context.Context, suspects []customer.Finding) error {
	ids := make([]customer.ID, len(suspects))
	carriers := map[customer.ID]string{}
	for i, s := range suspects {
		ids[i] = s.Customer
		carriers[s.Customer] = s.CarriedBy
	}
	page, err := p.store.DueByID(ctx, ids)
	if err != nil {
		return fmt.Errorf("read suspects: %w", err)
	}
	for i := range page {
		if carrier := carriers[page[i].ID]; carrier != "" {
			page[i].Hint.AuthUserID = carrier
		}
	}
	return p.reconcile(ctx, page)
}
