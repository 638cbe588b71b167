package address

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// preferPublic is IPV6_PREFER_SRC_PUBLIC of RFC 5014.
const preferPublic = 2

// stable has a socket of IPv6 leave from an address that stays, and not from one of those
// for privacy that the system replaces, each day for one. A system that does not know that
// chooses as it does.
func stable(network, _ string, c syscall.RawConn) error {
	if network == "udp6" {
		_ = c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
		})
	}
	return nil
}
