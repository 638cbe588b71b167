package socket

// Who may come in: connections before they are welcomed.

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"

	"github.com/penstock-io/penstock/transport/carrier"
)

// guard stands at a listener's doors. It accepts connections, lets each exchange
// SP headers on a goroutine of its own, and keeps account of those that nobody
// has vouched for yet.
//
// mangos takes connections from next, one by one, and sleeps 10 ms after each
// error it sees there: so it is shown none.
//
//	accepted ─▶ stranger ──welcome──▶ guest
//	               │ evict
//	               ▼
//	            evicted            each of them ends by forget
type guard struct {
	doors   []*door
	timeout time.Duration
	// room is how many strangers there may be.
	room int
	// limit is how many guests there may be.
	limit   int
	refused func(Refusal)

	ready chan *wire
	// stopping is closed by stop, serving when mangos's goroutine has returned.
	stopping  chan struct{}
	serving   chan struct{}
	accepting sync.WaitGroup

	mu sync.Mutex
	// open holds every connection until it ends.
	open map[*wire]*caller
	// queue holds the strangers, oldest first.
	queue        []*wire
	welcomed     uint64
	guests       int
	acceptErrors uint64
	refusals     [reasonCount]uint64
}

// caller is one connection in the guard's book.
type caller struct {
	standing standing
	deadline *time.Timer
	conn     *Conn // of a guest
}

type standing uint8

const (
	stranger standing = iota
	evicted
	guest
)

// Pauses after a failed accept, doubled each time in a row.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

func newGuard(doors []*door, cfg *ListenerConfig) *guard {
	return &guard{
		doors:    doors,
		timeout:  cfg.HandshakeTimeout,
		room:     cfg.MaxPending,
		limit:    cfg.MaxLinks,
		refused:  cfg.Refused,
		ready:    make(chan *wire),
		stopping: make(chan struct{}),
		serving:  make(chan struct{}),
		open:     make(map[*wire]*caller),
	}
}

func (g *guard) start() {
	for _, d := range g.doors {
		g.accepting.Go(func() { g.accept(d) })
	}
}

func (g *guard) accept(d *door) {
	for pause := time.Duration(0); ; {
		c, err := d.ln.Accept()
		if err == nil {
			pause = 0
			g.admit(d, c)
			continue
		}
		select {
		case <-g.stopping:
			return
		default:
		}
		g.acceptFailed(err)
		pause = min(max(2*pause, firstPause), lastPause)
		select {
		case <-g.stopping:
			return
		case <-time.After(pause):
		}
	}
}

// acceptFailed is most often a lack of descriptors, and strangers hold some.
func (g *guard) acceptFailed(err error) {
	g.mu.Lock()
	g.acceptErrors++
	var old *wire
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		old = g.evictOldest()
	}
	g.mu.Unlock()
	turnOut(old)
}

// admit enters a connection in the book and lets it begin.
func (g *guard) admit(d *door, c net.Conn) {
	w := newWire(c)
	w.door = d
	w.onEnd = func(err error) { g.forget(w, err) }

	g.mu.Lock()
	var old *wire
	if len(g.queue) >= g.room {
		old = g.evictOldest()
	}
	g.queue = append(g.queue, w)
	g.open[w] = &caller{
		standing: stranger,
		deadline: time.AfterFunc(g.timeout, func() {
			_ = w.end(fmt.Errorf("%w: no welcome after %v", ErrHandshakeTimeout, g.timeout))
		}),
	}
	g.mu.Unlock()

	turnOut(old)
	go g.shake(w)
}

func (g *guard) shake(w *wire) {
	if w.shake(protocol.ProtoPush, protocol.ProtoPull) != nil {
		return
	}
	select {
	case g.ready <- w:
	case <-w.done:
	case <-g.stopping:
		_ = w.end(ErrListenerClosed)
	}
}

// next is mangos's Accept. After stop it tells that mangos's goroutine is out
// of every other call into us.
func (g *guard) next() (mangos.TranPipe, error) {
	select {
	case w := <-g.ready:
		return w, nil
	case <-g.stopping:
		close(g.serving)
		return nil, mangos.ErrClosed
	}
}

// evictOldest takes the oldest stranger off the queue. The caller holds mu and
// turns out the result.
func (g *guard) evictOldest() *wire {
	if len(g.queue) == 0 {
		return nil
	}
	old := g.queue[0]
	g.queue = g.queue[1:]
	g.open[old].standing = evicted
	return old
}

// turnOut ends an evicted connection beside the accept loop, which must not
// wait for what Refused does.
func turnOut(w *wire) {
	if w != nil {
		go func() { _ = w.end(errEvicted) }()
	}
}

// welcome makes a stranger a guest. It fails when the connection ended first,
// by its deadline, an eviction or its peer.
func (g *guard) welcome(conn *Conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := conn.w
	switch c := g.open[w]; {
	case c == nil:
		return w.cause()
	case c.standing == evicted:
		return errEvicted
	case c.standing == stranger:
		c.standing, c.conn = guest, conn
		c.deadline.Stop()
		g.leaveQueue(w)
		g.welcomed++
		g.guests++
	}
	return nil
}

// full reports whether there are as many guests as there may be.
func (g *guard) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guests >= g.limit
}

// forget strikes an ended connection from the book; one that was not welcomed
// is a refusal.
func (g *guard) forget(w *wire, err error) {
	g.mu.Lock()
	c := g.open[w]
	delete(g.open, w)
	if c == nil || c.standing == guest {
		if c != nil {
			g.guests--
		}
		g.mu.Unlock()
		return
	}
	c.deadline.Stop()
	g.leaveQueue(w)
	reason := reasonOf(err)
	g.refusals[reason]++
	g.mu.Unlock()
	if g.refused != nil {
		g.refused(Refusal{Remote: w.remote, Reason: reason, Err: err})
	}
}

// leaveQueue removes w where it is queued. The caller holds mu.
func (g *guard) leaveQueue(w *wire) {
	for i, q := range g.queue {
		if q == w {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			return
		}
	}
}

// stop ends accepting and waits until neither our goroutine nor mangos's can
// add a connection. That wait is needed: mangos deadlocks when a socket is
// closed while it adds a pipe.
func (g *guard) stop() {
	close(g.stopping)
	for _, d := range g.doors {
		_ = d.ln.Close()
	}
	g.accepting.Wait()
	<-g.serving
}

// recheck ends the guests whose certificates are not trusted any more.
func (g *guard) recheck() {
	g.mu.Lock()
	var all []*wire
	for w, c := range g.open {
		if _, ok := w.c.(carrier.Session); ok && c.standing == guest {
			all = append(all, w)
		}
	}
	g.mu.Unlock()
	for _, w := range all {
		w.recheck()
	}
}

// members are the connections of guests.
func (g *guard) members() (all []*Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.open {
		if c.standing == guest {
			all = append(all, c.conn)
		}
	}
	return all
}

// endAll ends every connection.
func (g *guard) endAll(cause error) {
	g.mu.Lock()
	all := make([]*wire, 0, len(g.open))
	for w := range g.open {
		all = append(all, w)
	}
	g.mu.Unlock()
	for _, w := range all {
		_ = w.end(cause)
	}
}

func (g *guard) stats() ListenerStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := ListenerStats{
		Accepted:     g.welcomed,
		Refused:      make(map[Reason]uint64),
		Pending:      len(g.queue),
		Open:         len(g.open),
		AcceptErrors: g.acceptErrors,
	}
	for r, n := range g.refusals {
		if n > 0 {
			s.Refused[Reason(r)] = n
		}
	}
	return s
}
