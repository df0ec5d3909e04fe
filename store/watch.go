package store

import (
	"sync"

	"github.com/lib/pq"

	"github.com/ahiko-io/customersync/customer"
)

// watchChannel is what a trigger notifies, with the customer's id, when its
// lifecycle has moved or a look that somebody asked for has been made.
const watchChannel = "customersync_watch"

// Watch tells, by a value on the channel, that a customer may have changed its
// lifecycle, or that a look asked for by LookNow may have been made. Several
// changes may be told of as one, and nothing may have happened: the watcher reads
// for itself, and for the first time after the call of Watch, so that nothing
// falls between. stop ends it.
//
// It lives on Listen, of which one in the process does for all watchers. What
// happens while that one's connection is down is told when it stands again.
func (s *Store) Watch(id customer.ID) (told <-chan struct{}, stop func()) {
	return s.watchers.add(id)
}

// watchers are those who watch, by customer.
type watchers struct {
	mu sync.Mutex
	of map[customer.ID]map[chan struct{}]struct{}
}

func (w *watchers) add(id customer.ID) (told <-chan struct{}, stop func()) {
	one := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[customer.ID]map[chan struct{}]struct{}{}
	}
	if w.of[id] == nil {
		w.of[id] = map[chan struct{}]struct{}{}
	}
	w.of[id][one] = struct{}{}
	return one, func() { w.remove(id, one) }
}

func (w *watchers) remove(id customer.ID, one chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of[id], one)
	if len(w.of[id]) == 0 {
		delete(w.of, id)
	}
}

// tell wakes those who watch a customer.
func (w *watchers) tell(id customer.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wake(w.of[id])
}

// tellAll wakes everybody: something may have been missed.
func (w *watchers) tellAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, some := range w.of {
		wake(some)
	}
}

func wake(some map[chan struct{}]struct{}) {
	for one := range some {
		select {
		case one <- struct{}{}:
		default: // it is told already
		}
	}
}

// pass hands a notification on. nil says that the connection was down.
func (s *Store) pass(n *pq.Notification, work func()) {
	switch {
	case n == nil:
		s.watchers.tellAll()
		work()
	case n.Channel == watchChannel:
		s.watchers.tell(customer.ID(n.Extra))
	default:
		work()
	}
}
