package ops

import (
	"math"
	"slices"

	"github.com/ahiko-io/customersync/customer"
)

// bar is a row of a chart. Width is in percent.
type bar struct {
	Name  string
	Count int
	Width int
	Share string
	Class string
	Link  string // "": none
}

// width is a share in percent; what is there at all is seen.
func width(n, of int) int {
	if n <= 0 || of <= 0 {
		return 0
	}
	return min(max(int(math.Round(100*float64(n)/float64(of))), 1), 100)
}

func share(n, of int) string {
	switch {
	case of == 0:
		return ""
	case n == 0:
		return "0 %"
	case n*200 < of:
		return "< 1 %"
	}
	return thousands(int(math.Round(100*float64(n)/float64(of)))) + " %"
}

// funnel is the way of the customers: made, waiting by reason, active, closed.
func funnel(s customer.Status) []bar {
	total := 0
	for _, n := range s.Customers {
		total += n
	}
	row := func(name, class, link string, n int) bar {
		return bar{name, n, width(n, total), share(n, total), class, link}
	}
	bars := []bar{row("created", "all", "", total), row("auth_pending", "wait", "", s.Customers[customer.AuthPending])}
	for _, r := range customer.Reasons() {
		if n := s.Pending[r]; n > 0 {
			bars = append(bars, row(string(r), "part", "/ops/reasons/"+string(r), n))
		}
	}
	return append(bars, row("active", "good", "", s.Customers[customer.Active]), row("inactive", "shut", "", s.Customers[customer.Inactive]))
}

// lagChart is how long customers waited whom one finder led to.
type lagChart struct {
	Title  string
	Says   string
	Total  int
	Median string // half of them waited less; "" if there are none
	Bars   []bar
}

// lagGroups are the rows of a chart: seconds that stand for several bounds.
var lagGroups = []struct { //nolint:gochecknoglobals // a table
	below float64
	name  string
}{
	{1, "under 1 s"}, {5, "1 to 5 s"}, {30, "5 to 30 s"}, {120, "30 s to 2 min"}, {900, "2 to 15 min"},
	{3600, "15 to 60 min"}, {21600, "1 to 6 h"}, {86400, "6 to 24 h"}, {math.Inf(1), "over a day"},
}

// lagCharts are a chart for webhooks and one for the clock, always, and one for each
// other way that led to anybody.
func lagCharts(lags []customer.Lag) []lagChart {
	titles := map[customer.Finder][2]string{
		customer.FoundByDelivery:  {"By a delivery", "Auth0 told of the user: webhook, event feed or log."},
		customer.FoundByCron:      {"By cron", "It was their turn to be looked up."},
		customer.FoundByReconcile: {"By the full reconcile", "All customers were held against all users."},
		customer.FoundByRequest:   {"On request", "Somebody asked for a look."},
	}
	var charts []lagChart
	for _, f := range customer.Finders() {
		c := chartOf(titles[f], lags, f)
		if c.Total > 0 || f == customer.FoundByDelivery || f == customer.FoundByCron {
			charts = append(charts, c)
		}
	}
	return charts
}

func chartOf(title [2]string, lags []customer.Lag, f customer.Finder) lagChart {
	counts := make([]int, len(lagGroups))
	c := lagChart{Title: title[0], Says: title[1]}
	for _, l := range lags {
		if l.FoundBy != f {
			continue
		}
		i := slices.IndexFunc(lagGroups, func(g struct {
			below float64
			name  string
		}) bool {
			return l.Below <= g.below
		})
		counts[i] += l.Customers
		c.Total += l.Customers
	}
	sum := 0
	for i, g := range lagGroups {
		c.Bars = append(c.Bars, bar{Name: g.name, Count: counts[i], Width: width(counts[i], c.Total), Share: share(counts[i], c.Total), Class: "lag"})
		if sum += counts[i]; c.Median == "" && sum > 0 && 2*sum >= c.Total {
			c.Median = g.name
		}
	}
	return c
}
