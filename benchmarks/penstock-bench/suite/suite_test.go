package suite

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/part"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) {
	part.Main()
	goleak.VerifyTestMain(m)
}

func TestRunKeepsEachRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f, err := Run(ctx, Settings{Suite: Quick, Only: "pipe.size.64B", Each: 50 * time.Millisecond, Rounds: 2}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Runs) != 2 || f.Runs[1].Round != 2 || f.Runs[0].Check.Sent == 0 || f.Runs[0].Settings["size"] != "64" {
		t.Errorf("%+v", f.Runs)
	}
	if _, err := Run(ctx, Settings{Suite: Quick, Only: "nothing"}, io.Discard); err == nil {
		t.Error("a suite of nothing ran")
	}
}

// One run of a scenario of each series keeps its promise, briefly.
func TestSeries(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := openBed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.scale = 1
	seen := map[string]bool{}
	for _, s := range steps() {
		if seen[s.series] || !typical(s) {
			continue
		}
		seen[s.series] = s.series != "recovery"
		if r, err := s.run(ctx, b, 50*time.Millisecond); err != nil || r.Check.Sent == 0 {
			t.Errorf("%s: %v, %+v", s.id, err, r)
		}
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}

// typical reports whether a step stands for its series.
func typical(s step) bool {
	switch s.series {
	case "pipe.size":
		return s.id == pipeFull // a share needs it
	case "pipe.processes":
		return s.id == "pipe.processes.2"
	case "topic.etcd":
		return s.id == "topic.etcd.three"
	case "recovery":
		return s.id == "recovery.member" || s.id == "recovery.etcd"
	case "scale":
		return s.id == "scale.partitions"
	default:
		return true
	}
}

// A rate beyond one that was not kept to is left out.
func TestSweepEndsWhereItBreaks(t *testing.T) {
	var ran []float64
	all := sweep("x", []float64{1, 10, 100, 1000}, 0, func(_ string, rate float64, _ bool) step {
		return step{run: func(context.Context, *bed, time.Duration) (results.Run, error) {
			ran = append(ran, rate)
			return results.Run{Figures: map[results.Figure]float64{results.PerSecond: min(rate, 50)}}, nil
		}}
	})
	b := &bed{broken: map[string]float64{}}
	for round := range 2 {
		for i, s := range all {
			if _, err := s.run(t.Context(), b, 0); (err != nil) != (i == 3) || err != nil && !errors.Is(err, errBroken) {
				t.Errorf("round %d, step %d: %v", round, i, err)
			}
		}
	}
	if want := []float64{1, 10, 100, 1, 10, 100}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

// What takes its own time leaves the rest to the others.
func TestShare(t *testing.T) {
	chosen := []step{{}, {rounds: 1}, {takes: time.Second, rounds: 2}, {takes: time.Second}}
	if got := share(105*time.Second, 3, chosen); got != 25*time.Second-setup {
		t.Errorf("got %v", got)
	}
	if got := share(time.Second, 3, chosen); got != 200*time.Millisecond {
		t.Errorf("got %v without time", got)
	}
}

func TestIDsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range steps() {
		if seen[s.id] {
			t.Errorf("%s is there twice", s.id)
		}
		seen[s.id] = true
	}
}
