package main

// Records that are delivered later, from the shell.

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Promise: what is put for later waits, though the command has ended; it is listed, described,
// named by an export, cancelled, and delivered by whoever reads.
func TestDelayedFromTheShell(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	perform(t, cli.ExitDone, "a\nb\n", "put", "audit", "--deliver-at", time.Now().Add(time.Hour).Format(time.RFC3339))
	perform(t, cli.ExitDone, "c\n", "put", "audit", "--deliver-after", "500ms")
	for _, args := range [][]string{
		{"--deliver-at", "soon"}, {"--deliver-after", "-1s"}, {"--deliver-at", "2027-01-01T00:00:00Z", "--deliver-after", "1s"},
	} {
		perform(t, cli.ExitUsage, "x\n", append([]string{"put", "audit"}, args...)...)
	}
	out, _ := perform(t, cli.ExitDone, "", "topic", "describe", "audit", "--json")
	if !strings.Contains(out, `"delayed": 3`) && !strings.Contains(out, `"delayed": 2`) || !strings.Contains(out, `"next_due"`) {
		t.Errorf("describe prints %s", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "read", "audit", "--follow", "--count", "1")
	if strings.TrimSpace(out) != "c" {
		t.Errorf("read prints %q", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "topic", "delayed", "ls", "audit", "--json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || !strings.Contains(lines[0], `"offset":0`) || !strings.Contains(lines[1], `"value":"b"`) {
		t.Errorf("ls prints %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "delayed", "ls", "audit"); strings.Count(out, "\n") != 3 {
		t.Errorf("ls prints %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "export", "audit", t.TempDir()+"/audit", "--json"); !strings.Contains(out, `"delayed": 2`) {
		t.Errorf("export prints %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "delayed", "cancel", "audit", "0:0-1", "--json"); !strings.Contains(out, `"cancelled": 2`) {
		t.Errorf("cancel prints %s", out)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "topic", "delayed", "cancel", "audit", "0:0"); !strings.Contains(errs, "no record waits there") {
		t.Errorf("cancelled twice: %s", errs)
	}
	perform(t, cli.ExitUsage, "", "topic", "delayed", "cancel", "audit", "first")
	if _, errs := perform(t, cli.ExitDone, "", "topic", "delayed", "ls", "audit"); !strings.Contains(errs, "nothing waits") {
		t.Errorf("ls says %q", errs)
	}
	perform(t, cli.ExitDone, "d\n", "put", "audit", "--deliver-after", "1h")
	perform(t, cli.ExitDone, "", "topic", "purge", "audit")
	if out, errs := perform(t, cli.ExitDone, "", "topic", "delayed", "ls", "audit"); !strings.Contains(errs, "nothing waits") {
		t.Errorf("after a purge ls prints %s, and says %q", out, errs)
	}
}
