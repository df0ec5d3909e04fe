package pgbouncer

import "syscall"

// dieWithParent has the kernel end the process when the thread that started it is
// gone.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
