package node

import (
	"errors"
	"strings"
	"testing"
)

// A machine is known by what its kernel says, and by nothing else.
func TestMachine(t *testing.T) {
	a, b := machineOf([]byte("0d9ee5a4-1f1e-4c4c-9d77-5e9a3f2f4b1a\n"), nil), machineOf([]byte("1d9ee5a4-1f1e-4c4c-9d77-5e9a3f2f4b1a\n"), nil)
	if len(a) != 32 || a == b || strings.Contains("0d9ee5a4-1f1e-4c4c-9d77-5e9a3f2f4b1a", a) {
		t.Errorf("machines are %q and %q", a, b)
	}
	if machineOf(nil, nil) != "" || machineOf([]byte("0d9ee5a4-1f1e-4c4c-9d77-5e9a3f2f4b1a"), errors.New("no")) != "" {
		t.Error("a system that does not say is a machine")
	}
	process, machine := Process(), Machine()
	if process == "" || Process() != process || Machine() != machine {
		t.Error("a process is not itself")
	}
}
