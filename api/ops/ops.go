// Package ops answers the questions of operators and their tools: is the process
// alive, can it serve, what do its metrics say. It is meant for a listener that
// only they reach.
package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
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
	errs := make([]error, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { errs[i] = check.Do(ctx) })
	}
	all.Wait()
	results, ready = map[string]string{}, true
	for i, check := range checks {
		results[check.Name] = "ok"
		if errs[i] != nil {
			results[check.Name], ready = errs[i].Error(), false
		}
	}
	return results, ready
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}
