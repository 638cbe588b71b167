package recvq

// How long deliveries may stay unsettled. Nothing is timed for each: how far they had
// been handed out is noted at a steady pace.

import (
	"slices"
	"time"

	"github.com/penstock-io/penstock/transport/frame"
)

// marksKept is about how many marks there are within AckWait. A long one is kept less
// exactly, by that part of it.
const marksKept = 64

// keptReason is why a delivery counts a death that outlived AckWait.
const keptReason = "its member kept it for longer than AckWait"

// mark is how far deliveries had been handed out at a time.
type mark struct {
	at     time.Time
	handed uint64
}

// InProgress restarts a delivery's AckWait.
func (l *Link) InProgress(seq uint64) {
	l.lock()
	defer l.mu.Unlock()
	if l.closed || l.acks.Has(seq) {
		return
	}
	if l.extended == nil {
		l.extended = make(map[uint64]time.Time)
	}
	l.extended[seq] = time.Now()
	l.moved = l.extended[seq]
}

// Expire gives a delivery up that outlived AckWait, and reports whether it was
// still out. Where it may be what whoever handles it is stuck in, it counts a death.
func (l *Link) Expire(seq uint64, death bool) bool {
	l.lock()
	defer l.mu.Unlock()
	l.keep(seq)
	f := failure{seq: seq, kind: frame.NackReturned}
	if death {
		f.kind, f.reason = frame.NackExpired, keptReason
	}
	if !l.failing(f) {
		return false
	}
	if l.expired == nil {
		l.expired = make(map[uint64]struct{})
	}
	l.expired[seq] = struct{}{}
	return true
}

// Overdue returns the deliveries that were handed out AckWait ago and are not
// settled. It is called at a steady pace, which is its precision.
func (l *Link) Overdue(now time.Time) (late []uint64) {
	wait := l.queue.cfg.AckWait
	l.lock()
	defer l.mu.Unlock()
	if l.handed > l.looked || l.received == l.handed {
		l.moved, l.looked = now, l.handed
	}
	if wait < 0 || l.closed {
		return nil
	}
	l.renew(now)
	for len(l.marks) > 0 && now.Sub(l.marks[0].at) >= wait {
		l.aged = l.marks[0].handed
		l.marks = l.marks[1:]
	}
	if n := len(l.marks); n == 0 && l.handed > l.aged || n > 0 && l.handed > l.marks[n-1].handed && now.Sub(l.marks[n-1].at) >= wait/marksKept {
		l.marks = append(l.marks, mark{now, l.handed})
	}
	l.acks.Gaps(l.aged, func(seq uint64) {
		if now.Sub(l.extended[seq]) >= wait {
			late = append(late, seq)
		}
	})
	return late
}

// Idle reports whether Overdue and Stalled have nothing to look for, and notes that as they
// would. A link that is asked to drain is not idle.
func (l *Link) Idle(now time.Time) bool {
	l.lock()
	defer l.mu.Unlock()
	if l.draining || l.acks.Cumulative < l.received {
		return false
	}
	l.moved, l.looked, l.swept = now, l.handed, now
	return true
}

// renewedAtOnce bounds the ranges of one report.
const renewedAtOnce = frame.MaxAckRanges

// renew has the sender told of what is in progress since the last time: it
// counts AckWait too. mu is held.
func (l *Link) renew(now time.Time) {
	var seqs []uint64
	for seq, at := range l.extended {
		if at.After(l.swept) {
			seqs = append(seqs, seq)
		}
	}
	l.swept = now
	if len(seqs) == 0 || l.atMostOnce() {
		return
	}
	slices.Sort(seqs)
	l.renewed = l.renewed[:0]
	for _, seq := range seqs {
		n := len(l.renewed)
		if n > 0 && (l.renewed[n-1].To+1 == seq || n == renewedAtOnce) {
			l.renewed[n-1].To = seq
		} else {
			l.renewed = append(l.renewed, frame.Range{From: seq, To: seq})
		}
	}
	l.hurry()
}

// Stalled reports whether what has come was not handed out for AckWait: whoever
// reads is stuck. It goes by what Overdue has seen.
func (l *Link) Stalled(now time.Time) bool {
	wait := l.queue.cfg.patience()
	l.lock()
	defer l.mu.Unlock()
	return wait > 0 && !l.closed && l.received > l.handed && !l.moved.IsZero() && now.Sub(l.moved) >= wait
}
