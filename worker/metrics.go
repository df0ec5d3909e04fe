package worker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/customer"
)

// metrics of the worker. Last attempt and last success are two things: a sync
// that fails must not look alive.
type metrics struct {
	runs           *prometheus.CounterVec
	lastAttempt    *prometheus.GaugeVec
	lastSuccess    *prometheus.GaugeVec
	customers      *prometheus.CounterVec
	deliveries     *prometheus.CounterVec
	inbox          *prometheus.CounterVec
	followed       *prometheus.CounterVec
	following      *prometheus.GaugeVec
	streamFailures prometheus.Gauge
	heard          *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_runs_total",
			Help: "Runs of the worker by what started them and how they ended. Ticks with nothing to do count as ok.",
		}, []string{"kind", "result"}),
		lastAttempt: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_run_last_attempt_timestamp_seconds",
			Help: "When a run was last begun.",
		}, []string{"kind"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_run_last_success_timestamp_seconds",
			Help: "When a run last ended ok.",
		}, []string{"kind"}),
		customers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_customers_total",
			Help: "Customers by what runs did with them.",
		}, []string{"outcome"}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_webhook_deliveries_total",
			Help: "Deliveries from Auth0 by source and result.",
		}, []string{"source", "result"}),
		inbox: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_inbox_rows_total",
			Help: "Inbox rows by what became of them.",
		}, []string{"outcome"}),
		followed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_followed_total",
			Help: "What the lanes that follow Auth0 brought, by lane and result.",
		}, []string{"lane", "result"}),
		streamFailures: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "customersync_event_stream_failed_deliveries",
			Help: "Deliveries of our Event Stream that failed within a day, at the last look; at most some hundred are counted.",
		}),
		following: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_following",
			Help: "1 while this process follows Auth0 by the lane.",
		}, []string{"lane"}),
		heard: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_following_last_heard_timestamp_seconds",
			Help: "When the lane last answered, be it that nothing happened.",
		}, []string{"lane"}),
	}
	r.MustRegister(m.runs, m.lastAttempt, m.lastSuccess, m.customers, m.deliveries, m.inbox, m.followed, m.streamFailures, m.following, m.heard)
	return m
}

func (m metrics) attempt(kind string) { m.lastAttempt.WithLabelValues(kind).SetToCurrentTime() }

func (m metrics) finished(r customer.Run) {
	m.runs.WithLabelValues(r.Kind, string(r.Result)).Inc()
	if r.Result == customer.RunOK {
		m.lastSuccess.WithLabelValues(r.Kind).SetToCurrentTime()
	}
	m.customers.WithLabelValues("looked").Add(float64(r.Looked))
	m.customers.WithLabelValues("linked").Add(float64(r.Linked))
	m.customers.WithLabelValues("filled").Add(float64(r.Filled))
	m.customers.WithLabelValues("unlinked").Add(float64(r.Unlinked))
	m.customers.WithLabelValues("rebound").Add(float64(r.Rebound))
	m.customers.WithLabelValues("conflict").Add(float64(r.Conflicts))
	m.customers.WithLabelValues("error").Add(float64(r.Errors))
}

func (m metrics) delivery(source, result string) { m.deliveries.WithLabelValues(source, result).Inc() }

// followsBy says that this process follows by the lane.
func (m metrics) followsBy(lane string) {
	m.following.WithLabelValues(lane).Set(1)
	m.heard.WithLabelValues(lane).SetToCurrentTime()
}

func (m metrics) absorbed(a customer.Absorbed) {
	m.inbox.WithLabelValues("matched").Add(float64(a.Matched))
	m.inbox.WithLabelValues("kept").Add(float64(a.Kept))
	m.inbox.WithLabelValues("done").Add(float64(a.Rows - a.Matched - a.Kept))
}
