package main

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQueueGroupCarriesEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to := bench.NewReceiver()
	link, err := queueGroupOver(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64, 64 << 10} {
		if _, err := bench.Rate(ctx, link, to, load.NewBodies(size), 5000); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if err := link.Close(); err != nil {
		t.Error(err)
	}
}
