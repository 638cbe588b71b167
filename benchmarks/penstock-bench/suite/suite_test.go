package suite

import (
	"context"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	seen := map[string]bool{}
	for _, s := range steps() {
		if seen[s.series] {
			continue
		}
		seen[s.series] = s.series != "pipe.size" || s.id == pipeFull // a share needs it
		if r, err := s.run(ctx, b, 50*time.Millisecond); err != nil || r.Check.Sent == 0 {
			t.Errorf("%s: %v, %+v", s.id, err, r)
		}
	}
	if err := b.close(); err != nil {
		t.Error(err)
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
