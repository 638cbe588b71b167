package actors

// The receiving data path of a member: links push what comes, a loop or
// handlers take it. It outlives the incarnations of the member's actor.

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// inletPhase is where a member stands.
type inletPhase string

const (
	inletJoined  inletPhase = "joined"
	inletLeaving inletPhase = "leaving" // hands out what has come, and ends
	inletLeft    inletPhase = "left"
)

// readerState is what the member's reader is about.
type readerState string

const (
	readerNone  readerState = "none"
	readerTakes readerState = "takes"
	readerStuck readerState = "stuck" // it took nothing for AckWait: no sender may send
	readerEnds  readerState = "ends"  // its context is over: it takes nothing more, and its handlers still run
)

// inlet collects the deliveries of every sender's link.
type inlet struct {
	cfg     MemberConfig
	emit    func(messages.Event)
	inside  *usercode.Runs
	mu      sync.Mutex
	phase   inletPhase
	cause   error // why it left, when nobody asked for it
	loads   []*load
	head    int
	intakes []*intake
	reader  readerState   // the loop or Consume
	wanted  chan struct{} // closed when a reader should look again; nil when none waits
	reads   uint64        // readers so far
	gone    uint64        // deliveries handed out on links that ended
	forced  int           // deliveries that a leaving member gave up after AckWait
	// readerGone is told when a reader ends, with how many there were. It must not
	// block.
	readerGone func(reads uint64)
	consuming  *consumption // whose handlers' contexts AckWait cancels
}

func newInlet(cfg MemberConfig, emit func(messages.Event)) *inlet {
	return &inlet{cfg: cfg, emit: emit, phase: inletJoined, reader: readerNone}
}

// open begins the session of a new link.
func (in *inlet) open(sender string) *intake {
	k := &intake{
		inlet: in, sender: sender, window: min(firstWindow, in.cfg.Window), bell: make(chan struct{}, 1),
		drain: make(chan struct{}, 1), quit: make(chan struct{}), gone: make(chan struct{}),
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.intakes = append(in.intakes, k)
	if in.reader == readerTakes {
		k.allowed, k.urgent = creditGranted, true
		k.ring()
	}
	return k
}

// shut ends a link's session. What it brought and nobody took is thrown away,
// for the sender delivers it again; at most once it does not, and what has come
// stays.
func (in *inlet) shut(k *intake) (discarded int) {
	discarded = k.close()
	in.mu.Lock()
	defer in.mu.Unlock()
	if i := slices.Index(in.intakes, k); i >= 0 {
		in.intakes = slices.Delete(in.intakes, i, i+1)
		in.gone += k.handed - k.returned
		if in.cfg.Mode == messages.AtMostOnce {
			in.gone += uint64(discarded) // they are still to be handed out
		}
	}
	if in.cfg.Mode == messages.AtMostOnce {
		in.signal()
		return 0
	}
	in.forget(k)
	in.signal()
	return discarded
}

// forget drops what came on k and waits to be taken. mu is held.
func (in *inlet) forget(k *intake) {
	kept := in.loads[:0]
	for _, l := range in.loads[in.head:] {
		if l.from != k {
			kept = append(kept, l)
		}
	}
	clear(in.loads[len(kept):])
	in.loads, in.head = kept, 0
}

func (in *inlet) push(l *load) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.head == len(in.loads):
		in.loads, in.head = in.loads[:0], 0
		if cap(in.loads) > 256 {
			in.loads = nil
		}
	case in.head > 32 && in.head*2 >= len(in.loads):
		n := copy(in.loads, in.loads[in.head:])
		clear(in.loads[n:])
		in.loads, in.head = in.loads[:n], 0
	}
	in.loads = append(in.loads, l)
	in.signal()
}

// signal lets a waiting reader look again. mu is held.
func (in *inlet) signal() {
	if in.wanted != nil {
		close(in.wanted)
		in.wanted = nil
	}
}

// begin makes the caller the member's reader, until end is called.
func (in *inlet) begin() (end func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.phase == inletLeft {
		return nil, fmt.Errorf("read %q of %q: %w", in.cfg.Group, in.cfg.Destination, messages.ErrClosed)
	}
	if in.reader != readerNone {
		return nil, fmt.Errorf("read %q of %q: another loop or Consume reads already: %w", in.cfg.Group, in.cfg.Destination, messages.ErrBusy)
	}
	in.reader = readerTakes
	in.reads++
	for _, k := range in.intakes {
		k.grant()
	}
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.ends(readerNone)
	}, nil
}

// ends notes that the reader takes nothing more, or is gone. mu is held.
func (in *inlet) ends(state readerState) {
	in.reader = state
	if in.readerGone != nil {
		in.readerGone(in.reads)
	}
}

// over notes that the context of c is: it takes nothing more, though its handlers
// may still run.
func (in *inlet) over(c *consumption) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.consuming == c && in.takes() {
		in.ends(readerEnds)
	}
}

// unreadSince reports whether nobody has taken anything since that many readers.
func (in *inlet) unreadSince(reads uint64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return !in.takes() && in.reads == reads
}

// busy reports whether there is a reader that may take more.
func (in *inlet) busy() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.takes()
}

// takes reports whether there is a reader that may take more. mu is held.
func (in *inlet) takes() bool { return in.reader == readerTakes || in.reader == readerStuck }

// stall notes that the reader takes nothing that came on k, until it takes
// something again, and gives back what waits there. Links on which nothing waits
// get no more meanwhile.
func (in *inlet) stall(k *intake) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.reader == readerTakes {
		in.reader = readerStuck
	}
	n := in.yieldOf("the reader is stuck", func(x *intake) bool { return x == k || in.reader == readerStuck && !x.waiting() })
	if in.phase == inletLeaving {
		in.forced += n
	}
}

// yield gives back what has come and was not handed out, and all credit. The
// links stay: what is in hand is settled on them, or outlives AckWait there. At
// most once nothing can go back, and what has come waits for the next reader.
func (in *inlet) yield(why string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.yieldOf(why, func(*intake) bool { return true })
}

// yieldOf is yield for some links. mu is held.
func (in *inlet) yieldOf(why string, which func(*intake) bool) (returned int) {
	for _, k := range in.intakes {
		if !which(k) {
			continue
		}
		n := k.yield()
		if n > 0 {
			in.forget(k)
		}
		returned += n
	}
	if returned > 0 {
		in.emit(messages.UnreadReturned{
			Destination: in.cfg.Destination, Group: in.cfg.Group, Member: in.cfg.ID, Count: returned, Why: why,
		})
	}
	return returned
}

// force counts deliveries in hand that a leaving member gave up.
func (in *inlet) force(n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.forced += n
}

// awaits reports whether a link that is to end in order has to wait: for a reader
// that takes what has come, or for deliveries in hand.
func (in *inlet) awaits(k *intake) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.takes() || in.cfg.Mode != messages.AtMostOnce && k.inHand()
}

// code describes a run of user code that reads here; from returns the link of what
// it has in hand, or nil.
func (in *inlet) code(what string, from func() *intake) *usercode.Run {
	return &usercode.Run{
		What: fmt.Sprintf("%s of group %q of %q", what, in.cfg.Group, in.cfg.Destination), Of: in,
		Holds: func(dest, sender string) bool {
			k := from()
			return k != nil && dest == in.cfg.Destination && sender == k.sender
		},
	}
}

// watch makes c the consumption whose handlers AckWait may cancel.
func (in *inlet) watch(c *consumption) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.consuming = c
}

// expire cancels the handler of a delivery that outlived AckWait.
func (in *inlet) expire(k *intake, seq uint64) {
	in.mu.Lock()
	if in.phase == inletLeaving {
		in.forced++
	}
	in.mu.Unlock()
	if c := in.consumption(); c != nil {
		c.expire(k, seq)
	}
}

// consumption is the Consume that runs, or nil.
func (in *inlet) consumption() *consumption {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.consuming
}

// unread counts what has come and was never handed out.
func (in *inlet) unread() (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, l := range in.loads[in.head:] {
		n += int(l.first + uint64(l.count) - l.seq)
	}
	return n
}

// left tells whether the membership is over.
func (in *inlet) left() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.phase == inletLeft
}

// causeOf is why the member ended, when nobody asked for it.
func (in *inlet) causeOf() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cause
}

// take answers the next load, waiting for it until ctx ends. It answers nil
// without an error when the member has left.
func (in *inlet) take(ctx context.Context) (*load, error) {
	in.mu.Lock()
	if in.reader == readerStuck {
		in.reader = readerTakes
		for _, k := range in.intakes {
			k.grant()
		}
	}
	for {
		if in.phase == inletLeft {
			err := in.cause
			in.mu.Unlock()
			return nil, err
		}
		if in.head < len(in.loads) {
			l := in.loads[in.head]
			in.loads[in.head] = nil
			in.head++
			in.mu.Unlock()
			return l, nil
		}
		if in.phase == inletLeaving && len(in.intakes) == 0 {
			err := in.cause
			in.mu.Unlock()
			return nil, err
		}
		for _, k := range in.intakes {
			k.starved()
		}
		if in.wanted == nil {
			in.wanted = make(chan struct{})
		}
		wanted := in.wanted
		in.mu.Unlock()
		select {
		case <-wanted:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		in.mu.Lock()
	}
}

// putBack returns a load that was taken and not handed out to its end.
func (in *inlet) putBack(l *load) {
	if l == nil || len(l.records) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.cfg.Mode == messages.AtMostOnce || slices.Contains(in.intakes, l.from) {
		in.loads, in.head = slices.Insert(in.loads[in.head:], 0, l), 0
		in.signal()
	}
}

// leave ends the stream: at once, or when what has come is handed out.
func (in *inlet) leave(phase inletPhase, cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.phase == inletLeft {
		return
	}
	in.phase = phase
	if cause != nil {
		in.cause = cause
	}
	in.signal()
}

// givenUp counts what a leaving member gave up because nobody settled it within
// AckWait.
func (in *inlet) givenUp() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.forced
}

// late reports a delivery that was settled when it was no longer this
// member's.
func (in *inlet) late(seq uint64) {
	if in.cfg.Mode == messages.AtMostOnce {
		return
	}
	in.emit(messages.LateAck{Destination: in.cfg.Destination, Group: in.cfg.Group, Member: in.cfg.ID, Seq: seq})
}
