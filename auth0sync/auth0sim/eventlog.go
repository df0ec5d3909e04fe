package auth0sim

import (
	"cmp"
	"slices"
	"time"
)

// event is something that happened to a user. It is written out only when
// somebody reads it: a tenant may have 100,000 of them.
type event struct {
	id     string
	kind   string
	at     time.Time
	user   User
	before *User // its former state, if it had one
}

// eventLog is what the Events API reads. Its order is its own: an event may come
// before another that happened earlier.
type eventLog struct {
	kept    []event
	gone    int64 // events that were here before those, and are not any more
	held    *event
	heldAt  time.Time
	epoch   int // offsets of an earlier one have expired
	readers int
	ended   int    // how often the connections there were have been ended
	failure string // what they were told then, if anything
	changed chan struct{}
}

// next is the position of the event to come.
func (l *eventLog) next() int64 { return l.gone + int64(len(l.kept)) }

// record keeps an event for the Events API, whether or not somebody reads. t.mu
// is held.
func (t *Tenant) record(kind string, u User, before *User) event {
	e := event{"evt_" + randomHex(11), kind, t.now(), u, before}
	l := &t.eventLog
	switch {
	case l.held != nil:
		l.kept = append(l.kept, e)
		t.letIn()
	case t.faults.ReorderEvents || t.o.Rude:
		l.held, l.heldAt = &e, e.at
	default:
		l.kept = append(l.kept, e)
	}
	t.forgetEvents()
	t.rouse()
	return e
}

// letIn ends the holding back of an event. t.mu is held.
func (t *Tenant) letIn() {
	if l := &t.eventLog; l.held != nil {
		l.kept = append(l.kept, *l.held)
		l.held = nil
	}
}

// forgetEvents drops what is older than the tenant keeps events. t.mu is held.
func (t *Tenant) forgetEvents() {
	l, oldest := &t.eventLog, t.now().Add(-t.o.FeedRetention)
	young := slices.IndexFunc(l.kept, func(e event) bool { return e.at.After(oldest) })
	if young < 0 {
		young = len(l.kept)
	}
	l.gone += int64(young)
	l.kept = l.kept[young:]
}

// rouse has the readers of the Events API look again. t.mu is held.
func (t *Tenant) rouse() {
	close(t.eventLog.changed)
	t.eventLog.changed = make(chan struct{})
}

// CycleFeed ends the open connections of the Events API, as Auth0 does every
// few minutes, and returns how many there were.
func (t *Tenant) CycleFeed() int { return t.endReaders("") }

// FailFeed ends them with an error frame of this code, such as timeout or
// processing_error, and returns how many there were.
func (t *Tenant) FailFeed(code string) int { return t.endReaders(cmp.Or(code, "processing_error")) }

func (t *Tenant) endReaders(failure string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.eventLog.ended++
	t.eventLog.failure = failure
	t.rouse()
	return t.eventLog.readers
}

// ExpireFeed drops all events so far, and with them every offset that was
// handed out: asking for one is a 410 from now on. Open connections end.
func (t *Tenant) ExpireFeed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.eventLog
	t.letIn()
	l.epoch++
	l.gone, l.kept = l.next(), nil
	l.ended, l.failure = l.ended+1, ""
	t.rouse()
}

// SetNoEvents takes events away from the tenant's plan, or gives them back. All
// that has to do with them is refused then, by status 403 or 404.
func (t *Tenant) SetNoEvents(none bool, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.o.NoEvents, t.o.NoEventsStatus = none, status
}

// FeedConnections is how many connections the Events API has now.
func (t *Tenant) FeedConnections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.eventLog.readers
}
