package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// httpLoad is what wrk is to send.
type httpLoad struct {
	url         string
	script      string // Lua, which makes the requests
	connections int
	each        time.Duration
	env         []string // for the script
}

// httpFigures is what wrk saw.
type httpFigures struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	Wrong    int     `json:"wrong"`  // other statuses than the script expects
	Errors   int     `json:"errors"` // connections refused, broken, timed out
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
}

func (f httpFigures) rate() float64 { return float64(f.Requests) / f.Seconds }

//go:embed load.lua
var common string

// wrk loads a server and fails if a single answer was not as expected: refusals
// are quick.
func (b *bench) wrk(ctx context.Context, l httpLoad) (httpFigures, error) {
	path := filepath.Join(b.dir, "load.lua")
	if err := os.WriteFile(path, []byte(common+l.script), 0o600); err != nil {
		return httpFigures{}, err
	}
	cmd := exec.CommandContext(ctx, "wrk", //nolint:gosec // our own arguments
		"-t1", "-c"+strconv.Itoa(l.connections), fmt.Sprintf("-d%dms", l.each.Milliseconds()), "-s", path, l.url)
	cmd.Args[3] = fmt.Sprintf("-d%d", max(1, int(l.each.Seconds())))
	cmd.Env = append(os.Environ(), append(l.env,
		"APP_ID="+b.appID, "TOKEN="+b.token, "CUSTOMERS="+strconv.Itoa(b.customers), "SEED="+seed())...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return httpFigures{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	_, last, found := strings.Cut(string(out), "FIGURES ")
	var f httpFigures
	if !found || json.Unmarshal([]byte(last), &f) != nil {
		return f, fmt.Errorf("wrk told no figures: %s", out)
	}
	if f.Wrong+f.Errors > 0 || f.Requests == 0 {
		return f, fmt.Errorf("of %d answers %d were wrong, %d connections failed", f.Requests, f.Wrong, f.Errors)
	}
	return f, nil
}

var pgbenchRate = regexp.MustCompile(`tps = ([0-9.]+)`)

// seed keeps what one load makes apart from what others made.
func seed() string { return strconv.FormatInt(time.Now().UnixNano(), 36) }

// pgbench runs a script, {seed} in it replaced, with prepared statements and returns transactions a second.
func (b *bench) pgbench(ctx context.Context, script string, connections int) (float64, error) {
	path := filepath.Join(b.dir, "pgbench.sql")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(script, "{seed}", seed())), 0o600); err != nil {
		return 0, err
	}
	out, err := b.postgresProgram(ctx, "pgbench", "-n", "-M", "prepared", "-c", strconv.Itoa(connections), "-j", "1",
		"-T", strconv.Itoa(max(1, int(b.each.Seconds()))), "-f", path, "-D", "i=0", "-D", "customers="+strconv.Itoa(b.customers))
	if err != nil {
		return 0, err
	}
	match := pgbenchRate.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("pgbench told no rate: %s", out)
	}
	return strconv.ParseFloat(string(match[1]), 64)
}

func (b *bench) postgresProgram(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.programs, name), append(args, b.dsn+"&sslmode=disable")...) //nolint:gosec // Postgres' own
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return out, nil
}

// costing runs a load and returns what it cost the process that served it, a request.
func costing(p *program, load func() (httpFigures, error)) (f httpFigures, each time.Duration, err error) {
	before, err := p.cpu()
	if err != nil {
		return f, 0, err
	}
	if f, err = load(); err != nil {
		return f, 0, err
	}
	after, err := p.cpu()
	if err != nil {
		return f, 0, err
	}
	if f.Requests == 0 {
		return f, 0, errors.New("no requests")
	}
	return f, (after - before) / time.Duration(f.Requests), nil
}
