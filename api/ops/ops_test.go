package ops_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/api/ops"
)

func TestReadinessNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	ok := func(context.Context) error { return nil }
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	hangs := func(context.Context) error { <-over; return nil } // as lib/pq on a frozen server, whatever the context
	tests := map[string]struct {
		database func(context.Context) error
		status   int
		says     string
	}{
		"all is well":      {ok, 200, `"database":"ok"`},
		"a check fails":    {func(context.Context) error { return errors.New("schema is old") }, 503, `"database":"schema is old"`},
		"a check panics":   {func(context.Context) error { panic("a bug") }, 503, `"database":"the check met a bug: a bug"`},
		"a check is stuck": {hangs, 503, `"database":"no answer in time"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ops.New([]ops.Check{{Name: "database", Do: test.database}, {Name: "signing_keys", Do: ok}}, prometheus.NewRegistry())
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) || !strings.Contains(w.Body.String(), `"signing_keys":"ok"`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			alive := httptest.NewRecorder()
			h.ServeHTTP(alive, httptest.NewRequest("GET", "/livez", nil))
			if alive.Code != 200 {
				t.Errorf("livez %d", alive.Code)
			}
		})
	}
}

func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "things_total"})
	r.MustRegister(c)
	w := httptest.NewRecorder()
	ops.New(nil, r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "things_total 0") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
