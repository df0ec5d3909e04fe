// Package attack is what the attacks of all packages' tests have in common: how often
// they strike, and their chances. It is for tests alone.
package attack

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	inFull = flag.Bool("attack.long", false, "attack in full: minutes instead of seconds")
	seed   = flag.Uint64("attack.seed", 0, "what the attacks are made from; 0: the time")
)

// InFull reports whether the machine has nothing else to do than to be attacked:
// then figures can be held against goals.
func InFull() bool { return *inFull }

// Times is how often an attack is tried: short in all tests, long in full.
func Times(short, long int) int {
	if *inFull {
		return long
	}
	return short
}

// Dice are the chances of one test. The seed is told if it fails, and in full
// attacks always.
func Dice(t testing.TB) *rand.Rand {
	t.Helper()
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	tell := func() { t.Logf("-attack.seed=%d", from) }
	if *inFull {
		tell()
	} else {
		t.Cleanup(func() {
			if t.Failed() {
				tell()
			}
		})
	}
	return rand.New(rand.NewPCG(from, 1)) //nolint:gosec // it must repeat
}
