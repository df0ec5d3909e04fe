package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// together does as one what many ask for at the same time. Nobody waits for
// company: who comes first goes at once, and who comes while all lanes are busy
// goes with the next round, together with all the others. So the busier it is the
// less each costs, here, on the wire and at the server.
//
// A round begins after all that it does were asked for: whoever reads sees what
// was written before.
type together[Q, A any] struct {
	// do answers questions in their order, all or none.
	do     func(ctx context.Context, questions []Q) ([]A, error)
	lanes  int           // rounds that may be under way at once
	most   int           // questions in a round
	within time.Duration // that a question is answered in, or given up

	mu      sync.Mutex
	waiting []*asked[Q, A]
	busy    int // lanes
}

// asked is a question on its way.
type asked[Q, A any] struct {
	question Q
	answer   A
	err      error
	done     chan struct{}
}

// ask waits for the answer. Giving up does not keep it from being done.
func (t *together[Q, A]) ask(ctx context.Context, question Q) (A, error) {
	a := &asked[Q, A]{question: question, done: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, a)
	free := t.busy < t.lanes
	if free {
		t.busy++
	}
	t.mu.Unlock()
	if free {
		go t.rounds() // by nobody's context: the round is not one asker's alone
	}
	late := time.NewTimer(t.within)
	defer late.Stop()
	var none A
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
		return none, told(ctx, "gave up", ctx.Err())
	case <-late.C:
		return none, fmt.Errorf("%w: no answer in time", customer.ErrUnavailable)
	}
}

// rounds is a lane: it works until nobody waits.
func (t *together[Q, A]) rounds() {
	for {
		t.mu.Lock()
		n := min(len(t.waiting), t.most)
		if n == 0 {
			t.busy--
			t.mu.Unlock()
			return
		}
		round := t.waiting[:n:n]
		t.waiting = t.waiting[n:]
		t.mu.Unlock()
		t.settle(round)
	}
}

// settle answers a round. What is wrong with one question must not be answered to
// the others, so after an error each is asked alone, unless the whole database is
// of no use.
func (t *together[Q, A]) settle(round []*asked[Q, A]) {
	ctx, cancel := context.WithTimeout(context.Background(), t.within)
	defer cancel()
	questions := make([]Q, len(round))
	for i, a := range round {
		questions[i] = a.question
	}
	answers, err := t.doSafely(ctx, questions)
	if err != nil && len(round) > 1 && !errors.Is(err, customer.ErrUnavailable) {
		for i := range round {
			t.settle(round[i : i+1])
		}
		return
	}
	for i, a := range round {
		if a.err = err; err == nil {
			a.answer = answers[i]
		}
		close(a.done)
	}
}

// errPanicked is a bug of ours.
var errPanicked = errors.New("it met a bug")

// doSafely makes an error of a panic: on a lane's goroutine, where nobody else
// recovers, it would end the process, with all that it serves.
func (t *together[Q, A]) doSafely(ctx context.Context, questions []Q) (answers []A, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, r, debug.Stack())
		}
	}()
	return t.do(ctx, questions)
}
