package embedded

import (
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Promise: a server is defragmented when much of its file is free, nothing much has happened
// for a while, it is alone and not too large; and not again for some time.
func TestDefragmentsInAQuietMoment(t *testing.T) {
	const mib = 1 << 20
	p := pace{look: 5 * time.Second, rest: 10 * time.Minute, calm: 30 * time.Second, busy: 20, free: 64 * mib, inUse: 512 * mib}
	began := time.Unix(1e9, 0)
	for _, tt := range []struct {
		name             string
		file, inUse      int64
		changes          int64 // a second
		others           bool
		first, then, all int // looks until it is due first and again; due of 200 looks
	}{
		{"half is free", 200 * mib, 100 * mib, 0, false, 6, 126, 2},
		{"few changes", 200 * mib, 100 * mib, 20, false, 6, 126, 2},
		{"busy", 200 * mib, 100 * mib, 21, false, 0, 0, 0},
		{"little is free", 200 * mib, 101 * mib, 0, false, 0, 0, 0},
		{"a small file", 100 * mib, 40 * mib, 0, false, 0, 0, 0},
		{"near the quota", 900 * mib, 500 * mib, 0, false, 6, 126, 2},
		{"too large", 2000 * mib, 513 * mib, 0, false, 0, 0, 0},
		{"a member of a cluster", 200 * mib, 100 * mib, 0, true, 0, 0, 0},
	} {
		q := quiet{pace: p}
		var due []int
		for i := range 200 {
			now := look{
				at: began.Add(time.Duration(i) * p.look), revision: int64(i) * 5 * tt.changes,
				file: tt.file, inUse: tt.inUse, quota: 1000 * mib, alone: !tt.others,
			}
			if q.next(now) == defragment {
				due = append(due, i)
				q.last = now.at
			}
		}
		if len(due) != tt.all || len(due) > 0 && (due[0] != tt.first || due[1] != tt.then) {
			t.Errorf("%s: due at %v", tt.name, due)
		}
	}
	q := quiet{pace: p} // busy now and then
	for i := range int64(200) {
		if got := q.next(look{at: began.Add(time.Duration(i) * p.look), revision: i / 5 * 1000, file: 200 * mib, inUse: mib, alone: true}); got != leave {
			t.Fatalf("look %d: %v, but it was busy less than 30s ago", i, got)
		}
	}
}

// Promise: a calm server counts now and then what is free of its file, so that it hears of pages that
// the last change freed; and an alarm whose reason is gone ends, calm or not.
func TestLooksAtWhatIsFree(t *testing.T) {
	const mib = 1 << 20
	p := pace{look: 5 * time.Second, rest: 10 * time.Minute, calm: 30 * time.Second, busy: 20, free: 64 * mib, inUse: 512 * mib}
	for _, tt := range []struct {
		name    string
		now     look
		changes int64
		want    [13]step
	}{
		{"calm", look{file: 200 * mib, inUse: 200 * mib, alone: true}, 0, [13]step{6: count, 12: count}},
		{"busy", look{file: 200 * mib, inUse: 200 * mib, alone: true}, 1000, [13]step{}},
		{"a small file", look{file: 63 * mib, inUse: 63 * mib, alone: true}, 0, [13]step{}},
		{"a member of a cluster", look{file: 100 * mib, inUse: 100 * mib, alarm: true}, 0, [13]step{}},
		{"an alarm of a full file", look{file: 950 * mib, inUse: 950 * mib, alone: true, alarm: true}, 0, [13]step{6: count, 12: count}},
	} {
		q := quiet{pace: p}
		for i, want := range tt.want {
			now := tt.now
			now.at, now.revision, now.quota = time.Unix(1e9, 0).Add(time.Duration(i)*p.look), int64(i)*tt.changes, 1000*mib
			got := q.next(now)
			if got != want {
				t.Errorf("%s: look %d: %v, want %v", tt.name, i, got, want)
			}
			if got == count {
				q.counted = now.at
			}
		}
	}
	for i := range int64(5) {
		q := quiet{pace: p}
		if got := q.next(look{at: time.Unix(1e9+i*5, 0), revision: 1000 * i, file: 100 * mib, quota: 1000 * mib, alone: true, alarm: true}); got != disarm {
			t.Errorf("look %d: %v, and the alarm has no reason", i, got)
		}
	}
}

// Promise: a server whose file reached its quota and was emptied is written to again, without
// a person: the file shrinks, the alarm ends, and what is there stays.
func TestEmptiedServerRecoversByItself(t *testing.T) {
	t.Parallel()
	const quota = 16 << 20
	s, err := Start(testContext(t), "", UnsafeNoFsync(), Quota(quota), NeverDefragment())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, ctx := dial(t, s), testContext(t)
	if _, err := c.Put(ctx, "kept", "here"); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("x", 512<<10)
	for i := 0; err == nil; i++ {
		if i == 1000 {
			t.Fatal("it never fills")
		}
		_, err = c.Put(ctx, fmt.Sprint("large/", i), value)
	}
	alarms, aerr := c.AlarmList(ctx)
	if aerr != nil || len(alarms.Alarms) != 1 || alarms.Alarms[0].Alarm != pb.AlarmType_NOSPACE {
		t.Fatalf("alarms %v, %v, after %v", alarms, aerr, err)
	}
	del, err := c.Delete(ctx, "large/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(ctx, del.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	// Nothing changes from here on. It was not to be defragmented before, while it was being filled.
	<-s.tended
	s.tended = make(chan struct{})
	told := make(chan Defragmentation, 100)
	go s.tend(pace{look: 10 * time.Millisecond, calm: 50 * time.Millisecond, rest: 100 * time.Millisecond, free: 4 << 20, inUse: 64 << 20}, quota, func(d Defragmentation) {
		select {
		case told <- d:
		default:
		}
	})
	for disarmed := false; !disarmed; {
		select {
		case d := <-told:
			if d.Err != nil {
				t.Fatal(d.Err)
			}
			if disarmed = d.Disarmed; disarmed && (d.Before < 8<<20 || d.After > 4<<20 || d.Took <= 0) {
				t.Errorf("told %+v", d)
			}
		case <-ctx.Done():
			t.Fatal("it is not defragmented")
		}
	}
	if _, err := c.Put(ctx, "again", value); err != nil {
		t.Error("after that: ", err)
	}
	if got, err := c.Get(ctx, "kept"); err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "here" {
		t.Errorf("what was there: %v, %v", got, err)
	}
}

// Promise: an alarm that stays while the file has room, as when ending it failed, ends without a
// person.
func TestAlarmWithoutReasonEnds(t *testing.T) {
	t.Parallel()
	s := start(t, "", Quota(16<<20), NeverDefragment())
	c, ctx := dial(t, s), testContext(t)
	id := uint64(s.etcd.Server.MemberID())
	if _, err := s.etcd.Server.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_NOSPACE}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "refused", ""); err == nil {
		t.Fatal("the alarm refuses nothing")
	}
	<-s.tended
	s.tended = make(chan struct{})
	told := make(chan Defragmentation, 1)
	go s.tend(pace{look: 10 * time.Millisecond, calm: time.Hour, rest: time.Hour}, 16<<20, func(d Defragmentation) { told <- d })
	select {
	case d := <-told:
		if d.Err != nil || !d.Disarmed || d.Before != d.After || d.Took != 0 {
			t.Errorf("told %+v", d)
		}
	case <-ctx.Done():
		t.Fatal("the alarm stays")
	}
	if _, err := c.Put(ctx, "taken", ""); err != nil {
		t.Error("after that: ", err)
	}
}
