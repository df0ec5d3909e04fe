//go:build !linux

package pglocal

import (
	"os/exec"
	"strconv"
	"syscall"
)

// dieWithParent does nothing: only Linux can tie a child's life to ours. A
// server that outlives a killed process is found by its socket and used again.
func dieWithParent(*syscall.SysProcAttr) {}

// commandLine is how a process was started; "" if there is none.
func commandLine(pid int) string {
	line, _ := exec.Command("ps", "-o", "args=", "-p", strconv.Itoa(pid)).Output() //nolint:gosec,noctx // a number
	return string(line)
}
