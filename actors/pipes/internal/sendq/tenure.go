package sendq

// How long a member may keep what a link has sent it. A member keeps AckWait by
// itself; a sender does not rely on that. The queue's lock guards it, and
// times are the sender's own.

import (
	"cmp"
	"slices"
	"time"

	"github.com/penstock-io/penstock/transport/frame"
)

// linkStanding is what a sender makes of the member behind a link.
type linkStanding uint8

const (
	linkTrusted linkStanding = iota
	linkHung                 // it kept something for too long: nothing more until all of that is settled
	linkTried                // it settled that: one message at a time, until it settles one in time
)

// OverdueEvery is how often a link looks for what is out for too long.
const OverdueEvery = time.Second

// tenure is what a link has out, in time. It is taken down at a steady pace, so
// that the data path reads no clock.
//
// A member hands out in the order of the link. So whatever is below a sequence
// that it settled or renewed was handed out by then; and of what is above, it hands
// out, settles or gives back something within AckWait, as long as anything is out.
type tenure struct {
	standing linkStanding
	wait     time.Duration // the member's AckWait; 0 until it is said, negative without a limit
	high     uint64        // the highest sequence that was settled or renewed
	seen     uint64        // high, when last looked at
	moved    time.Time     // when high was last seen to move, or something to be renewed
	looked   time.Time
	marks    []tenureMark
	aged     tenureMark // how it stood as long ago as something may be out
	renewals []renewal
}

type tenureMark struct {
	at         time.Time
	sent, high uint64
}

// renewal is an InProgress of the member's; its time is zero until the next look.
type renewal struct {
	frame.Range
	at time.Time
}

// marksKept is about how many marks there are within the time that they are about.
// A long AckWait is kept less exactly, by that part of it.
const marksKept = 64

// renewalsKept bounds what a member can make its sender remember.
const renewalsKept = 1 << 14

// limit is how long something may be out: AckWait, and a margin for the pace at
// which the member looks, the way, and a busy machine. Negative without a limit.
func (t *tenure) limit() time.Duration {
	wait := cmp.Or(t.wait, frame.DefaultAckWait)
	if wait < 0 {
		return -1
	}
	return wait + wait/2 + 2*time.Second
}

// hears takes down what an ack says besides what it settles.
func (t *tenure) hears(a *frame.Ack) {
	t.high = max(t.high, a.Cumulative)
	if n := len(a.Ranges); n > 0 {
		t.high = max(t.high, a.Ranges[n-1].To)
	}
	if a.AckWait != 0 && t.wait == 0 {
		t.wait = a.AckWait
		if t.wait > 0 {
			t.wait = min(max(t.wait, 100*time.Millisecond), 1000*time.Hour) // what a peer says
		}
	}
	for _, r := range a.Renewed {
		if len(t.renewals) == renewalsKept {
			return
		}
		t.high = max(t.high, r.To)
		t.renewals = append(t.renewals, renewal{Range: r})
	}
}

// overdue returns the sequences up to sent that are out for too long, unless they
// are settled already, ascending and apart. empty says that nothing is out.
func (t *tenure) overdue(now time.Time, sent uint64, empty bool) []frame.Range {
	limit := t.limit()
	t.excuse(now)
	if empty || limit < 0 {
		t.marks, t.renewals, t.moved, t.seen = nil, nil, now, t.high
		t.aged = tenureMark{now, sent, sent}
		return nil
	}
	t.look(now, sent, limit)
	var late []frame.Range
	if low := t.aged.high; low > 0 {
		late = t.without(frame.Range{From: 1, To: low})
	}
	if from := t.aged.high + 1; now.Sub(t.moved) >= limit && t.aged.sent >= from {
		late = append(late, frame.Range{From: from, To: t.aged.sent})
	}
	return late
}

// excuse leaves out time in which nobody looked: this process stood still, and what
// the member said meanwhile may not be read yet.
func (t *tenure) excuse(now time.Time) {
	away := now.Sub(t.looked) - OverdueEvery
	if !t.looked.IsZero() && away > OverdueEvery {
		t.moved = t.moved.Add(away)
		for i := range t.marks {
			t.marks[i].at = t.marks[i].at.Add(away)
		}
		for i := range t.renewals {
			if at := &t.renewals[i].at; !at.IsZero() {
				*at = at.Add(away)
			}
		}
	}
	t.looked = now
}

// look takes down how it stands, and forgets what is too long ago to matter.
func (t *tenure) look(now time.Time, sent uint64, limit time.Duration) {
	if t.high != t.seen {
		t.seen, t.moved = t.high, now
	}
	for i := range t.renewals {
		if t.renewals[i].at.IsZero() {
			t.renewals[i].at, t.moved = now, now
		}
	}
	t.renewals = slices.DeleteFunc(t.renewals, func(r renewal) bool { return now.Sub(r.at) >= limit })
	if n := len(t.marks); n == 0 || now.Sub(t.marks[n-1].at) >= limit/marksKept && (t.marks[n-1].sent != sent || t.marks[n-1].high != t.high) {
		t.marks = append(t.marks, tenureMark{now, sent, t.high})
	}
	old := 0
	for old < len(t.marks) && now.Sub(t.marks[old].at) >= limit {
		t.aged = t.marks[old]
		old++
	}
	if old == len(t.marks) {
		old-- // how it stands still: the next mark is compared with it
	}
	t.marks = t.marks[old:]
}

// without returns r but for what was renewed.
func (t *tenure) without(r frame.Range) (out []frame.Range) {
	renewed := make([]frame.Range, len(t.renewals))
	for i, x := range t.renewals {
		renewed[i] = x.Range
	}
	slices.SortFunc(renewed, func(a, b frame.Range) int { return cmp.Compare(a.From, b.From) })
	from := r.From
	for _, x := range renewed {
		if x.From > from {
			out = append(out, frame.Range{From: from, To: min(x.From-1, r.To)})
		}
		if from = max(from, x.To+1); from > r.To || from == 0 {
			return out
		}
	}
	return append(out, frame.Range{From: from, To: r.To})
}

// onTrial is how many messages a member on trial may be sent.
func (l *Link) onTrial() uint64 {
	if l.out.empty() {
		return 1
	}
	return 0
}

// Idle reports whether TakeBack has nothing to look for, and notes when that was: between
// two looks with nothing out no time passes that could count for what is sent next.
func (q *Queue) Idle(l *Link, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case l.phase == linkClosed:
		return true
	case !l.out.empty():
		return false
	}
	l.tenure.overdue(now, l.sent, true)
	return true
}

// TakeBack queues again what the member has kept for too long, and returns how
// much that is. The member gets no more until it has settled all of it, which
// settles nothing any more. Where the group keeps an order nothing is queued again: the
// link is to be ended, so that the member hands out no more.
func (q *Queue) TakeBack(b *Backlog, l *Link, now time.Time) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.phase == linkClosed {
		return 0
	}
	found := suspicion{member: l.Member, cause: errKept, suspects: l.concurrency, now: now, died: true}
	for _, r := range l.tenure.overdue(now, l.sent, l.out.empty()) {
		if b.settings.Mode.Ordered() {
			n += l.out.within(r)
			continue
		}
		l.out.remove(r.From, r.To, func(x *sentSpan) {
			n += x.len()
			q.repeat(b, x.span, &found)
		})
	}
	if n > 0 && !b.settings.Mode.Ordered() {
		l.tenure.standing = linkHung
		b.counters.Redelivered += uint64(n)
		b.place(l)
		q.wake(b)
	}
	return n
}
