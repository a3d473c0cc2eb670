package stack

import "syscall"

// dieWithParent puts a child into a process group of its own and has the kernel kill it when
// this binary ends, however it ends.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
