package cli

import "testing"

func TestCleanKeepsATerminalSafe(t *testing.T) {
	if got := Clean("a\x1b[2Jb\nc é"); got != "a�[2Jb�c é" {
		t.Errorf("%q", got)
	}
}
