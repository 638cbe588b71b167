package embedded

// Defragmenting. etcd's file does not shrink when keys are deleted and history is compacted,
// and its quota is about the file. Defragmenting writes the file again without the free
// pages, and stops everything else meanwhile: some seconds for each gigabyte in use.

import (
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/schema"
)

// Defragmentation is what OnDefragment is told.
type Defragmentation struct {
	// Before and After are the bytes of the file, Took how long nothing else was done.
	Before, After int64
	Took          time.Duration
	// Disarmed: there was an alarm because the file had reached its quota, and it was ended.
	// With Before equal to After and no time taken, the file had room already, and nothing
	// was defragmented.
	Disarmed bool
	// Err is nil, or why it could not be done, such as a full disk: the file is as it was.
	Err error
}

// pace is when a server is defragmented.
type pace struct {
	look time.Duration // how often to look
	rest time.Duration // the least between two of them
	// calm is how long there must have been fewer than busy changes a second.
	calm time.Duration
	busy int64
	// free is the least that is free of the file, and half of it must be: a quarter where
	// the file has four fifths of the quota. inUse is the most that is to be written again.
	free, inUse int64
}

func defaultPace() pace {
	return pace{look: 5 * time.Second, rest: 10 * time.Minute, calm: 30 * time.Second, busy: 20, free: 64 << 20, inUse: 512 << 20}
}

// look is what there is of a server at a time.
type look struct {
	at                 time.Time
	revision           int64
	file, inUse, quota int64
	alone              bool // the cluster has no other member
	alarm              bool // etcd refuses writes, because the file has reached its quota
}

// step is what a look leads to.
type step int

const (
	leave step = iota
	// count has etcd count again what is free of its file: it notices the pages that a commit
	// freed at the next ones, and an idle server has no next ones.
	count
	// disarm ends an alarm that has no reason any more.
	disarm
	defragment
)

// quiet decides when a server is defragmented.
type quiet struct {
	pace
	before  look      // the one before
	since   time.Time // from when on it is calm; zero for not at all
	last    time.Time // when it was defragmented last; zero for never
	counted time.Time // when etcd counted last what is free
}

// next takes a look, and returns what to do.
func (q *quiet) next(now look) step {
	before := q.before
	q.before = now
	grown := now.revision - before.revision
	switch {
	case before.at.IsZero() || float64(grown) > float64(q.busy)*now.at.Sub(before.at).Seconds():
		q.since = time.Time{}
	case q.since.IsZero():
		q.since = before.at
	}
	free, share := now.file-now.inUse, int64(2)
	if now.quota > 0 && now.file >= now.quota/5*4 {
		share = 4
	}
	switch {
	case now.alone && now.alarm && now.file < now.quota/10*9:
		return disarm
	case !now.alone || q.since.IsZero() || now.at.Sub(q.since) < q.calm || now.file < q.free ||
		!q.last.IsZero() && now.at.Sub(q.last) < q.rest:
		return leave
	case free >= q.free && free >= now.file/share && now.inUse <= q.inUse:
		return defragment
	case now.at.Sub(q.counted) >= q.calm:
		return count
	}
	return leave
}

// tend defragments the server whenever it is due, until it is closed.
func (s *Server) tend(p pace, quota int64, told func(Defragmentation)) {
	defer close(s.tended)
	if p.look == 0 {
		return
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-s.closing:
		return
	case <-s.failed:
		return
	}
	q := quiet{pace: p}
	tick := time.NewTicker(p.look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.closing:
			return
		case <-s.failed:
			return
		}
		srv := s.etcd.Server
		db := srv.Backend()
		now := look{
			at: time.Now(), revision: srv.KV().Rev(), file: db.Size(), inUse: db.SizeInUse(), quota: quota,
			alone: len(srv.Cluster().Members()) == 1, alarm: len(s.alarms()) > 0,
		}
		switch q.next(now) {
		case leave:
		case count:
			q.counted = now.at
			recount(db)
		case disarm:
			d := Defragmentation{Before: now.file, After: now.file}
			d.Disarmed, d.Err = s.disarm()
			told(d)
		case defragment:
			d := Defragmentation{Before: now.file}
			d.Err = db.Defrag()
			q.last = time.Now()
			d.Took, d.After = q.last.Sub(now.at), db.Size()
			if d.Err == nil && d.After < quota/10*9 {
				d.Disarmed, d.Err = s.disarm()
			}
			told(d)
		}
	}
}

// recount has etcd count what is free of its file. Pages that a commit frees are free from the
// next one on that begins when nobody reads what was before; that one's end counts them. Asking
// for a bucket that is there is a change to commit that changes nothing.
func recount(db backend.Backend) {
	for range 2 {
		tx := db.BatchTx()
		tx.LockOutsideApply()
		tx.UnsafeCreateBucket(schema.Meta)
		tx.Unlock()
		db.ForceCommit()
	}
}

// alarms returns the alarms that refuse writes because of the quota.
func (s *Server) alarms() []*pb.AlarmMember {
	return slices.DeleteFunc(s.etcd.Server.Alarms(), func(a *pb.AlarmMember) bool { return a.Alarm != pb.AlarmType_NOSPACE })
}

// disarm ends the alarm that refuses writes because of the quota, if there is one.
func (s *Server) disarm() (bool, error) {
	srv, any := s.etcd.Server, false
	for _, a := range s.alarms() {
		ctx, cancel := context.WithTimeout(context.Background(), disarmWithin)
		_, err := srv.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: a.MemberID, Alarm: a.Alarm})
		cancel()
		if err != nil {
			return any, err
		}
		any = true
	}
	return any, nil
}

// disarmWithin bounds a request to the server itself.
const disarmWithin = 5 * time.Second
