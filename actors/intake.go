package actors

// The receiving half of one link: what came, what was handed out, what is
// settled, and what the sender is to be told. It settles deliveries for
// handlers and loops, so it may be used from any goroutine.

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/actors/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// ackDelay is how long the first settled delivery waits for company.
const ackDelay = 2 * time.Millisecond

// firstWindow is what a reader is granted before it shows that it wants more.
const firstWindow = 64

// failure is a nack on its way to the sender.
type failure struct {
	seq    uint64
	kind   uint32 // why: frame.NackFailed, frame.NackReturned, frame.NackExpired
	reason string
}

// report is what the sender is to be told: failures first, because the ack
// covers them.
type report struct {
	failures    []failure
	cumulative  uint64
	ranges      []frame.Range
	credit      uint64
	creditBytes uint64
	withdraw    bool          // nothing may be sent until credit is granted again
	renewed     []frame.Range // InProgress since the last report
	ackWait     time.Duration
}

// marksKept is about how many marks there are within AckWait. A long one is kept less
// exactly, by that part of it.
const marksKept = 64

// mark is how far deliveries had been handed out at a time.
type mark struct {
	at     time.Time
	handed uint64
}

// allowance says whether a sender may send.
type allowance uint8

const (
	creditNone      allowance = iota // nobody has read so far
	creditGranted                    // somebody reads
	creditWithdrawn                  // nobody does any more
)

// intake is one link's session with a member.
type intake struct {
	inlet  *inlet
	sender string
	bell   chan struct{} // wakes the link's writer; holds one ring
	drain  chan struct{} // asks the sender to send no more; holds one
	quit   chan struct{} // closed to have the rest told and leave taken
	gone   chan struct{} // closed when that is done, or cannot be

	mu        sync.Mutex
	closed    bool   // the link is gone: settling does nothing
	largest   uint64 // record that the sender may send, in bytes; set before anything comes
	received  uint64
	brought   uint64    // bytes received
	granted   [2]uint64 // the highest totals that the sender was told: messages, bytes
	reach     uint64    // up to where the ranges are told, when they take several reports
	handed    uint64    // sequence of the last delivery handed out
	acks      recvq.AckSet
	loads     []*load // not settled, in order
	freed     uint64  // bytes of settled loads
	failures  []failure
	returned  uint64    // of handed: given back unread
	reported  uint64    // settled deliveries that the sender knows of
	allowed   allowance // whether the sender may send
	window    int       // messages granted at once, at most MemberConfig.Window
	credit    uint64    // the last total of messages that the sender was told
	due       time.Time // when the next report must go; zero when nothing is new
	urgent    bool      // it should go now
	marks     []mark
	moved     time.Time            // when a delivery was last seen to be handed out, or renewed
	looked    uint64               // handed, as it was then
	aged      uint64               // everything up to here was handed out AckWait ago
	told      uint64               // up to here the sender knows that all is settled
	extended  map[uint64]time.Time // InProgress, by sequence
	renewed   []frame.Range        // of them, what the sender is to be told
	swept     time.Time            // up to when it has been told of them
	expired   map[uint64]struct{}  // given to another member after AckWait
	drainTo   uint64               // last sequence the sender will send; 0 while not known
	drainSeen bool
}

// arrive takes a frame's records. An error means that the peer breaks the
// protocol.
func (k *intake) arrive(d *frame.Data, buffer *frameBuffer) error {
	k.mu.Lock()
	if d.First != k.received+1 {
		k.mu.Unlock()
		return fmt.Errorf("message %d came where %d was due: %w: %w", d.First, k.received+1, frame.ErrProtocol, messages.ErrCorrupt)
	}
	if err := k.exceeds(d); err != nil {
		k.mu.Unlock()
		return err
	}
	k.received += uint64(d.Count)
	k.brought += uint64(len(d.Records))
	l := &load{
		from: k, first: d.First, count: d.Count, left: d.Count, size: len(d.Records),
		records: d.Records, seq: d.First, attempts: slices.Clone(d.Attempts), again: d.Redelivered, buffer: buffer,
	}
	k.loads = append(k.loads, l)
	if k.allowed == creditWithdrawn && k.inlet.cfg.Mode != messages.AtMostOnce {
		k.giveBackUnread() // it was on its way when its credit was withdrawn
		k.mu.Unlock()
		return nil
	}
	k.mu.Unlock()
	k.inlet.push(l)
	return nil
}

// exceeds keeps the sender to its credit, and refuses a frame that has more. The
// last message may overshoot the bytes. mu is held.
func (k *intake) exceeds(d *frame.Data) error {
	messagesTotal, bytesTotal := k.received+uint64(d.Count), k.brought+uint64(len(d.Records))
	switch {
	case messagesTotal > k.granted[0]:
		return fmt.Errorf("message %d came with credit for %d: %w", messagesTotal, k.granted[0], frame.ErrProtocol)
	case k.brought >= k.granted[1], bytesTotal > k.granted[1] && bytesTotal-k.granted[1] > k.largest:
		return fmt.Errorf("%d bytes came with credit for %d: %w", bytesTotal, k.granted[1], frame.ErrProtocol)
	}
	return nil
}

// yield withdraws the credit and gives back what was never handed out. It
// returns how much that is.
func (k *intake) yield() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return 0
	}
	if k.allowed == creditGranted {
		k.allowed = creditWithdrawn
		k.hurry()
	}
	if k.inlet.cfg.Mode == messages.AtMostOnce {
		return 0
	}
	return k.giveBackUnread()
}

// giveBackUnread returns what was never handed out. mu is held.
func (k *intake) giveBackUnread() (n int) {
	for _, l := range k.loads {
		if l.first+uint64(l.count) > k.handed+1 {
			l.buffer = nil // a reader may still look into it
		}
	}
	for seq := k.handed + 1; seq <= k.received; seq++ {
		if k.failing(failure{seq: seq, kind: frame.NackReturned}) {
			n++
		}
	}
	k.returned += k.received - k.handed
	k.handed = k.received
	return n
}

// waiting reports whether something has come and was not handed out.
func (k *intake) waiting() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.received > k.handed
}

// inHand reports whether deliveries were handed out and are not settled.
func (k *intake) inHand() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.closed && k.acks.Cumulative < k.handed
}

// hand notes that everything up to seq was handed out, settles done, the
// delivery before it (0 for none), and tells whether the delivery may be handed
// out: its link lives, or is not needed any more, and it was not given back.
func (k *intake) hand(seq, done uint64) bool {
	k.mu.Lock()
	if k.closed && k.inlet.cfg.Mode != messages.AtMostOnce || seq <= k.handed {
		k.mu.Unlock()
		if done > 0 {
			k.Ack(done)
		}
		return false
	}
	k.handed = seq
	late := false
	if done > 0 && !k.closed {
		if _, late = k.expired[done]; !late {
			k.settle(done)
		}
	}
	k.mu.Unlock()
	if late {
		k.inlet.late(done)
	}
	return true
}

// Ack settles a delivery that was handled. When it is no longer this member's
// to settle, somebody else gets or got it too, and an event says so.
func (k *intake) Ack(seq uint64) {
	k.mu.Lock()
	_, late := k.expired[seq]
	late = late || k.closed && !k.acks.Has(seq)
	if !late && !k.closed {
		k.settle(seq)
	}
	k.mu.Unlock()
	if late {
		k.inlet.late(seq)
	}
}

// Nack settles a delivery that was not handled; the sender tries again.
func (k *intake) Nack(seq uint64, cause error) {
	k.fail(failure{seq: seq, reason: reasonOf(cause)})
}

// reasonOf is what a user's error says. One that panics when it is asked is a
// failure like any other.
func reasonOf(cause error) (reason string) {
	defer func() {
		if p := recover(); p != nil {
			reason = fmt.Sprintf("an error of type %T, whose Error method panicked: %v", cause, p)
		}
	}()
	if cause == nil {
		return "nacked"
	}
	return cause.Error()
}

// giveBack returns a delivery that nobody tried to handle.
func (k *intake) giveBack(seq uint64) { k.fail(failure{seq: seq, kind: frame.NackReturned}) }

func (k *intake) fail(f failure) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failing(f)
}

// failing is fail under mu.
func (k *intake) failing(f failure) bool {
	if k.closed || !k.settle(f.seq) {
		return false
	}
	if k.inlet.cfg.Mode != messages.AtMostOnce {
		k.failures = append(k.failures, f)
	}
	k.hurry()
	return true
}

// InProgress restarts a delivery's AckWait.
func (k *intake) InProgress(seq uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.acks.Has(seq) {
		return
	}
	if k.extended == nil {
		k.extended = make(map[uint64]time.Time)
	}
	k.extended[seq] = time.Now()
	k.moved = k.extended[seq]
}

// expire gives a delivery up that outlived AckWait, and tells whether it was
// still out.
func (k *intake) expire(seq uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.failing(failure{seq: seq, kind: frame.NackExpired, reason: errAckWait.Error()}) {
		return false
	}
	if k.expired == nil {
		k.expired = make(map[uint64]struct{})
	}
	k.expired[seq] = struct{}{}
	return true
}

// settle notes seq as settled and tells whether that was new. mu is held.
func (k *intake) settle(seq uint64) bool {
	if seq > k.received || !k.acks.Add(seq) {
		return false
	}
	if k.extended != nil {
		delete(k.extended, seq)
	}
	k.account(seq)
	switch pending := k.acks.Count - k.reported; {
	case pending >= uint64(max(1, k.window/4)):
		k.hurry()
	case k.due.IsZero():
		k.due = time.Now().Add(ackDelay)
		k.ring()
	}
	return true
}

// account frees a load's bytes once all of it is settled.
func (k *intake) account(seq uint64) {
	at := 0
	if l := k.loads[0]; seq >= l.first+uint64(l.count) {
		at, _ = slices.BinarySearchFunc(k.loads, seq, func(l *load, seq uint64) int {
			if l.first+uint64(l.count) <= seq {
				return -1
			}
			return 1
		})
	}
	l := k.loads[at]
	if l.left--; l.left == 0 {
		k.freed += uint64(l.size)
		k.loads = slices.Delete(k.loads, at, at+1)
		if l.buffer != nil {
			frameBuffers.Put(l.buffer)
		}
	}
}

// hurry makes the report go now. mu is held.
func (k *intake) hurry() {
	if !k.urgent {
		k.urgent = true
		k.ring()
	}
}

// starved is told when the reader has nothing more to do: what is settled is
// reported at once. A reader that took all the sender was allowed to send gets
// twice as much from now on; one that is never starved keeps a small window, so
// that a slow member does not sit on work that others could do.
func (k *intake) starved() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.credit > 0 && k.received >= k.credit && k.window < k.inlet.cfg.Window {
		k.window = min(2*k.window, k.inlet.cfg.Window)
		k.hurry()
	}
	if k.acks.Count > k.reported {
		k.hurry()
	}
}

// grant lets the sender send.
func (k *intake) grant() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.allowed != creditGranted {
		k.allowed = creditGranted
		k.hurry()
	}
}

func (k *intake) ring() {
	select {
	case k.bell <- struct{}{}:
	default:
	}
}

// report answers what the sender is to be told now, or false and when to come
// again (zero: at the next bell). r's slices are reused.
func (k *intake) report(r *report, now time.Time) (ok bool, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.urgent {
		if k.due.IsZero() {
			return false, 0
		}
		if wait := k.due.Sub(now); wait > 0 {
			return false, wait
		}
	}
	k.urgent, k.due = false, time.Time{}
	k.reported = k.acks.Count
	r.failures = append(r.failures[:0], k.failures...)
	k.failures = k.failures[:0]
	r.cumulative = k.acks.Cumulative
	k.told = k.acks.Cumulative
	k.reportRanges(r)
	r.renewed = append(r.renewed[:0], k.renewed...)
	k.renewed = k.renewed[:0]
	r.credit, r.creditBytes, r.ackWait = 0, 0, 0
	r.withdraw = k.allowed == creditWithdrawn
	if k.allowed == creditGranted {
		if k.credit == 0 {
			r.ackWait = k.inlet.cfg.AckWait
		}
		k.credit = k.acks.Count + uint64(k.window)
		r.credit = k.credit
		r.creditBytes = k.freed + uint64(k.inlet.cfg.WindowBytes)
		k.granted = [2]uint64{max(k.granted[0], r.credit), max(k.granted[1], r.creditBytes)}
	}
	return true, 0
}

// reportRanges answers what is settled above the cumulative sequence. A report
// holds only so much: the next one begins where this one ended. mu is held.
func (k *intake) reportRanges(r *report) {
	r.ranges = r.ranges[:0]
	rest := k.acks.Ranges
	if k.reach > 0 {
		at, _ := slices.BinarySearchFunc(rest, k.reach, func(x frame.Range, seq uint64) int { return cmp.Compare(x.To, seq+1) })
		rest = rest[at:]
	}
	if k.reach = 0; len(rest) > frame.MaxAckRanges {
		rest = rest[:frame.MaxAckRanges]
		k.reach = rest[len(rest)-1].To
		k.hurry()
	}
	r.ranges = append(r.ranges, rest...)
}

// overdue answers the deliveries that were handed out AckWait ago and are not
// settled. It is called at a steady pace, which is its precision.
func (k *intake) overdue(now time.Time) (late []uint64) {
	wait := k.inlet.cfg.AckWait
	if wait < 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew(now)
	for len(k.marks) > 0 && now.Sub(k.marks[0].at) >= wait {
		k.aged = k.marks[0].handed
		k.marks = k.marks[1:]
	}
	if k.handed > k.looked || k.received == k.handed {
		k.moved, k.looked = now, k.handed
	}
	if n := len(k.marks); n == 0 && k.handed > k.aged || n > 0 && k.handed > k.marks[n-1].handed && now.Sub(k.marks[n-1].at) >= wait/marksKept {
		k.marks = append(k.marks, mark{now, k.handed})
	}
	k.acks.Gaps(k.aged, func(seq uint64) {
		if now.Sub(k.extended[seq]) >= wait {
			late = append(late, seq)
		}
	})
	return late
}

// renewedAtOnce bounds the ranges of one report.
const renewedAtOnce = frame.MaxAckRanges

// renew has the sender told of what is in progress since the last time: it
// counts AckWait too. mu is held.
func (k *intake) renew(now time.Time) {
	var seqs []uint64
	for seq, at := range k.extended {
		if at.After(k.swept) {
			seqs = append(seqs, seq)
		}
	}
	k.swept = now
	if len(seqs) == 0 || k.inlet.cfg.Mode == messages.AtMostOnce {
		return
	}
	slices.Sort(seqs)
	k.renewed = k.renewed[:0]
	for _, seq := range seqs {
		n := len(k.renewed)
		if n > 0 && (k.renewed[n-1].To+1 == seq || n == renewedAtOnce) {
			k.renewed[n-1].To = seq
		} else {
			k.renewed = append(k.renewed, frame.Range{From: seq, To: seq})
		}
	}
	k.hurry()
}

// stalled tells whether what has come was not handed out for AckWait: whoever
// reads is stuck. It goes by what overdue has seen.
func (k *intake) stalled(now time.Time) bool {
	wait := k.inlet.cfg.AckWait
	k.mu.Lock()
	defer k.mu.Unlock()
	return wait > 0 && k.received > k.handed && !k.moved.IsZero() && now.Sub(k.moved) >= wait
}

// last answers everything that the sender was not told yet.
func (k *intake) last(r *report) bool {
	k.mu.Lock()
	k.urgent = k.acks.Count > k.reported || len(k.failures) > 0 || k.reach > 0
	urgent := k.urgent
	k.mu.Unlock()
	if !urgent {
		return false
	}
	ok, _ := k.report(r, time.Now())
	return ok
}

// quiet reports whether all that has come is settled.
func (k *intake) quiet() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.acks.Cumulative == k.received
}

// drained tells whether everything the sender will ever send is settled, and
// the sender told so.
func (k *intake) drained() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.drainSeen && k.told >= k.drainTo
}

// drainUpTo notes the last sequence that the sender will send.
func (k *intake) drainUpTo(last uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drainSeen, k.drainTo = true, last
	k.urgent = false
	k.hurry()
}

// close ends the session and answers how many deliveries had come and were not
// handed out.
func (k *intake) close() (discarded int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.loads = nil
	return int(k.received - k.handed)
}
