package main

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStreamKeepsEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log, err := open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := log.Consume(ctx); err == nil {
		t.Error("consumed before anything was put")
	}
	for _, size := range []int{64, 64, 1 << 10} {
		if took, err := log.Put(ctx, size, 3000); err != nil || took.Count != 3000 || took.Seconds <= 0 {
			t.Fatalf("put %d bytes: %+v, %v", size, took, err)
		}
		for range 2 {
			if took, err := log.Consume(ctx); err != nil || took.Count != 3000 || took.Seconds <= 0 {
				t.Fatalf("consume %d bytes: %+v, %v", size, took, err)
			}
		}
	}
}
