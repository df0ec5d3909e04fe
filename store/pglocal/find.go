package pglocal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNotFound says that this machine has no Postgres server, where it was looked
// for, and what to do.
var ErrNotFound = errors.New("no Postgres server found")

// places are where Postgres' programs may be, beside the PATH: Debian, Red Hat,
// Homebrew on both kinds of Mac, Postgres.app.
func places() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// installation is a Postgres on this machine.
type installation struct {
	bin   string // the folder of its programs
	major string // of its version
}

// installed lists what is there: that of the initdb on the PATH first, then the
// others, newest first.
func installed(ctx context.Context, places []string) []installation {
	var all []installation
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(place, "initdb")) // the patterns are well-formed
		all = append(all, versions(ctx, found)...)
	}
	slices.SortStableFunc(all, func(a, b installation) int { return cmp.Compare(number(b.major), number(a.major)) })
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		all = append(versions(ctx, []string{path}), all...)
	}
	return all
}

// versions asks each for its version. One that cannot tell cannot run either.
func versions(ctx context.Context, initdbs []string) []installation {
	var all []installation
	for _, initdb := range initdbs {
		bin := filepath.Dir(initdb)
		output, err := account{}.command(ctx, filepath.Join(bin, "postgres"), "--version").Output()
		fields := strings.Fields(string(output)) // postgres (PostgreSQL) 15.18 (Debian …)
		if err != nil || len(fields) < 3 {
			continue
		}
		version, _, _ := strings.Cut(fields[2], ".")
		all = append(all, installation{bin, version})
	}
	return all
}

func number(major string) int {
	n, _ := strconv.Atoi(major) // 18beta1 counts as old
	return n
}

// choose picks the installation to run: for new data (made is "") the first, else
// the one whose major version made the data. No other can read them, and they
// are never touched by one.
func choose(all []installation, data, made string) (installation, error) {
	if len(all) == 0 {
		return installation{}, fmt.Errorf(`%w: looked for initdb on the PATH and in %s.
Three ways out:
  make postgres                      in a checkout: installs it on Debian, or prints the line that does
  apt-get install postgresql         (Debian, Ubuntu), or: brew install postgresql@17 (macOS)
  DATABASE_URL=postgres://…?sslmode=…  to use a server that runs elsewhere`, ErrNotFound, strings.Join(places(), ", "))
	}
	if made == "" {
		return all[0], nil
	}
	var have []string
	for _, i := range all {
		if i.major == made {
			return i, nil
		}
		have = append(have, fmt.Sprintf("Postgres %s in %s", i.major, i.bin))
	}
	return installation{}, fmt.Errorf("%s was made by Postgres %s, but here is %s: install Postgres %s, or move the data with pg_upgrade or pg_dump",
		data, made, strings.Join(have, " and "), made)
}

// madeBy reads the major version that made a data directory; "" if there is none.
func madeBy(data string) (string, error) {
	content, err := os.ReadFile(filepath.Join(data, "PG_VERSION")) //nolint:gosec // our own data directory
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(content)), err
}
