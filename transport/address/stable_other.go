//go:build !linux

package address

import "syscall"

// stable leaves the choice to the system.
func stable(string, string, syscall.RawConn) error { return nil }
