package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ahiko-io/customersync/customer"
)

const (
	// crowded on few customers, so that acts on one of them meet.
	actors, shared = 16, 8
	// actsARound is the least that is done in a round.
	actsARound = 2000
	actWithin  = 2 * time.Minute
	// decideWithin is for one customer's history; most take milliseconds.
	decideWithin = time.Minute
)

// linear has clients read, rename and close the same few customers through two
// replicas, while a replica is killed, Postgres is stopped for a while, or its
// answers are cut off, in turn. What they were told must fit one order of acts.
func linear(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	line, err := w.newWire(ctx)
	if err != nil {
		return got, err
	}
	defer func() { _ = line.listener.Close() }() // of no use any more
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	unknown := 0
	for got.rounds < rounds {
		strike := []func() (bool, error){
			func() (bool, error) { return true, l.killOne(ctx, dice) },
			func() (bool, error) { return true, w.stopFor(ctx, time.Duration(200+dice.IntN(7000))*time.Millisecond) },
			func() (bool, error) { return line.cut(ctx) },
		}[got.rounds%3]
		lost, err := l.linearRound(ctx, &got, strike, dice)
		if err != nil {
			return got, err
		}
		unknown += lost
		if got.rounds%10 == 0 || got.rounds == rounds {
			w.line("linear: %d rounds, %d operations, of %d more nobody knows whether they were done", got.rounds, got.operations, unknown)
		}
	}
	return got, l.allReady(ctx)
}

// linearRound lives the lives of some customers, with a fault in the middle. It
// returns how many acts had no answer.
func (l *load) linearRound(ctx context.Context, got *result, strike func() (bool, error), dice *rand.Rand) (unknown int, err error) {
	people, err := l.people(ctx)
	if err != nil {
		return 0, err
	}
	struck, err := l.actOn(ctx, people, strike, dice)
	if err != nil {
		return 0, err
	}
	got.struck(struck)
	if err := l.readAtLast(ctx, people); err != nil {
		return 0, err
	}
	for _, p := range people {
		known, without := p.counts()
		got.operations += known
		unknown += without
		if wrong := p.judge(); wrong != "" {
			got.wrong = append(got.wrong, wrong)
		}
	}
	found, err := checkRules(ctx, l.w.db, func(*findings, *sql.Tx) error { return nil })
	got.wrong = append(got.wrong, found.wrong...)
	if err == nil && len(got.wrong) > 0 {
		err = errors.New("stopped at the first fault")
	}
	return unknown, err
}

// people makes the customers of a round. They have no address, so that only their
// clients change them.
func (l *load) people(ctx context.Context) ([]*person, error) {
	c := l.newClient(int(l.made.Load()))
	defer c.http.CloseIdleConnections()
	all := make([]*person, shared)
	for i := range all {
		made, _, err := c.insist(ctx, "POST", "", `{"first_name":"Ada","last_name":"L"}`, fmt.Sprintf("key-%d", l.made.Add(1)))
		if err != nil {
			return nil, err
		}
		all[i] = &person{id: made.ID, born: register{name: "Ada", version: 1}}
	}
	return all, nil
}

// actOn has all clients at work from before the fault until after it, and for at
// least so many acts.
func (l *load) actOn(ctx context.Context, people []*person, strike func() (bool, error), dice *rand.Rand) (struck bool, err error) {
	after, seed, began := time.Duration(100+dice.IntN(300))*time.Millisecond, dice.Uint64(), time.Now()
	var acts atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	errs := make(chan error, actors)
	for n := range actors {
		all.Go(func() {
			c := &actor{client: l.newClient(n), n: n, dice: rand.New(rand.NewPCG(seed, uint64(n))), began: began, seen: map[customer.ID]int64{}} //nolint:gosec // it must repeat
			defer c.http.CloseIdleConnections()
			errs <- c.work(ctx, people, &acts, stop)
		})
	}
	_ = pause(ctx, after) // its error comes again
	struck, err = strike()
	before := acts.Load()
	err = errors.Join(err, until(ctx, actWithin, "acts after the fault", func() bool {
		return acts.Load() >= max(actsARound, before+actsARound/10) || len(errs) > 0
	}))
	close(stop)
	all.Wait()
	for range actors {
		err = errors.Join(err, <-errs)
	}
	return struck, err
}

// readAtLast notes what each customer is when nobody does anything to it any more.
func (l *load) readAtLast(ctx context.Context, people []*person) error {
	c := &actor{client: l.newClient(0)}
	defer c.http.CloseIdleConnections()
	for _, p := range people {
		err := until(ctx, giveUp, "the last read", func() bool {
			r, sent, err := c.act(ctx, p.id, act{op: opRead})
			c.turn++
			if err != nil || !sent || r.status == 0 {
				return false
			}
			after := p.ended() + 1
			p.note(actors, act{op: opRead}, after, r, after+1)
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ended is when the last act that was answered had been.
func (p *person) ended() (at time.Duration) {
	for _, o := range p.history {
		if o.Return != math.MaxInt64 {
			at = max(at, time.Duration(o.Return))
		}
	}
	return at
}

// person is a customer, and all that clients did to it.
type person struct {
	id   customer.ID
	born register

	mu      sync.Mutex
	history []porcupine.Operation
}

// note adds an act. One without an answer may still be done when all others are.
func (p *person) note(client int, a act, asked time.Duration, r reply, told time.Duration) {
	if r.status == 0 {
		if a.op == opRead {
			return // it says nothing
		}
		told = math.MaxInt64
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = append(p.history, porcupine.Operation{ClientId: client, Input: a, Call: int64(asked), Output: r, Return: int64(told)})
}

func (p *person) counts() (known, unknown int) {
	for _, o := range p.history {
		if o.Return == math.MaxInt64 {
			unknown++
		} else {
			known++
		}
	}
	return known, unknown
}

// judge is what is wrong with the history, "" if nothing is.
func (p *person) judge() string {
	switch porcupine.CheckOperationsTimeout(oneCustomer(p.born), settled(p.history), decideWithin) {
	case porcupine.Ok:
		return ""
	case porcupine.Unknown:
		return fmt.Sprintf("customer %s: no order found for %d acts within %s", p.id, len(p.history), decideWithin)
	default:
		return fmt.Sprintf("customer %s: what clients were told fits no order of their %d acts", p.id, len(p.history))
	}
}
