package lending_test

// What a group makes of a partition whose owners have ended twice without progress: its
// records may be why, and are lent one at a time.

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
)

// doubted is a crew whose owners of partition 0 have lost it twice with records in hand.
type doubted struct {
	*crew
	went chan struct{} // closed when handlers may finish records of partition 0
}

// newDoubted puts records into partition 0 of some, has members take them, which handle
// whatever comes later by handle, and takes the partition from two owners in a row.
func newDoubted(t *testing.T, partitions, members, records int, handle func(messages.Record)) doubted {
	t.Helper()
	d := doubted{&crew{space: enginetest.NewSpace(t), did: make(map[int64][]string), news: make(chan struct{}, 1)}, make(chan struct{})}
	d.engine = d.space.Begin(t)
	byKey := actors.Manual(func(m *messages.Message, _ int) int { return int(m.Key[0]) })
	topic, err := d.engine.EnsureTopic(enginetest.Within(t), theTopic, messages.TopicConfig{Partitions: partitions}, actors.ProducerConfig{Partitioner: byKey})
	if err != nil {
		t.Fatal(err)
	}
	d.topic = topic
	inHand := make(chan struct{}, members)
	taken := make(chan messages.PartitionTakenOver, 10)
	for i := range members {
		e := d.space.Begin(t)
		events := e.Events(t.Context())
		go func() {
			for event := range events {
				if m, ok := event.(messages.PartitionTakenOver); ok && m.Partition == 0 {
					taken <- m
				}
			}
		}()
		sub, err := d.try(t, d.open(t, e), fmt.Sprint("member-", i))
		if err != nil {
			t.Fatal(err)
		}
		d.consume(t, sub, func(ctx context.Context, r messages.Record) error {
			if r.Partition == 0 {
				select {
				case inHand <- struct{}{}:
				default:
				}
				select {
				case <-d.went:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			handle(r)
			return nil
		})
	}
	d.fill(t, 0, records)
	client := d.space.Client(t)
	for n := 1; n <= 2; n++ {
		enginetest.Await(t, "a record in hand", inHand)
		claim, err := client.Get(t.Context(), d.space.With(t, client, "/claims/0000")[0])
		if err != nil || len(claim.Kvs) != 1 {
			t.Fatal(claim, err)
		}
		if _, err := client.Revoke(t.Context(), clientv3.LeaseID(claim.Kvs[0].Lease)); err != nil {
			t.Fatal(err)
		}
		if m := enginetest.Await(t, "the next owner", taken); m.Takeovers != n || (m.Careful > 0) != (n == 2) {
			t.Fatalf("takeover %d: %+v", n, m)
		}
		for len(inHand) > 0 {
			<-inHand
		}
	}
	return d
}

// fill puts records into one partition. They have no common keys.
func (d doubted) fill(t *testing.T, partition, records int) {
	t.Helper()
	keys := make([]string, records)
	for i := range keys {
		keys[i] = string([]byte{byte(partition), byte(i), byte(i >> 8)})
	}
	d.put(t, keys...)
}

// Promise: what is lent one at a time does not wait behind all that is lent of other
// partitions, by the same owner or others.
func TestPartitionInDoubtBesideOthersUnderLoad(t *testing.T) {
	const records, load = 30, 6000
	var slow, fast atomic.Int64
	d := newDoubted(t, 4, 3, records, func(r messages.Record) {
		if r.Partition == 0 {
			slow.Add(1)
			return
		}
		time.Sleep(time.Millisecond) // three members have more than they can do
		fast.Add(1)
	})
	for p := 1; p < 4; p++ {
		d.fill(t, p, load)
	}
	enginetest.Until(t, "the load", func() bool { return fast.Load() > 50 })
	before := fast.Load()
	close(d.went)
	enginetest.Until(t, "the records in doubt", func() bool { return slow.Load() >= records })
	// Each waits for what is in hand, and for what of one frame is behind that.
	if others := fast.Load() - before; others > 60*records {
		t.Errorf("%d records of other partitions were handled meanwhile, for %d in doubt", others, records)
	}
}

// Promise: the records in doubt are lent one at a time, an etcd commit each, and those
// behind them together again.
func TestPartitionInDoubtRecovers(t *testing.T) {
	const doubt, records = 1024, 1100
	var running, most atomic.Int64
	together := make(chan struct{})
	d := newDoubted(t, 1, 2, records, func(r messages.Record) {
		n := running.Add(1)
		defer running.Add(-1)
		switch {
		case r.Offset < doubt:
			most.Store(max(most.Load(), n))
		case n == 2:
			select {
			case <-together:
			default:
				close(together)
			}
		default:
			<-together
		}
	})
	close(d.went)
	enginetest.Await(t, "two records at once", together)
	d.until(t, records)
	d.committed(t, records)
	if most.Load() != 1 {
		t.Errorf("%d records in doubt were lent at once", most.Load())
	}
}
