package ops_test

import (
	"context"
	"database/sql"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"go.uber.org/zap"

	"github.com/ahiko-io/customersync/api/ops"
	"github.com/ahiko-io/customersync/store"
	"github.com/ahiko-io/customersync/store/storetest"
)

// many is how many customers the pages are measured with.
var many = flag.Int("pages.customers", 1_000_000, "customers that BenchmarkPages has in the table")

// over is a database that was filled before.
var over = flag.String("pages.database", "", "URL of a database that is filled already, for BenchmarkPages")

// BenchmarkPages measures each page over a full table. Beside the mean it tells the
// median and the 99th of a hundred requests; "make bench-pages" runs it.
func BenchmarkPages(b *testing.B) {
	dsn := *over
	if dsn == "" {
		dsn = storetest.DSN(b)
		crowd(b, dsn, *many)
	}
	s, err := store.Open(store.Options{DSN: dsn, PgBouncer: storetest.PgBouncer() && *over == "", QueryTimeout: 30 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	h := ops.NewPage(ops.PageConfig{Loopback: true, Logger: zap.NewNop()}, s)
	one, far := places(b, dsn)
	never := make(chan struct{})
	b.Cleanup(func() { close(never) })
	cold := func() http.Handler {
		return ops.NewPage(ops.PageConfig{Loopback: true, Logger: zap.NewNop()}, &counting{Store: s, slow: never})
	}
	for _, page := range []struct {
		name, method, path, form string
		fresh                    bool // each request meets a process that has counted nothing yet
	}{
		{"home", "GET", "/ops/", "", false},
		{"home-of-a-week", "GET", "/ops/?lag=week", "", false},
		{"home-uncounted", "GET", "/ops/", "", true},
		{"find", "POST", "/ops/find", "q=user77%40example.com", false},
		{"customer", "GET", "/ops/customers/" + one, "", false},
		{"reason", "GET", "/ops/reasons/not_registered", "", false},
		{"reason-far", "GET", "/ops/reasons/not_registered?after=" + far, "", false},
		{"conflicts", "GET", "/ops/conflicts", "", false},
		{"runs", "GET", "/ops/runs", "", false},
		{"runs-far", "GET", "/ops/runs?before=1000", "", false},
		{"run", "GET", "/ops/runs/1", "", false},
		{"run-far", "GET", "/ops/runs/1?after=" + far + ".1", "", false},
		{"plan", "GET", "/ops/plan", "", false},
		{"plan-far", "GET", "/ops/plan?after=15000", "", false},
		{"preview", "POST", "/ops/customers/" + one + "/preview", "do=close", false},
	} {
		b.Run(page.name, func(b *testing.B) {
			var took []time.Duration
			serve := h
			for b.Loop() {
				if page.fresh {
					serve = cold()
				}
				r := httptest.NewRequest(page.method, "http://127.0.0.1:9090"+page.path, strings.NewReader(page.form)).WithContext(context.Background())
				if page.form != "" {
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				w := httptest.NewRecorder()
				began := time.Now()
				serve.ServeHTTP(w, r)
				took = append(took, time.Since(began))
				if w.Code != 200 && w.Code != 303 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			slices.Sort(took)
			at := func(q float64) float64 {
				return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(at(.5), "p50-ms")
			b.ReportMetric(at(.99), "p99-ms")
		})
	}
}

// places are a linked customer with a history, and one that is far behind in every list.
func places(b *testing.B, dsn string) (one, far string) {
	b.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(b.Context(), `
		select (select id from customers where email_key = 'user77@example.com'),
		  (select id from customers where reason = 'not_registered' order by id desc offset 200 limit 1)`).Scan(&one, &far); err != nil {
		b.Fatal(err)
	}
	return one, far
}

// crowd fills a database as a large tenant's is after a month: one customer in ten waits,
// a run every half minute, deliveries by the hundred thousand, a plan.
func crowd(b *testing.B, dsn string, n int) {
	b.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	file, err := os.ReadFile("testdata/crowd.sql")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	for step := range strings.SplitSeq(string(file), "\n\n") {
		if _, err := db.ExecContext(b.Context(), strings.ReplaceAll(step, ":n", strconv.Itoa(n))); err != nil {
			b.Fatalf("%s: %v", step, err)
		}
	}
	b.Logf("filled %d customers in %s", n, time.Since(began).Round(time.Second))
}
