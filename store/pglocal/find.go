package pglocal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotFound says that this machine has no Postgres server, where it was looked
// for, and what to do.
var ErrNotFound = errors.New("no Postgres server found")

// bins are where Postgres' programs may be, beside the PATH: Debian, Red Hat,
// Homebrew on both kinds of Mac, Postgres.app.
func bins() []string {
	patterns := []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
	return patterns
}

// find returns the folder of Postgres' programs: that of the initdb on the PATH,
// else the newest installed.
func find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		return filepath.Dir(path), nil
	}
	for _, pattern := range bins() {
		found, _ := filepath.Glob(pattern + "/initdb") // the patterns are well-formed
		if len(found) > 0 {
			slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	return "", fmt.Errorf(`%w: looked for initdb on the PATH and in %s.
Three ways out:
  make postgres                      in a checkout: installs it on Debian, or prints the line that does
  apt-get install postgresql         (Debian, Ubuntu), or: brew install postgresql@17 (macOS)
  DATABASE_URL=postgres://…?sslmode=…  to use a server that runs elsewhere`, ErrNotFound, strings.Join(bins(), ", "))
}

// major reads the major version that a data directory was made by.
func major(data string) (string, error) {
	content, err := os.ReadFile(filepath.Join(data, "PG_VERSION")) //nolint:gosec // our own data directory
	return strings.TrimSpace(string(content)), err
}
