//go:build unix && !linux

package carrier

import "net"

// peerOf is not known here.
func peerOf(*net.UnixConn) net.Addr { return processAddr("local process") }
