package ops

import (
	"context"
	"net/http"
	"time"

	"github.com/ahiko-io/customersync/customer"
)

// Self is what this process knows of itself. cmd fills it with the daemon's worker.
type Self interface {
	Looked() time.Time // when it last looked for work; zero: not since it started
	CallsLeft() int    // of Auth0's rate limit, as it last told; below 0: it did not
}

// lagWindows are the windows of the lag charts, by their name in the address.
var lagWindows = map[string]time.Duration{"day": 24 * time.Hour, "week": 7 * 24 * time.Hour} //nolint:gochecknoglobals // a table

// home is how the whole stands.
type home struct {
	Now     customer.Status
	Health  []finding
	Counted bool
	Counts  snapshot
	Funnel  []bar
	Reasons []count // that anybody waits for, in the order of the documentation
	Lags    []lagChart
	Window  string
}

// count is a number of customers.
type count struct {
	Name    string
	Count   int
	Meaning customer.Meaning
}

func (p *page) home(w http.ResponseWriter, r *http.Request) error {
	h, err := p.standing(r.Context(), r.URL.Query().Get("lag"))
	if err != nil {
		return err
	}
	if !h.Counted {
		w.Header().Set("Refresh", "2")
	}
	render(w, http.StatusOK, "home", h)
	return nil
}

func (p *page) standing(ctx context.Context, window string) (home, error) {
	if lagWindows[window] == 0 {
		window = "day"
	}
	now, err := p.store.Glance(ctx)
	if err != nil {
		return home{}, err
	}
	heard, err := p.store.Heard(ctx)
	if err != nil {
		return home{}, err
	}
	lags, err := p.store.Lags(ctx, now.At.Add(-lagWindows[window]))
	if err != nil {
		return home{}, err
	}
	daily := lags
	if window != "day" {
		if daily, err = p.store.Lags(ctx, now.At.Add(-lagWindows["day"])); err != nil {
			return home{}, err
		}
	}
	h := home{Window: window, Lags: lagCharts(lags)}
	if h.Counts, h.Counted = p.counts.get(ctx, p.patience); h.Counted {
		now.Customers, now.Pending = h.Counts.Customers, h.Counts.Pending
		h.Funnel = funnel(now)
		for _, r := range customer.Reasons() {
			if n := now.Pending[r]; n > 0 {
				h.Reasons = append(h.Reasons, count{string(r), n, r.Meaning()})
			}
		}
	}
	h.Now = now
	known := seen{Status: now, Heard: heard, Lags: daily, CallsLeft: -1}
	if p.self != nil {
		known.Looked, known.CallsLeft = p.self.Looked(), p.self.CallsLeft()
	}
	known.Checks, _ = run(ctx, p.checks)
	h.Health = health(known)
	return h, nil
}

// Worst is the level that the page begins with.
func (h home) Worst() level {
	if len(h.Health) == 0 {
		return unknown
	}
	return h.Health[0].Level
}

// Heading says it all in one sentence.
func (h home) Heading() string {
	n := map[level]int{}
	for _, f := range h.Health {
		n[f.Level]++
	}
	switch {
	case n[broken] == 1:
		return "One thing needs a person"
	case n[broken] > 1:
		return thousands(n[broken]) + " things need a person"
	case n[watched] == 1:
		return "Nothing needs a person; one thing is worth a look"
	case n[watched] > 1:
		return "Nothing needs a person; " + thousands(n[watched]) + " things are worth a look"
	case n[unknown] > 0:
		return "Nothing needs a person, as far as can be told"
	}
	return "Nothing needs a person"
}
