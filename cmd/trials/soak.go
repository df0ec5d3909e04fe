package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// A round is as long as a token of the Management API lives, which at Auth0 is a
	// day: so many requests and runs of the worker must come in it. In 144 rounds that
	// is two million requests and three thousand runs.
	requestsALife = 14_000
	runsALife     = 21
	// readsALife is how many reads of a customer come to each of its writes, or more.
	readsALife = 40
	// lifeWithin is how long such a life may take.
	lifeWithin = 2 * time.Minute
	// checkEach is after how many rounds the checker looks, which takes ever longer.
	checkEach = 12
	// workers are enough clients to keep two replicas busy.
	workers = 16
)

// soak is months in minutes: no fault but that the tokens end, and nothing may grow
// with the work that has been done.
func soak(ctx context.Context, w *world, rounds int, dice *rand.Rand) (got result, err error) {
	w.settings = append(w.settings, "CUSTOMERSYNC_FOLLOW=off")
	l, err := newLoad(ctx, w, 2)
	if err != nil {
		return got, err
	}
	defer l.killAll()
	l.clients, l.bring = workers, l.busyLife
	w.tenant.ConnectAction("http://"+l.replicas[0].api+"/webhooks/auth0", w.secret)
	levels := make([][]level, len(l.replicas))
	requests, from := 0, time.Now()
	for got.rounds < rounds {
		n, err := l.soakRound(ctx, &got, dice)
		if err != nil {
			return got, err
		}
		requests += n
		for n, r := range l.replicas {
			now, err := r.level(ctx)
			if err != nil {
				return got, err
			}
			levels[n] = append(levels[n], now)
		}
		if got.rounds%checkEach == 0 || got.rounds == rounds {
			w.line("soak: %d lives of a token, %d requests in %s, replicas at %v and %v", got.rounds, requests, time.Since(from).Round(time.Second),
				levels[0][got.rounds-1], levels[1][got.rounds-1])
			if err := l.check(ctx, &got); err != nil {
				return got, err
			}
		}
	}
	runs, err := l.runs(ctx)
	if err != nil {
		return got, err
	}
	w.line("soak: %d requests, %d runs of the worker, %d tokens", requests, runs, got.injected)
	for n := range levels {
		got.wrong = append(got.wrong, leaks(levels[n])...)
	}
	return got, nil
}

// soakRound is one life of a token of the Management API; it returns how many requests
// came in it.
func (l *load) soakRound(ctx context.Context, got *result, dice *rand.Rand) (requests int, err error) {
	before, err := l.runs(ctx)
	if err != nil {
		return 0, err
	}
	l.w.mintToken() // the clients' own too
	l.w.tenant.ResetCalls()
	l.w.tenant.RevokeGrants()
	err = l.during(ctx, dice.Uint64(), func() error {
		return until(ctx, lifeWithin, "a token's life to be over", func() bool {
			runs, err := l.runs(ctx)
			return err == nil && runs >= before+runsALife && l.attempts.count() >= requestsALife && l.w.tenant.Calls()["POST /oauth/token"] > 0 || pause(ctx, 50*time.Millisecond) != nil
		})
	})
	if err != nil {
		return 0, err
	}
	got.struck(true)
	got.unavailable = append(got.unavailable, l.ledger.round())
	requests = l.attempts.count()
	if failed := l.failures(); len(failed) > 0 {
		got.wrong = append(got.wrong, failed...)
		return requests, errors.New("stopped at the first fault")
	}
	return requests, nil
}

// runs is how many the workers have made.
func (l *load) runs(ctx context.Context) (int, error) {
	all := 0
	for _, r := range l.replicas {
		n, err := r.metric(ctx, "customersync_runs_total")
		if err != nil {
			return 0, err
		}
		all += int(n)
	}
	return all, nil
}

// busyLife is a customer's, of whom much is read.
func (l *load) busyLife(ctx context.Context, c *client, dice *rand.Rand) error {
	if err := l.life(ctx, c, dice); err != nil {
		return err
	}
	known := l.ledger.one()
	for n := range readsALife {
		path := "/" + string(known.id)
		if n%2 > 0 {
			path = "?email_address=" + url.QueryEscape(string(known.email))
		}
		if _, _, err := c.insist(ctx, http.MethodGet, path, "", ""); err != nil {
			return err
		}
		c.turn++
	}
	return nil
}

// level is what a replica has at a moment when nobody asks anything of it.
type level struct {
	memory            float64 // resident, bytes
	goroutines, files float64
}

// String is the level in words.
func (v level) String() string {
	return fmt.Sprintf("%.0f MB, %.0f goroutines, %.0f files", v.memory/1e6, v.goroutines, v.files)
}

func (r *replica) level(ctx context.Context) (v level, err error) {
	for name, value := range map[string]*float64{
		"process_resident_memory_bytes": &v.memory, "go_goroutines": &v.goroutines, "process_open_fds": &v.files,
	} {
		if *value, err = r.metric(ctx, name); err != nil {
			return v, err
		}
	}
	return v, nil
}

const (
	// warm is the part of the rounds after which all pools and caches are as full as
	// they get.
	warm = 5
	// tellingLevels are the fewest that show anything.
	tellingLevels = 20
	// grows is by how much the level may be higher at the end than it was then.
	grows = 1.2
)

// leaks says what is higher at the end than it was when the process was warm. The
// middle of a fifth of all levels is compared, not a moment.
func leaks(levels []level) (found []string) {
	fifth := len(levels) / warm
	if len(levels) < tellingLevels {
		return nil
	}
	for _, what := range []struct {
		name  string
		of    func(level) float64
		spare float64 // that come and go: connections of the pool
	}{
		{"bytes of memory", func(v level) float64 { return v.memory }, 0},
		{"goroutines", func(v level) float64 { return v.goroutines }, strays},
		{"open files", func(v level) float64 { return v.files }, strays},
	} {
		early, late := middle(levels[fifth:2*fifth], what.of), middle(levels[len(levels)-fifth:], what.of)
		if late > grows*early+what.spare {
			found = append(found, fmt.Sprintf("%.0f %s when warm, %.0f at the end", early, what.name, late))
		}
	}
	return found
}

// middle is the median of what levels have of something.
func middle(levels []level, of func(level) float64) float64 {
	values := make([]float64, len(levels))
	for n, v := range levels {
		values[n] = of(v)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
