package keeper

// The schedules that a keeper knows, and since when it is there, without etcd.

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// known is a schedule as it is read.
func known(name, cron, zone string, next time.Time) commitlog.ScheduleRow {
	return commitlog.ScheduleRow{
		ScheduleInfo: messages.ScheduleInfo{Name: name, Schedule: messages.Schedule{Topic: "t", Cron: cron, TimeZone: zone}, Next: next},
		Value:        fmt.Sprint(name, cron, zone, next),
	}
}

// Promise: a keeper is there from when it looks first, ten seconds before included; a host that
// slept, or whose clock was set, was not; and nothing is late by more than ten minutes.
func TestPresentSince(t *testing.T) {
	for _, tt := range []struct {
		name              string
		since, looked, at time.Duration // from noon; looked 0 is never
		want              time.Duration
	}{
		{"the first look", 0, 0, time.Second, time.Second - grace},
		{"the next one", -grace, time.Second, 10 * time.Second, -grace},
		{"after a sleep", -grace, time.Second, time.Hour, time.Hour - grace},
		{"the clock is set back", 2 * time.Hour, 2*time.Hour + time.Second, time.Hour, time.Hour - grace},
		{"for a long time", -grace, time.Hour, time.Hour + time.Second, time.Hour + time.Second - latestFired},
	} {
		looked := noon.Add(tt.looked)
		if tt.looked == 0 {
			looked = time.Time{}
		}
		if got := presentSince(noon.Add(tt.since), looked, noon.Add(tt.at)); !got.Equal(noon.Add(tt.want)) {
			t.Errorf("%s: since %v, want %v", tt.name, got.Sub(noon), tt.want)
		}
	}
}

// Promise: a schedule that this process cannot read is told once for each change of it, and is
// left alone; the others tick.
func TestRowsOfUnknownZones(t *testing.T) {
	var r rows
	if err := r.see(known("mars", "0 0 * * *", "Mars/Olympus", noon), nil, 1, false); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("an unknown zone: %v", err)
	}
	if err := r.see(known("mars", "0 0 * * *", "Mars/Olympus", noon), nil, 1, false); err != nil {
		t.Errorf("told again: %v", err)
	}
	if err := r.see(commitlog.ScheduleRow{ScheduleInfo: messages.ScheduleInfo{Name: "broken"}, Value: "x"}, messages.ErrCorrupt, 2, false); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("one that cannot be read: %v", err)
	}
	if first := r.first(); first != nil {
		t.Errorf("%s is due", first.Name)
	}
	if err := r.see(known("mars", "0 0 * * *", "UTC", noon), nil, 3, false); err != nil {
		t.Error(err)
	}
	if first := r.first(); first == nil || first.Name != "mars" {
		t.Errorf("due is %v", first)
	}
}

// Promise: what is due first is the first of all that were seen and are there, whatever order
// they come in; an older value changes nothing, but after etcd was set back.
func TestRowsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rows
		model := make(map[string]commitlog.ScheduleRow)
		names := []string{"a", "b", "c", "d"}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			row := known(name, "* * * * *", "", noon.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "next"))*time.Minute))
			row.Paused = rapid.Bool().Draw(t, "paused")
			row.Value += fmt.Sprint(i)
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				r.remove(name)
				delete(model, name)
			case 1:
				r.keep(map[string]bool{"a": true, "b": true})
				delete(model, "c")
				delete(model, "d")
			case 2: // old
				if old, ok := model[name]; ok {
					_ = r.see(row, nil, old.Revision, false)
					continue
				}
			case 3: // set back
				row.Revision = 1
				_ = r.see(row, nil, 1, true)
				model[name] = row
			default:
				row.Revision = int64(i + 2)
				if old, ok := model[name]; !ok || old.Revision < row.Revision {
					model[name] = row
				}
				_ = r.see(row, nil, row.Revision, false)
			}
			var want *commitlog.ScheduleRow
			for _, m := range model {
				if !m.Paused && (want == nil || m.Next.Before(want.Next)) {
					want = &m
				}
			}
			switch got := r.first(); {
			case (got == nil) != (want == nil), got != nil && !got.Next.Equal(want.Next):
				t.Fatalf("first is %+v, want %+v", got, want)
			}
		}
	})
}

// Promise: where etcd does not let the schedules be watched it is asked again each minute, so that
// rights that come later are noticed; after the term nothing is watched.
func TestSchedulesAreWatchedOnceAllowed(t *testing.T) {
	j := newSchedules()
	begun, ended := 0, 0
	j.watch = func() func() { begun++; return func() { ended++ } }
	j.begin()
	if _, err := j.allowed(noon); err != nil || begun != 1 {
		t.Fatalf("%d watches, %v", begun, err)
	}
	j.heard(nil, discovery.Refused{Err: messages.ErrDenied})
	now := time.Now()
	if wait, err := j.allowed(now); !errors.Is(err, messages.ErrDenied) || wait <= 0 || wait > refusedFor || begun != 1 {
		t.Errorf("refused: %d watches, again after %s, %v", begun, wait, err)
	}
	if row, _ := j.due(noon); row != nil {
		t.Errorf("%s is due, and nobody says what it is by now", row.Name)
	}
	if _, err := j.allowed(now.Add(refusedFor)); !errors.Is(err, messages.ErrDenied) || begun != 2 {
		t.Errorf("a minute later: %d watches, %v", begun, err)
	}
	if _, err := j.allowed(now.Add(refusedFor + time.Second)); !errors.Is(err, messages.ErrDenied) || begun != 2 {
		t.Errorf("a second after that: %d watches, %v", begun, err)
	}
	j.heard(nil, discovery.Snapshot{})
	if _, err := j.allowed(now.Add(time.Hour)); err != nil || begun != 2 {
		t.Errorf("allowed: %d watches, %v", begun, err)
	}
	if j.unfollow(); ended != 1 {
		t.Errorf("%d watches ended", ended)
	}
	if j.begin(); ended != 2 {
		t.Error("a watch that begins after the term is not ended")
	}
}

// Promise: a list that is newer than what is known tells what is, though the schedule there was
// written before: etcd was set back and has gone further since. An older one tells nothing.
func TestSchedulesOfAnEtcdThatWasSetBack(t *testing.T) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	k := &Keeper{log: commitlog.New(commitlog.Config{Client: client, Space: space})}
	at := func(revision int64, next time.Time) discovery.KV {
		s := messages.ScheduleInfo{Name: "clock", Schedule: messages.Schedule{Topic: "orders", Cron: "* * * * *", Missed: messages.MissedSkip, MaxMissed: 1}, Next: next}
		return discovery.KV{Key: space.Schedule("clock"), Value: []byte(format.ScheduleValue(&s)), ModRevision: revision}
	}
	j := newSchedules()
	j.heard(k, discovery.Snapshot{Revision: 10, KVs: []discovery.KV{at(10, noon.Add(time.Hour))}})
	for _, step := range []struct {
		list, written int64
		next, want    time.Time
	}{
		{12, 12, noon.Add(2 * time.Hour), noon.Add(2 * time.Hour)},
		{11, 11, noon, noon.Add(2 * time.Hour)},
		{20, 5, noon.Add(time.Minute), noon.Add(time.Minute)},
	} {
		j.heard(k, discovery.Delta{Revision: step.list, Puts: []discovery.KV{at(step.written, step.next)}})
		if got := j.rows.first(); got == nil || !got.Next.Equal(step.want) {
			t.Errorf("after %+v the next is %+v", step, got)
		}
	}
}
