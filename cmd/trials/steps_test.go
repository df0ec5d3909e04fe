package main

import (
	"bytes"
	"os"
	"testing"
)

// What makes the program die at a step must not be in the one that people get.
func TestTheProgramCannotBeToldToDie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags  []string
		mortal bool
	}{
		"as it is shipped":   {},
		"as the trial is of": {[]string{"-tags", "failpoints"}, true},
	} {
		binary, err := build(t.Context(), t.TempDir(), c.flags...)
		must(t, err)
		content, err := os.ReadFile(binary)
		must(t, err)
		if bytes.Contains(content, []byte("CUSTOMERSYNC_DIE_AT")) != c.mortal {
			t.Errorf("%s: expected %v", name, c.mortal)
		}
	}
}

func TestAStepThatNobodyDiesInIsMissed(t *testing.T) {
	t.Parallel()
	s := stage{met: map[string]bool{"create": true, "read clock": true, "settle the score": true}}
	if unseen := s.unseen(); len(unseen) != 1 || unseen[0] != "settle the score" {
		t.Errorf("unseen: %q", unseen)
	}
}
