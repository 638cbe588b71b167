//go:build !linux

package socket

import "net"

// unsent is unknown here.
func unsent(net.Conn) int { return unknownUnsent }
