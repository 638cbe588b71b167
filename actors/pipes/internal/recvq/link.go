package recvq

// The receiving half of one link: what came, what was handed out, and what the sender
// may send. It settles deliveries for handlers and loops (settle.go), so it may be used
// from any goroutine.

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/age"
	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// firstWindow is what a reader is granted before it shows that it wants more.
const firstWindow = 64

// allowance says whether a sender may send.
type allowance uint8

const (
	creditNone      allowance = iota // nobody has read so far
	creditGranted                    // somebody reads
	creditWithdrawn                  // nobody does any more
)

// Link is one link's session with a member. It is the Settler of its deliveries.
type Link struct {
	queue *Queue
	// Sender is the sender's id.
	Sender string
	plain  bool // what brings it sends nothing again, whatever the mode

	bell  chan struct{} // wakes the link's writer; holds one ring
	drain chan struct{} // asks the sender to send no more; holds one
	quit  chan struct{} // closed to have the rest told and leave taken
	gone  chan struct{} // closed when that is done, or cannot be

	// run is how far a loop has come without the lock, and until is where it has to take
	// it; see loop.go. until is the loop's.
	run   atomic.Uint64
	until uint64
	held  uint64 // the last of Queue.picks that found that nothing may be handed out; the queue's lock guards it

	mu        sync.Mutex // taken by lock
	closed    bool       // the link is gone: settling does nothing
	largest   uint64     // record that the sender may send, in bytes; 0 is any
	received  uint64
	brought   uint64    // bytes received
	granted   [2]uint64 // the highest totals that the sender was told: messages, bytes
	reach     uint64    // up to where the ranges are told, when they take several reports
	handed    uint64    // sequence of the last delivery handed out
	acks      AckSet
	frames    []*Frame // not settled, in order
	freed     uint64   // bytes of settled frames
	failures  []failure
	replies   []frame.Reply // on their way to the sender
	replying  int           // bytes of their records
	returned  uint64        // of handed: given back unread
	reported  uint64        // settled deliveries that the sender knows of
	allowed   allowance     // whether the sender may send
	window    int           // messages granted at once, at most Config.Window
	credit    uint64        // the last total of messages that the sender was told
	due       time.Time     // when the next report must go; zero when nothing is new
	urgent    bool          // it should go now
	marks     []mark
	arrived   age.Marks            // of received
	moved     time.Time            // when a delivery was last seen to be handed out, or renewed
	looked    uint64               // handed, as it was then
	aged      uint64               // everything up to here was handed out AckWait ago
	told      uint64               // up to here the sender knows that all is settled
	extended  map[uint64]time.Time // InProgress, by sequence
	renewed   []frame.Range        // of them, what the sender is to be told
	swept     time.Time            // up to when it has been told of them
	expired   map[uint64]struct{}  // given to another member after AckWait
	draining  bool                 // AskDrain was called
	drainTo   uint64               // last sequence the sender will send; 0 while not known
	drainSeen bool
	user      AckSet // what the receiver of Deliver has settled, of this epoch
	epoch     uint64 // of the queue's grip, when the last was handed to that receiver
	order     *ordered
}

// Arrive takes a frame's records, and the buffer that they lie in when it is to be used
// again. An error means that the peer breaks the protocol.
func (l *Link) Arrive(d *frame.Data, buffer *frames.Buffer) error {
	l.lock()
	if d.First != l.received+1 {
		l.mu.Unlock()
		return fmt.Errorf("message %d came where %d was due: %w: %w", d.First, l.received+1, frame.ErrProtocol, messages.ErrCorrupt)
	}
	if err := l.exceeds(d); err != nil {
		l.mu.Unlock()
		return err
	}
	l.received += uint64(d.Count)
	l.brought += uint64(len(d.Records))
	f := &Frame{
		link: l, first: d.First, count: d.Count, left: d.Count, size: len(d.Records),
		records: d.Records, seq: d.First, seen: l.seen(), attempts: slices.Clone(d.Attempts), again: d.Redelivered, deaths: d.Deaths, buffer: buffer,
	}
	l.frames = append(l.frames, f)
	if l.allowed == creditWithdrawn && !l.atMostOnce() {
		l.giveBackUnread() // it was on its way when its credit was withdrawn
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	l.queue.push(f)
	return nil
}

// exceeds keeps the sender to its credit and to the size of its messages, and refuses a
// frame that has more. The last message may overshoot the bytes. mu is held.
func (l *Link) exceeds(d *frame.Data) error {
	messagesTotal, bytesTotal := l.received+uint64(d.Count), l.brought+uint64(len(d.Records))
	switch {
	case messagesTotal > l.granted[0]:
		return fmt.Errorf("message %d came with credit for %d: %w", messagesTotal, l.granted[0], frame.ErrProtocol)
	case l.brought >= l.granted[1], bytesTotal > l.granted[1] && bytesTotal-l.granted[1] > l.largest:
		return fmt.Errorf("%d bytes came with credit for %d: %w", bytesTotal, l.granted[1], frame.ErrProtocol)
	case l.largest > 0 && uint64(len(d.Records)) > l.largest && uint64(d.Longest()) > l.largest:
		return fmt.Errorf("a message of %d bytes, encoded, of a sender whose largest has %d: %w: %w", d.Longest(), l.largest, frame.ErrProtocol, messages.ErrTooLarge)
	}
	return nil
}

// hand notes that everything up to seq was handed out, settles done, the
// delivery before it (0 for none), and reports whether the delivery may be handed
// out: its link lives, or is not needed any more, and it was not given back.
func (l *Link) hand(seq, done uint64) bool {
	l.lock()
	if l.closed && !l.atMostOnce() || seq <= l.handed {
		l.mu.Unlock()
		if done > 0 {
			l.Ack(done)
		}
		return false
	}
	l.handed = seq
	if l.epoch > 0 {
		l.user.Add(seq) // nothing that a receiver of Deliver has in hand
	}
	late := false
	if done > 0 && !l.closed {
		if _, late = l.expired[done]; !late {
			l.settle(done)
		}
	}
	l.letRun()
	l.mu.Unlock()
	if late {
		l.queue.late(done)
	}
	return true
}

// yield withdraws the credit and gives back what was never handed out. It
// returns how much that is.
func (l *Link) yield() int {
	l.lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	if l.allowed == creditGranted {
		l.allowed = creditWithdrawn
		l.hurry()
	}
	if l.queue.cfg.Lent {
		l.window = max(1, l.queue.cfg.Concurrency, l.window/2)
	}
	if l.atMostOnce() {
		return 0
	}
	return l.giveBackUnread()
}

// giveBackUnread returns what was never handed out. mu is held.
func (l *Link) giveBackUnread() (n int) {
	for _, f := range l.frames {
		if f.first+uint64(f.count) > l.handed+1 {
			f.buffer = nil // a reader may still look into it
		}
	}
	for seq := l.handed + 1; seq <= l.received; seq++ {
		if l.epoch > 0 {
			l.user.Add(seq)
		}
		if l.failing(failure{seq: seq, kind: frame.NackReturned}) {
			n++
		}
		if l.queue.cfg.Mode == messages.Failover {
			l.handed = seq
			l.returned++
			n += l.dropRest(seq + 1)
			break
		}
	}
	l.returned += l.received - l.handed
	l.handed = l.received
	return n
}

// waiting reports whether something has come and was not handed out.
func (l *Link) waiting() bool {
	l.lock()
	defer l.mu.Unlock()
	return l.received > l.handed
}

// inHand reports whether deliveries were handed out and are not settled.
func (l *Link) inHand() bool {
	l.lock()
	defer l.mu.Unlock()
	return !l.closed && l.acks.Cumulative < l.handed
}

// grant lets the sender send.
func (l *Link) grant() {
	l.lock()
	defer l.mu.Unlock()
	if l.allowed != creditGranted {
		l.allowed = creditGranted
		l.hurry()
	}
}

// starved is told when the reader has nothing more to do: what is settled is
// reported at once. A reader that took all the sender was allowed to send gets
// twice as much from now on; one that is never starved keeps a small window, so
// that a slow member does not sit on work that others could do.
func (l *Link) starved() {
	l.lock()
	defer l.mu.Unlock()
	if l.credit > 0 && l.received >= l.credit && l.window < l.queue.cfg.Window {
		l.window = min(2*l.window, l.queue.cfg.Window)
		l.hurry()
	}
	if l.acks.Count > l.reported {
		l.hurry()
	}
}

// hurry makes the report go now. mu is held.
func (l *Link) hurry() {
	if !l.urgent {
		l.urgent = true
		l.ring()
	}
}

func (l *Link) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// Quiet reports whether all that has come is settled.
func (l *Link) Quiet() bool {
	l.lock()
	defer l.mu.Unlock()
	return l.acks.Cumulative == l.received
}

// AskDrain has the sender asked to send no more. It may be called once.
func (l *Link) AskDrain() {
	l.lock()
	l.draining = true
	l.mu.Unlock()
	l.drain <- struct{}{}
}

// DrainUpTo notes the last sequence that the sender will send. It says so when it is asked,
// or by itself, to end a link in order whose token was replaced. An error means that the
// peer breaks the protocol: a sender asks for no drain, more has come before, or more is to
// come of what nobody has asked for.
func (l *Link) DrainUpTo(d frame.Drain) error {
	l.lock()
	defer l.mu.Unlock()
	switch {
	case !d.Reply, !l.draining && d.Last > l.received:
		return fmt.Errorf("a drain that was not asked for: %w", frame.ErrProtocol)
	case d.Last < l.received:
		return fmt.Errorf("message %d is said to be the last, and %d came before: %w", d.Last, l.received, frame.ErrProtocol)
	}
	l.drainSeen, l.drainTo = true, d.Last
	l.urgent = false
	l.hurry()
	return nil
}

// drained reports whether everything the sender will ever send is settled, and
// the sender told so.
func (l *Link) drained() bool {
	l.lock()
	defer l.mu.Unlock()
	return l.drainSeen && l.told >= l.drainTo
}

// leaveTimeout bounds how long a link that ends in order holds up its member.
const leaveTimeout = 500 * time.Millisecond

// TakeLeave has Report tell the sender what is settled, and say Bye. It blocks for
// half a second at most, and may be called once.
func (l *Link) TakeLeave() {
	close(l.quit)
	patience := time.NewTimer(leaveTimeout)
	defer patience.Stop()
	select {
	case <-l.gone:
	case <-patience.C:
	}
}

// close ends the session and returns how many deliveries had come and were not
// handed out.
func (l *Link) close() (discarded int) {
	l.lock()
	defer l.mu.Unlock()
	l.closed = true
	l.frames = nil
	return int(l.received - l.handed)
}

// delivered is how many deliveries of a link that has ended were handed out, or will be:
// at most once those that have come still are.
func (l *Link) delivered() uint64 {
	l.lock()
	defer l.mu.Unlock()
	if l.atMostOnce() {
		return l.received - l.returned
	}
	return l.handed - l.returned
}
