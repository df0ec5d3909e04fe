package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// illness is a fault of the database that lasts until it is healed.
type illness struct {
	name   string
	reads  bool // what only reads is answered meanwhile
	partly bool // so is some of the rest
	lasts  time.Duration
	inject func(ctx context.Context) (heal func() error, err error)
}

const (
	// silent is longer than two requests may take, so that each client has one that
	// begins and ends while nothing answers.
	silent = 12 * time.Second
	// refusing is long enough for many, where the database says no at once.
	refusing = 3 * time.Second
	// answerWithin is how long a request may take whatever the database does.
	answerWithin = 6 * time.Second
	// healWithin is how soon everything must be served again.
	healWithin = time.Second
	// wellFor is how long is looked whether it is.
	wellFor = 2 * time.Second
	// calmWithin is longer than connections to Auth0 rest, of which each look-up that is
	// under way beside others has one, and each one two goroutines.
	calmWithin = 2 * time.Minute
	// crowd is more clients than the program has connections to the database.
	crowd = 32
	// strays is by how many goroutines two idle moments may differ: connections of
	// the pool come and go.
	strays = 8
)

// suffer has a replica served by a database that falls ill and heals, under load.
// Each request must be answered in time, by a 503 while it is ill; nothing may be
// left of it afterwards. Of several illnesses it has one after the other.
func suffer(ctx context.Context, w *world, rounds int, dice *rand.Rand, from ...illness) (result, error) {
	got := result{within: healWithin}
	l, err := newLoad(ctx, w, 1)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	l.clients = crowd
	if err := l.during(ctx, dice.Uint64(), func() error { return pause(ctx, time.Second) }); err != nil {
		return got, err // it never came to its pace
	}
	refused := map[string]int{}
	for got.rounds < rounds {
		one := from[got.rounds%len(from)]
		n, err := l.sufferRound(ctx, &got, dice.Uint64(), one)
		if err != nil {
			return got, err
		}
		refused[one.name] += n
	}
	for _, one := range from {
		w.line("%s: %d requests were refused, the slowest after %s", one.name, refused[one.name], got.slowest.Round(time.Millisecond))
	}
	return got, l.allReady(ctx)
}

// sufferRound is one illness; it returns how many requests were refused in it.
func (l *load) sufferRound(ctx context.Context, got *result, seed uint64, from illness) (int, error) {
	before, err := l.replicas[0].goroutines(ctx)
	if err != nil {
		return 0, err
	}
	l.attempts.take()
	s := spell{reads: from.reads, partly: from.partly}
	err = l.during(ctx, seed, func() error {
		heal, err := from.inject(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", from.name, err)
		}
		s.fell = time.Now()
		_ = pause(ctx, from.lasts) // it is healed all the same
		s.rose = time.Now()
		if err := heal(); err != nil {
			return fmt.Errorf("heal %s: %w", from.name, err)
		}
		s.well = time.Now()
		return pause(ctx, wellFor)
	})
	if err != nil {
		return 0, err
	}
	for _, a := range l.attempts.take() {
		s.see(a)
	}
	got.struck(s.refused > 0 && s.after > 0)
	got.slowest = max(got.slowest, s.slowest)
	got.unavailable = append(got.unavailable, s.late)
	if err := l.check(ctx, got); err != nil {
		return 0, err
	}
	got.wrong = append(got.wrong, s.wrong...)
	return s.refused, l.calm(ctx, before)
}

// calm waits until the replica has no more goroutines than before.
func (l *load) calm(ctx context.Context, before int) error {
	now := 0
	err := until(ctx, calmWithin, "goroutines to end", func() bool {
		n, err := l.replicas[0].goroutines(ctx)
		now = n
		return err == nil && n <= before+strays
	})
	if err != nil {
		return fmt.Errorf("%w: %d before, %d now", err, before, now)
	}
	return nil
}

// pause lets time pass; an error if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
