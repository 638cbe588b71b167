package recvq

// Who reads, and what becomes of what nobody reads.

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// readerState is what the member's reader is about.
type readerState string

const (
	readerNone  readerState = "none"
	readerTakes readerState = "takes"
	readerStuck readerState = "stuck" // it took nothing for AckWait: no sender may send
	readerEnds  readerState = "ends"  // its context is over: it takes nothing more, and its handlers still run
)

// begin makes the caller the member's reader, until end is called. What the last Poll
// returned is acked.
func (q *Queue) begin() (end func(), err error) {
	var was []polled
	defer func() { q.ackPolled(was) }()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == Left {
		return nil, fmt.Errorf("read %q of %q: %w", q.cfg.Group, q.cfg.Destination, messages.ErrClosed)
	}
	if q.reader != readerNone {
		return nil, fmt.Errorf("read %q of %q: another loop or Consume reads already: %w", q.cfg.Group, q.cfg.Destination, messages.ErrBusy)
	}
	was, q.polled = q.polled, nil
	q.reader = readerTakes
	if !q.paused.Load() { // else it takes nothing, and what waits for a reader may wait too long
		q.reads++
	}
	q.grant()
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.ends(readerNone)
	}, nil
}

// grant lets the senders send, unless the member is paused. mu is held.
func (q *Queue) grant() {
	if q.paused.Load() {
		return
	}
	for _, l := range q.links {
		l.grant()
	}
}

// Pauser is who paused a member.
type Pauser uint8

// Who can: each by itself.
const (
	ByMember Pauser = 1 << iota
	ByGroup
)

// Pause hands out nothing more until Resume of the same. What has come and what comes
// waits for that as it does for a reader. Whoever waits for a delivery keeps waiting. It
// reports whether that is new.
func (q *Queue) Pause(by Pauser) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.pausers
	q.pausers |= by
	if was == 0 {
		q.paused.Store(true)
		if q.ReaderGone != nil && q.reader != readerNone {
			q.ReaderGone(q.reads)
		}
	}
	return q.pausers != was
}

// Resume ends Pause. It reports whether that is new.
func (q *Queue) Resume(by Pauser) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.pausers
	q.pausers &^= by
	if q.pausers > 0 || was == 0 {
		return q.pausers != was
	}
	q.paused.Store(false)
	if q.reader == readerTakes || q.reader == readerStuck {
		q.reader = readerTakes
		q.reads++ // who waits for the one before to be gone has another one
		q.grant()
	}
	q.signal()
	return true
}

// Paused reports whether the member is.
func (q *Queue) Paused() bool { return q.paused.Load() }

// ends notes that the reader takes nothing more, or is gone. mu is held.
func (q *Queue) ends(state readerState) {
	q.reader = state
	if q.ReaderGone != nil {
		q.ReaderGone(q.reads)
	}
}

// Over notes that the context of c has ended: it takes nothing more, though its handlers
// may still run.
func (q *Queue) Over(c *Consumption) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.consuming == c && (q.reader == readerTakes || q.reader == readerStuck) {
		q.ends(readerEnds)
	}
}

// UnreadSince reports whether nobody has taken anything since that many readers.
func (q *Queue) UnreadSince(reads uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.takes() && q.reads == reads
}

// Busy reports whether there is a reader that may take more.
func (q *Queue) Busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takes()
}

// takes reports whether there is a reader that may take more. mu is held.
func (q *Queue) takes() bool {
	return (q.reader == readerTakes || q.reader == readerStuck) && !q.paused.Load()
}

// take returns the next frame, waiting for it until ctx ends. It returns nil
// without an error when the member has left.
func (q *Queue) take(ctx context.Context) (*Frame, error) {
	q.mu.Lock()
	for {
		if q.reader == readerStuck { // it was, or somebody took it for that while it waited
			q.reader = readerTakes
			q.grant()
		}
		if q.phase == Left {
			err := q.cause
			q.mu.Unlock()
			return nil, err
		}
		paused := q.paused.Load()
		if !paused {
			if f := q.pick(); f != nil {
				q.mu.Unlock()
				return f, nil
			}
		}
		if q.phase == Leaving && len(q.links) == 0 {
			err := q.cause
			q.mu.Unlock()
			return nil, err
		}
		if !paused && q.head == len(q.frames) {
			for _, l := range q.links {
				l.starved()
			}
		}
		if q.wanted == nil {
			q.wanted = make(chan struct{})
		}
		wanted := q.wanted
		q.mu.Unlock()
		select {
		case <-wanted:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		q.mu.Lock()
	}
}

// putBack returns a frame that was taken and not handed out to its end.
func (q *Queue) putBack(f *Frame) {
	if f == nil || len(f.records) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.link.atMostOnce() || slices.Contains(q.links, f.link) {
		q.frames, q.head = slices.Insert(q.frames[q.head:], 0, f), 0
		q.signal()
	}
}

// WhyPaused is why what a member was sent goes back while it is paused.
const WhyPaused = "the member is paused"

// Stall notes that the reader takes nothing that came on l, until it takes
// something again, and gives back what waits there. Links on which nothing waits
// get no more meanwhile. It may be paused and not stuck. What came on a link that has
// ended waits for nobody.
func (q *Queue) Stall(l *Link) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.links, l) {
		return
	}
	defer q.signal()
	if q.reader == readerTakes {
		q.reader = readerStuck
	}
	why := "the reader is stuck"
	if q.paused.Load() {
		why = WhyPaused
	}
	n := q.yieldOf(why, func(x *Link) bool { return x == l || q.reader == readerStuck && !x.waiting() })
	if q.phase == Leaving {
		q.forced += n
	}
}

// Yield gives back what has come and was not handed out, and all credit. The
// links stay: what is in hand is settled on them, or outlives AckWait there. At
// most once nothing can go back, and what has come waits for the next reader.
func (q *Queue) Yield(why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.yieldOf(why, func(*Link) bool { return true })
}

// yieldOf is yield for some links. mu is held.
func (q *Queue) yieldOf(why string, which func(*Link) bool) (returned int) {
	for _, l := range q.links {
		if !which(l) {
			continue
		}
		n := l.yield()
		if n > 0 {
			q.forget(l)
		}
		returned += n
	}
	if returned > 0 && !q.cfg.Lent {
		q.emit(messages.UnreadReturned{
			Destination: q.cfg.Destination, Group: q.cfg.Group, Member: q.cfg.ID, Count: returned, Why: why,
		})
	}
	return returned
}

// Force counts deliveries in hand that a leaving member gave up.
func (q *Queue) Force(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forced += n
}

// Awaits reports whether a link that is to end in order has to wait: for a reader
// that takes what has come, or for deliveries in hand.
func (q *Queue) Awaits(l *Link) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takes() || !l.atMostOnce() && l.inHand()
}

// code describes a run of user code that reads here; from returns the link of what
// it has in hand, or nil.
func (q *Queue) code(what string, from func() *Link) *usercode.Run {
	return &usercode.Run{
		What: fmt.Sprintf("%s of group %q of %q", what, q.cfg.Group, q.cfg.Destination), Of: q,
		Holds: func(dest, sender string) bool {
			l := from()
			return l != nil && dest == q.cfg.Destination && sender == l.Sender
		},
	}
}
