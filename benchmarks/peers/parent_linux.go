package main

import (
	"os/exec"
	"syscall"
)

// endWithParent has a program end when this process does, however that ends.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
