package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// result is a line of the table. Ratio is the median of the rounds' own ratios,
// ours to the limit.
type result struct {
	What  string  `json:"what"`
	Unit  string  `json:"unit"`
	Ours  float64 `json:"ours"`
	Limit float64 `json:"limit,omitempty"` // 0: none, the goal is absolute
	Ratio float64 `json:"ratio,omitempty"`
	CPU   float64 `json:"cpu_us,omitempty"` // of our process, microseconds a request
	Goal  goal    `json:"goal"`
	Met   bool    `json:"met"`
	Note  string  `json:"note,omitempty"`

	Rounds []round `json:"rounds"`
}

// round is what one round saw.
type round struct {
	Ours  float64 `json:"ours"`
	Limit float64 `json:"limit,omitempty"`
	CPU   float64 `json:"cpu_us,omitempty"`
}

// goal is what a ratio, or where there is no limit the figure, should reach.
type goal struct {
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

func (g goal) met(v float64) bool {
	return v >= g.AtLeast && (g.AtMost == 0 || v <= g.AtMost)
}

func (g goal) String() string {
	switch {
	case g.AtMost > 0:
		return fmt.Sprintf("≤ %g", g.AtMost)
	case g.AtLeast > 0:
		return fmt.Sprintf("≥ %g", g.AtLeast)
	}
	return ""
}

// compared is a result against a limit.
func compared(what, unit string, g goal, rounds []round) result {
	var ours, limits, ratios, cpu []float64
	for _, r := range rounds {
		ours, limits, ratios, cpu = append(ours, r.Ours), append(limits, r.Limit), append(ratios, r.Ours/r.Limit), append(cpu, r.CPU)
	}
	ratio := median(ratios)
	return result{What: what, Unit: unit, Ours: median(ours), Limit: median(limits), Ratio: ratio, CPU: median(cpu), Goal: g, Met: g.met(ratio), Rounds: rounds}
}

// absolute is a result without a limit to compare with.
func absolute(what, unit string, g goal, figures ...float64) result {
	var rounds []round
	for _, f := range figures {
		rounds = append(rounds, round{Ours: f})
	}
	m := median(figures)
	return result{What: what, Unit: unit, Ours: m, Goal: g, Met: g.met(m), Rounds: rounds}
}

func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// report is all that was measured, and where.
type report struct {
	At        time.Time `json:"at"`
	Customers int       `json:"customers"`
	Rounds    int       `json:"rounds"`
	CPUs      int       `json:"cpus"`
	Go        string    `json:"go"`
	Results   []result  `json:"results"`
}

func newReport(o options) report {
	return report{At: time.Now().UTC(), Customers: o.customers, Rounds: o.rounds, CPUs: runtime.NumCPU(), Go: runtime.Version()}
}

func (r *report) add(results ...result) { r.Results = append(r.Results, results...) }

func (r *report) write(out io.Writer, path string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0) // what cannot be written, Flush tells
	_, _ = fmt.Fprintf(table, "\n%d customers, %d rounds, %d processors, %s\n\n", r.Customers, r.Rounds, r.CPUs, r.Go)
	_, _ = fmt.Fprintln(table, "what\tours\tlimit\tratio\tgoal\tcpu µs\t")
	for _, one := range r.Results {
		limit, ratio, met, cpu := "", "", "", ""
		if one.CPU > 0 {
			cpu = figure(one.CPU)
		}
		if one.Limit > 0 {
			limit, ratio = figure(one.Limit), fmt.Sprintf("%.2f", one.Ratio)
		}
		if !one.Met {
			met = "not met"
		}
		if one.Note != "" {
			met += " (" + one.Note + ")"
		}
		_, _ = fmt.Fprintf(table, "%s, %s\t%s\t%s\t%s\t%s\t%s\t%s\n", one.What, one.Unit, figure(one.Ours), limit, ratio, one.Goal, cpu, met)
	}
	if err := table.Flush(); err != nil || path == "" {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // figures are for everyone
}

// figure is short and keeps three digits that mean something.
func figure(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
