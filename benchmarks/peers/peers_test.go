package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

func TestMain(m *testing.M) {
	side.Main(peers)
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the ends, which are many
	goleak.VerifyTestMain(m)
}

// Each peer carries everything, whichever way it is sent; its ends check that.
func TestPeersCarryEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const short = 20 * time.Millisecond
	pipe := []side.Run{
		{Way: side.Paced, Size: 64, Rate: 10000, For: short}, {Way: side.Lone, Size: 64, For: short},
		{Way: side.Flat, Size: 64, For: short}, {Way: side.Flat, Size: 64 << 10, For: short}, {Way: side.Flat, Size: 1 << 20, For: short},
	}
	log := []side.Run{
		{Way: side.Paced, Size: 64, Rate: 1000, For: short}, {Way: side.Lone, Size: 64, For: short},
		{Way: side.Batch, Size: 64, Batch: 100, For: short, Later: true},
		{Way: side.Flat, Size: 64, For: short, Later: true}, {Way: side.Flat, Size: 16 << 10, For: short, Later: true},
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range peers {
		t.Run(name, func(t *testing.T) {
			at, runs := side.Place{Size: 1 << 20}, pipe
			switch {
			case peers[name].Put != nil:
				at, runs = side.Place{Partitions: 1}, log
			case peers[name].Perform != nil:
				runs = pipe[2:3]
			case name == "nats":
				at.Groups = 3
			}
			s, err := side.Start(ctx, self, name, at, t.Output())
			if errors.Is(err, side.ErrMissing) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range runs {
				out, err := s.Run(ctx, run)
				if err != nil || out.Count == 0 || out.PerSec <= 0 {
					t.Fatalf("%+v: %+v, %v", run, out, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
