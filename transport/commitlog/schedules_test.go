package commitlog

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// firing is a schedule of a topic, and who fires it.
type firing struct {
	l      *Log
	f      *faults
	office Office
	topic  messages.TopicInfo
	a      *Appender
	row    ScheduleRow
	n      uint64
}

func newFiring(t *testing.T) *firing {
	t.Helper()
	l, f := startEtcd(t)
	ctx := testContext(t)
	x := &firing{l: l, f: f, topic: create(t, l, "ticks", 1)}
	lease, err := l.client.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	var held bool
	if x.office, held, err = l.TakeOffice(ctx, lease.ID, "me"); err != nil || !held {
		t.Fatal(held, err)
	}
	_, err = l.ChangeSchedule(ctx, "put", "clock", "ticks", func(*messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
		return messages.ScheduleInfo{Schedule: messages.Schedule{Topic: "ticks", Cron: "@every 1s"}, Next: time.Unix(100, 0)}, true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x.a = l.Partition(x.topic, 0).Appender(AppenderConfig{Producer: 7})
	x.read(t)
	return x
}

func (x *firing) read(t *testing.T) {
	t.Helper()
	var err error
	if x.row, err = x.l.Schedule(testContext(t), "clock"); err != nil {
		t.Fatal(err)
	}
}

// next is the step that is due as the schedule was read last.
func (x *firing) next() *Tick {
	to := x.row.ScheduleInfo
	to.Tick, to.Next, to.FiredCount = to.Next, to.Next.Add(time.Second), to.FiredCount+1
	x.n++
	raw := records("tick")
	return &Tick{
		From: x.row, To: ScheduleRow{to, format.ScheduleValue(&to)}, Appender: x.a,
		Batch: format.Seal(raw, 1, 1, 1, 1, messages.CompressNone, 7, x.n),
	}
}

// has fails the test unless so many records are there and so many ticks counted.
func (x *firing) has(t *testing.T, n int) {
	t.Helper()
	x.read(t)
	_, end, err := x.l.Partition(x.topic, 0).Bounds(testContext(t))
	if err != nil || end != int64(n) || x.row.FiredCount != uint64(n) {
		t.Errorf("%d records, %d ticks, want %d of each: %v", end, x.row.FiredCount, n, err)
	}
}

// Promise: a step is made once: with an answer that was lost, with others who append, and by
// the end of the loop the record is where Base says.
func TestFireOnce(t *testing.T) {
	x := newFiring(t)
	ctx := testContext(t)
	for i, plan := range [][]fault{
		nil,
		{{kind: lose}},
		{{kind: drop}},
		{{kind: lose}, {kind: drop}},
		{{kind: drop, before: func() { x.append(t) }}},
		{{kind: lose, before: func() { x.append(t) }}},
	} {
		x.f.next(plan...)
		tick := x.next()
		sequence := x.n
		revision, err := x.l.Fire(ctx, x.office, tick)
		if err != nil || revision == 0 {
			t.Fatalf("step %d: %d, %v", i, revision, err)
		}
		x.f.used(t)
		x.read(t)
		if x.row.FiredCount != uint64(i+1) {
			t.Fatalf("step %d: %d ticks counted", i, x.row.FiredCount)
		}
		entries, err := x.l.Partition(x.topic, 0).Entries(ctx, tick.Base(), 1)
		if err != nil || entries[0].Producer != 7 || entries[0].Sequence != sequence {
			t.Errorf("step %d: at %d is %v, %v", i, tick.Base(), entries, err)
		}
	}
}

// append appends as somebody else.
func (x *firing) append(t *testing.T) {
	b := x.l.Partition(x.topic, 0).Appender(AppenderConfig{Producer: 8})
	x.n++
	if _, err := b.Append(context.Background(), format.Seal(records("other"), 1, 1, 1, 1, messages.CompressNone, 8, x.n), false); err != nil {
		t.Error(err)
	}
}

// Promise: of two keepers, and of attempts that come late, one makes a step: the other is told
// that the schedule moved, and nothing is put twice.
func TestLateAttemptFiresNothing(t *testing.T) {
	x := newFiring(t)
	x.f.next(fault{kind: stall}, fault{kind: stall}, fault{kind: stall}, fault{kind: stall})
	ctx := testContext(t)
	old := x.next()
	if _, err := x.l.Fire(ctx, x.office, old); !errors.Is(err, messages.ErrUnknownOutcome) {
		t.Fatalf("never answered: %v", err)
	}
	x.read(t)
	if x.row.FiredCount != 0 {
		t.Fatal("it was applied")
	}
	x.a = x.l.Partition(x.topic, 0).Appender(AppenderConfig{Producer: 7})
	if _, err := x.l.Fire(ctx, x.office, x.next()); err != nil {
		t.Fatal(err)
	}
	for i := range x.f.late() {
		x.f.arrive(t, i)
	}
	x.has(t, 1)
	if _, err := x.l.Fire(ctx, x.office, old); !errors.Is(err, ErrScheduleMoved) {
		t.Errorf("sent once more: %v", err)
	}
	x.has(t, 1)
}

// Promise: nothing is put by who is not the keeper, for a schedule that was changed or
// deleted, or into a topic that is gone.
func TestFireCompares(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *firing)
		want  error
	}{
		"the office is another's": {func(t *testing.T, x *firing) { put(t, x.l, x.l.space.Keeper(), "another") }, ErrNotKeeper},
		"the office is free":      {func(t *testing.T, x *firing) { remove(t, x.l, x.l.space.Keeper()) }, ErrNotKeeper},
		"the schedule is changed": {func(t *testing.T, x *firing) {
			put(t, x.l, x.l.space.Schedule("clock"), format.ScheduleValue(&x.row.ScheduleInfo))
		}, ErrScheduleMoved},
		"the schedule is deleted": {func(t *testing.T, x *firing) {
			if err := x.l.DeleteSchedule(testContext(t), "clock"); err != nil {
				t.Fatal(err)
			}
		}, ErrScheduleMoved},
		"the topic is deleted": {func(t *testing.T, x *firing) {
			if _, err := x.l.DeleteTopic(testContext(t), "ticks"); err != nil {
				t.Fatal(err)
			}
		}, messages.ErrTopicDeleted},
		"the topic is another one": {func(t *testing.T, x *firing) {
			if _, err := x.l.DeleteTopic(testContext(t), "ticks"); err != nil {
				t.Fatal(err)
			}
			create(t, x.l, "ticks", 1)
		}, messages.ErrTopicDeleted},
	} {
		for _, withRecord := range []bool{true, false} {
			if !withRecord && errors.Is(tt.want, messages.ErrTopicDeleted) {
				continue
			}
			t.Run(name, func(t *testing.T) {
				x := newFiring(t)
				if _, err := x.l.Fire(testContext(t), x.office, x.next()); err != nil {
					t.Fatal(err)
				}
				x.read(t)
				tt.spoil(t, x)
				tick := x.next()
				if !withRecord {
					tick.Appender, tick.Batch = nil, nil
				}
				if _, err := x.l.Fire(testContext(t), x.office, tick); !errors.Is(err, tt.want) || errors.Is(err, messages.ErrUnknownOutcome) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			})
		}
	}
}

// Promise: a change is made once although its answer is lost, by the settings of the newest
// value; and a schedule that cannot be read is named, and can be put again.
func TestChangeSchedule(t *testing.T) {
	x := newFiring(t)
	ctx := testContext(t)
	count := func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
		if old.MissedCount > 0 {
			return *old, false, nil
		}
		next := *old
		next.MissedCount++
		return next, true, nil
	}
	x.f.next(fault{kind: lose})
	info, err := x.l.ChangeSchedule(ctx, "count", "clock", "", count)
	x.f.used(t)
	if x.read(t); err != nil || info.MissedCount != 1 || x.row.MissedCount != 1 || x.row.Revision != info.Revision {
		t.Errorf("%+v, %v; it is %+v", info, err, x.row)
	}
	if there, err := x.l.Topic(ctx, "ticks"); err != nil || !there.Scheduled {
		t.Errorf("the topic does not say that it has a schedule: %+v, %v", there, err)
	}
	put(t, x.l, x.l.space.Schedule("broken"), "\xff")
	all, err := x.l.Schedules(ctx)
	if len(all) != 1 || all[0].Name != "clock" || !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := x.l.ChangeSchedule(ctx, "put", "broken", "ticks", func(old *messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
		return all[0], old == nil, nil
	}); err != nil {
		t.Error(err)
	}
	if all, err := x.l.Schedules(ctx); len(all) != 2 || err != nil {
		t.Errorf("%v, %v", all, err)
	}
}

// Promise: a deletion whose answer was lost is made once: what is made meanwhile under that name
// stays, and a schedule that ticks meanwhile goes.
func TestDeleteScheduleOnce(t *testing.T) {
	x := newFiring(t)
	ctx := testContext(t)
	key := x.l.space.Schedule("clock")
	again := func() { put(t, x.l, key, format.ScheduleValue(&x.row.ScheduleInfo)) }
	for _, tt := range []struct {
		name  string
		fault fault
		stays bool
	}{
		{"applied", fault{kind: lose}, false},
		{"it ticks, and nothing was sent", fault{kind: drop, before: again}, false},
		{"it ticks", fault{before: again}, false},
		{"made again", fault{kind: drop, before: func() { remove(t, x.l, key); again() }}, true},
	} {
		again()
		x.f.next(tt.fault)
		err := x.l.DeleteSchedule(ctx, "clock")
		if x.f.used(t); err != nil || (value(t, x.l, key) != "") != tt.stays {
			t.Errorf("%s: %v, and then it is %q", tt.name, err, value(t, x.l, key))
		}
	}
	if err := x.l.DeleteSchedule(ctx, "none"); !errors.Is(err, messages.ErrNoSchedule) {
		t.Errorf("of none: %v", err)
	}
}

// Promise: a schedule without a key is refused for a topic that keeps the newest record of each.
func TestScheduleWithoutKey(t *testing.T) {
	l, _ := startEtcd(t)
	ctx := testContext(t)
	if _, err := l.CreateTopic(ctx, "table", messages.TopicConfig{Compaction: messages.CompactByKey}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "k"} {
		_, err := l.ChangeSchedule(ctx, "put", "clock", "table", func(*messages.ScheduleInfo) (messages.ScheduleInfo, bool, error) {
			return messages.ScheduleInfo{Schedule: messages.Schedule{Topic: "table", Key: []byte(key), Cron: "@every 1s"}}, true, nil
		})
		if errors.Is(err, messages.ErrInvalid) != (key == "") || key != "" && err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
}
