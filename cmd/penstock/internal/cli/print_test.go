package cli

import "testing"

func TestCleanKeepsATerminalSafe(t *testing.T) {
	if got := Clean("a\x1b[2Jb\nc é\u00a0d"); got != "a�[2Jb�c é d" {
		t.Errorf("%q", got)
	}
}
