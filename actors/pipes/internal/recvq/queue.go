package recvq

// The queue as a whole: the links of a member, what came on them and waits to be
// taken, and how the membership ends.

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

// Config is what a queue needs to know of its member. Everything is set: there are no
// defaults here.
type Config struct {
	Destination, Group string
	// ID is the member's.
	ID   string
	Mode messages.Mode
	// Window is how many messages each sender may have out to this member at most,
	// WindowBytes the same in encoded bytes.
	Window, WindowBytes int
	// AckWait is how long a message that was handed out may stay unsettled before it is
	// given to another member; negative is without a limit.
	AckWait time.Duration
	// Lent: what waits for a handler that is slow goes back soon, so that it holds up nothing
	// that others could handle. Concurrency is how many handlers there are.
	Lent        bool
	Concurrency int
}

// Of what is lent a reader is granted a little more than it handles at once, and what it has
// not begun after lentPatience goes back.
const (
	firstLent    = 4
	lentPatience = 200 * time.Millisecond
)

// firstWindow is what a reader is granted before it shows that it wants more.
func (c *Config) firstWindow() int {
	if c.Lent {
		return min(max(firstLent, c.Concurrency), c.Window)
	}
	return min(firstWindow, c.Window)
}

// patience is how long what has come may wait for the reader; negative is without a limit.
func (c *Config) patience() time.Duration {
	if c.Lent {
		return lentPatience
	}
	return c.AckWait
}

// Phase is where a member stands.
type Phase string

// The phases of a member.
const (
	Joined  Phase = "joined"
	Leaving Phase = "leaving" // hands out what has come, and ends
	Left    Phase = "left"
)

// Queue is where a member's links put what comes, and where it is taken: the data path
// of one member. All methods are safe for concurrent use.
type Queue struct {
	// Runs, which may be nil, is told where the user's code runs. It is set before the
	// queue is used.
	Runs *usercode.Runs
	// ReaderGone, which may be nil, is told when a reader ends, with how many there were.
	// It must not block. It is set before the queue is used.
	ReaderGone func(reads uint64)

	cfg       Config
	emit      func(messages.Event)
	mu        sync.Mutex
	phase     Phase
	cause     error // why it left, when nobody asked for it
	frames    []*Frame
	head      int
	links     []*Link
	reader    readerState          // the loop or Consume
	wanted    chan struct{}        // closed when a reader should look again; nil when none waits
	reads     uint64               // readers so far
	gone      uint64               // deliveries handed out on links that ended
	forced    int                  // deliveries that a leaving member gave up after AckWait
	consuming *Consumption         // whose handlers' contexts AckWait cancels
	inHand    atomic.Pointer[grip] // nil before the first Deliver
	over      chan struct{}        // closed once the member has left
	paused    atomic.Bool          // nothing is handed out; changed under mu
	pausers   Pauser               // why
	lapsed    atomic.Uint64        // messages that had expired before they were handed out
	polled    []polled             // what the last Poll returned, for the next reader to ack
	busy      busy                 // senders of which nothing is handed out now
	picks     uint64               // looks for a frame that may be handed out
}

// New makes the queue of a member. emit is told what happens, partly under a lock: it
// must not block or call the queue.
func New(cfg Config, emit func(messages.Event)) *Queue {
	return &Queue{cfg: cfg, emit: emit, phase: Joined, reader: readerNone, over: make(chan struct{})}
}

// Open begins the session of a new link to that sender, whose records have largest
// bytes at most.
func (q *Queue) Open(sender string, largest uint64) *Link {
	return q.begins(&Link{Sender: sender, largest: largest})
}

func (q *Queue) begins(l *Link) *Link {
	l.queue, l.window, l.bell = q, q.cfg.firstWindow(), make(chan struct{}, 1)
	l.drain, l.quit, l.gone = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	if q.cfg.Mode.Ordered() {
		l.order = &ordered{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.links = append(q.links, l)
	if q.reader == readerTakes && !q.paused.Load() {
		l.allowed, l.urgent = creditGranted, true
		l.ring()
	}
	return l
}

// OpenPlain is Open for a peer that is no sender, at that URL: what it sent is never sent
// again. What has come and is not handled is dropped, and an event says so.
func (q *Queue) OpenPlain(url string, largest uint64) *Link {
	return q.begins(&Link{Sender: url, largest: largest, plain: true})
}

// atMostOnce reports whether nothing that came on l can go back.
func (l *Link) atMostOnce() bool { return l.plain || l.queue.cfg.Mode == messages.AtMostOnce }

// Shut ends a link's session. What it brought and nobody took is thrown away,
// for the sender delivers it again; at most once it does not, and what has come
// stays.
func (q *Queue) Shut(l *Link) (discarded int) {
	discarded = l.close()
	if c := q.Consumption(); c != nil && (q.cfg.Lent || l.order != nil) {
		c.part(l)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.links, l); i >= 0 {
		q.links = slices.Delete(q.links, i, i+1)
		q.gone += l.delivered()
	}
	if l.atMostOnce() {
		q.signal()
		return 0
	}
	q.forget(l)
	q.signal()
	return discarded
}

// forget drops what came on l and waits to be taken. mu is held.
func (q *Queue) forget(l *Link) {
	kept := q.frames[:0]
	for _, f := range q.frames[q.head:] {
		if f.link != l {
			kept = append(kept, f)
		}
	}
	clear(q.frames[len(kept):])
	q.frames, q.head = kept, 0
}

// push takes what has come. Of what is lent, what an owner sends again goes before what
// other owners sent: it may be all that it lends of a partition.
func (q *Queue) push(f *Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.head == len(q.frames):
		q.frames, q.head = q.frames[:0], 0
		if cap(q.frames) > 256 {
			q.frames = nil
		}
	case q.head > 32 && q.head*2 >= len(q.frames):
		n := copy(q.frames, q.frames[q.head:])
		clear(q.frames[n:])
		q.frames, q.head = q.frames[:n], 0
	}
	at := len(q.frames)
	if q.cfg.Lent && f.again {
		for at > q.head && q.frames[at-1].link != f.link {
			at--
		}
	}
	q.frames = slices.Insert(q.frames, at, f)
	q.signal()
}

// signal lets a waiting reader look again. mu is held.
func (q *Queue) signal() {
	if q.wanted != nil {
		close(q.wanted)
		q.wanted = nil
	}
}

// Leave ends the stream: at once with Left, or when what has come is handed out with
// Leaving. cause, which may be nil, is what readers get.
func (q *Queue) Leave(phase Phase, cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.phase == Left {
		return
	}
	q.phase = phase
	if cause != nil {
		q.cause = cause
	}
	if phase == Left {
		close(q.over)
	}
	q.signal()
}

// Ended is closed once the member has left.
func (q *Queue) Ended() <-chan struct{} { return q.over }

// Left reports whether the membership is over.
func (q *Queue) Left() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.phase == Left
}

// Cause is why the member ended, when nobody asked for it.
func (q *Queue) Cause() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}

// GivenUp counts what a leaving member gave up because nobody settled it within
// AckWait.
func (q *Queue) GivenUp() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.forced
}

// Unread counts what has come and was never handed out.
func (q *Queue) Unread() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range q.frames[q.head:] {
		n += int(f.first + uint64(f.count) - f.seq)
	}
	return n
}

// late reports a delivery that was settled when it was no longer this
// member's.
func (q *Queue) late(seq uint64) {
	if q.cfg.Mode == messages.AtMostOnce {
		return
	}
	q.emit(messages.LateAck{Destination: q.cfg.Destination, Group: q.cfg.Group, Member: q.cfg.ID, Seq: seq})
}

// Stats returns what the member did.
func (q *Queue) Stats() messages.MemberStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := messages.MemberStats{
		Destination: q.cfg.Destination, Group: q.cfg.Group, Member: q.cfg.ID,
		Delivered: q.gone, Links: len(q.links), Expired: q.lapsed.Load(),
	}
	for _, l := range q.links {
		l.lock()
		s.Delivered += l.handed - l.returned
		s.Waiting += int(l.received - l.handed)
		l.mu.Unlock()
	}
	return s
}
