package keeper

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog"
)

const space = keys.Space("/x")

func markOf(topic string, p int, due int64, revision int64) discovery.KV {
	return discovery.KV{Key: space.Delay(topic, p), Value: []byte(keys.Offset(due)), ModRevision: revision}
}

// Promise: the marks are as the watch says; one whose value makes no sense is due, and a key
// that is none is passed over.
func TestDelayMarks(t *testing.T) {
	var m delayMarks
	if m.see(space, discovery.Snapshot{}) {
		t.Error("there are marks in an empty list")
	}
	if !m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 50, 5), markOf("a", 2, 60, 5), {Key: space.Delay("b", 0), Value: []byte("soon")}, {Key: "/x/delays/b/first"}}}) {
		t.Error("there are no marks")
	}
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 40, 6)}, Deletes: []discovery.KV{markOf("a", 2, 60, 5)}})
	seen := m.take()
	if len(seen.all) != 2 || seen.all[place{"a", 1}] != (delayMark{40, 6}) || seen.all[place{"b", 0}].due != 0 || seen.lists != 1 {
		t.Errorf("%+v", seen)
	}
	if m.see(space, discovery.Refused{Err: messages.ErrDenied}) || m.take().refused == nil {
		t.Error("refused, and there are marks")
	}
	m.see(space, discovery.Snapshot{KVs: []discovery.KV{markOf("c", 0, 1, 1)}})
	if seen := m.take(); len(seen.all) != 1 || seen.refused != nil || seen.lists != 2 {
		t.Errorf("%+v", seen)
	}
}

// Promise: of marks that follow one another before anybody looks, the first that is due counts;
// once it was looked at, the next one does.
func TestDelayMarksTogether(t *testing.T) {
	var m delayMarks
	at := place{"a", 1}
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 10, 5), markOf("a", 1, 100, 6)}})
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 1000, 7)}})
	if got := m.take().all[at]; got != (delayMark{10, 7}) {
		t.Errorf("%+v", got)
	}
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 50, 8)}})
	if got := m.take().all[at]; got != (delayMark{50, 8}) {
		t.Errorf("after it was looked at: %+v", got)
	}
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 20, 9)}})
	m.see(space, discovery.Snapshot{KVs: []discovery.KV{markOf("a", 1, 70, 4)}})
	if got := m.take().all[at]; got != (delayMark{70, 4}) {
		t.Errorf("after a list: %+v", got)
	}
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 20, 9)}})
	m.see(space, discovery.Delta{Deletes: []discovery.KV{markOf("a", 1, 20, 9)}})
	m.see(space, discovery.Delta{Puts: []discovery.KV{markOf("a", 1, 90, 10)}})
	if got := m.take().all[at]; got != (delayMark{90, 10}) {
		t.Errorf("after it was deleted: %+v", got)
	}
}

// Promise: a mark that is put says of something that is due sooner, and never that something
// is due later; where etcd may be another one, it is read what is due.
func TestDelaysFollowMarks(t *testing.T) {
	d := &delays{parts: make(map[place]*delayedPart)}
	at := place{"a", 1}
	for i, step := range []struct {
		lists         int
		due, revision int64
		known         int64 // what was read since the last step; 0 for nothing
		want          int64
	}{
		{1, 50, 5, 0, unread},
		{1, 50, 5, 30, 30},
		{1, 70, 6, 0, 30},
		{1, 20, 7, 0, 20},
		{1, 60, 8, commitlog.NoneWaits, 60},
		{2, 60, 8, 0, unread},
		{2, 10, 3, 40, unread}, // set back
	} {
		if p := d.parts[at]; p != nil && step.known != 0 {
			p.next = step.known
		}
		d.follow(marksSeen{all: map[place]delayMark{at: {step.due, step.revision}}, lists: step.lists})
		if got := d.parts[at].next; got != step.want {
			t.Errorf("step %d: due at %d, want %d", i, got, step.want)
		}
	}
	if d.follow(marksSeen{lists: 2}); len(d.parts) > 0 {
		t.Error("a mark that is gone is followed")
	}
}

// Promise: a clock that is set forward makes nothing due before that has stood, and one that
// is set back makes it due later.
func TestDelaysByTheKeepersClock(t *testing.T) {
	now := reading{noon, 1}
	w := &Work{Clock: newClock(func() reading { return now }, func(time.Duration) {})}
	p := &delayedPart{log: &commitlog.Partition{}, next: noon.Add(time.Hour).UnixNano()}
	d := &delays{parts: map[place]*delayedPart{{"a", 0}: p}}
	for _, tt := range []struct {
		steady, off time.Duration
		due         bool
	}{
		{time.Minute, 0, false},
		{2 * time.Minute, 2 * time.Hour, false},
		{11 * time.Minute, 2 * time.Hour, false},
		{12 * time.Minute, 2 * time.Hour, true},
		{13 * time.Minute, 0, false},
		{61 * time.Minute, 0, true},
	} {
		now = reading{noon.Add(tt.steady + tt.off), 1 + tt.steady}
		if due := len(d.due(w)) > 0; due != tt.due {
			t.Errorf("after %s, off by %s: due is %v", tt.steady, tt.off, due)
		}
	}
	p.after = time.Now().Add(time.Hour)
	if len(d.due(w)) > 0 {
		t.Error("due again at once after it went wrong")
	}
	if wait, err := d.rest(w); wait > delaysEvery || err != nil {
		t.Errorf("rests for %s, %v", wait, err)
	}
}
