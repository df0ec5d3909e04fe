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

// standingWithin bounds what a scrape waits for the database: Prometheus gives it
// up after 10 seconds, and then has nothing of this process at all.
const standingWithin = 2 * time.Second

type standingDescs struct {
	read, pending, oldest, due, inbox, inboxOldest, moved, gap *prometheus.Desc
}

func describeStanding() standingDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("customersync_"+name, help, labels, nil)
	}
	return standingDescs{
		read:        desc("database_up", "1 if the database could be read for this scrape. If not, the metrics that come from it are missing."),
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

// Collect implements prometheus.Collector. While the database is away its metrics
// are missing, not zero.
func (s standing) Collect(out chan<- prometheus.Metric) {
	d := describeStanding()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	since := func(desc *prometheus.Desc, at time.Time, labels ...string) {
		if !at.IsZero() {
			gauge(desc, float64(at.UnixMilli())/1000, labels...)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), standingWithin)
	defer cancel()
	st, err := s.store.Standing(ctx)
	if err != nil {
		s.log.Debug("read how it stands", zap.Error(err))
		gauge(d.read, 0)
		return
	}
	gauge(d.read, 1)
	for _, reason := range customer.Reasons() {
		gauge(d.pending, float64(st.Pending[reason].Count), string(reason))
		since(d.oldest, st.Pending[reason].Oldest, string(reason))
	}
	since(d.due, st.Due)
	gauge(d.inbox, float64(st.Inbox.Count))
	since(d.inboxOldest, st.Inbox.Oldest)
	for _, lane := range st.Lanes {
		since(d.moved, lane.Moved, lane.Name)
		gauge(d.gap, yesOrNo(!lane.Gap.IsZero()), lane.Name)
	}
}

func yesOrNo(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
