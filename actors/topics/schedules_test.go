package topics_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
)

// everySecond is a schedule of a topic.
func everySecond(topic string) messages.Schedule {
	return messages.Schedule{
		Topic: topic, Value: []byte("tick"), Headers: []messages.Header{{Name: "kind", Value: []byte("test")}}, Cron: "@every 1s",
	}
}

// end is where a partition ends.
func end(t *testing.T, e *actors.Engine, topic string, partition int) int64 {
	t.Helper()
	d, err := e.DescribeTopic(enginetest.Within(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return d.Partitions[partition].End
}

// Promise: each tick puts one record, which says of which schedule and tick it is; another
// runtime's schedules are known at once; one that is paused or deleted puts nothing.
func TestSchedulesFire(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	space := enginetest.NewSpace(t)
	keeper := space.Begin(t)
	topic := topicOf(t, keeper, "ticks", 3)
	other := space.Begin(t).Schedules()
	info, err := other.Put(ctx, "clock", everySecond("ticks"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := other.Put(ctx, "clock", everySecond("ticks")); err != nil || again.Revision != info.Revision && again.FiredCount == 0 {
		t.Errorf("putting it again: %+v, %v", again, err)
	}
	var part int
	enginetest.Until(t, "a record is put", func() bool {
		for part = range 3 {
			if end(t, keeper, "ticks", part) > 0 {
				return true
			}
		}
		return false
	})
	tick := info.Next
	n := 0
	for r, err := range topic.Read(ctx, part, messages.Earliest()) {
		if err != nil {
			t.Fatal(err)
		}
		at, _ := r.Header(messages.HeaderScheduleTick)
		name, _ := r.Header(messages.HeaderSchedule)
		if want := tick.Format(time.RFC3339); string(at) != want || string(name) != "clock" || r.ID() != "clock@"+want || string(r.Value) != "tick" {
			t.Fatalf("record %d is of tick %s, want %s: %+v", n, at, want, r)
		}
		if r.Time().Before(tick) {
			t.Errorf("the tick %v was fired at %v", tick, r.Time())
		}
		tick = tick.Add(time.Second)
		if n++; n == 3 {
			break
		}
	}
	if err := other.Pause(ctx, "clock"); err != nil {
		t.Fatal(err)
	}
	info, err = keeper.Schedules().Get(ctx, "clock")
	if err != nil || !info.Paused || info.FiredCount < 3 || info.MissedCount+info.FailedCount > 0 || info.Tick.IsZero() {
		t.Fatalf("it is %+v, %v", info, err)
	}
	ran, err := other.RunNow(ctx, "clock")
	if err != nil || ran.Partition != part {
		t.Errorf("run now: %+v, %v; ticks go to partition %d", ran, err, part)
	}
	if n := end(t, keeper, "ticks", part); n != int64(info.FiredCount)+1 {
		t.Errorf("there are %d records, want %d and the one of RunNow", n, info.FiredCount)
	}
	if err := other.Resume(ctx, "clock"); err != nil {
		t.Fatal(err)
	}
	if resumed, err := other.Get(ctx, "clock"); err != nil || resumed.Paused || resumed.Next.Before(info.Next) {
		t.Errorf("resumed: %+v, %v", resumed, err)
	}
	if err := other.Delete(ctx, "clock"); err != nil {
		t.Fatal(err)
	}
	if all, err := other.List(ctx); err != nil || len(all) > 0 {
		t.Errorf("there are %v, %v", all, err)
	}
}

// Promise: a call for a schedule says everything that is wrong with it at once, and which
// schedule is not there.
func TestScheduleCallsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	s := e.Schedules()
	_, err := s.Put(ctx, "a/b", messages.Schedule{
		Topic: "x", Cron: "61 * * * *", TimeZone: "Mars/Olympus", Missed: "some", MaxMissed: -1,
		Headers: []messages.Header{{Name: messages.HeaderSchedule}}, Value: make([]byte, messages.MaxScheduleBytes),
	})
	if !errors.Is(err, messages.ErrInvalid) || !errors.Is(err, messages.ErrTooLarge) {
		t.Errorf("many faults: %v", err)
	}
	for _, part := range []string{`"a/b"`, "topic", "minute", "Mars/Olympus", `"some"`, "-1", "penstock-", "65"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not name %s", err, part)
		}
	}
	if _, err := s.Put(ctx, "clock", everySecond("nowhere")); !errors.Is(err, messages.ErrNoTopic) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a topic that is not there: %v", err)
	}
	for what, call := range map[string]func() error{
		"get":    func() error { _, err := s.Get(ctx, "none"); return err },
		"delete": func() error { return s.Delete(ctx, "none") },
		"pause":  func() error { return s.Pause(ctx, "none") },
		"resume": func() error { return s.Resume(ctx, "none") },
		"run":    func() error { _, err := s.RunNow(ctx, "none"); return err },
	} {
		if err := call(); !errors.Is(err, messages.ErrNoSchedule) || !strings.Contains(err.Error(), "none") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Promise: a schedule whose topic was deleted stays, says so, and fires again when there is a
// topic of that name.
func TestScheduleOfADeletedTopic(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topicOf(t, e, "ticks", 1)
	s := e.Schedules()
	if _, err := s.Put(ctx, "clock", everySecond("ticks")); err != nil {
		t.Fatal(err)
	}
	is := func(what string, so func(messages.ScheduleInfo) bool) {
		t.Helper()
		enginetest.Until(t, what, func() bool {
			info, err := s.Get(ctx, "clock")
			return err == nil && so(info)
		})
	}
	is("it fires", func(i messages.ScheduleInfo) bool { return i.FiredCount > 0 })
	if err := e.DeleteTopic(ctx, "ticks"); err != nil {
		t.Fatal(err)
	}
	is("it fails", func(i messages.ScheduleInfo) bool { return i.FailedCount > 0 && strings.Contains(i.Trouble, "ticks") })
	enginetest.Until(t, "an event tells of it, and it is counted", func() bool {
		all := e.Stats()
		return all.Events["schedule_failed"] > 0 && all.Keeper.TicksFailed > 0 && all.Events["schedule_fired"] > 0
	})
	topicOf(t, e, "ticks", 1)
	is("it fires again", func(i messages.ScheduleInfo) bool { return i.Trouble == "" && i.FiredCount > 1 })
	enginetest.Until(t, "the topic says that it has a schedule", func() bool {
		topic, err := e.Topic(ctx, "ticks", topics.ProducerConfig{})
		return err == nil && topic.Info().Scheduled
	})
}

// Promise: a tick goes into the topic that has the name by then, also when another one had it a
// moment ago.
func TestScheduleOfATopicThatIsMadeAgain(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topicOf(t, e, "ticks", 1)
	s := e.Schedules()
	if _, err := s.Put(ctx, "clock", everySecond("ticks")); err != nil {
		t.Fatal(err)
	}
	var before messages.ScheduleInfo
	fired := func(what string, more uint64) (is messages.ScheduleInfo) {
		t.Helper()
		enginetest.Until(t, what, func() (ok bool) {
			var err error
			is, err = s.Get(ctx, "clock")
			return err == nil && is.FiredCount >= before.FiredCount+more
		})
		return is
	}
	for before = fired("it fires", 1); ; before = fired("it fires again", 1) {
		if err := e.DeleteTopic(ctx, "ticks"); err != nil {
			t.Fatal(err)
		}
		topicOf(t, e, "ticks", 1)
		if time.Now().Before(before.Next) { // no tick was between the two
			break
		}
	}
	if is := fired("it fires into the new one", 1); is.FailedCount != before.FailedCount || end(t, e, "ticks", 0) == 0 {
		t.Errorf("it is %+v, before it was %+v", is, before)
	}
}
