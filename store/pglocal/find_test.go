package pglocal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pretend makes a folder of a Postgres that says it is of that version.
func pretend(t *testing.T, dir, version string) {
	t.Helper()
	bin := filepath.Join(dir, version, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	says := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s (Debian)'\n", version)
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(says), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhichPostgresIsRun(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"9.6.24", "15.18", "17.2", "16.4"} {
		pretend(t, dir, version)
	}
	broken := filepath.Join(dir, "18.0", "bin")
	if err := errors.Join(os.MkdirAll(broken, 0o755), os.WriteFile(filepath.Join(broken, "initdb"), nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, made, want string }{
		"the newest that runs, for new data":        {want: "17.2"},
		"that on the PATH before a newer":           {path: "15.18", want: "15.18"},
		"the one that made the data":                {made: "16", want: "16.4"},
		"and not that on the PATH, if others did":   {path: "17.2", made: "15", want: "15.18"},
		"none, if the one that made them is absent": {made: "14"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", filepath.Join(dir, c.path, "bin")) // for "" there is no such folder
			got, err := choose(installed(t.Context(), []string{dir + "/*/bin"}), "/data", c.made)
			want := filepath.Join(dir, c.want, "bin")
			if c.want == "" {
				if want = ""; err == nil || !strings.Contains(err.Error(), "/data was made by Postgres 14") {
					t.Errorf("error: %v", err)
				}
			}
			if got.bin != want {
				t.Errorf("got %s, want %s (%v)", got.bin, want, err)
			}
		})
	}
}

func TestNoPostgresSaysWhereItLookedAndTheWaysOut(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := choose(installed(t.Context(), []string{t.TempDir()}), "/data", "")
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"PATH", "/usr/lib/postgresql", "/opt/homebrew", "/usr/local/opt", "Postgres.app", "make postgres", "apt-get install postgresql", "brew install", "DATABASE_URL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %s in: %v", want, err)
		}
	}
}
