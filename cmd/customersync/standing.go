package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/customer"
	"github.com/ahiko-io/customersync/store"
)

// standing is the metrics that are read from the database at each scrape: they are
// the same whichever replica is asked.
type standing struct {
	store *store.Store
	log   *zap.Logger
}

const (
	// standingWithin bounds what a scrape waits for probes of the database, and
	// countWithin what for counts: Prometheus gives a scrape up after 10 seconds, and
	// then has nothing of this process at all.
	standingWithin = 2 * time.Second
	countWithin    = 3 * time.Second
)

type standingDescs struct {
	read, pending, oldest, due, inbox, inboxOldest, moved, gap *prometheus.Desc
}

func describeStanding() standingDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("customersync_"+name, help, labels, nil)
	}
	return standingDescs{
		read:        desc("database_up", "1 if the database could be read for this scrape. If not, all metrics that come from it are missing."),
		pending:     desc("pending_customers", "Customers that are auth_pending, by reason.", "reason"),
		oldest:      desc("pending_oldest_timestamp_seconds", "When the oldest auth_pending customer of a reason was made.", "reason"),
		due:         desc("next_check_timestamp_seconds", "When the next customer is due to be looked up. Far in the past: nobody does it. Missing: nobody is due."),
		inbox:       desc("inbox_waiting", "Deliveries that are stored and not yet acted on."),
		inboxOldest: desc("inbox_oldest_timestamp_seconds", "When the oldest of them came."),
		moved:       desc("lane_moved_timestamp_seconds", "Up to when a lane that follows Auth0 has been read, by any replica.", "lane"),
		gap:         desc("lane_gap", "1 if a lane missed something that no full reconcile has made up for yet.", "lane"),
	}
}

// Describe implements prometheus.Collector.
func (standing) Describe(out chan<- *prometheus.Desc) {
	d := describeStanding()
	for _, desc := range []*prometheus.Desc{d.read, d.pending, d.oldest, d.due, d.inbox, d.inboxOldest, d.moved, d.gap} {
		out <- desc
	}
}

// Collect implements prometheus.Collector. What the database does not tell is missing,
// not zero. Counts are apart: that they take too long is no reason to say that the
// database is away.
func (s standing) Collect(out chan<- prometheus.Metric) {
	o := observation{out, describeStanding()}
	if err := s.probe(o); err != nil {
		s.log.Debug("read how it stands", zap.Error(err))
		o.gauge(o.read, 0)
		return
	}
	o.gauge(o.read, 1)
	ctx, cancel := context.WithTimeout(context.Background(), countWithin)
	defer cancel()
	pending, err := s.store.Pending(ctx)
	if err != nil {
		s.log.Debug("count pending customers", zap.Error(err))
		return
	}
	for _, reason := range customer.Reasons() {
		o.gauge(o.pending, float64(pending[reason]), string(reason))
	}
}

func (s standing) probe(o observation) error {
	ctx, cancel := context.WithTimeout(context.Background(), standingWithin)
	defer cancel()
	st, err := s.store.Standing(ctx)
	if err != nil {
		return err
	}
	for reason, at := range st.Oldest {
		o.since(o.oldest, at, string(reason))
	}
	o.since(o.due, st.Due)
	o.gauge(o.inbox, float64(st.Inbox.Count))
	o.since(o.inboxOldest, st.Inbox.Oldest)
	for _, lane := range st.Lanes {
		o.since(o.moved, lane.Moved, lane.Name)
		o.gauge(o.gap, yesOrNo(!lane.Gap.IsZero()), lane.Name)
	}
	return nil
}

// observation is what a scrape is told.
type observation struct {
	out chan<- prometheus.Metric
	standingDescs
}

func (o observation) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	o.out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// since shows a moment; the zero time is not shown.
func (o observation) since(desc *prometheus.Desc, at time.Time, labels ...string) {
	if !at.IsZero() {
		o.gauge(desc, float64(at.UnixMilli())/1000, labels...)
	}
}

func yesOrNo(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
