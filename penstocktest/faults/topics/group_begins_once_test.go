package topics_test

// Where a group begins. Promise: that is decided once, for the partitions that
// there are when the group begins; one that comes later is read from its first
// record, whoever asks for what else by then.

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// beginner is a topic of two partitions, with ten records in each, and a group
// that is to begin.
type beginner struct {
	t     *testing.T
	ns    string
	rt    *penstock.Runtime
	topic *penstock.Topic
}

func (b *beginner) join(opts ...penstock.SubscribeOption) {
	b.t.Helper()
	unsubscribe(b.t, subscribe(b.t, b.topic, theGroup, opts...))
}

func (b *beginner) joinByHand(partition int, opts ...penstock.SubscribeOption) {
	b.t.Helper()
	s, err := b.topic.SubscribePartitions(harness.Context(b.t), theGroup, []int{partition}, opts...)
	if err != nil {
		b.t.Fatal(err)
	}
	unsubscribe(b.t, s)
}

func (b *beginner) putTo(p, n int) {
	b.t.Helper()
	for id := range n {
		if _, err := b.topic.PutTo(harness.Context(b.t), p, harness.Numbered(id)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *beginner) grow(partitions int) {
	b.t.Helper()
	if _, err := b.rt.UpdateTopic(harness.Context(b.t), theTopic, penstock.TopicUpdate{Partitions: partitions}); err != nil {
		b.t.Fatal(err)
	}
	harness.Eventually(b.t, "the topic is seen to grow", func() bool { return b.topic.Info().Config.Partitions == partitions })
}

// log is the group's keys without a runtime.
func (b *beginner) log() *commitlog.Log {
	return commitlog.New(commitlog.Config{Client: harness.Client(b.t), Space: keys.Space(b.ns), Classify: discovery.Classify})
}

func (b *beginner) remove(key string) {
	b.t.Helper()
	if _, err := harness.Client(b.t).Delete(harness.Context(b.t), key, clientv3.WithPrefix()); err != nil {
		b.t.Fatal(err)
	}
}

func TestGroupBeginsOnce(t *testing.T) {
	t.Parallel()
	manual := []int{0, 1, 2}
	for name, c := range map[string]struct {
		begin  func(b *beginner)
		manual []int
		then   penstock.SubscribeOption
		want   [3]int64
	}{
		"latest":                 {func(b *beginner) { b.join(penstock.FromLatest()) }, nil, penstock.FromLatest(), [3]int64{10, 10, 0}},
		"an offset":              {func(b *beginner) { b.join(penstock.FromOffset(4)) }, nil, penstock.FromOffset(4), [3]int64{4, 4, 0}},
		"a time":                 {func(b *beginner) { b.join(penstock.FromTime(time.Now().Add(time.Hour))) }, nil, penstock.FromLatest(), [3]int64{10, 10, 0}},
		"earliest":               {func(b *beginner) { b.join() }, nil, penstock.FromLatest(), [3]int64{0, 0, 0}},
		"another comes":          {func(b *beginner) { b.join(penstock.FromLatest()) }, nil, penstock.FromEarliest(), [3]int64{10, 10, 0}},
		"by hand":                {func(b *beginner) { b.joinByHand(0, penstock.FromLatest()) }, manual, penstock.FromLatest(), [3]int64{10, 10, 0}},
		"by hand, another comes": {func(b *beginner) { b.joinByHand(0, penstock.FromLatest()) }, manual, penstock.FromEarliest(), [3]int64{10, 10, 0}},
		"its first member dies before it commits": {func(b *beginner) {
			if _, _, err := b.log().EnsureGroup(harness.Context(b.t), b.topic.Info(), theGroup, commitlog.Joining{Start: messages.Latest()}); err != nil {
				b.t.Fatal(err)
			}
		}, nil, penstock.FromEarliest(), [3]int64{10, 10, 0}},
		"a reset": {func(b *beginner) {
			if _, err := b.rt.ResetOffsets(harness.Context(b.t), theTopic, theGroup, penstock.FromOffset(7)); err != nil {
				b.t.Fatal(err)
			}
		}, nil, penstock.FromLatest(), [3]int64{7, 7, 0}},
		"its settings are deleted": {func(b *beginner) {
			b.join(penstock.FromLatest())
			b.remove(keys.Space(b.ns).ConsumerGroup(b.topic.Info().ID, theGroup))
		}, nil, penstock.FromLatest(), [3]int64{10, 10, 0}},
		"by a version that did not record it": {func(b *beginner) {
			b.joinByHand(0, penstock.FromLatest())
			b.remove(keys.Space(b.ns).Beginning(b.topic.Info().ID, theGroup))
		}, manual, penstock.FromLatest(), [3]int64{10, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &beginner{t: t, ns: penstocktest.Space(t)}
			b.rt = harness.Runtime(t, b.ns)
			b.topic = makeTopic(t, b.rt, theTopic, 2)
			b.putTo(0, 10)
			b.putTo(1, 10)
			c.begin(b)
			b.grow(3)
			for p := range 3 {
				b.putTo(p, 3)
			}
			var s *penstock.Subscription
			var err error
			if c.manual != nil {
				s, err = b.topic.SubscribePartitions(harness.Context(t), theGroup, c.manual, c.then)
			} else {
				s, err = b.topic.Subscribe(harness.Context(t), theGroup, c.then)
			}
			if err != nil {
				t.Fatal(err)
			}
			began := map[int]int64{}
			for len(began) < 3 {
				for _, rec := range polled(t, s, 1) {
					if _, seen := began[rec.Partition]; !seen {
						began[rec.Partition] = rec.Offset
					}
				}
			}
			for p, want := range c.want {
				if began[p] != want {
					t.Errorf("partition %d begins at %d, want %d", p, began[p], want)
				}
			}
			unsubscribe(t, s)
		})
	}
}

// A member that was there when its topic grew reads the new partition from its
// first record, too.
func TestGroupReadsWhatCameBeforeItsMemberNoticed(t *testing.T) {
	t.Parallel()
	b := &beginner{t: t, ns: penstocktest.Space(t)}
	b.rt = harness.Runtime(t, b.ns)
	b.topic = makeTopic(t, b.rt, theTopic, 1)
	b.putTo(0, 5)
	s := subscribe(t, openTopic(t, harness.Runtime(t, b.ns), theTopic), theGroup, penstock.FromLatest())
	b.grow(2)
	b.putTo(1, 1)
	if rec := polled(t, s, 1)[0]; rec.Partition != 1 || rec.Offset != 0 {
		t.Errorf("partition %d, offset %d", rec.Partition, rec.Offset)
	}
	unsubscribe(t, s)
}
