package topics_test

// Recurring records. Promise: each tick puts one record at most, and none is lost while a keeper
// lives, whoever dies and whatever is set back meanwhile.

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// everySecond puts a schedule, and returns its first tick.
func everySecond(t *testing.T, rt *penstock.Runtime, name string) time.Time {
	t.Helper()
	info, err := rt.Schedules().Put(harness.Context(t), name, penstock.Schedule{
		Topic: theTopic, Value: harness.Numbered(1).Value, Cron: "@every 1s", Missed: penstock.MissedAll,
	})
	if err != nil {
		t.Fatal(err)
	}
	return info.Next
}

// firedTo waits until a schedule has fired a tick that is not before a time, and returns it.
func firedTo(t *testing.T, rt *penstock.Runtime, name string, least time.Time) (tick time.Time) {
	t.Helper()
	harness.Eventually(t, "ticks of "+name, func() bool {
		info, err := rt.Schedules().Get(harness.Context(t), name)
		tick = info.Tick
		return err == nil && !tick.Before(least)
	})
	return tick
}

// ticksOf are the ticks whose records are in the topic, by schedule, in order.
func ticksOf(t *testing.T, rt *penstock.Runtime, partitions int) map[string][]time.Time {
	t.Helper()
	topic := openTopic(t, rt, theTopic)
	all := make(map[string][]time.Time)
	d, err := rt.DescribeTopic(harness.Context(t), theTopic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		for rec, err := range topic.ReadTo(harness.Context(t), p, penstock.FromEarliest(), d.Partitions[p].End) {
			if err != nil {
				t.Fatal(err)
			}
			name, _ := rec.Header(penstock.HeaderSchedule)
			text, _ := rec.Header(penstock.HeaderScheduleTick)
			tick, err := time.Parse(time.RFC3339, string(text))
			if err != nil {
				t.Fatalf("tick %q: %v", text, err)
			}
			all[string(name)] = append(all[string(name)], tick)
		}
	}
	return all
}

// eachOnce fails the test unless the ticks from first to last are all there, once, in order.
func eachOnce(t *testing.T, name string, ticks []time.Time, first, last time.Time) {
	t.Helper()
	want := first.Truncate(time.Second)
	for i, tick := range ticks {
		if !tick.Equal(want) {
			t.Fatalf("%s: record %d is of %v, want %v, of %v", name, i, tick, want, ticks)
		}
		want = want.Add(time.Second)
	}
	if want.Before(last) {
		t.Errorf("%s: the last record is of %v, and %v was fired", name, want.Add(-time.Second), last)
	}
}

// The keeper is killed between its ticks and in them, twice, and others take over when its
// lease has ended: each tick of each schedule is in the topic once, and none is missing.
func TestKeeperIsKilledWhileSchedulesFire(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	if err := makeTopic(t, rt, theTopic, 2).Close(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b", "c"}
	putter := harness.Runtime(t, ns)
	first := make(map[string]time.Time)
	for _, name := range names {
		first[name] = everySecond(t, putter, name)
	}
	if err := putter.Stop(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	spec := childSpec{Role: roleProducer, Endpoints: []string{harness.Etcd.Endpoint()}, Space: ns, Topic: theTopic, LeaseTTL: 2 * time.Second}
	c, key := harness.Client(t), keys.Space(ns).Keeper()
	acct := newAccount()
	held := int64(0)
	keeps := func() {
		t.Helper()
		harness.Eventually(t, "a keeper", func() bool {
			now, err := c.Get(harness.Context(t), key)
			if err != nil || len(now.Kvs) == 0 || now.Kvs[0].CreateRevision == held {
				return false
			}
			held = now.Kvs[0].CreateRevision
			return true
		})
	}
	begin := func(name string) *child {
		t.Helper()
		spec.Name = name
		one := spawn(t, spec, acct)
		one.says(t, "ready")
		return one
	}
	keeper := begin("first")
	keeps()
	for _, name := range []string{"second", "third"} {
		next := begin(name)
		firedTo(t, rt, names[0], firedTo(t, rt, names[0], first[names[0]]).Add(time.Second))
		keeper.kill(t)
		keeps()
		keeper = next
	}
	last := make(map[string]time.Time)
	for _, name := range names {
		last[name] = firedTo(t, rt, name, time.Now())
	}
	keeper.kill(t)
	all := ticksOf(t, rt, 2)
	for _, name := range names {
		eachOnce(t, name, all[name], first[name], last[name])
	}
}

// An etcd is restored under the keeper, schedules and records together: each tick is in the
// topic once, those too whose records the restore took away.
func TestSchedulesAfterARestore(t *testing.T) {
	t.Parallel()
	etcd := penstocktest.Etcd(t)
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	makeTopic(t, rt, theTopic, 1)
	first := everySecond(t, rt, "clock")
	at := firedTo(t, rt, "clock", first.Add(time.Second))
	etcd.BackUp()
	at = firedTo(t, rt, "clock", at.Add(2*time.Second))
	etcd.Restore()
	firedTo(t, rt, "clock", at.Add(time.Second))
	late := harness.Runtime(t, ns, penstock.EtcdConfig(etcd.Config()))
	eachOnce(t, "clock", ticksOf(t, late, 1)["clock"], first, at)
}
