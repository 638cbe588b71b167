package main

import (
	"strings"
	"testing"
)

// A group that is kept forever is removed; one that is not there is an error.
func TestRm(t *testing.T) {
	perform(t, exitDone, "", "recv", "orders", "old", "--keep-for", "forever", "--idle", "50ms")
	if out, _ := perform(t, exitDone, "", "ls"); !strings.Contains(out, "group old") {
		t.Errorf("ls prints %q", out)
	}
	if out, errs := perform(t, exitDone, "", "rm", "orders", "old"); out != "" || !strings.Contains(errs, "removed group old of orders") {
		t.Errorf("rm prints %q and says %q", out, errs)
	}
	if out, _ := perform(t, exitDone, "", "ls"); out != "" {
		t.Errorf("ls prints %q", out)
	}
	if _, errs := perform(t, exitFailed, "", "rm", "orders", "old", "--json"); !strings.Contains(errs, "no such group") {
		t.Errorf("rm says %q", errs)
	}
	perform(t, exitUsage, "", "rm", "orders")
}
