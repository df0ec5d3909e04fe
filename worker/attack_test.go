package worker_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	attackLong = flag.Bool("attack.long", false, "attack in full: minutes instead of seconds")
	attackSeed = flag.Uint64("attack.seed", 0, "what the attacks are made from; 0: the time")
)

// sizes is how often an attack is tried.
func sizes(short, long int) int {
	if *attackLong {
		return long
	}
	return short
}

// dice are the chances of one test. The seed is told if it fails, and in full
// attacks always.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *attackSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	tell := func() { t.Logf("-attack.seed=%d", seed) }
	if *attackLong {
		tell()
	} else {
		t.Cleanup(func() {
			if t.Failed() {
				tell()
			}
		})
	}
	return rand.New(rand.NewPCG(seed, 1))
}
