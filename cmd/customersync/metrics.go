package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

type metricsCmd struct {
	Markdown bool `help:"Print the tables of deploy/docs/metrics.md." xor:"how"`
	JSON     bool `help:"Print JSON, a line for each metric." xor:"how"`
}

// Run lists the metrics, as the parts of the daemon register them.
func (v metricsCmd) Run(p process) error {
	all, err := catalogue()
	if err != nil {
		return err
	}
	print := metric.text
	if v.Markdown {
		print = metric.row
		_, _ = fmt.Fprint(p.stdout, "| metric | type | labels | what |\n|---|---|---|---|\n") // as below
	}
	for _, m := range all {
		if !m.ours() && v.Markdown {
			continue
		}
		if v.JSON {
			p.printJSON(map[string]any{"name": m.name, "type": m.kind, "labels": append([]string{}, m.labels...), "help": m.help})
			continue
		}
		if _, err := fmt.Fprint(p.stdout, print(m)); err != nil {
			return err
		}
	}
	return nil
}

// metric is one family of the registry.
type metric struct {
	name, kind, help string
	labels           []string
}

// ours says that it is not of the runtime or the process, which others document.
func (m metric) ours() bool {
	return strings.HasPrefix(m.name, "customersync_") || strings.HasPrefix(m.name, "go_sql_")
}

func (m metric) row() string {
	labels := strings.Join(m.labels, "`, `")
	if labels != "" {
		labels = "`" + labels + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
}

func (m metric) text() string {
	return fmt.Sprintf("%s{%s}  %s\n    %s\n", m.name, strings.Join(m.labels, ","), m.kind, m.help)
}

// catalogue puts a daemon together that is never started, and notes what it registers.
func catalogue() ([]metric, error) {
	ctx, stop := context.WithCancel(context.Background())
	stop() // nothing is to be fetched
	c := config{baseURL: "http://127.0.0.1:9", audience: "none", share: 1, schedule: "@every 1h"}
	listed := &listing{Registry: prometheus.NewRegistry()}
	d, err := assemble(ctx, c, "postgres://nobody@127.0.0.1:9/none?sslmode=disable", zap.NewNop(), listed, nil)
	if err != nil {
		return nil, err
	}
	if err := d.store.Close(); err != nil {
		return nil, err
	}
	return listed.metrics()
}

// listing is a registry that remembers what was registered with it.
type listing struct {
	*prometheus.Registry
	collectors []prometheus.Collector
}

// MustRegister implements prometheus.Registerer.
func (l *listing) MustRegister(all ...prometheus.Collector) {
	l.collectors = append(l.collectors, all...)
	l.Registry.MustRegister(all...)
}

func (l *listing) metrics() ([]metric, error) {
	kinds := map[string]string{}
	gathered, err := l.Gather()
	if err != nil {
		return nil, err
	}
	for _, family := range gathered {
		kinds[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	// This is how client_golang (v1.25.0) prints a description: it shows it in no other way.
	described := regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}\}$`)
	var all []metric
	for _, c := range l.collectors {
		for desc := range descriptions(c) {
			parts := described.FindStringSubmatch(desc.String())
			if parts == nil {
				return nil, fmt.Errorf("a description that is not understood: %s", desc)
			}
			m := metric{name: parts[1], kind: cmp.Or(kindOf(c), kinds[parts[1]], "gauge")}
			if _, err := fmt.Sscanf(parts[2], "%q", &m.help); err != nil {
				return nil, fmt.Errorf("read a description: %w", err)
			}
			if parts[3] != "" {
				m.labels = strings.Split(parts[3], ",")
			}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

func descriptions(c prometheus.Collector) <-chan *prometheus.Desc {
	out := make(chan *prometheus.Desc)
	go func() {
		defer close(out)
		c.Describe(out)
	}()
	return out
}

// kindOf is the type of what is registered; "" where the scrape has to tell.
func kindOf(c prometheus.Collector) string {
	switch c.(type) {
	case *prometheus.HistogramVec, prometheus.Histogram:
		return "histogram"
	case *prometheus.CounterVec:
		return "counter"
	}
	return ""
}
