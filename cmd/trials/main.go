// Command trials injects faults into a running customersync and counts what is
// lost or wrong afterwards. It is not part of the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// trial is one kind of fault.
type trial struct {
	name          string
	rounds, short int // how often it strikes at scale 1, and in a test
	run           func(ctx context.Context, w *world, rounds int, dice *rand.Rand) (result, error)
	beside        bool // goes on in the second lane, as those can that mostly wait; both lanes take about as long
}

// trials are all there are, in the order of the table.
func trials() []trial {
	return []trial{
		{"kill", 500, 4, kill, false},
		{"postgres", 100, 2, crash, false},
		{"frozen", 10, 1, frozen, true},
		{"blackhole", 10, 1, blackHole, true},
		{"crowded", 10, 1, crowded, false},
		{"readonly", 10, 1, readOnly, false},
		{"locked", 10, 1, locked, true},
		{"restart", 100, 2, restart, false},
		{"failover", 40, 1, failover, false},
		{"pgbouncer", 100, 1, bounced, false},
		{"lease", 100, 2, lease, true},
		{"disk", 10, 2, disk, false},
		{"linear", 100, 3, linear, false},
		{"steps", everyStep, 1, steps, true},
		{"upgrade", 10, 1, upgrade, false},
		{"soak", 144, 1, soak, false},
		{"auth0", everyPair, 1, hostile, true},
	}
}

// result is a trial's line in the table.
type result struct {
	rounds, injected int
	operations       int             // acknowledged
	lost, wrong      []string        // what the checker found, in words
	unavailable      []time.Duration // by round: the longest that an operation took until it was acknowledged
	slowest          time.Duration   // answer while a fault lasted
	within           time.Duration   // what of that is accepted of 95 in 100 rounds; 0: any
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "trials:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("trials", flag.ContinueOnError)
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of everything that is left to chance, but the machine's timing")
	only := flags.String("only", "", "some trials instead of all, with commas between them")
	scale := flags.Float64("scale", 1, "multiplies the rounds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := chosen(*only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "customersync-trials-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no use any more
	binary, err := build(ctx, dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "seed %d\n", *seed)
	rows, failures := make([]string, len(chosen)), make([]error, len(chosen))
	var lanes sync.WaitGroup
	for _, beside := range []bool{false, true} {
		lanes.Go(func() {
			for n, t := range chosen {
				if t.beside == beside {
					rows[n], failures[n] = t.row(ctx, out, binary, max(1, int(float64(t.rounds)**scale)), *seed)
				}
			}
		})
	}
	lanes.Wait()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "trial\trounds\tinjected\toperations\tlost\twrong\tp95 unavailable\ttook")
	for _, row := range rows {
		_, _ = fmt.Fprintln(table, row)
	}
	return errors.Join(append(failures, table.Flush())...)
}

// chosen are the trials of a list, or all.
func chosen(list string) (some []trial, err error) {
	if list == "" {
		return trials(), nil
	}
	for name := range strings.SplitSeq(list, ",") {
		n := slices.IndexFunc(trials(), func(t trial) bool { return t.name == name })
		if n < 0 {
			return nil, fmt.Errorf("there is no trial %q", name)
		}
		some = append(some, trials()[n])
	}
	return some, nil
}

// row runs a trial, and returns its line in the table.
func (t trial) row(ctx context.Context, out io.Writer, binary string, rounds int, seed uint64) (string, error) {
	from := time.Now()
	got, err := t.in(ctx, out, binary, rounds, seed)
	took := time.Since(from).Round(time.Second)
	ended := "it passed"
	if err = errors.Join(err, got.verdict(t.name)); err != nil {
		ended = "it FAILED: " + err.Error()
	}
	_, _ = fmt.Fprintf(out, "%s, after %s: %s\n", t.name, took, ended)
	return fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s", t.name, got.rounds, got.injected, got.operations,
		len(got.lost), len(got.wrong), p95(got.unavailable).Round(time.Millisecond), took), err
}

// in runs a trial in a world of its own.
func (t trial) in(ctx context.Context, out io.Writer, binary string, rounds int, seed uint64) (got result, err error) {
	w, err := newWorld(ctx, out, binary)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t.name, err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	got, err = t.run(ctx, w, rounds, rand.New(rand.NewPCG(seed, 0))) //nolint:gosec // it must repeat
	if err != nil {
		err = fmt.Errorf("%s, after %d rounds: %w", t.name, got.rounds, err)
	}
	return got, err
}
