package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smapsOfAProgram = `00400000-00e4a000 r-xp 00000000 08:01 123                                /opt/a b/customersync
Rss:               10024 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00e4a000-01a1f000 r--p 00a4a000 08:01 123                                /opt/a b/customersync
Rss:                8000 kB
Anonymous:             0 kB
01a1f000-01a20000 r--p 0161f000 08:01 123                                /opt/a b/customersync
Rss:                   4 kB
Anonymous:             4 kB
01a20000-01af5000 rw-p 01620000 08:01 123                                /opt/a b/customersync
Rss:                 850 kB
Anonymous:             0 kB
01af5000-03b3c000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 08:01 124                        /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000002000-7f0000003000 r-xp 00000000 08:01 125                        /opt/a b/customersync.old
Anonymous:             0 kB
`

func TestOnlyWhatIsAsInTheFileIsUnmapped(t *testing.T) {
	t.Parallel()
	got, err := unchanged(strings.NewReader(smapsOfAProgram), "/opt/a b/customersync")
	want := []mapping{{0x400000, 0xe4a000}, {0xe4a000, 0x1a1f000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := unchanged(strings.NewReader("xyz r-xp /opt/customersync\n"), "/opt/customersync"); err == nil {
		t.Errorf("not understood, and taken for %v", got)
	}
}

func TestTheProgramIsUnmappedAndGoesOn(t *testing.T) {
	before := resident(t)
	if err := unmapProgram(); err != nil {
		t.Fatal(err)
	}
	after := resident(t)
	t.Logf("%d kB of the program's file are mapped, before it were %d", after, before)
	if after == 0 || after*4 > before*3 {
		t.Errorf("%d kB of the program's file are mapped, before it were %d", after, before)
	}
}

// resident is how much of the program's file is mapped and can not be written, in kB.
func resident(t *testing.T) (sum int) {
	t.Helper()
	program, err := os.Readlink("/proc/self/exe")
	must(t, err)
	smaps, err := os.ReadFile("/proc/self/smaps")
	must(t, err)
	ours := false
	for line := range strings.Lines(string(smaps)) {
		var kB int
		switch fields := strings.Fields(line); {
		case strings.HasSuffix(strings.TrimSpace(line), " "+program):
			ours = !strings.Contains(fields[1], "w")
		case strings.HasPrefix(line, "Rss:") && ours:
			_, err := fmt.Sscanf(line, "Rss: %d kB", &kB)
			must(t, err)
			sum += kB
			ours = false
		}
	}
	return sum
}
