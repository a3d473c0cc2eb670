//go:build !linux

package stack

import "syscall"

// dieWithParent puts a child into a process group of its own. Only Linux can end it with this
// binary; elsewhere a server outlives a test binary that is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
