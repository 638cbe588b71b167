package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// More is better for speeds, less for latencies.
func TestTargets(t *testing.T) {
	for _, c := range comparisons {
		above := bench.Result{Ours: c.target * 1.01, Peer: 1}
		below := bench.Result{Ours: c.target * 0.99, Peer: 1}
		if c.met(above) == c.lone || c.met(below) != c.lone {
			t.Errorf("%s: %g is met %t, %g is met %t", c.id, above.Ratio(), c.met(above), below.Ratio(), c.met(below))
		}
		if want := map[bool]string{true: "≤", false: "≥"}[c.lone]; !strings.HasPrefix(c.aim(), want) {
			t.Errorf("%s: the table says %s", c.id, c.aim())
		}
	}
}

func TestResultLine(t *testing.T) {
	got := bench.Result{ID: "pipe.tcp.64B.vs.mangos", Ours: 5e6, Peer: 250e3, Unit: "msg/s"}.String()
	if want := "RATIO pipe.tcp.64B.vs.mangos 20.000 ours=5e+06 peer=2.5e+05 unit=msg/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
