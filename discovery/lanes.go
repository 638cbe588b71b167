package discovery

// The streams of Watches. A lane is one stream and what is watched there.

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/penstock-io/penstock/discovery/internal/stream"
)

// lane is one stream. It belongs to Run.
type lane struct {
	stream  *stream.Shared
	until   time.Time  // takes new watches
	opening []*watched // asked for and not confirmed; nil for a sign of life
	by      map[int64]*watched
	asked   int // how often since it was heard
	cluster uint64
	// latest is the highest revision heard of, floor what it was when a sign of life
	// was last asked for: the answer must not be behind that.
	latest, floor int64
}

const (
	// laneTakes is for how long a stream takes new watches: etcd judges them by the
	// login with which it was opened, which lasts five minutes. A stream ends when its
	// watches have been listed again, and are on others.
	laneTakes = 3 * time.Minute
	// silentLane is after how many unanswered requests a stream is dead.
	silentLane = 3
)

// lanes are the streams of a Run. Its methods are called with the lock held.
type lanes struct {
	w     *Watches
	ctx   context.Context
	heard chan stream.Said
	all   map[*stream.Shared]*lane
	takes *lane // new watches; nil for none
}

func (r *lanes) close() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, l := range r.all {
		r.drop(l)
		for _, x := range l.watched() {
			r.w.await(x, time.Time{})
		}
	}
	r.w.ended = nil
}

// drop ends a stream, of whose watches nothing is heard any more.
func (r *lanes) drop(l *lane) {
	delete(r.all, l.stream)
	if r.takes == l {
		r.takes = nil
	}
	l.stream.Close()
}

// watched is what a lane has and we have not ended.
func (l *lane) watched() (out []*watched) {
	for _, x := range l.opening {
		if x != nil && x.at == watchOpening {
			out = append(out, x)
		}
	}
	for id, x := range l.by {
		if x.placed == (placed{l, id}) {
			out = append(out, x)
		}
	}
	return out
}

// sync ends watches that are not wanted, opens what is due, and returns when the next
// is.
func (r *lanes) sync(now time.Time) time.Duration {
	ended, waiting := r.w.ended, r.w.waiting
	r.w.ended, r.w.waiting = nil, nil
	for _, p := range ended {
		if p.lane.by[p.id] != nil {
			delete(p.lane.by, p.id)
			p.lane.stream.Cancel(p.id)
		}
	}
	wait := time.Hour
	for _, x := range waiting {
		switch d := x.notBefore.Sub(now); {
		case x.at != watchWaiting:
		case d > 0:
			wait = min(wait, d)
			r.w.waiting = append(r.w.waiting, x)
		default:
			l := r.current()
			x.at = watchOpening
			l.opening = append(l.opening, x)
			l.stream.Create(x.prefix, x.end)
		}
	}
	return wait
}

// current is the stream that takes new watches.
func (r *lanes) current() *lane {
	if r.takes == nil || time.Now().After(r.takes.until) {
		r.takes = &lane{
			stream: stream.OpenShared(r.ctx, r.w.client, r.heard),
			until:  time.Now().Add(r.w.laneTakes), by: make(map[int64]*watched),
		}
		r.all[r.takes.stream] = r.takes
	}
	return r.takes
}

func (r *lanes) hear(said stream.Said) {
	l := r.all[said.By]
	if l == nil {
		return
	}
	l.asked = 0
	err := said.Err
	if err == nil {
		err = l.rolledBack(said.Resp)
	}
	if err != nil {
		r.broke(l, err)
		return
	}
	r.take(l, said.Resp)
}

// rolledBack is the error of a response of another history than those before.
func (l *lane) rolledBack(resp *etcdserverpb.WatchResponse) error {
	h := resp.Header
	switch {
	case h == nil:
		return nil
	case l.cluster != 0 && h.ClusterId != l.cluster:
		return fmt.Errorf("etcd was replaced: cluster %x, was %x", h.ClusterId, l.cluster)
	case (resp.Created && l.answers() || isProgress(resp)) && h.Revision < l.floor:
		return fmt.Errorf("etcd was rolled back: revision %d, was %d", h.Revision, l.floor)
	}
	l.cluster, l.latest = h.ClusterId, max(l.latest, h.Revision)
	return nil
}

// isProgress reports whether a response is about no watch, but says how far etcd is.
func isProgress(resp *etcdserverpb.WatchResponse) bool {
	return !resp.Created && !resp.Canceled && len(resp.Events) == 0
}

// answers reports whether the next confirmation is a sign of life that was asked for.
func (l *lane) answers() bool { return len(l.opening) > 0 && l.opening[0] == nil }

// broke ends a stream that broke: what it carried is listed again.
func (r *lanes) broke(l *lane, err error) {
	r.drop(l)
	for _, x := range l.watched() {
		r.w.lost(x, err)
	}
}

// take performs one response.
func (r *lanes) take(l *lane, resp *etcdserverpb.WatchResponse) {
	refused := stream.Refused(resp)
	if resp.Created {
		r.confirmed(l, resp, refused)
		return
	}
	x := l.by[resp.WatchId]
	switch {
	case x == nil || x.placed != (placed{l, resp.WatchId}): // ended by us
	case refused != nil:
		delete(l.by, resp.WatchId)
		r.w.lost(x, refused)
	case len(resp.Events) == 0:
	case x.at == watchStands:
		r.w.changed(x, resp)
	default:
		x.early = append(x.early, resp)
	}
}

// confirmed: etcd has opened the watch that was asked for next, or refused to.
func (r *lanes) confirmed(l *lane, resp *etcdserverpb.WatchResponse, refused error) {
	if len(l.opening) == 0 {
		return // of a stream that does not keep to the protocol
	}
	x := l.opening[0]
	l.opening[0] = nil
	l.opening = l.opening[1:]
	if refused != nil && r.takes == l {
		r.takes = nil // if the login has expired, another stream will do
	}
	if x == nil { // a sign of life
		for _, x := range l.by {
			x.failures = 0
		}
	}
	if x == nil || x.at == watchStopped {
		if refused == nil {
			l.stream.Cancel(resp.WatchId)
		}
		return
	}
	if refused == nil {
		l.by[resp.WatchId] = x
		x.placed = placed{l, resp.WatchId}
	}
	// Also where it was refused: the list says for certain what is denied.
	x.at, x.refused = watchOpened, refused
	x.cluster, x.revision = resp.GetHeader().GetClusterId(), resp.GetHeader().GetRevision()
	r.w.opened = append(r.w.opened, x)
	ring(r.w.bell)
}

// beat asks every stream for a sign of life, and has listed again what is due. It
// counts requests and not time, because a process that stood still has heard nothing
// either.
//
// What it asks for is one more watch, of a key that is watched there, which is ended
// when it is confirmed: etcd reports progress only when nothing is left to be told to any
// watch of the stream.
func (r *lanes) beat(now time.Time) {
	for x := range r.w.all {
		if x.at == watchStands && now.After(x.relist) {
			x.failures = 0
			r.w.await(x, time.Time{})
		}
	}
	for _, l := range r.all {
		switch {
		case len(l.by)+len(l.opening) == 0:
			r.drop(l)
		case l.asked == silentLane:
			r.broke(l, fmt.Errorf("%w for %v", stream.ErrSilent, silentLane*r.w.cfg.Progress))
		default:
			l.asked++
			l.floor = l.latest
			for _, x := range l.by {
				l.opening = append(l.opening, nil)
				l.stream.Create(x.prefix, "")
				break
			}
		}
	}
}
