package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ahiko-io/customersync/store/storetest"
)

var update = flag.Bool("update", false, "write the golden parts of testdata anew")

// Scripts run the program as people and their scripts do, each on a database and a
// simulated tenant of its own. Beside testscript's own commands there are
//
//	customersync ARGS…     the program; it must end well
//	exits CODE ARGS…       the program; it must end with that code
//	daemon                 starts serve, and sets $API and $OPS
//	shape                  writes the names and types of the JSON that was printed last to the file shape
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	must(t, err)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			_, settings := tenant(t)
			settings = append(settings, "DATABASE_URL="+storetest.DSN(t), "CUSTOMERSYNC_LOG_LEVEL=error", "CUSTOMERSYNC_PGBOUNCER="+strconv.FormatBool(storetest.PgBouncer()))
			testscript.Run(t, testscript.Params{
				Files: []string{file}, UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
				Setup: func(env *testscript.Env) error { return setUpScript(env, settings) },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"customersync": func(ts *testscript.TestScript, _ bool, args []string) { runInScript(ts, exitOK, args) },
					"exits": func(ts *testscript.TestScript, _ bool, args []string) {
						code, err := strconv.Atoi(args[0])
						ts.Check(err)
						runInScript(ts, code, args[1:])
					},
					"daemon": func(ts *testscript.TestScript, _ bool, args []string) {
						d := startServe(t, append(append(slices.Clone(settings), "CUSTOMERSYNC_LOG_LEVEL=info"), args...)) // it says where it serves
						eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
						ts.Setenv("API", d.api)
						ts.Setenv("OPS", strings.TrimPrefix(d.ops, "http://"))
					},
					"shape": func(ts *testscript.TestScript, _ bool, _ []string) {
						text, err := shapeOf(ts.ReadFile("stdout"))
						ts.Check(err)
						ts.Check(os.WriteFile(ts.MkAbs("shape"), []byte(text), 0o600))
					},
				},
			})
		})
	}
}

// setUpScript puts the program in the way of a script's shell, and the settings into
// its environment.
func setUpScript(env *testscript.Env, settings []string) error {
	bin := filepath.Join(env.WorkDir, ".bin")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(bin, 0o700), os.Symlink(self, filepath.Join(bin, "customersync"))); err != nil {
		return err
	}
	env.Vars = append(env.Vars, asProgram+"=1", "PATH="+bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Vars = append(env.Vars, settings...)
	return nil
}

func runInScript(ts *testscript.TestScript, code int, args []string) {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), ts.Stdout(), ts.Stderr()
	cmd.Env = []string{asProgram + "=1"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	for _, s := range (settings{}).list() {
		for _, name := range []string{s.env, s.env + "_FILE"} {
			if value := ts.Getenv(name); value != "" {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		ts.Fatalf("customersync %s: exit code %d, expected %d", strings.Join(args, " "), got, code)
	}
}

// shapeOf tells the names and types in lines of JSON, a name a line, those of all
// lines together. A member that is now a text and now null is both.
func shapeOf(lines string) (string, error) {
	found := map[string]map[string]bool{}
	d := json.NewDecoder(strings.NewReader(lines))
	for d.More() {
		var line any
		if err := d.Decode(&line); err != nil {
			return "", fmt.Errorf("not JSON: %w: %s", err, lines)
		}
		shapes(found, "", line)
	}
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&b, "%s %s\n", path, strings.Join(slices.Sorted(maps.Keys(found[path])), "|"))
	}
	return b.String(), nil
}

func shapes(found map[string]map[string]bool, path string, value any) {
	kind := "null"
	switch value := value.(type) {
	case map[string]any:
		kind = "object"
		for name, one := range value {
			shapes(found, path+"."+name, one)
		}
	case []any:
		kind = "array"
		for _, one := range value {
			shapes(found, path+"[]", one)
		}
	case string:
		kind = "string"
	case float64:
		kind = "number"
	case bool:
		kind = "boolean"
	}
	if path == "" {
		return
	}
	if found[path] == nil {
		found[path] = map[string]bool{}
	}
	found[path][kind] = true
}

// leaves are all verbs that can be called.
func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("customersync"))
	must(t, err)
	return parser.Model.Leaves(false)
}

// The help of every verb: what it does, an example that would work, what may be
// said. The golden file has it all for whoever reviews a change of it.
func TestTheHelpOfEveryVerbTeaches(t *testing.T) {
	t.Parallel()
	var all bytes.Buffer
	whole, _, _ := strings.Cut(runProgram(t, nil, "--help").stdout, "\nSettings, each") // those have a page of their own
	all.WriteString(whole)
	verbs := map[string]bool{}
	for _, leaf := range leaves(t) {
		verb := pathOf(leaf)
		verbs[verb] = true
		got := runProgram(t, nil, append(strings.Fields(verb), "--help")...)
		own, rest, found := strings.Cut(got.stdout, "\nSettings, each")
		if got.code != exitOK || got.stderr != "" || !found || !strings.Contains(rest, "--auth0-domain") {
			t.Errorf("%s --help: %+v", verb, got)
		}
		fmt.Fprintf(&all, "\n==== %s\n%s", verb, own)
		if examples()[verb] == "" {
			t.Errorf("%s has no example", verb)
		}
		for example := range strings.SplitSeq(examples()[verb], "\n") {
			if !strings.Contains(own, "    "+example+"\n") {
				t.Errorf("the help of %s has no line %s", verb, example)
			}
			if err := parses(t, example); err != nil {
				t.Errorf("%s: %v", example, err)
			}
		}
	}
	for verb := range examples() {
		if !verbs[verb] {
			t.Errorf("an example of %s, which is not there", verb)
		}
	}
	const golden = "testdata/help.golden"
	if *update {
		must(t, os.WriteFile(golden, all.Bytes(), 0o600))
	}
	kept, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(kept), all.String()); diff != "" {
		t.Errorf("%s is another (-kept +now; go test ./cmd/customersync -run TestTheHelp -update):\n%s", golden, diff)
	}
}

// parses says what is wrong with a line for a shell that calls the program.
func parses(t *testing.T, line string) error {
	t.Helper()
	words, err := exec.CommandContext(t.Context(), "bash", "-c", `printf '%s\0' `+line).Output()
	must(t, err)
	parser, err := kong.New(&cli{}, kong.Name("customersync"), kong.Exit(func(int) {}))
	must(t, err)
	_, err = parser.Parse(strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")[1:])
	return err
}

// Verbs that print something have --json, but for those whose print is a file or a
// story.
func TestEveryVerbThatPrintsHasJSON(t *testing.T) {
	t.Parallel()
	without := []string{"serve", "demo", "sim", "completion", "customers export"}
	for _, leaf := range leaves(t) {
		if has := hasFlag(leaf, "--json"); has == slices.Contains(without, pathOf(leaf)) {
			t.Errorf("%s: --json: %t", pathOf(leaf), has)
		}
	}
}
