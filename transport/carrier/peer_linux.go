package carrier

// Who is at the other end of a unix socket, on Linux.

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf names the process that has dialled.
func peerOf(c *net.UnixConn) net.Addr {
	at := processAddr("unknown process")
	raw, err := c.SyscallConn()
	if err != nil {
		return at
	}
	_ = raw.Control(func(fd uintptr) {
		if who, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			at = processAddr(fmt.Sprintf("process %d of user %d", who.Pid, who.Uid))
		}
	})
	return at
}
