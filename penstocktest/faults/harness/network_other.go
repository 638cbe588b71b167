//go:build !linux

package harness

// ownNetworkBegins is for Linux.
func ownNetworkBegins() {}
