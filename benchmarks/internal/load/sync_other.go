//go:build !linux

package load

// Sync does nothing here.
func Sync() {}
