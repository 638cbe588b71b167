package recvq

// How deliveries are settled: acked, nacked or given back.

import (
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// ackDelay is how long the first settled delivery waits for company.
const ackDelay = 2 * time.Millisecond

// Ack settles a delivery that was handled. When it is no longer this member's
// to settle, somebody else gets or got it too, and an event says so.
func (l *Link) Ack(seq uint64) {
	l.lock()
	l.userSettled(seq)
	_, late := l.expired[seq]
	late = late || l.closed && !l.plain && !l.acks.Has(seq)
	if !late && !l.closed {
		l.settle(seq)
	}
	l.mu.Unlock()
	if late {
		l.queue.late(seq)
	}
}

// GiveBack settles a delivery that was not handled; the sender decides what then.
func (l *Link) GiveBack(seq uint64, how messages.GiveBack) {
	f := failure{seq: seq}
	switch how.Verb {
	case messages.VerbRelease:
		f.kind = frame.NackReturned
	case messages.VerbReject:
		f.kind, f.reason = frame.NackRejected, reasonOf(how.Cause, "rejected")
	default:
		f.after, f.reason = how.After, reasonOf(how.Cause, "nacked")
	}
	l.lock()
	defer l.mu.Unlock()
	l.userSettled(seq)
	l.failing(f)
}

// repliesAtOnce is how many bytes of replies may wait to be written on one link.
const repliesAtOnce = 16 << 20

// Reply sends m, or why the request is refused, to the requester, and acks the delivery. See
// messages.Delivery.Reply.
func (l *Link) Reply(seq, request uint64, m *messages.Message, refused error) error {
	r := frame.Reply{Request: request}
	if refused != nil {
		r.Failed, r.Error = true, frame.Clip(reasonOf(refused, "rejected"))
	} else {
		if err := m.CheckSend(); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		size, payload := messages.RecordSize(m), messages.PayloadSize(m)
		if uint64(frame.LargestRecord(payload)) > l.largest || len(m.Headers) > messages.MaxHeaders {
			return fmt.Errorf("reply: %d bytes and %d headers are more than a message of %q may have: %w", payload, len(m.Headers), l.queue.cfg.Destination, messages.ErrTooLarge)
		}
		r.Record = messages.AppendRecord(make([]byte, 0, size), m)
	}
	l.lock()
	_, late := l.expired[seq]
	switch {
	case l.closed:
		l.mu.Unlock()
		return fmt.Errorf("reply: the link to the sender is gone: %w", messages.ErrClosed)
	case !late && l.acks.Has(seq):
		l.mu.Unlock()
		return fmt.Errorf("reply: the request was settled before; reply in place of Ack: %w", messages.ErrInvalid)
	case l.replying > 0 && l.replying+len(r.Record) > repliesAtOnce:
		l.mu.Unlock()
		return fmt.Errorf("reply: %d bytes of replies wait to be written: %w", l.replying, messages.ErrBusy)
	}
	l.replies = append(l.replies, r)
	l.replying += len(r.Record)
	l.ring()
	l.userSettled(seq)
	if !late {
		l.settle(seq)
	}
	l.mu.Unlock()
	if late {
		l.queue.late(seq)
	}
	return nil
}

// reasonOf is what a user's error says, or what is said without one. One that panics when it is asked is a
// failure like any other.
func reasonOf(cause error, without string) (reason string) {
	defer func() {
		if p := recover(); p != nil {
			reason = fmt.Sprintf("an error of type %T, whose Error method panicked: %v", cause, p)
		}
	}()
	if cause == nil {
		return without
	}
	return cause.Error()
}

// giveBack returns a delivery that nobody tried to handle.
func (l *Link) giveBack(seq uint64) { l.fail(failure{seq: seq, kind: frame.NackReturned}) }

func (l *Link) fail(f failure) bool {
	l.lock()
	defer l.mu.Unlock()
	return l.failing(f)
}

// failing is fail under mu.
func (l *Link) failing(f failure) bool {
	if l.plain && f.kind != frame.NackLapsed && !l.acks.Has(f.seq) {
		cfg := &l.queue.cfg
		l.queue.emit(messages.MessagesDropped{Destination: cfg.Destination, Group: cfg.Group, Count: 1, Why: "it was not handled, and a plain peer sends nothing again"})
	}
	if l.closed || !l.settle(f.seq) {
		return false
	}
	if !l.atMostOnce() {
		l.failures = append(l.failures, f)
		l.breaks(f)
	}
	l.hurry()
	return true
}

// settle notes seq as settled and reports whether that was new. mu is held.
func (l *Link) settle(seq uint64) bool {
	if seq > l.received || !l.acks.Add(seq) {
		return false
	}
	if l.extended != nil {
		delete(l.extended, seq)
	}
	l.account(seq)
	switch pending := l.acks.Count - l.reported; {
	case pending >= l.enough():
		l.hurry()
	case l.due.IsZero():
		l.due = time.Now().Add(ackDelay)
		l.ring()
	}
	return true
}

// enough is how many settled deliveries a report does not wait for more than.
func (l *Link) enough() uint64 { return uint64(max(1, l.window/4)) }

// account frees a frame's bytes once all of it is settled.
func (l *Link) account(seq uint64) { l.free(l.frameOf(seq), 1) }

// free notes that n deliveries of a frame are settled.
func (l *Link) free(at, n int) {
	f := l.frames[at]
	if f.left -= n; f.left == 0 {
		l.freed += uint64(f.size)
		l.frames = slices.Delete(l.frames, at, at+1)
		if f.buffer != nil {
			f.buffer.Release()
		}
	}
}

// keep leaves the memory of a delivery to whoever has it in hand.
func (l *Link) keep(seq uint64) {
	if !l.closed && seq <= l.received && !l.acks.Has(seq) {
		l.frames[l.frameOf(seq)].buffer = nil
	}
}

// frameOf is the index of the frame in which an unsettled delivery came.
func (l *Link) frameOf(seq uint64) (at int) {
	if f := l.frames[0]; seq >= f.first+uint64(f.count) {
		at, _ = slices.BinarySearchFunc(l.frames, seq, func(f *Frame, seq uint64) int {
			if f.first+uint64(f.count) <= seq {
				return -1
			}
			return 1
		})
	}
	return at
}
