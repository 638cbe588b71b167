package main

// Both demos, run to their end.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/demo"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	out, errs := perform(t, cli.ExitDone, "", "demo", "--json")
	var res demo.Result
	if err := json.Unmarshal([]byte(lastLine(out)), &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if res.Sent != 20_000 || res.Lost() != 0 || len(res.Groups) != 2 || res.Killed == nil || res.Killed.Member != "billing/2" {
		t.Errorf("it ends with %s", out)
	}
	for name, g := range res.Groups {
		if g.Distinct != res.Sent || g.Delivered-g.Distinct != g.Duplicates || g.PerSecond <= 0 {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if audit := res.Groups["audit"]; audit.Duplicates != 0 {
		t.Errorf("nobody of audit died, and it has %d duplicates", audit.Duplicates)
	}
	if !strings.Contains(errs, "killed member billing/2 (pid ") {
		t.Errorf("says %q", errs)
	}
}

func TestDemoOfAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte("one line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := perform(t, cli.ExitDone, "", "demo", file, "--messages", "100")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "killed member billing/2 (pid ") ||
		!strings.HasPrefix(lines[1], "billing  delivered ") || !strings.HasPrefix(lines[2], "audit    delivered 100  distinct 100  duplicates 0  lost 0") {
		t.Errorf("printed %s", out)
	}
	perform(t, cli.ExitFailed, "", "demo", file+".not")
	perform(t, cli.ExitUsage, "", "demo", "--messages", "0")
}

func TestDemoOfTopics(t *testing.T) {
	t.Parallel()
	out, errs := perform(t, cli.ExitDone, "", "demo", "--topics", "--json")
	var res demo.TopicResult
	if err := json.Unmarshal([]byte(lastLine(out)), &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if res.Put != 20_000 || res.Verdict(20_000) != nil || res.Distinct != res.Put || res.Killed.Member != "readers/2" || res.PerSecond <= 0 {
		t.Errorf("it ends with %s", out)
	}
	for _, part := range []string{"member readers/3 joined", "member readers/1 leaves", "killed member readers/2 (pid "} {
		if !strings.Contains(errs, part) {
			t.Errorf("%q lacks %q", errs, part)
		}
	}
}

func TestDemoOfTopicsWithAFile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/text"
	if err := os.WriteFile(file, []byte("one line\nand two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := perform(t, cli.ExitDone, "", "demo", "--topics", file, "--messages", "100")
	if last := lastLine(out); !strings.HasPrefix(last, "readers  put 100  stored 100  handled ") || !strings.Contains(last, "lost 0") {
		t.Errorf("printed %s", out)
	}
}
