package carrier

// Streams in the memory of this process.
//
// Each direction is a ring of bytes. It begins small and grows while its writer waits for
// room, so that an idle link costs little. Who waits for bytes while the ring is empty gets
// them copied straight into its own memory, which is what happens to the bodies of large
// frames. Nothing is copied while a lock is held.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

const (
	// firstRing and lastRing are how many bytes a direction holds, at first and at most;
	// powers of two.
	firstRing = 1 << 10
	lastRing  = 256 << 10
	// waitingDialled is how many streams wait to be accepted at most.
	waitingDialled = 128
)

// names are the listeners of this process.
var names = struct {
	mu sync.Mutex
	at map[string]*memoryListener
}{at: make(map[string]*memoryListener)}

func listenInProc(ctx context.Context, u address.URL, _ *TLS) (net.Listener, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("listen on %s: %w", u, context.Cause(ctx))
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if names.at[u.Host] != nil {
		return nil, fmt.Errorf("listen on %s: %w: another listener of this process has that name", u, messages.ErrAddrInUse)
	}
	l := &memoryListener{name: u.Host, dialled: make(chan *memoryConn, waitingDialled), closed: make(chan struct{})}
	names.at[u.Host] = l
	return l, nil
}

func dialInProc(ctx context.Context, _ address.URL, at string, _ Target) (net.Conn, error) {
	names.mu.Lock()
	l := names.at[at]
	names.mu.Unlock()
	gone := fmt.Errorf("dial inproc %s: %w: no listener of this process has that name", at, syscall.ECONNREFUSED)
	if l == nil {
		return nil, gone
	}
	there, back := newRing(), newRing()
	mine := &memoryConn{in: back, out: there, local: processAddr("this process"), remote: memoryAddr(at)}
	theirs := &memoryConn{in: there, out: back, local: memoryAddr(at), remote: processAddr("this process")}
	select {
	case l.dialled <- theirs:
	case <-l.closed:
		return nil, gone
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-l.closed:
		l.drain() // it may have come behind Close
	default:
	}
	return mine, nil
}

// memoryListener accepts the streams of one name.
type memoryListener struct {
	name    string
	dialled chan *memoryConn
	once    sync.Once
	closed  chan struct{}
}

// Accept is net.Listener's.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // even if there are some
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.dialled:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		names.mu.Lock()
		delete(names.at, l.name)
		names.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return nil
}

// drain ends the streams that nobody will accept.
func (l *memoryListener) drain() {
	for {
		select {
		case c := <-l.dialled:
			_ = c.Close()
		default:
			return
		}
	}
}

// Addr is net.Listener's.
func (l *memoryListener) Addr() net.Addr { return memoryAddr(l.name) }

type memoryAddr string

func (memoryAddr) Network() string  { return address.InProc }
func (a memoryAddr) String() string { return string(a) }

// processAddr names the process at the other end.
type processAddr string

func (processAddr) Network() string  { return "process" }
func (p processAddr) String() string { return string(p) }

// memoryConn is one end of a stream.
type memoryConn struct {
	in, out       *ring
	local, remote net.Addr
}

// Read is net.Conn's; one goroutine at a time.
func (c *memoryConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write is net.Conn's.
func (c *memoryConn) Write(p []byte) (int, error) {
	c.out.writing.Lock()
	defer c.out.writing.Unlock()
	return c.out.write(p, false)
}

// WritePieces is Pieces'.
func (c *memoryConn) WritePieces(head, body []byte) error {
	c.out.writing.Lock()
	defer c.out.writing.Unlock()
	_, err := c.out.write(head, len(body) > 0)
	if err == nil && len(body) > 0 {
		_, err = c.out.write(body, false)
	}
	return err
}

// Close is net.Conn's. The other end reads what was written before.
func (c *memoryConn) Close() error {
	c.in.close(&c.in.readerGone)
	c.out.close(&c.out.writerGone)
	return nil
}

// Unsent is Counted's.
func (c *memoryConn) Unsent() int { return c.out.unread() }

// LocalAddr is net.Conn's.
func (c *memoryConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is net.Conn's.
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is net.Conn's.
func (c *memoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline is net.Conn's.
func (c *memoryConn) SetReadDeadline(t time.Time) error { return c.in.until(&c.in.readBy, t) }

// SetWriteDeadline is net.Conn's.
func (c *memoryConn) SetWriteDeadline(t time.Time) error { return c.out.until(&c.out.writeBy, t) }

// ring is one direction: one reader and one writer at a time.
type ring struct {
	writing sync.Mutex // held by who writes

	mu  sync.Mutex
	buf []byte // from and to count without end; their place is modulo its length
	// from is up to where was read, to up to where was written.
	from, to uint64
	// reading tells that bytes are being copied out of buf, which then must not grow.
	reading bool
	// want is the memory of a reader that waits, while nobody copies into it; given is how
	// much of it was filled, and giving tells that it is being filled.
	want   []byte
	given  int
	giving bool

	readerWaits, writerWaits bool
	readerGone, writerGone   bool
	readBy, writeBy          time.Time
	// full and free wake who waits: the reader, and the writer.
	full, free chan struct{}
	// Each is of who waits, and is used without mu.
	readClock, writeClock clock
}

func newRing() *ring {
	return &ring{full: make(chan struct{}, 1), free: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// clock is a timer that is set again only when the time is another.
type clock struct {
	timer *time.Timer
	by    time.Time
}

// pause waits for a signal, or until then.
func (k *clock) pause(c chan struct{}, by time.Time) {
	if by.IsZero() {
		<-c
		return
	}
	if k.timer == nil {
		k.timer, k.by = time.NewTimer(time.Until(by)), by
	} else if !k.by.Equal(by) {
		k.timer.Reset(time.Until(by))
		k.by = by
	}
	select {
	case <-c:
	case <-k.timer.C:
		k.by = time.Time{} // it has to be set to come again
	}
}

func (r *ring) read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.readerGone:
			return 0, net.ErrClosed
		case r.to > r.from:
			return r.take(p), nil
		case r.writerGone:
			return 0, io.EOF
		case !r.readBy.IsZero() && !time.Now().Before(r.readBy):
			return 0, os.ErrDeadlineExceeded
		}
		r.want, r.given, r.readerWaits = p, 0, true
		by := r.readBy
		r.mu.Unlock()
		r.readClock.pause(r.full, by)
		r.mu.Lock()
		for r.giving { // it is soon over
			r.mu.Unlock()
			<-r.full
			r.mu.Lock()
		}
		r.want, r.readerWaits = nil, false
		if r.given > 0 {
			return r.given, nil
		}
	}
}

// take copies out of the ring. The caller holds mu, which is not held while it copies.
func (r *ring) take(p []byte) int {
	n := min(len(p), int(r.to-r.from))
	at, buf := int(r.from%uint64(len(r.buf))), r.buf
	r.reading = true
	r.mu.Unlock()
	first := copy(p[:n], buf[at:])
	copy(p[first:n], buf)
	r.mu.Lock()
	r.reading = false
	r.from += uint64(n)
	if r.writerWaits {
		signal(r.free)
	}
	return n
}

// write writes all of p; more tells that there is more to come at once, for which the
// reader need not be woken. The caller holds writing.
func (r *ring) write(p []byte, more bool) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		switch {
		case r.writerGone:
			return n, net.ErrClosed
		case r.readerGone:
			return n, syscall.EPIPE
		case !r.writeBy.IsZero() && !time.Now().Before(r.writeBy):
			return n, os.ErrDeadlineExceeded
		}
		switch {
		case r.want != nil && r.from == r.to && !more:
			n += r.give(p[n:])
		case r.makeRoom(len(p) - n):
			n += r.put(p[n:])
		default:
			r.writerWaits = true
			if r.readerWaits {
				signal(r.full)
			}
			by := r.writeBy
			r.mu.Unlock()
			r.writeClock.pause(r.free, by)
			r.mu.Lock()
			r.writerWaits = false
		}
	}
	if r.readerWaits && !more {
		signal(r.full)
	}
	return n, nil
}

// give copies into the memory of a reader that waits. The caller holds mu, which is not
// held while it copies.
func (r *ring) give(p []byte) int {
	want := r.want
	r.want, r.giving = nil, true
	r.mu.Unlock()
	n := copy(want, p)
	r.mu.Lock()
	r.giving, r.given = false, n
	signal(r.full)
	return n
}

// makeRoom reports whether there is room, and makes the ring larger where that helps. The
// caller holds mu.
func (r *ring) makeRoom(n int) bool {
	held := int(r.to - r.from)
	if len(r.buf) < lastRing && held+n > len(r.buf) && !r.reading {
		size := max(firstRing, len(r.buf))
		for size < held+n && size < lastRing {
			size *= 2
		}
		bigger := make([]byte, size)
		if held > 0 {
			at := int(r.from % uint64(len(r.buf)))
			first := copy(bigger[:held], r.buf[at:])
			copy(bigger[first:held], r.buf)
		}
		r.buf, r.from, r.to = bigger, 0, uint64(held)
	}
	return held < len(r.buf)
}

// put copies into the ring. The caller holds mu, which is not held while it copies.
func (r *ring) put(p []byte) int {
	size := uint64(len(r.buf))
	n := min(len(p), int(size-(r.to-r.from)))
	at, buf := int(r.to%size), r.buf
	r.mu.Unlock()
	first := copy(buf[at:], p[:n])
	copy(buf, p[first:n])
	r.mu.Lock()
	r.to += uint64(n)
	return n
}

// close notes that one side has gone, and wakes both.
func (r *ring) close(gone *bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*gone = true
	signal(r.full)
	signal(r.free)
}

// until sets a deadline. Who waits looks at it.
func (r *ring) until(by *time.Time, t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	*by = t
	switch {
	case by == &r.readBy && r.readerWaits:
		signal(r.full)
	case by == &r.writeBy && r.writerWaits:
		signal(r.free)
	}
	return nil
}

func (r *ring) unread() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.to - r.from)
}
