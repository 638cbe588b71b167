package bench

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// steady is a log of a fixed speed that takes no time.
type steady struct {
	rate  float64
	calls []string
	count uint64
	err   error
}

func (l *steady) Put(_ context.Context, _ int, count uint64) (load.Timing, error) {
	l.calls, l.count = append(l.calls, "put"), count
	return load.Timing{Count: count, Seconds: float64(count) / l.rate}, l.err
}

func (l *steady) Consume(context.Context) (load.Timing, error) {
	l.calls = append(l.calls, "consume")
	return load.Timing{Count: l.count, Seconds: float64(l.count) / l.rate}, l.err
}

func (l *steady) Close() error { return nil }

func TestLogRates(t *testing.T) {
	plan := Plan{Budget: 8 * time.Second, Pairs: 3, Runs: io.Discard}
	for name, compare := range map[string]func(context.Context, string, int, LogSide, LogSide, Plan) (Result, error){"put": PutRates, "consume": ConsumeRates} {
		ours, peer := &steady{rate: 3e6}, &steady{rate: 150e3}
		r, err := compare(t.Context(), "id", 64, LogSide{"ours", ours}, LogSide{"peer", peer}, plan)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Ratio(); got < 19.99 || got > 20.01 {
			t.Errorf("%s: ratio %g", name, got)
		}
		// A second each, as long as the budget has for a run.
		if ours.count != 3e6 || peer.count != 150e3 {
			t.Errorf("%s: runs of %d and %d records", name, ours.count, peer.count)
		}
		// What is consumed was put once, and read in each run.
		tail := ours.calls[len(ours.calls)-4:]
		if want := map[string]string{"put": "put put put put", "consume": "consume consume consume consume"}[name]; strings.Join(tail, " ") != want {
			t.Errorf("%s: it ended with %v", name, ours.calls)
		}
		r, err = compare(t.Context(), "id", 64, LogSide{"ours", ours}, LogSide{Name: "peer"}, plan)
		if err != nil || r.Peer != 0 || r.Ours == 0 {
			t.Errorf("%s: without a peer: %+v, %v", name, r, err)
		}
		fault := errors.New("fault")
		if _, err = compare(t.Context(), "id", 64, LogSide{"ours", ours}, LogSide{"peer", &steady{rate: 1, err: fault}}, plan); !errors.Is(err, fault) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err = compare(t.Context(), "id", 64, LogSide{}, LogSide{}, plan); err == nil {
			t.Errorf("%s: nothing is compared with nothing", name)
		}
	}
}

func TestTopicsKeepEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	topics, err := NewTopics(ctx, nil, embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := topics.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if _, err := topics.Consume(ctx); err == nil {
		t.Error("consumed before anything was put")
	}
	for size, count := range map[int]uint64{64: 20_000, 1 << 10: 2_000} { // more than a batch
		if took, err := topics.Put(ctx, size, count); err != nil || took.Count != count || took.Rate() <= 0 {
			t.Fatalf("put %d bytes: %+v, %v", size, took, err)
		}
		for range 2 {
			if took, err := topics.Consume(ctx); err != nil || took.Count != count || took.Rate() <= 0 {
				t.Fatalf("consume %d bytes: %+v, %v", size, took, err)
			}
		}
	}
	for name, lone := range map[string]func(context.Context, string, int, time.Duration) (Result, error){"put": topics.LonePuts, "end to end": topics.EndToEnd} {
		r, err := lone(ctx, "id", 64, 50*time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Peer <= 0 || r.Ours < 0 || r.Unit != "us" {
			t.Errorf("%s: %v", name, r)
		}
	}
}
