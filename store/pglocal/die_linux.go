package pglocal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// locale sorts by code point, and is there without any package.
const locale = "C.UTF-8"

// dieWithParent has the kernel stop the server (immediate shutdown) when the
// thread that started it is gone.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }

// serves reports whether a process is the Postgres server of a data directory.
func serves(pid int, data string) bool {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // gone is as good as empty
	args := strings.Split(string(line), "\x00")
	return len(args) > 2 && filepath.Base(args[0]) == "postgres" && args[1] == "-D" && args[2] == data
}
