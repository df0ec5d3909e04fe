package auth0sync

import (
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func value(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestAnAuth0ThatIsLetBeIsShown(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	a := &auth0Double{answers: func(int) (*http.Response, error) { return nil, errors.New("down") }}
	b := newBudget(1, a, r)
	if value(t, r, "customersync_auth0_calls_suspended") != 0 {
		t.Error("suspended before any call")
	}
	for range failuresToOpen {
		_, _ = b.RoundTrip(request(t.Context(), http.MethodPost))
	}
	if value(t, r, "customersync_auth0_calls_suspended") != 1 {
		t.Error("not suspended after failures in a row")
	}
	if n := value(t, r, "customersync_auth0_call_duration_seconds"); n != failuresToOpen {
		t.Errorf("%v durations", n)
	}
}

func TestACallForWhichThereIsNoRoomIsCounted(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	b := newBudget(0.1, &auth0Double{answers: fullBucket(10, 0.01, 0).answer}, r)
	var err error
	for range 3 {
		if _, err = b.RoundTrip(request(t.Context(), http.MethodGet)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrBudget) || value(t, r, "customersync_auth0_budget_refusals_total") != 1 {
		t.Errorf("%v, %v refusals", err, value(t, r, "customersync_auth0_budget_refusals_total"))
	}
	if value(t, r, "customersync_auth0_ratelimit_limit") != 10 {
		t.Errorf("the limit is shown as %v", value(t, r, "customersync_auth0_ratelimit_limit"))
	}
}
