package outgoing

import (
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store/storetest/discreet"
)

// faulty has a bug that only one event meets.
type faulty struct{ id string }

func (f faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Webhook-Id") == f.id {
		panic("a bug")
	}
	return nil, errors.New("nobody there")
}

// Each delivery is on a goroutine of its own, where a panic would end the process, and
// again whenever the event is due.
func TestADeliveryThatPanicsIsThatEventsFailure(t *testing.T) {
	t.Parallel()
	fresh := []customer.Event{{Customer: "a", Version: 1}, {Customer: "b", Version: 1}}
	d := New(Config{Logger: discreet.Logger(t), Metrics: prometheus.NewRegistry()}, nil)
	d.client = &http.Client{Transport: faulty{fresh[0].ID()}}
	r := &round{Deliverer: d, target: Target{Name: "crm", URL: "https://crm.example"}, work: customer.EventWork{Fresh: fresh}}
	r.deliverAll(t.Context())
	notes := map[customer.ID]string{}
	for _, o := range r.report.Failed {
		notes[o.Event.Customer] = o.Note
	}
	if len(notes) != 2 || notes["a"] != errPanicked.Error() || notes["b"] == errPanicked.Error() {
		t.Errorf("failed: %q", notes)
	}
}
