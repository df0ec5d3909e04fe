package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/store/storetest"
)

// Every block of the quick start is pasted into one shell, as a newcomer does. What
// is the newcomer's own is put in: here a simulated tenant, a database, free ports.
func TestTheQuickStartWorksAsItIsPasted(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/quick-start.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 8 {
		t.Fatalf("%d blocks", len(blocks))
	}
	var script strings.Builder
	script.WriteString("set -eo pipefail\n")
	for _, block := range blocks {
		script.WriteString(block[1] + "echo; echo =====\n")
	}
	script.WriteString("kill $SERVE_PID && wait $SERVE_PID\n")

	_, env := tenant(t)
	theirs := strings.TrimPrefix(env[0], "AUTH0_BASE_URL=")
	work, err := os.MkdirTemp("", "quick-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	must(t, errors.Join(os.Chmod(work, 0o711), os.Mkdir(filepath.Join(work, "bin"), 0o755)))
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(work, "bin", "customersync")))
	text := script.String()
	for _, own := range [][2]string{
		{"make build\n", ""}, // it is, as this test
		{"/tmp/customersync-quick-start", filepath.Join(work, "data")},
		{"127.0.0.1:4000", freePort(t)}, {"http://127.0.0.1:8080", "http://$CUSTOMERSYNC_LISTEN"},
		{"AUTH0_DOMAIN=acme.eu.auth0.com AUTH0_AUDIENCE=https://api.acme.example", "AUTH0_BASE_URL=" + theirs + " AUTH0_AUDIENCE=https://api.acme.example"},
		{"YOUR_CLIENT_ID", "sim-client"}, {"YOUR_CLIENT_SECRET", "sim-secret"},
		{"postgres://customersync:PASSWORD@db.acme.example/customersync?sslmode=verify-full", storetest.DSN(t)},
		{"https://acme.eu.auth0.com/oauth/token -d grant_type=client_credentials -d client_id=SHOP_CLIENT_ID -d client_secret=SHOP_CLIENT_SECRET -d audience=https://api.acme.example",
			theirs + `/_sim/token -d '{"client_id":"shop","audience":"https://api.acme.example","permissions":["create:customers"]}'`},
	} {
		if !strings.Contains(text, own[0]) {
			t.Errorf("the page has no %q", own[0])
		}
		text = strings.ReplaceAll(text, own[0], own[1])
	}

	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = work
	cmd.Env = []string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR"),
		"CUSTOMERSYNC_LISTEN=" + freePort(t), "CUSTOMERSYNC_OPS_LISTEN=" + freePort(t), "CUSTOMERSYNC_STOP_DELAY=0s", "CUSTOMERSYNC_PGBOUNCER=" + strconv.FormatBool(storetest.PgBouncer()),
	}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	said := strings.Split(string(output), "=====\n")
	if len(said) != len(blocks)+1 {
		t.Fatalf("%d blocks ended:\n%s", len(said)-1, output)
	}
	for block, wants := range map[int][]string{
		2: {`{"success":true,"customer_id":"`, "auth_pending, "},
		3: {`"user_id":"google-oauth2|`, `"customer_lifecycle":"active"`, "auth_pending → active", "active 1"},
		5: {"ok    credentials", "ok    database"},
		6: {`{"success":true,"customer_id":"`},
		7: {"to be created    Event Stream"},
	} {
		for _, want := range wants {
			if !strings.Contains(said[block], want) {
				t.Errorf("block %d says no %q:\n%s", block+1, want, said[block])
			}
		}
	}
}

// freePort is an address where nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
