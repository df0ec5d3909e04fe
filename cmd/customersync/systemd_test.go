package main

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ahiko-io/customersync/store/storetest"
)

// notified is the socket that systemd would read.
func notified(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the test is over
	return path, func() string {
		must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		b := make([]byte, 256)
		n, err := conn.Read(b)
		must(t, err)
		return string(b[:n])
	}
}

func TestSystemdIsToldOfTheStartLifeAndEnd(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	socket, next := notified(t)
	d := startServe(t, append(env, "DATABASE_URL="+storetest.DSN(t), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=200000"))
	for i, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Fatalf("message %d is %s, want %s", i, got, want)
		}
	}
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	for got := next(); got != "STOPPING=1"; got = next() {
		if got != "WATCHDOG=1" {
			t.Errorf("it said %s", got)
		}
	}
	<-d.ended
}

func TestADaemonThatListensEverywhereIsAskedOnLoopback(t *testing.T) {
	t.Parallel()
	for listens, asked := range map[string]string{
		":9090": "127.0.0.1:9090", "0.0.0.0:9090": "127.0.0.1:9090", "[::]:9090": "[::1]:9090",
		"127.0.0.1:9090": "127.0.0.1:9090", "10.1.2.3:9090": "10.1.2.3:9090", "ops.internal:9090": "ops.internal:9090",
	} {
		if got := onThisMachine(listens); got != asked {
			t.Errorf("%s is asked at %s, want %s", listens, got, asked)
		}
	}
}

func TestHealthIsTheExitCode(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	env = append(env, "DATABASE_URL="+storetest.DSN(t))
	d := startServe(t, env)
	at := "CUSTOMERSYNC_OPS_LISTEN=" + strings.Replace(strings.TrimPrefix(d.ops, "http://"), "127.0.0.1", "0.0.0.0", 1)
	eventually(t, "health", func() bool { return runProgram(t, append(env, at), "health").code == exitOK })
	if o := runProgram(t, append(env, at), "health", "--live"); o.code != exitOK {
		t.Errorf("--live: %d %s", o.code, o.stderr)
	}
	away, _ := net.Listen("tcp", "127.0.0.1:0")
	must(t, away.Close())
	if o := runProgram(t, append(env, "CUSTOMERSYNC_OPS_LISTEN="+away.Addr().String()), "health"); o.code != exitFailed {
		t.Errorf("where nobody listens: %d %s", o.code, o.stderr)
	}
	none := startServe(t, append(env, "DATABASE_URL=postgres://nobody@127.0.0.1:9/none?sslmode=disable"))
	at = "CUSTOMERSYNC_OPS_LISTEN=" + strings.TrimPrefix(none.ops, "http://")
	if o := runProgram(t, append(env, at), "health"); o.code != exitFailed || !strings.Contains(o.stderr, "database") {
		t.Errorf("without a database: %d %s", o.code, o.stderr)
	}
	if o := runProgram(t, append(env, at), "health", "--live"); o.code != exitOK {
		t.Errorf("it lives without a database: %d %s", o.code, o.stderr)
	}
}
