package topics_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

// later puts a value that is delivered after a while, and returns its offset.
func later(t *testing.T, topic *topics.Topic, v string, after time.Duration) int64 {
	t.Helper()
	r := topic.PutTo(enginetest.Within(t), 0, value(v).DeliverAfter(after))
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.Offset
}

// waiting are the values that wait in a topic, in the order in which they are due.
func waiting(t *testing.T, topic *topics.Topic) (values []string) {
	t.Helper()
	for r, err := range topic.Delayed(enginetest.Within(t), nil) {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, string(r.Value))
	}
	return values
}

// Promise: a record with a DeliverAt is read when that has come and not before, holds up
// none behind it, and says where it was put and when it was due.
func TestDelayedRecordIsDelivered(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := topicOf(t, e, "one", 1)
	put(t, topic, "a")
	m := messages.Message{
		Key: []byte("key"), Value: []byte("later"), Headers: []messages.Header{{Name: "h", Value: []byte("v")}}, ID: "id",
		ExpiresAt: time.Now().Add(time.Hour),
	}.DeliverAfter(700 * time.Millisecond)
	placed := topic.Put(ctx, m)
	if placed.Err != nil || placed.Offset != 1 {
		t.Fatal(placed)
	}
	put(t, topic, "b")
	past := topic.Put(ctx, value("past").DeliverAfter(-time.Second))
	if past.Err != nil || past.Offset != 3 {
		t.Fatal(past)
	}
	if w := waiting(t, topic); !slices.Equal(w, []string{"later"}) {
		t.Errorf("%q wait", w)
	}
	d, err := e.DescribeTopic(ctx, "one")
	if err != nil || d.Partitions[0].Delayed != 1 || !d.Partitions[0].NextDue.Equal(m.DeliverAt) {
		t.Errorf("%+v, %v", d.Partitions, err)
	}
	for r, err := range topic.Read(ctx, 0, messages.Earliest()) {
		if err != nil {
			t.Fatal(err)
		}
		if string(r.Value) != "later" {
			continue
		}
		if early := time.Until(m.DeliverAt); early > 0 {
			t.Errorf("%v early", early)
		}
		from, ok := r.PutOffset()
		h, _ := r.Header("h")
		if !ok || from != 1 || r.Offset != 4 || !r.DeliverAt().Equal(m.DeliverAt.Round(0)) || string(r.Key) != "key" || string(h) != "v" || r.ID() != "id" || !r.ExpiresAt().Equal(m.ExpiresAt) {
			t.Errorf("%+v: from %d, due %v", r, from, r.DeliverAt())
		}
		break
	}
	if got := read(t, topic, 0, 4); !slices.Equal(got, []string{"a", "b", "past", "later"}) {
		t.Errorf("read %q", got)
	}
	if w := waiting(t, topic); len(w) > 0 {
		t.Errorf("%q still wait", w)
	}
	enginetest.Until(t, "the counters", func() bool {
		s := e.Stats()
		return s.Keeper.Delivered == 1 && s.Topics[0].Delayed == 1
	})
}

// Promise: what is cancelled is not delivered; what was delivered, is no place of a record
// that waits or was purged cannot be cancelled, and that is told by its type.
func TestDelayedRecordIsCancelled(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := topicOf(t, e, "one", 1)
	put(t, topic, "a")
	first, second := later(t, topic, "first", time.Hour), later(t, topic, "second", 300*time.Millisecond)
	third, fourth := later(t, topic, "third", time.Hour), later(t, topic, "fourth", time.Hour)
	if err := topic.Cancel(ctx, 0, first); err != nil {
		t.Fatal(err)
	}
	if got := read(t, topic, 0, 2); !slices.Equal(got, []string{"a", "second"}) {
		t.Errorf("read %q", got)
	}
	if _, err := topic.Truncate(ctx, messages.AtOffset(fourth), nil); err != nil { // its place goes
		t.Fatal(err)
	}
	if w := waiting(t, topic); !slices.Equal(w, []string{"third", "fourth"}) {
		t.Errorf("%q wait", w)
	}
	if err := topic.Cancel(ctx, 0, third); err != nil {
		t.Errorf("where its place was trimmed: %v", err)
	}
	if _, err := topic.Purge(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{0, first, second, third, fourth} {
		if err := topic.Cancel(ctx, 0, offset); !errors.Is(err, messages.ErrNotDelayed) {
			t.Errorf("cancel %d: %v", offset, err)
		}
	}
	if err := topic.Cancel(ctx, 0, 1000); !errors.Is(err, messages.ErrOffsetOutOfRange) {
		t.Errorf("past the end: %v", err)
	}
}

// Promise: records that are put together and due together are delivered, each once, in the
// order in which they are due.
func TestManyDueAtOnce(t *testing.T) {
	const n = 1000
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := topicOf(t, e, "one", 1)
	at := time.Now().Add(time.Second)
	var msgs []messages.Message
	for i := range n {
		m := value(fmt.Sprintf("%04d", i))
		m.DeliverAt = at
		msgs = append(msgs, m)
	}
	if _, err := topic.PutBatch(ctx, msgs); err != nil {
		t.Fatal(err)
	}
	got := read(t, topic, 0, n)
	t.Logf("all after %v", time.Since(at))
	if !slices.IsSorted(got) || len(slices.Compact(got)) != n {
		t.Errorf("%d read: %q", len(got), got)
	}
}

// Promise: records of a transaction can be delivered later; a topic that would have deleted
// one by then refuses it.
func TestDelayedInTransactions(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic := topicOf(t, e, "one", 1)
	if err := e.Transact(ctx, func(tx *groups.Tx) error {
		topic.PutIn(tx, []messages.Message{value("a"), value("b").DeliverAfter(200 * time.Millisecond), value("c")})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, topic, 0, 3); !slices.Equal(got, []string{"a", "c", "b"}) {
		t.Errorf("read %q", got)
	}
	many := make([]messages.Message, 200)
	for i := range many {
		many[i] = value("x").DeliverAfter(time.Hour)
	}
	var limit *messages.LimitError
	if err := e.Transact(ctx, func(tx *groups.Tx) error { topic.PutIn(tx, many); return nil }); !errors.As(err, &limit) || limit.Limit != messages.LimitOps {
		t.Errorf("200 in one transaction: %v", err)
	}
	if _, err := e.UpdateTopic(ctx, "one", messages.TopicUpdate{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the limit", func() bool { return topic.Info().Config.TTL > 0 })
	m := value("x").DeliverAfter(time.Hour)
	if r := topic.Put(ctx, m); r.Err != nil {
		t.Error(r.Err)
	}
	m.Time = time.Now()
	if r := topic.Put(ctx, m); !errors.Is(r.Err, messages.ErrInvalid) {
		t.Errorf("expired when it is due: %v", r.Err)
	}
}

// Promise: an id counts when it is put: it is known again while the record waits and after it
// was delivered, also by a runtime that begins later, and the delivery is no second put.
func TestDelayedRecordsWithIDs(t *testing.T) {
	ctx := enginetest.Within(t)
	space := enginetest.NewSpace(t)
	e := space.Begin(t)
	topic, err := e.CreateTopic(ctx, "one", messages.TopicConfig{DedupeWindow: time.Hour}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m := messages.Message{Value: []byte("a"), ID: "till/1"}
	again := func(topic *topics.Topic, want int64) {
		t.Helper()
		if r := topic.Put(ctx, m); r.Err != nil || !r.Duplicate || r.Offset != want {
			t.Errorf("again: %+v", r)
		}
	}
	first := topic.Put(ctx, m.DeliverAfter(500*time.Millisecond))
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	again(topic, first.Offset)
	other := space.Begin(t)
	second, err := other.Topic(ctx, "one", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	again(second, first.Offset)
	if r := topic.Put(ctx, messages.Message{Value: []byte("b"), ID: "till/2"}); r.Err != nil || r.Duplicate {
		t.Error(r)
	}
	if got := read(t, topic, 0, 2); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("read %q", got)
	}
	again(topic, first.Offset)
	again(second, first.Offset)
	if id, err := second.LastID(ctx, "till"); id != "till/2" || err != nil {
		t.Errorf("the last id is %q, %v", id, err)
	}
}

// Promise: a partition of which much is due holds up no other, also one in which something is
// put meanwhile.
func TestDelayedRecordsOfOthersDoNotWait(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	many, other := topicOf(t, e, "many", 1), topicOf(t, e, "other", 1)
	due := time.Now().Add(3 * time.Second)
	for range 8 {
		msgs := make([]messages.Message, 1000)
		for i := range msgs {
			msgs[i] = value("many")
			msgs[i].DeliverAt = due
		}
		if _, err := many.PutBatch(ctx, msgs); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Until(t, "the first is delivered", func() bool { return e.Stats().Keeper.Delivered > 0 })
	later(t, other, "other", 50*time.Millisecond)
	if got := read(t, other, 0, 1); !slices.Equal(got, []string{"other"}) {
		t.Errorf("read %q", got)
	}
	if d, err := e.DescribeTopic(ctx, "many"); err != nil || d.Partitions[0].Delayed == 0 {
		t.Errorf("it came when all others were delivered: %+v, %v", d.Partitions, err)
	}
}
