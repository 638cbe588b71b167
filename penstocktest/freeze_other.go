//go:build !unix

package penstocktest

import (
	"os"
	"testing"
)

// Freeze skips t: this system has no signal that stops a process.
func Freeze(t testing.TB, _ *os.Process) (resume func()) {
	t.Helper()
	t.Skip("penstocktest: a process cannot be frozen on this system")
	return func() {}
}
