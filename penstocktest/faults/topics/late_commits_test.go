package topics_test

// Writes of a group's place that reach etcd late: after they were given up and
// made again, and after newer ones. Promise: what was answered stands; no older
// write undoes it.

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// lateParty is a group in a topic of a hundred records, behind a link that can
// deliver late, and a runtime beside it that looks.
type lateParty struct {
	proxy   *penstocktest.LateProxy
	rt      *penstock.Runtime // behind the link
	watcher *penstock.Runtime
	sub     *penstock.Subscription
}

func newLateParty(t *testing.T) *lateParty {
	t.Helper()
	ns := penstocktest.Space(t)
	p := &lateParty{proxy: penstocktest.NewLateProxy(t, harness.Etcd.Endpoint()), watcher: harness.Runtime(t, ns)}
	newAccount().put(t, makeTopic(t, p.watcher, theTopic, 1), 0, 100)
	p.rt = harness.Runtime(t, ns, penstock.Etcd(p.proxy.Addr()), penstock.LeaseTTL(2*time.Minute))
	p.sub = subscribe(t, openTopic(t, p.rt, theTopic), theGroup, penstock.ManualCommit())
	return p
}

func (p *lateParty) committed(t *testing.T) int64 {
	t.Helper()
	return groupOf(t, p.watcher, theTopic, theGroup).Partitions[0].Committed
}

// hold lets the next request with all of parts in it stall, and its connection
// with it.
func (p *lateParty) hold(t *testing.T, parts ...string) (held <-chan struct{}) {
	t.Helper()
	holds, broken := p.proxy.HoldAt(parts...), make(chan struct{}, 1)
	go func() {
		select {
		case <-holds:
			p.proxy.Abandon()
			broken <- struct{}{}
		case <-t.Context().Done():
		}
	}()
	return broken
}

// holdCommit lets the next commit stall.
func (p *lateParty) holdCommit(t *testing.T) (held <-chan struct{}) {
	t.Helper()
	return p.hold(t, "/offsets/", "/claims/")
}

// late brings what stalled to etcd.
func (p *lateParty) late(t *testing.T) { p.proxy.Release(t.Context(), 50*time.Millisecond) }

func commitRecord(t *testing.T, s *penstock.Subscription, recs ...penstock.Record) {
	t.Helper()
	if err := s.Commit(harness.Context(t), recs...); err != nil {
		t.Fatal(err)
	}
}

func TestCommitIsNotUndoneByALateOne(t *testing.T) {
	t.Parallel()
	p := newLateParty(t)
	recs := polled(t, p.sub, 10)
	commitRecord(t, p.sub, recs[9])
	recs = polled(t, p.sub, 10)
	held := p.holdCommit(t)
	commitRecord(t, p.sub, recs[9]) // at the second attempt, by another connection
	harness.Await(t, "a commit that stalls", held)
	recs = polled(t, p.sub, 80)
	commitRecord(t, p.sub, recs[79])
	p.late(t)
	if at := p.committed(t); at != 100 {
		t.Errorf("%d is committed after the late one, want 100", at)
	}
	unsubscribe(t, p.sub)
	if at := p.committed(t); at != 100 {
		t.Errorf("%d is committed after the release, want 100", at)
	}
}

// After a Seek back the late commit would pass over records that nobody has
// handled again.
func TestSeekIsNotUndoneByALateCommit(t *testing.T) {
	t.Parallel()
	p := newLateParty(t)
	recs := polled(t, p.sub, 80)
	held := p.holdCommit(t)
	commitRecord(t, p.sub, recs[79])
	harness.Await(t, "a commit that stalls", held)
	if err := p.sub.Seek(harness.Context(t), 0, penstock.FromEarliest()); err != nil {
		t.Fatal(err)
	}
	recs = polled(t, p.sub, 5)
	commitRecord(t, p.sub, recs[4])
	p.late(t)
	if at := p.committed(t); at != 5 {
		t.Errorf("%d is committed after the late one, want 5", at)
	}
	// Whoever comes next begins there.
	unsubscribe(t, p.sub)
	next := subscribe(t, openTopic(t, p.watcher, theTopic), theGroup)
	if rec := polled(t, next, 1)[0]; rec.Offset != 5 {
		t.Errorf("the next owner begins at %d, want 5", rec.Offset)
	}
}

// A commit that its caller gave up, and which is still being tried, does not come
// after one that was asked for later.
func TestCommitGivenUpByItsCallerIsOvertaken(t *testing.T) {
	t.Parallel()
	p := newLateParty(t)
	recs := polled(t, p.sub, 20)
	held := p.holdCommit(t)
	ctx, cancel := context.WithCancel(harness.Context(t))
	gone := make(chan error, 1)
	go func() { gone <- p.sub.Commit(ctx, recs[19]) }()
	harness.Await(t, "a commit that stalls", held)
	cancel()
	<-gone
	commitRecord(t, p.sub, recs[4])
	p.late(t)
	if at := p.committed(t); at != 5 {
		t.Errorf("%d is committed after the late one, want 5", at)
	}
}

// A reset that was given up, of a group with members, does not move them again
// once they have gone on, and takes no claim away.
func TestResetGivenUpDoesNotComeLater(t *testing.T) {
	t.Parallel()
	p := newLateParty(t)
	commitRecord(t, p.sub, polled(t, p.sub, 80)[79])
	behind := p.rt
	front := subscribe(t, openTopic(t, p.watcher, theTopic), "front", penstock.ManualCommit())
	commitRecord(t, front, polled(t, front, 10)[9])
	held := p.hold(t, "/offsets/", "/claims/", "\x08\x03\x20") // the offset 3, as it is written
	ctx, cancel := context.WithCancel(harness.Context(t))
	gone := make(chan error, 1)
	go func() {
		_, err := behind.ResetOffsets(ctx, theTopic, "front", penstock.FromOffset(3), penstock.Force())
		gone <- err
	}()
	harness.Await(t, "a reset that stalls", held)
	cancel()
	if err := <-gone; err == nil {
		t.Fatal("a reset that stalls was answered")
	}
	commitRecord(t, front, polled(t, front, 20)[19])
	p.late(t)
	if at := groupOf(t, p.watcher, theTopic, "front").Partitions[0]; at.Committed != 30 || at.Owner != front.ID() {
		t.Errorf("%d is committed after the late reset, owner %q; want 30 of %q", at.Committed, at.Owner, front.ID())
	}
	commitRecord(t, front, polled(t, front, 10)[9])
}
