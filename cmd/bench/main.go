// Command bench measures customersync against the bare limit of what it stands
// on: pgbench for statements, COPY for listings, net/http for answers. Each round
// takes ours and the limit in turn, on one machine, so that what is compared has
// met the same weather; what counts is the ratio. "make bench" runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	customers int           // in the table
	rounds    int           // of each measure
	each      time.Duration // how long one side of a round is loaded
	only      string        // measures to take, comma-separated; "": all
	binary    string        // customersync
	json      string        // where the figures go
	dir       string        // scratch space
	keep      bool
	answer    string // be the static HTTP server of the comparison on this address
}

func main() {
	var o options
	flag.IntVar(&o.customers, "customers", 1_000_000, "customers in the table")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each measure")
	flag.DurationVar(&o.each, "each", 3*time.Second, "how long each side of a round is loaded")
	flag.StringVar(&o.only, "only", "", "measures to take, comma-separated: "+strings.Join(measureNames(), ", "))
	flag.StringVar(&o.binary, "binary", "bin/customersync", "the program to measure")
	flag.StringVar(&o.json, "json", "", "write the figures to this file")
	flag.StringVar(&o.dir, "dir", "", "scratch space with room for the database; default a temporary directory")
	flag.BoolVar(&o.keep, "keep", false, "keep the scratch space, for another run with -dir")
	flag.StringVar(&o.answer, "answer", "", "answer every request on this address alike: the static server of the comparison")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // stop only gives the signals back
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.answer != "" {
		return answerAlike(ctx, o.answer)
	}
	if runtime.GOOS != "linux" {
		return errors.New("it reads what processes cost from /proc: Linux only")
	}
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	b, err := setUp(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.tearDown()) }()
	for _, m := range chosen {
		started := time.Now()
		results, failed := m.take(ctx, b)
		b.report.add(results...)
		if failed != nil { // what was measured is told all the same
			err = fmt.Errorf("%s: %w", m.name, failed)
			break
		}
		fmt.Fprintf(os.Stderr, "%-10s %4.0f s\n", m.name, time.Since(started).Seconds())
	}
	return errors.Join(b.report.write(os.Stdout, o.json), err)
}

// measure is one part of the table.
type measure struct {
	name string
	take func(context.Context, *bench) ([]result, error)
}

func measures() []measure {
	return []measure{ // those that need the table as it was filled come first
		{"tick", measureTick},
		{"idle", measureIdle},
		{"ingest", measureIngest},
		{"link", measureLinks},
		{"read", measureReads},
		{"list", measureLists},
		{"decode", measureDecode},
		{"patch", measurePatches},
		{"create", measureCreates},
		{"webhook", measureWebhooks},
	}
}

func measureNames() []string {
	var names []string
	for _, m := range measures() {
		names = append(names, m.name)
	}
	return names
}

func choose(only string) ([]measure, error) {
	if only == "" {
		return measures(), nil
	}
	var chosen []measure
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, m := range measures() {
			if m.name == name {
				chosen, found = append(chosen, m), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only: no measure %q; there are %s", name, strings.Join(measureNames(), ", "))
		}
	}
	return chosen, nil
}
