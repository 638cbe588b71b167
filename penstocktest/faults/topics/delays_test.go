package topics_test

// Records that are delivered later. Promise: each is delivered once, not before it is due and
// in the order in which they are, whoever dies or is set back meanwhile; or it is cancelled,
// and then it is not delivered.

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// putLater puts records with these numbers, the first due after a while and each of the
// others a bit later.
func putLater(t *testing.T, topic *penstock.Topic, from, to int, first, each time.Duration) {
	t.Helper()
	begin := time.Now().Add(first)
	for id := from; id < to; id++ {
		m := harness.Numbered(id)
		m.DeliverAt = begin.Add(time.Duration(id-from) * each)
		if err := topic.PutAsync(harness.Context(t), m, nil); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, topic)
}

// delivered reads a partition until it has so many records that were delivered later. Each
// comes once, when it is due, and in that order.
func delivered(t *testing.T, topic *penstock.Topic, n int, seen func(int)) {
	t.Helper()
	numbers, places := make(map[int]bool), make(map[int64]bool)
	var last time.Time
	for rec, err := range topic.Read(harness.Context(t), 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		place, later := rec.PutOffset()
		if !later {
			continue
		}
		id, due := recordNumber(rec), rec.DeliverAt()
		switch {
		case numbers[id] || places[place]:
			t.Fatalf("record %d, put at %d, is at %d for the second time", id, place, rec.Offset)
		case due.Before(last):
			t.Errorf("record %d is due at %v, and comes behind one of %v", id, due, last)
		case time.Now().Before(due):
			t.Errorf("record %d comes %v before it is due", id, time.Until(due))
		}
		numbers[id], places[place], last = true, true, due
		seen(len(numbers))
		if len(numbers) == n {
			return
		}
	}
}

// The keeper is killed while it delivers, and another process goes on when its lease has
// ended.
func TestKeeperIsKilledWhileItDelivers(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	maker := harness.Runtime(t, ns)
	limited(t, maker, penstock.TopicConfig{MaxRecords: 1 << 40}) // which needs a keeper
	if err := maker.Stop(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	spec := childSpec{Role: roleProducer, Name: "keeper", Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, LeaseTTL: 2 * time.Second}
	first := spawn(t, spec, newAccount())
	first.says(t, "ready")
	c := harness.Client(t)
	harness.Eventually(t, "the child keeps", func() bool {
		resp, err := c.Get(harness.Context(t), keys.Space(ns).Keeper())
		return err == nil && len(resp.Kvs) == 1
	})
	rt := harness.Runtime(t, ns)
	topic := openTopic(t, rt, theTopic)
	const n = 2000
	putLater(t, topic, 0, n, time.Second, time.Millisecond)
	var kill sync.Once
	delivered(t, topic, n, func(seen int) {
		if seen >= n/4 {
			kill.Do(func() { first.kill(t) })
		}
	})
	if s := rt.Stats().Keeper; s.Delivered == 0 || s.Delivered >= n {
		t.Errorf("this process delivered %d of %d", s.Delivered, n)
	}
	if d := describe(t, rt); d.Delayed != 0 || !d.NextDue.IsZero() {
		t.Errorf("left: %+v", d)
	}
}

// describe is partition 0.
func describe(t *testing.T, rt *penstock.Runtime) penstock.PartitionInfo {
	t.Helper()
	d, err := rt.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	return d.Partitions[0]
}

// Everything ends while records wait, etcd too. Who only reads afterwards gets them.
func TestDelayedRecordsSurviveRestarts(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, rt, theTopic, 1)
	const n = 200
	putLater(t, topic, 0, n, 2*time.Second, time.Millisecond)
	if d := describe(t, rt); d.Delayed != n {
		t.Errorf("%d wait", d.Delayed)
	}
	if err := rt.Stop(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart()
	late := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	delivered(t, openTopic(t, late, theTopic), n, func(int) {})
}

// An etcd is restored to when records waited that were delivered since: they are delivered
// in that log, too, once.
func TestDelayedRecordsAfterARestore(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	topic := makeTopic(t, rt, theTopic, 1)
	const n = 50
	putLater(t, topic, 0, n, 3*time.Second, time.Millisecond)
	etcd.BackUp()
	delivered(t, topic, n, func(int) {})
	putLater(t, topic, n, 2*n, time.Hour, 0) // which the restored etcd does not know
	etcd.Restore()
	reader := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	again := openTopic(t, reader, theTopic)
	delivered(t, again, n, func(int) {})
	putLater(t, topic, 2*n, 3*n, 200*time.Millisecond, time.Millisecond)
	delivered(t, again, 2*n, func(int) {})
}

// Records are cancelled when they are due: each is cancelled or delivered.
func TestCancelRacesDelivery(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	topic := makeTopic(t, rt, theTopic, 1)
	const n = 100
	due := time.Now().Add(1500 * time.Millisecond)
	var places []int64
	for id := range n {
		m := harness.Numbered(id)
		m.DeliverAt = due.Add(time.Duration(id) * 5 * time.Millisecond)
		_, offset, err := topic.Put(harness.Context(t), m)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, offset)
	}
	cancelled := make([]bool, n)
	for id, offset := range places {
		// A bit before it is due, by a different while each time: a cancellation takes some ms.
		time.Sleep(time.Until(due.Add(time.Duration(id*5-id%16) * time.Millisecond)))
		switch err := topic.Cancel(harness.Context(t), 0, offset); {
		case err == nil:
			cancelled[id] = true
		case !errors.Is(err, penstock.ErrNotDelayed):
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "nothing waits", func() bool { return describe(t, rt).Delayed == 0 })
	seen := make(map[int]int)
	for rec, err := range topic.ReadTo(harness.Context(t), 0, penstock.FromEarliest(), describe(t, rt).End) {
		if err != nil {
			t.Fatal(err)
		}
		seen[recordNumber(rec)]++
	}
	both := 0
	for id := range n {
		want := 1
		if cancelled[id] {
			want = 0
			both++
		}
		if seen[id] != want {
			t.Errorf("record %d: cancelled %v, delivered %d times", id, cancelled[id], seen[id])
		}
	}
	t.Logf("%d of %d were cancelled", both, n)
}
