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
	shares := 0.0
	for _, c := range comparisons {
		shares += c.share
		above, below := missed, met
		want := "≤"
		if strings.HasSuffix(c.id, ".vs.jetstream") || strings.HasPrefix(c.id, "pipe.tcp.") {
			above, below, want = met, missed, "≥"
		}
		if got := c.judge(bench.Result{Ours: c.target * 1.01, Peer: 1}); got != above {
			t.Errorf("%s: above its target it is %s", c.id, got)
		}
		if got := c.judge(bench.Result{Ours: c.target * 0.99, Peer: 1}); got != below {
			t.Errorf("%s: below its target it is %s", c.id, got)
		}
		if got := c.judge(bench.Result{Ours: c.target}); got != unavailable {
			t.Errorf("%s: without a peer it is %s", c.id, got)
		}
		if !strings.HasPrefix(c.aim(), want) {
			t.Errorf("%s: the table says %s", c.id, c.aim())
		}
		if !strings.HasSuffix(c.id, ".vs."+string(c.kind.peer())) && !strings.HasSuffix(c.id, ".vs."+string(c.kind.peer())+"put") {
			t.Errorf("%s is compared with %s", c.id, c.kind.peer())
		}
	}
	if shares < 0.99 || shares > 1.01 {
		t.Errorf("the shares of the budget are %g together", shares)
	}
}

func TestResultLine(t *testing.T) {
	for want, r := range map[string]bench.Result{
		"RATIO pipe.tcp.64B.vs.mangos 20.000 ours=5e+06 peer=2.5e+05 unit=msg/s":              {ID: "pipe.tcp.64B.vs.mangos", Ours: 5e6, Peer: 250e3, Unit: "msg/s"},
		"RATIO topic.put.64B.vs.jetstream unavailable ours=3e+06 peer=unavailable unit=msg/s": {ID: "topic.put.64B.vs.jetstream", Ours: 3e6, Unit: "msg/s"},
	} {
		if got := line(r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Without its module a comparison goes on without the peer, and says why.
func TestPeerThatDoesNotBuild(t *testing.T) {
	b := &bed{peers: t.TempDir()}
	defer b.forgetPeer()
	b.buildPeer(t.Context())
	if b.program != "" {
		t.Error("there is a program")
	}
	for _, c := range comparisons {
		if why := b.missing(c); (why != "") != (c.kind.peer() == jetstream) {
			t.Errorf("%s: %q", c.id, why)
		}
	}
}
