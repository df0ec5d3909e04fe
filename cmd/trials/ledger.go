package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// account is what a client was told of one customer: acknowledged, all of it.
type account struct {
	id        customer.ID
	email     customer.EmailKey
	key       string // its Idempotency-Key
	firstName string
	patches   int // that changed something
	closed    bool
	signedUp  bool // at Auth0, alone with its verified address: to be linked
}

// ledger is what all clients were told.
type ledger struct {
	mu       sync.Mutex
	accounts map[customer.ID]account
	acks     int
	slowest  time.Duration // operation since the last round
}

func newLedger() *ledger { return &ledger{accounts: map[customer.ID]account{}} }

// acknowledged notes an operation, and what the customer must look like after it.
func (l *ledger) acknowledged(a account, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts[a.id] = a
	l.acks++
	l.slowest = max(l.slowest, took)
}

// erased notes that nothing of a customer must be there any more.
func (l *ledger) erased(a account, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.accounts, a.id)
	l.acks++
	l.slowest = max(l.slowest, took)
}

// round ends a round: how long the slowest operation in it took.
func (l *ledger) round() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	slowest := l.slowest
	l.slowest = 0
	return slowest
}

// one is some customer that is there.
func (l *ledger) one() (a account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a = range l.accounts {
		break // Go begins anywhere
	}
	return a
}

func (l *ledger) all() []account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.accounts))
}

func (l *ledger) operations() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}
