package topics_test

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a keeper whose clock is set forward by a day deletes nothing because of that, and
// says so; what is old without that it deletes.
func TestKeeperWithAClockADayAhead(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	stepped := make(chan time.Duration, 1)
	go func() {
		for ev := range e.Events(ctx) {
			if s, ok := ev.(messages.ClockStepped); ok {
				stepped <- s.By
				return
			}
		}
	}()
	made := func(name string, age time.Duration) *topics.Topic {
		topic, err := e.CreateTopic(ctx, name, messages.TopicConfig{MaxAge: age}, topics.ProducerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return topic
	}
	bounds := func(topic *topics.Topic) (start, end int64) {
		d, err := e.DescribeTopic(ctx, topic.Name())
		if err != nil {
			t.Fatal(err)
		}
		return d.Partitions[0].Start, d.Partitions[0].End
	}
	young := made("a-young", time.Hour)
	for range 5 {
		put(t, young, "a minute old at most")
	}
	enginetest.Until(t, "a keeper", func() bool { return e.Stats().Keeper.Keeping })
	young.StepClock(24 * time.Hour)
	for _, name := range []string{"b-old", "c-old"} {
		old := made(name, 0)
		if _, err := old.PutBatch(ctx, []messages.Message{{Value: []byte("old"), Time: time.Now().Add(-2 * time.Hour)}}); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"a-young", name} { // it looks at a topic that was changed
			if _, err := e.UpdateTopic(ctx, topic, messages.TopicUpdate{MaxAge: time.Hour - time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		enginetest.Until(t, "what is old is deleted", func() bool {
			start, end := bounds(old)
			return start == 1 && end == 1
		})
	}
	if start, end := bounds(young); start != 0 || end != 5 {
		t.Errorf("records from %d to %d are left, want all 5", start, end)
	}
	select {
	case by := <-stepped:
		if by < 23*time.Hour || by > 25*time.Hour {
			t.Errorf("stepped by %v", by)
		}
	case <-ctx.Done():
		t.Error("the step was not told")
	}
}

// Promise: a keeper whose clock is set a day ahead deletes no record before its ExpiresAt,
// and goes on to delete what has expired.
func TestClockAheadExpiresNothing(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	expiring := func(in time.Duration) {
		if results, err := topic.PutBatch(ctx, []messages.Message{{Value: []byte("v"), ExpiresAt: time.Now().Add(in)}}); err != nil {
			t.Fatal(results, err)
		}
	}
	expiring(time.Hour)
	enginetest.Until(t, "a keeper", func() bool { return e.Stats().Keeper.Keeping })
	topic.StepClock(24 * time.Hour)
	expiring(-2 * time.Minute)
	enginetest.Until(t, "what has expired is deleted", func() bool { return e.Stats().Keeper.ExpiredRecords > 0 })
	d, err := e.DescribeTopic(ctx, "audit")
	if err != nil || d.Partitions[0].Start != 0 || e.Stats().Keeper.ExpiredRecords != 1 {
		t.Errorf("%+v, %v, %d records expired", d.Partitions, err, e.Stats().Keeper.ExpiredRecords)
	}
}
