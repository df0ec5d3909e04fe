package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/ahiko-io/customersync/store/storetest"
)

// Load balancers must be told, and have time to act on it, before a request finds
// nobody there.
func TestADaemonThatStopsSaysSoWhileItStillServes(t *testing.T) {
	t.Parallel()
	_, env := tenant(t)
	d := startServe(t, append(env, "DATABASE_URL="+storetest.DSN(t), "CUSTOMERSYNC_FOLLOW=off", "CUSTOMERSYNC_STOP_DELAY=1h"))
	eventually(t, "readiness", func() bool { status, _ := get(t, d.ops+"/readyz"); return status == 200 })
	must(t, d.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "no readiness", func() bool {
		status, body := get(t, d.ops+"/readyz")
		return status == 503 && strings.Contains(body, `"serving":"stopping"`)
	})
	if status, _ := get(t, d.api+"/openapi.yaml"); status != 200 {
		t.Errorf("the API answers %d", status)
	}
}
