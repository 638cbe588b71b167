package socket

// What the kernel holds for the peer, on Linux.

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes the kernel holds that the peer has not taken, or
// unknownUnsent.
func unsent(c net.Conn) int {
	s, ok := c.(syscall.Conn)
	if !ok {
		return unknownUnsent
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return unknownUnsent
	}
	n := unknownUnsent
	err = raw.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	if err != nil {
		return unknownUnsent
	}
	return n
}
