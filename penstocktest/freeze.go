//go:build unix

package penstocktest

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Processes that stand still.

// Freeze stops proc where it is, with SIGSTOP: it holds its connections, its
// kernel continues to take bytes, and nothing in it runs. resume, or the end of t,
// lets it continue; a second resume does nothing, nor does one of a process that
// is gone. Freeze returns when the signal is on its way, which is at once.
func Freeze(t testing.TB, proc *os.Process) (resume func()) {
	t.Helper()
	if err := proc.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal("penstocktest: freeze: ", err)
	}
	var once sync.Once
	resume = func() {
		once.Do(func() {
			if err := proc.Signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error("penstocktest: resume: ", err)
			}
		})
	}
	t.Cleanup(resume)
	return resume
}
