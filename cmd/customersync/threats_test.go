package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A defence whose test is gone is a claim.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	must(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	}))
	model, err := os.ReadFile("../../deploy/docs/threat-model.md")
	must(t, err)
	named := regexp.MustCompile("`((Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(model), -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	listed := map[string]bool{}
	for _, name := range named {
		listed[name[1]] = true
		if !strings.Contains(tests.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("%s is no test", name[1])
		}
	}
	for _, attack := range regexp.MustCompile(`(?m)^func (TestAttack[A-Za-z0-9]+)\(`).FindAllStringSubmatch(tests.String(), -1) {
		if !listed[attack[1]] {
			t.Errorf("%s is not in the threat model", attack[1])
		}
	}
}

// A goroutine that a test leaves behind is one that the daemon may leave behind.
func TestEveryPackageLooksForGoroutinesThatAreLeft(t *testing.T) {
	t.Parallel()
	looks := map[string]bool{}
	must(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		looks[filepath.Dir(path)] = looks[filepath.Dir(path)] || regexp.MustCompile(`goleak\.VerifyTestMain\(|storetest\.Main\(`).Match(text)
		return err
	}))
	if len(looks) < 10 {
		t.Errorf("only %d packages have tests", len(looks))
	}
	for folder, does := range looks {
		if !does {
			t.Errorf("%s does not", folder)
		}
	}
}

// What a test has logged to nobody is not looked through.
func TestEveryTestsLogIsLookedThrough(t *testing.T) {
	t.Parallel()
	must(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "bench_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if regexp.MustCompile(`Logger: +zap\.NewNop`).Match(text) {
			t.Errorf("in %s the program logs to nobody: package discreet has a logger", path)
		}
		return err
	}))
}
