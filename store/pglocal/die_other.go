//go:build !linux

package pglocal

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// locale sorts by code point. macOS knows no C.UTF-8, and Postgres does not start
// there under a locale that the system does not know.
const locale = "C"

// dieWithParent does nothing: only Linux can tie a child's life to ours. The next
// start stops a server that outlived a killed process.
func dieWithParent(*syscall.SysProcAttr) {}

// serves reports whether a process is the Postgres server of a data directory.
func serves(pid int, data string) bool {
	line, _ := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec,noctx // a number
	return strings.Contains(string(line), "postgres -D "+data+" ")
}
