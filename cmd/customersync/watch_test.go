package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// queries are the expressions of the alerts and the dashboard, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range alerts(t) {
		all["alert "+r.Alert] = r.Expr
	}
	content, err := os.ReadFile("../../deploy/grafana/customersync.json")
	must(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	must(t, json.Unmarshal(content, &dashboard))
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
		}
	}
	return all
}

type alert struct {
	Alert, Expr string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	content, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	must(t, err)
	var file struct{ Groups []struct{ Rules []alert } }
	must(t, yaml.Unmarshal(content, &file))
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) == 0 {
		t.Fatal("alerts.yaml has no rules")
	}
	return file.Groups[0].Rules
}

// series lists what a query may name, with its labels.
func series(t *testing.T) map[string][]string {
	t.Helper()
	all, err := catalogue()
	must(t, err)
	names := map[string][]string{"process_resident_memory_bytes": nil}
	for _, m := range all {
		if m.kind != "histogram" {
			names[m.name] = m.labels
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			names[m.name+suffix] = append(slices.Clone(m.labels), "le")
		}
	}
	return names
}

var named = regexp.MustCompile(`\b((?:customersync|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)

func TestAlertsAndDashboardAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	names := series(t)
	asked := map[string]bool{}
	for where, query := range queries(t) {
		found := named.FindAllStringSubmatch(query, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for no metric", where)
		}
		var labels []string
		for _, f := range found {
			if _, is := names[f[1]]; !is {
				t.Errorf("%s asks for %s, which is no metric", where, f[1])
			}
			asked[f[1]] = true
			labels = append(labels, names[f[1]]...)
			for _, matcher := range regexp.MustCompile(`([a-z_]+)\s*(?:=|!=|=~|!~)\s*"`).FindAllStringSubmatch(f[2], -1) {
				if !slices.Contains(names[f[1]], matcher[1]) {
					t.Errorf("%s asks for %s by %s, which it has not", where, f[1], matcher[1])
				}
			}
		}
		for _, by := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(by[1], ", ") {
				if !slices.Contains(labels, label) {
					t.Errorf("%s groups by %s, which none of its metrics has", where, label)
				}
			}
		}
	}
	for name := range names {
		if strings.HasPrefix(name, "customersync_") && !asked[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("neither alerts nor dashboard ask for %s", name)
		}
	}
}

func TestEachAlertHasItsSectionInTheRunbook(t *testing.T) {
	t.Parallel()
	runbook := readRunbook(t)
	var sections, names []string
	for _, heading := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		sections = append(sections, heading[1])
	}
	for _, a := range alerts(t) {
		names = append(names, a.Alert)
		if want := "/deploy/docs/runbook.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) {
			t.Errorf("%s leads to %s, not to …%s", a.Alert, a.Annotations["runbook_url"], want)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
	}
	slices.Sort(sections)
	slices.Sort(names)
	if !slices.Equal(sections, names) {
		t.Errorf("sections %v, alerts %v", sections, names)
	}
	for _, part := range []string{"**Means**", "**Hurt**", "**Look at**", "**Ends**"} {
		if n := strings.Count(runbook, part); n != len(names) {
			t.Errorf("%d of %d sections say %s", n, len(names), part)
		}
	}
}

// A runbook is read at night: what it says to type must be there.
func TestTheCommandsOfTheRunbookExist(t *testing.T) {
	t.Parallel()
	runbook := readRunbook(t)
	commands := regexp.MustCompile(`(?m)^    customersync (.*)$`).FindAllStringSubmatch(runbook, -1)
	if len(commands) < 5 {
		t.Fatalf("the runbook has %d commands", len(commands))
	}
	for _, c := range commands {
		if o := runProgram(t, nil, append(strings.Fields(c[1]), "--help")...); o.code != exitOK {
			t.Errorf("customersync %s: %s", c[1], o.stderr)
		}
	}
	for _, path := range regexp.MustCompile(`\$OPS(/\w+)`).FindAllStringSubmatch(runbook, -1) {
		if !slices.Contains([]string{"/livez", "/readyz", "/metrics", "/ops"}, path[1]) {
			t.Errorf("there is no %s", path[1])
		}
	}
	names := series(t)
	for _, f := range regexp.MustCompile(`customersync_[a-z0-9_]+`).FindAllString(runbook, -1) {
		begins := func(name string) bool { return strings.HasPrefix(name, f) }
		found := false
		for name := range names {
			found = found || begins(name)
		}
		if !found {
			t.Errorf("no metric begins with %s", f)
		}
	}
}

func readRunbook(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../../deploy/docs/runbook.md")
	must(t, err)
	return string(content)
}
