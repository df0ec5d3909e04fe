// Package ops answers the questions of operators and their tools: is the process
// alive, can it serve, what do its metrics say. It is meant for a listener that
// only they reach.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is something without which the process cannot serve.
type Check struct {
	Name string
	Do   func(context.Context) error // says what is wrong, without secrets
}

const checkWithin = 2 * time.Second

// New serves /livez (200 as long as the process answers), /readyz (200 if all
// checks pass, else 503; it names what is wrong) and /metrics.
func New(checks []Check, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		results, ready := run(r.Context(), checks)
		if !ready {
			write(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "checks": results})
			return
		}
		write(w, http.StatusOK, map[string]any{"status": "ok", "checks": results})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

// run does all checks at once, each within its time.
func run(ctx context.Context, checks []Check) (results map[string]string, ready bool) {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	outcomes := make([]chan error, len(checks))
	for i, check := range checks {
		outcomes[i] = make(chan error, 1) // nobody may be left to read it
		go func() { outcomes[i] <- check.safely(ctx) }()
	}
	results, ready = map[string]string{}, true
	for i, check := range checks {
		results[check.Name] = "ok"
		if err := outcome(ctx, outcomes[i]); err != nil {
			results[check.Name], ready = err.Error(), false
		}
	}
	return results, ready
}

// safely makes an error of a panic: on a goroutine of its own it would end the process,
// which then could not even be asked what is wrong.
func (c Check) safely(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the check met a bug: %v", r)
		}
	}()
	return c.Do(ctx)
}

// outcome waits for a check until ctx ends. The check itself is not waited for:
// lib/pq does not always go by its context.
func outcome(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // it was done in time, only not asked
		return err
	default:
		return errors.New("no answer in time")
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}
