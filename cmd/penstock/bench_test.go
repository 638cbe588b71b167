package main

// Measuring, on the etcd at hand.

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

func TestBenchChecksWhatItMeasures(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"pipe", "--size", "64", "--groups", "2", "--members", "2", "--senders", "2", "--threads", "2"},
		{"topic", "--size", "64", "--partitions", "2", "--producers", "2", "--batch", "10", "--compressible"},
		{"actor", "--size", "64", "--groups", "2", "--members", "2", "--senders", "2", "--batch", "16"},
		{"actor", "--do", "tell", "--senders", "2"},
	} {
		out, _ := perform(t, cli.ExitDone, "", append([]string{"bench"}, append(args, "--duration", "200ms", "--warmup", "50ms", "--json")...)...)
		var r struct {
			Figures map[string]float64
			Check   struct{ Sent, Lost, Duplicates, Disordered uint64 }
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %q", err, out)
		}
		if r.Check.Sent == 0 || r.Figures["messages_per_s"] <= 0 || r.Check.Lost+r.Check.Duplicates+r.Check.Disordered > 0 {
			t.Errorf("%v: %s", args, out)
		}
	}
	if out, _ := perform(t, cli.ExitDone, "", "topic", "ls"); strings.Contains(out, "bench-") {
		t.Errorf("bench left its topic:\n%s", out)
	}
}

func TestBenchAtARate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pipe.hlog")
	out, _ := perform(t, cli.ExitDone, "", "bench", "pipe", "--rate", "1000", "--duration", "200ms", "--warmup", "0s", "--hdr", file)
	for _, part := range []string{"handled ", "accepted ", "p99.9 ", "sent ", "200"} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	if log, err := os.ReadFile(file); err != nil || !strings.Contains(string(log), "Tag=handled,") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestBenchUsedWrongly(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"bench", "pipe", "--size", "3"},
		{"bench", "pipe", "--mode", "twice"},
		{"bench", "pipe", "--hdr", "x"},
		{"bench", "topic", "--partitions", "0"},
		{"bench", "topic", "--put", "sideways"},
		{"bench", "actor", "--do", "sing"},
		{"bench", "actor", "--do", "tell", "--rate", "10"},
		{"bench", "sender", "--wait", "0s"},
		{"bench", "member", "--groups", "0"},
		{"bench", "nothing"},
	} {
		perform(t, cli.ExitUsage, "", args...)
	}
}
