package topics_test

// Many records of one partition in slow handlers at once.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: 64 handlers of 10 ms are kept busy by one partition, and records of a key come in order.
// On an idle machine that is some 6,000 records a second. What is asserted is the share of the time in which
// handlers ran, so that a busy machine, on which they take longer, changes nothing.
func TestSlowHandlersOfOnePartition(t *testing.T) {
	t.Parallel()
	const records, names, handlers = 12_000, 3000, 64
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	for from := 0; from < records; from += 1000 {
		batch := make([]penstock.Message, 1000)
		for i := range batch {
			batch[i] = harness.Numbered(from + i)
			batch[i].Key = fmt.Append(nil, (from+i)%names)
		}
		if results, err := topic.PutBatch(harness.Context(t), batch); err != nil {
			t.Fatal(results, err)
		}
	}
	sub := subscribe(t, topic, theGroup, penstock.Concurrency(handlers))
	ctx, cancel := context.WithCancel(harness.Context(t))
	defer cancel()
	var mu sync.Mutex
	last := make(map[int]int, names)
	var ran, done atomic.Int64
	var began time.Time
	err := sub.Consume(ctx, func(_ context.Context, r penstock.Record) error {
		at, n := time.Now(), recordNumber(r)
		mu.Lock()
		if began.IsZero() {
			began = at
		}
		if before, ok := last[n%names]; ok && before != n-names || !ok && n >= names {
			t.Errorf("record %d comes behind %d of its key", n, before)
		}
		last[n%names] = n
		mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		ran.Add(int64(time.Since(at)))
		if done.Add(1) == records {
			cancel()
		}
		return nil
	})
	took := time.Since(began)
	if done.Load() != records {
		t.Fatalf("%d of %d records: %v", done.Load(), records, err)
	}
	busy := float64(ran.Load()) / float64(took) / handlers
	t.Logf("%.0f records/s, %.2f of the handlers' time", records/took.Seconds(), busy)
	if busy < 0.5 {
		t.Errorf("handlers ran %.2f of the time", busy)
	}
}
