package penstock_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: pipes and topics carry a tombstone to whoever receives it; one that has a value
// or no key, and in a compacted topic whatever has no key, is ErrInvalid, however it is put.
func TestTombstones(t *testing.T) {
	t.Parallel()
	ctx := harness.Context(t)
	rt := harness.Runtime(t, penstocktest.Space(t))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	gone := penstock.Message{Key: []byte("k"), Tombstone: true}
	check(orders.Send(ctx, gone))
	ds, err := billing.Poll(ctx, 1)
	check(err)
	if d := ds[0]; !d.Tombstone() || string(d.Key) != "k" || !d.Message().Tombstone || !d.Clone().Tombstone() {
		t.Errorf("the pipe delivered %+v", d.Message())
	}
	ds[0].Ack()

	prices, err := rt.CreateTopic(ctx, "prices", penstock.TopicConfig{})
	check(err)
	_, _, err = prices.Put(ctx, penstock.Message{Value: []byte("of before")})
	check(err)
	info, err := rt.UpdateTopic(ctx, "prices", penstock.TopicUpdate{Compaction: penstock.CompactByKey, TombstoneGrace: time.Hour})
	check(err)
	if c := info.Config; c.Compaction != penstock.CompactByKey || c.TombstoneGrace != time.Hour || c.CompactionLag != penstock.DefaultCompactionLag {
		t.Errorf("the topic has %+v", c)
	}
	harness.Eventually(t, "the update", func() bool { return prices.Info().Config.Compaction == penstock.CompactByKey })
	_, _, err = prices.Put(ctx, gone)
	check(err)
	bad := []penstock.Message{{Value: []byte("no key")}, {Tombstone: true}, {Key: []byte("k"), Value: []byte("v"), Tombstone: true}}
	for _, m := range bad {
		_, _, err := prices.Put(ctx, m)
		_, of := prices.PutTo(ctx, 0, m)
		_, _, at := prices.PutIf(ctx, penstock.ExpectEnd(2), m)
		tx := rt.Transact(ctx, func(tx *penstock.Tx) error { tx.Put(prices, m); return nil })
		all, _ := prices.PutBatch(ctx, []penstock.Message{m})
		for how, err := range map[string]error{"put": err, "put to": of, "put if": at, "transact": tx, "put batch": all[0].Err, "async": prices.PutAsync(ctx, m, nil)} {
			if !errors.Is(err, penstock.ErrInvalid) {
				t.Errorf("%s of %+v: %v", how, m, err)
			}
		}
		if !m.Tombstone {
			continue
		}
		if err := orders.Send(ctx, m); !errors.Is(err, penstock.ErrInvalid) {
			t.Errorf("send of %+v: %v", m, err)
		}
	}
	var tombstones []bool
	for r, err := range prices.ReadTo(ctx, 0, penstock.FromEarliest(), 2) {
		check(err)
		tombstones = append(tombstones, r.Tombstone())
	}
	if !slices.Equal(tombstones, []bool{false, true}) {
		t.Errorf("the topic has tombstones %v", tombstones)
	}
	_, err = mustTopic(t, rt, "audit").Subscribe(ctx, "export", penstock.DeadLetterTopic("prices", 3))
	if !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("dead letters into a compacted topic: %v", err)
	}
}

func mustTopic(t *testing.T, rt *penstock.Runtime, name string) *penstock.Topic {
	t.Helper()
	topic, err := rt.EnsureTopic(harness.Context(t), name, penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}
