package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/beside"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) {
	beside.Main()
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the ends, which are many
	goleak.VerifyTestMain(m)
}

func TestRunStoresWhatItMeasured(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := settings{Settings: beside.Settings{Only: "pipe.request"}, seconds: 0.1, out: t.TempDir()}
	if err := run(ctx, s); err != nil {
		t.Fatal(err)
	}
	stored, err := filepath.Glob(filepath.Join(s.out, "*.json"))
	if err != nil || len(stored) != 1 {
		t.Fatalf("stored %v, %v", stored, err)
	}
	f, err := results.Open(stored[0])
	if err != nil || len(f.Comparisons) != 1 || f.Comparisons[0].Took.Theirs.Count() == 0 || f.Comparisons[0].Placement == "" || f.Peers["mangos-request"] == "" || f.Machine.Cores == 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestJudge(t *testing.T) {
	good := results.Comparison{Ours: []float64{2}, Theirs: []float64{1}, Target: 1.5}
	bad, absent, untargeted := good, good, good
	bad.Target, absent.Theirs, untargeted.Target = 3, nil, 0
	if err := judge([]results.Comparison{good, untargeted}); err != nil {
		t.Errorf("a target that is met, and none: %v", err)
	}
	for _, c := range []results.Comparison{bad, absent} {
		if err := judge([]results.Comparison{good, c}); !errors.Is(err, errMissed) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
