package outgoing

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// backlog shows at each scrape how far the deliveries have come.
type backlog struct {
	store   Store
	targets []Target
	log     *zap.Logger
}

// What it shows.
var (
	pendingDesc = prometheus.NewDesc("customersync_event_backlog",
		"Events that were not delivered, by target and state: unread, waiting to be tried again, or dead.", []string{"target", "state"}, nil)
	oldestDesc = prometheus.NewDesc("customersync_event_oldest_undelivered_timestamp_seconds",
		"When the oldest event happened that is still to be delivered; missing if there is none.", []string{"target"}, nil)
)

// Describe implements prometheus.Collector.
func (backlog) Describe(out chan<- *prometheus.Desc) {
	out <- pendingDesc
	out <- oldestDesc
}

// Collect implements prometheus.Collector. While the database is away the metrics are
// missing, not zero.
func (b backlog) Collect(out chan<- prometheus.Metric) {
	if len(b.targets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	targets, err := b.store.EventTargets(ctx)
	if err != nil {
		b.log.Debug("read event targets", zap.Error(err))
		return
	}
	for _, t := range targets {
		if !slices.ContainsFunc(b.targets, func(c Target) bool { return c.Name == t.Name }) {
			continue // not delivered to any more
		}
		for state, n := range map[string]float64{"unread": float64(t.Unread), "waiting": float64(t.Waiting), "dead": float64(t.Dead)} {
			out <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, n, t.Name, state)
		}
		if !t.Oldest.IsZero() {
			out <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, float64(t.Oldest.UnixMilli())/1000, t.Name)
		}
	}
}
