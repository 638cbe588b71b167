package main

// Schedules, from the shell.

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/schedules"
)

// Promise: a schedule can be made, shown, changed, run, paused, resumed and removed, and what is
// wrong with it is said with the code for wrong use.
func TestSchedules(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	add := []string{"schedule", "add", "nightly", "audit", "30 2 * * *", "--time-zone", "Europe/Berlin", "--value", "report", "--header", "a=b", "--key", "k"}
	out, _ := perform(t, cli.ExitDone, "", add...)
	if !strings.HasPrefix(out, "next 20") {
		t.Errorf("add printed %q", out)
	}
	show := func() (s schedules.Schedule) {
		t.Helper()
		out, _ := perform(t, cli.ExitDone, "", "schedule", "show", "nightly", "--json")
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return s
	}
	first := show()
	if first.Topic != "audit" || first.TimeZone != "Europe/Berlin" || first.Missed != "latest" || first.Next == nil || *first.Record.Value != "report" || *first.Record.Key != "k" || len(first.Record.Headers) != 1 {
		t.Errorf("it is %+v", first)
	}
	perform(t, cli.ExitDone, "", add...)
	if again := show(); !again.Changed.Equal(first.Changed) {
		t.Errorf("adding it again changed it: %+v", again)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "run", "nightly"); out != "partition 0 offset 0\n" {
		t.Errorf("run printed %q", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "read", "audit", "--json", "--count", "1"); !strings.Contains(out, "penstock-schedule") || !strings.Contains(out, "report") {
		t.Errorf("the record is %s", out)
	}
	perform(t, cli.ExitDone, "", "schedule", "pause", "nightly")
	if s := show(); !s.Paused || s.Next != nil {
		t.Errorf("paused, it is %+v", s)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "ls"); !strings.Contains(out, "nightly") || !strings.Contains(out, "paused") || !strings.Contains(out, "Europe/Berlin") {
		t.Errorf("ls printed %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "show", "nightly"); !strings.Contains(out, "30 2 * * *, Europe/Berlin") || !strings.Contains(out, "a=b") {
		t.Errorf("show printed %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "resume", "nightly", "--json"); !strings.Contains(out, `"paused": false`) {
		t.Errorf("resume printed %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "rm", "nightly", "--json"); !strings.Contains(out, `"removed": "nightly"`) {
		t.Errorf("rm printed %s", out)
	}
	if out, _ := perform(t, cli.ExitDone, "", "schedule", "ls", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("ls printed %s", out)
	}
	perform(t, cli.ExitFailed, "", "schedule", "rm", "nightly")
	perform(t, cli.ExitFailed, "", "schedule", "add", "nightly", "nowhere", "@daily")
	if _, errs := perform(t, cli.ExitUsage, "", "schedule", "add", "nightly", "audit", "61 * * * *", "--time-zone", "Mars/Olympus"); !strings.Contains(errs, "minute") || !strings.Contains(errs, "Mars/Olympus") {
		t.Errorf("add says %s", errs)
	}
	for _, wrong := range [][]string{
		{"schedule", "add", "a/b", "audit", "@daily"}, {"schedule", "show", "a/b"}, {"schedule", "add", "a", "audit"},
		{"schedule", "add", "a", "audit", "@daily", "--missed", "some"}, {"schedule", "add", "a", "audit", "@daily", "--header", "x"},
	} {
		perform(t, cli.ExitUsage, "", wrong...)
	}
}
