package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// shown is how many faults of a kind are told in words.
const shown = 5

// verdict is an error unless every round struck, nothing was lost or wrong, and
// service was back in time.
func (r result) verdict(name string) error {
	if r.rounds == 0 || r.injected < r.rounds {
		return fmt.Errorf("%s: %d faults injected in %d rounds: it shows nothing", name, r.injected, r.rounds)
	}
	if took := p95(r.unavailable); r.within > 0 && took > r.within {
		return fmt.Errorf("%s: unavailable for %s, expected at most %s", name, took, r.within)
	}
	if err := r.complaint(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// complaint is an error if anything was lost or wrong.
func (r result) complaint() error {
	if len(r.lost)+len(r.wrong) == 0 {
		return nil
	}
	told := append(first(r.lost), first(r.wrong)...)
	return fmt.Errorf("%d lost, %d wrong:\n  %s", len(r.lost), len(r.wrong), strings.Join(told, "\n  "))
}

// struck ends a round.
func (r *result) struck(injected bool) {
	r.rounds++
	if injected {
		r.injected++
	}
}

func first(words []string) []string { return slices.Clone(words[:min(len(words), shown)]) }

// p95 is the time that 95 of 100 rounds did not exceed.
func p95(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)*95+99)/100-1]
}
