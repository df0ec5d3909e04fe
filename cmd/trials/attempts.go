package main

import (
	"sync"
	"time"
)

// attempt is one request of a client, whatever came of it.
type attempt struct {
	method       string
	began, ended time.Time
	status       int // 0: there was no whole answer
}

// attempts are those of all clients since they were last taken.
type attempts struct {
	mu  sync.Mutex
	all []attempt
}

func (a *attempts) note(method string, began time.Time, status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, attempt{method, began, time.Now(), status})
}

func (a *attempts) take() []attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

func (a *attempts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}
