package pglocal

import (
	"fmt"
	"os"
	"syscall"
)

// dieWithParent has the kernel stop the server (immediate shutdown) when the
// thread that started it is gone.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// commandLine is how a process was started; "" if there is none.
func commandLine(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone is as good as empty
	return string(line)
}
