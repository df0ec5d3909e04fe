package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ahiko-io/customersync/customer"
)

// metrics of the worker. Last attempt and last success are two things: a sync
// that fails must not look alive.
type metrics struct {
	runs           *prometheus.CounterVec
	took           *prometheus.HistogramVec
	lag            *prometheus.HistogramVec
	held           *prometheus.GaugeVec
	lost           *prometheus.CounterVec
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
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "customersync_run_duration_seconds",
			Help:    "How long runs took that had something to do.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
		}, []string{"kind"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "customersync_link_lag_seconds",
			Help: "How long customers waited until they were linked, from when both they and the Auth0 user's last change were there, " +
				"by what led to them: delivery (webhook, event feed or log), cron, reconcile or request. The user's last login is a change too, by Auth0's clock.",
			Buckets: customer.LagBounds(),
		}, []string{"found_by"}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_lease_held",
			Help: "1 while this process has the lease for a kind of work. The sum over all replicas is at most 1.",
		}, []string{"lease"}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "customersync_leases_lost_total",
			Help: "Leases that another replica took over while this process had them: it was paused or cut off from the database.",
		}, []string{"lease"}),
		lastAttempt: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_run_last_attempt_timestamp_seconds",
			Help: "When a run was last begun, by this process or, before it started, by any.",
		}, []string{"kind"}),
		lastSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "customersync_run_last_success_timestamp_seconds",
			Help: "When a run last ended ok, of this process or, before it started, of any. Ask for the maximum over all replicas.",
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
	m.begin()
	r.MustRegister(m.runs, m.took, m.lag, m.held, m.lost, m.lastAttempt, m.lastSuccess, m.customers, m.deliveries, m.inbox, m.followed, m.streamFailures, m.following, m.heard)
	return m
}

// begin makes the series whose absence would read as "no failures": a rate over a
// counter needs the 0 that it started from.
func (m metrics) begin() {
	for _, kind := range []string{KindPromote, KindInbox, KindReconcile} {
		for _, result := range []customer.RunResult{customer.RunOK, customer.RunPartial, customer.RunFailed, customer.RunAborted} {
			m.runs.WithLabelValues(kind, string(result))
		}
	}
	for _, by := range customer.Finders() {
		m.lag.WithLabelValues(string(by))
	}
	for _, lease := range []customer.LeaseName{customer.LeaseWorker, customer.LeaseReconcile, customer.LeaseFollow} {
		m.held.WithLabelValues(string(lease))
		m.lost.WithLabelValues(string(lease))
	}
	m.deliveries.WithLabelValues("unknown", "forged")
}

// remember takes over what runs before this process did: a daemon that was
// restarted this morning must not look as if it had never reconciled.
func (m metrics) remember(all []customer.LastRuns) {
	for _, r := range all {
		m.lastAttempt.WithLabelValues(r.Kind).Set(unix(r.Attempt.Started))
		if r.Success.ID != 0 {
			m.lastSuccess.WithLabelValues(r.Kind).Set(unix(r.Success.Ended))
		}
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func (m metrics) attempt(kind string) { m.lastAttempt.WithLabelValues(kind).SetToCurrentTime() }

func (m metrics) finished(r customer.Run) {
	m.runs.WithLabelValues(r.Kind, string(r.Result)).Inc()
	if r.Result == customer.RunOK {
		m.lastSuccess.WithLabelValues(r.Kind).SetToCurrentTime()
	}
	if !r.Started.IsZero() { // it was not idle
		m.took.WithLabelValues(r.Kind).Observe(r.Ended.Sub(r.Started).Seconds())
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
