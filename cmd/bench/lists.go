package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"
)

// sqlList is what GET of all customers answers with.
const sqlList = `copy (select id, email_address from customers order by id) to stdout`

// letGo is how long after its start a daemon has let go of what only that needed.
const letGo = 11 * time.Second

// measureLists compares the listing of all customers with COPY, and pages far
// down with the first.
func measureLists(ctx context.Context, b *bench) (results []result, err error) {
	daemon, err := b.daemon(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.stop()) }()
	if err := pause(ctx, letGo); err != nil {
		return nil, err
	}
	var times []round
	var first, peaks, few []float64
	for range b.rounds {
		limit, err := b.timed(ctx, exec.CommandContext(ctx, filepath.Join(b.programs, "psql"), "-qc", sqlList, "-o", "/dev/null", b.dsn)) //nolint:gosec // Postgres' own
		if err != nil {
			return nil, err
		}
		small, _, err := b.listing(ctx, daemon, "?customer_lifecycle=auth_pending", 1)
		if err != nil {
			return nil, err
		}
		peak, took, err := b.listing(ctx, daemon, "", b.customers)
		if err != nil {
			return nil, err
		}
		times = append(times, round{Ours: took.whole, Limit: limit})
		first = append(first, took.first*1000)
		peaks, few = append(peaks, peak), append(few, small)
	}
	var flat []round
	for i := range peaks {
		flat = append(flat, round{Ours: peaks[i], Limit: few[i]})
	}
	pages, err := b.pages(ctx)
	if err != nil {
		return nil, err
	}
	return []result{
		compared("GET all, against COPY", "s", goal{AtMost: 1.15}, times),
		absolute("GET all, first byte", "ms", goal{AtMost: 20}, first...),
		absolute("GET all, memory at most", "MB", goal{AtMost: 24}, peaks...),
		compared("GET all, memory, against a listing of a tenth", "MB", goal{AtMost: 1.2}, flat),
		compared("page of 100 behind nine tenths of all, against the first page", "ms", goal{AtMost: 1.2}, pages),
	}, nil
}

// timed is how many seconds a command takes.
func (b *bench) timed(_ context.Context, cmd *exec.Cmd) (float64, error) {
	started := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", cmd.Path, err, out)
	}
	return time.Since(started).Seconds(), nil
}

// transfer is how many seconds an answer took.
type transfer struct{ first, whole float64 }

// listing fetches a listing with curl and returns the daemon's memory at its peak
// in MB.
func (b *bench) listing(ctx context.Context, daemon *program, query string, least int) (peak float64, took transfer, err error) {
	if err := daemon.forgetPeak(); err != nil {
		return 0, took, err
	}
	cmd := exec.CommandContext(ctx, "curl", "-sS", "-o", "/dev/null", //nolint:gosec // our own daemon
		"-w", "%{http_code} %{time_starttransfer} %{time_total} %{size_download}",
		"-H", "Authorization: Bearer "+b.token, "-H", "ahiko-app-id: "+b.appID, apiURL+"/customer/v1/customers"+query)
	out, err := cmd.Output()
	if err != nil {
		return 0, took, fmt.Errorf("curl: %w", err)
	}
	var status, bytes int
	if _, err := fmt.Sscan(string(out), &status, &took.first, &took.whole, &bytes); err != nil {
		return 0, took, fmt.Errorf("curl said %q: %w", out, err)
	}
	if status != http.StatusOK || bytes < 80*least {
		return 0, took, fmt.Errorf("status %d, %d bytes", status, bytes)
	}
	memory, err := daemon.memory(memoryPeak)
	return float64(memory) / (1 << 20), took, err
}

// pages times the first page and one far down, many times in turn.
func (b *bench) pages(ctx context.Context) ([]round, error) {
	var id string
	err := b.db.GetContext(ctx, &id, `
		select id
		from customers
		order by id
		offset (select count(*) * 9 / 10 from customers)
		limit 1`)
	if err != nil {
		return nil, err
	}
	far := "&cursor=" + base64.RawURLEncoding.EncodeToString([]byte(id))
	const each = 100
	var rounds []round
	for range b.rounds {
		var first, deep []float64
		for range each {
			for path, times := range map[string]*[]float64{"": &first, far: &deep} {
				took, err := b.page(ctx, "?limit=100"+path)
				if err != nil {
					return nil, err
				}
				*times = append(*times, took)
			}
		}
		rounds = append(rounds, round{Ours: median(deep), Limit: median(first)})
	}
	return rounds, nil
}

// page is how many milliseconds a page takes.
func (b *bench) page(ctx context.Context, query string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, apiURL+"/customer/v1/customers"+query, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	req.Header.Set("ahiko-app-id", b.appID)
	started := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, res.Body)
	took := time.Since(started)
	if res.StatusCode != http.StatusOK || n < 100*80 {
		err = errors.Join(err, fmt.Errorf("status %d, %d bytes", res.StatusCode, n))
	}
	return float64(took) / float64(time.Millisecond), errors.Join(err, res.Body.Close())
}
