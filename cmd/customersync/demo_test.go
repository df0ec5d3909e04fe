package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The demo, as a newcomer meets it: the story, the lines to try, Ctrl-C, nothing
// left behind. README.md shows the same screen.
func TestTheDemoIsWhatTheReadmeShows(t *testing.T) {
	t.Parallel()
	temp, err := os.MkdirTemp("", "t-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	must(t, os.Chmod(temp, 0o711))
	envFile := filepath.Join(t.TempDir(), "env")
	cmd := program(context.Background(), []string{"TMPDIR=" + temp}, "demo", "--fast", "--env-file", envFile)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var screen []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		screen = append(screen, lines.Text())
		if lines.Text() == "Ctrl-C ends it." {
			break
		}
	}
	story, _, found := strings.Cut(strings.Join(screen, "\n"), "\nAll four are in step.")
	if !found {
		t.Fatalf("the story was not told:\n%s", strings.Join(screen, "\n"))
	}
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	_, shown, _ := strings.Cut(string(readme), "<!-- demo -->\n```\n")
	shown, _, _ = strings.Cut(shown, "\n```")
	if plain(shown) != plain(strings.TrimRight(story, "\n")) {
		t.Errorf("README.md shows\n%s\nthe demo says\n%s", plain(shown), plain(story))
	}
	checkEnvFile(t, envFile)
	checkCurlLines(t, screen)

	must(t, cmd.Process.Signal(syscall.SIGINT))
	must(t, cmd.Wait())
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// plain is a screen without what differs from run to run.
func plain(screen string) string {
	for _, change := range [][2]string{
		{`(?m)^ *[0-9.]+s  `, ""}, {`127\.0\.0\.1:[0-9]+`, "ADDRESS"}, {`[0-9a-f]{24}`, "ID"}, {`after [0-9.]+m?s`, "after TIME"},
	} {
		screen = regexp.MustCompile(change[0]).ReplaceAllString(screen, change[1])
	}
	return strings.TrimSpace(screen)
}

func checkEnvFile(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	var keys []string
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if value == "" || strings.ContainsAny(value, " &;'\"$`") {
			t.Errorf("%s is empty or not fit for a shell", key)
		}
		keys = append(keys, key)
	}
	if got := strings.Join(keys, " "); got != "API OPS SIM DATABASE_URL APP_ID MACHINE_TOKEN USER_TOKEN ACTION_SECRET EVENT_STREAM_TOKEN" {
		t.Errorf("keys %s", got)
	}
}

// checkCurlLines runs what the demo prints, as printed.
func checkCurlLines(t *testing.T, screen []string) {
	t.Helper()
	var script []string
	for _, line := range screen {
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, "curl ") {
			script = append(script, line)
		}
	}
	output, err := exec.CommandContext(t.Context(), "bash", "-ec", strings.Join(script, "\necho\n")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	answers := string(output)
	if n := strings.Count(answers, `{"success":true`); n != 5 {
		t.Errorf("%d answers of 5 say success:\n%s", n, answers)
	}
	for _, want := range []string{`"first_name":"Ada"`, `"first_name":"Grace"`, `"user_id":"google-oauth2|`, `"first_name":"Joan"`, `"database":"ok"`} {
		if !strings.Contains(answers, want) {
			t.Errorf("no %s in:\n%s", want, answers)
		}
	}
}

func TestThePageOfSettingsIsTheirs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/configuration.md")
	must(t, err)
	if !strings.Contains(string(page), "<!-- settings -->\n"+(settings{}).markdown()+"<!-- /settings -->") {
		t.Error("deploy/docs/configuration.md: the table is not that of customersync config list --markdown: make docs")
	}
}
