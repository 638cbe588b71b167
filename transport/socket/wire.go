package socket

// wire is one connection as a mangos transport pipe: SP messages over a byte
// stream. mangos has one of its own (transport.NewConnPipe); this one costs one
// read and one write per small message and no allocation, checks sizes before
// it allocates, notices a silent peer, and remembers why it ended.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.nanomsg.org/mangos/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

const (
	// lengthSize is the SP length before every message.
	lengthSize = 8
	// readBuffer is what one read takes when the next message is not known to
	// be long. It holds any frame a stranger may send, and is a size class of
	// Go's allocator.
	readBuffer = 4864
	// idleBuffer is what one read takes until that was too little once: an idle link is
	// little more than this.
	idleBuffer = 512
	// copyLimit: up to here copying length, header and body together is
	// cheaper than handing the kernel three pieces.
	copyLimit = 4 << 10
	// strangerFrame is the largest frame before Welcome.
	strangerFrame = 4 << 10
	// firstRead is the memory a long frame gets at first, unless the peer has sent as
	// long ones before. It gets more as its bytes come: a length is only what the peer
	// claims.
	firstRead = 256 << 10
	// pieceSize is what one write takes of a long frame, so that it can be seen to
	// move. A frame of messages that share it goes in one.
	pieceSize = 320 << 10
)

type wire struct {
	c net.Conn
	// whole is c where it prefers to get frames whole.
	whole carrier.Pieces
	// door is where it came in; nil for who dialled.
	door   *door
	remote string
	born   time.Time

	// Reading: one goroutine at a time.
	in       []byte
	from, to int
	limit    int
	message  mangos.Message
	// owned tells that message.Body is memory of its own, not the buffer's.
	owned    bool
	patience time.Duration
	alloc    func(int) []byte
	// proven is the longest frame that came whole, of those with memory of their own.
	proven int
	// refreshed is when the read deadline was last set, as since().
	refreshed time.Duration

	// heard is when bytes last arrived, in nanoseconds since born.
	heard         atomic.Int64
	received, out atomic.Uint64
	// moved counts writes that are over: who is stuck in one can be told from
	// who writes much.
	moved atomic.Uint64

	// mu guards writing. Whoever calls Send holds it: the frame is put
	// together in memory that belongs to the connection.
	mu      sync.Mutex
	scratch []byte
	pieces  [2][]byte
	vector  net.Buffers
	torn    bool // a frame did not go out whole: nothing can follow it

	// ending guards the fields below and is never held during a call out.
	ending  sync.Mutex
	err     error
	release func()
	done    chan struct{}
	// onEnd is called once, when the wire has ended; set before it is shared.
	onEnd func(error)
}

var _ mangos.TranPipe = (*wire)(nil)

func newWire(c net.Conn) *wire {
	w := &wire{
		c:     c,
		born:  time.Now(),
		in:    make([]byte, idleBuffer),
		limit: strangerFrame,
		done:  make(chan struct{}),
	}
	w.whole, _ = c.(carrier.Pieces)
	if a := c.RemoteAddr(); a != nil {
		w.remote = a.String()
	}
	return w
}

func (w *wire) since() time.Duration { return time.Since(w.born) }

// trust lifts the limits of a stranger: frames up to limit, and from now on a
// peer that is silent for patience ends the wire. It is called from the reading
// goroutine, or before there is one.
func (w *wire) trust(limit int, patience time.Duration, alloc func(int) []byte) {
	w.limit, w.patience, w.alloc = limit, patience, alloc
	if l, ok := w.c.(carrier.Limited); ok {
		l.Limit(limit)
	}
	now := w.since()
	w.heard.Store(int64(now))
	w.refresh(now, patience-w.grace())
}

// memory is n bytes for what is received.
func (w *wire) memory(n int) []byte {
	if w.alloc != nil {
		if b := w.alloc(n); b != nil {
			return b[:n]
		}
	}
	return fresh(n)
}

// Recv reads the next message. The message, and its body unless owned is set,
// are valid until the next Recv. Nothing is ever taken from mangos's pool: a
// pooled body that a caller keeps would be handed out twice.
func (w *wire) Recv() (*mangos.Message, error) {
	body, err := w.next()
	if err != nil {
		if w.patience > 0 && frame.Breaks(err) {
			return nil, w.expel(pb.Code_PROTOCOL_ERROR, err)
		}
		return nil, w.end(err)
	}
	w.message.Body = body
	return &w.message, nil
}

func (w *wire) next() ([]byte, error) {
	if err := w.fill(lengthSize); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint64(w.in[w.from:])
	if size > uint64(w.limit) {
		return nil, fmt.Errorf("frame of %d bytes, the limit is %d: %w", size, w.limit, messages.ErrTooLarge)
	}
	n := int(size)
	if lengthSize+n <= readBuffer {
		if err := w.fill(lengthSize + n); err != nil {
			return nil, err
		}
		start := w.from + lengthSize
		w.from = start + n
		w.owned = false
		return w.in[start:w.from:w.from], nil
	}
	first := min(n, max(firstRead, w.proven))
	body := w.memory(first)
	at := copy(body, w.in[w.from+lengthSize:w.to])
	w.from, w.to = 0, 0
	for at < n {
		if at == len(body) {
			more := min(n, 4*at)
			bigger := w.memory(more)
			copy(bigger, body)
			body = bigger
		}
		m, err := w.read(body[at:])
		if err != nil {
			return nil, cutShort(err)
		}
		at += m
	}
	w.owned, w.proven = true, max(w.proven, n)
	return body, nil
}

// fill makes the buffer hold at least n unread bytes.
func (w *wire) fill(n int) error {
	if w.to-w.from >= n {
		return nil
	}
	switch {
	case w.to == len(w.in) && len(w.in) < readBuffer || n > len(w.in):
		w.widen()
	case w.from == w.to:
		w.from, w.to = 0, 0
	case len(w.in)-w.from < n:
		w.to = copy(w.in, w.in[w.from:w.to])
		w.from = 0
	}
	for w.to-w.from < n {
		m, err := w.read(w.in[w.to:])
		if err != nil {
			if w.to > w.from {
				err = cutShort(err)
			}
			return err
		}
		w.to += m
	}
	return nil
}

// widen makes the buffer readBuffer long: a read has filled it, or a frame does not fit.
func (w *wire) widen() {
	in := make([]byte, readBuffer)
	w.to = copy(in, w.in[w.from:w.to])
	w.in, w.from = in, 0
}

func cutShort(err error) error {
	if errors.Is(err, ErrPeerClosed) {
		return fmt.Errorf("%w in the middle of a frame", err)
	}
	return err
}

// read takes what is there, at least one byte, and keeps the peer's pulse.
//
// The deadline is moved seldom, so its passing alone says little: bytes may have
// come since, or nobody was reading and the kernel holds the peer's beats. It is
// set a little before the peer's time is up; who finds that time gone was away.
func (w *wire) read(p []byte) (int, error) {
	for asked := false; ; {
		n, err := w.c.Read(p)
		if n > 0 {
			now := w.since()
			w.heard.Store(int64(now))
			w.received.Add(uint64(n))
			if w.patience > 0 && now-w.refreshed > w.patience/6 {
				w.refresh(now, w.patience-w.grace())
			}
			return n, nil
		}
		switch {
		case err == nil:
			continue
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF): //nolint:errorlint // a bare one says nothing
			return 0, ErrPeerClosed
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return 0, fmt.Errorf("%w: %w", ErrPeerClosed, err)
		case errors.Is(err, carrier.ErrNoWebSocket):
			return 0, fmt.Errorf("%w: %w", frame.ErrProtocol, err)
		case isTLS(err):
			return 0, fmt.Errorf("%w: %w", ErrTLS, err)
		case w.patience == 0 || !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		}
		now := w.since()
		left := time.Duration(w.heard.Load()) + w.patience - now
		if left <= 0 {
			if asked {
				return 0, fmt.Errorf("%w: no bytes for %v", ErrPeerSilent, w.patience)
			}
			left = w.grace()
		}
		asked = true
		w.refresh(now, left)
	}
}

// grace is long enough to take what the kernel has, should that be anything.
func (w *wire) grace() time.Duration { return w.patience / 30 }

func (w *wire) refresh(now, left time.Duration) {
	w.refreshed = now
	// It fails only on a closed connection, which the next read reports.
	_ = w.c.SetReadDeadline(w.born.Add(now + left))
}

// Send writes one message and returns when the kernel has it. The caller holds
// mu. Header and Body are not touched afterwards, and m is not freed: it never
// comes from mangos's pool.
func (w *wire) Send(m *mangos.Message) error {
	size := len(m.Header) + len(m.Body)
	b := binary.BigEndian.AppendUint64(w.scratch[:0], uint64(size))
	b = append(b, m.Header...)
	var err error
	if lengthSize+size <= copyLimit {
		b = append(b, m.Body...)
		_, err = w.c.Write(b)
	} else {
		rest := m.Body
		first := min(len(rest), pieceSize)
		err = w.writeBoth(b, rest[:first])
		for rest = rest[first:]; err == nil && len(rest) > 0; {
			n := min(len(rest), pieceSize)
			w.moved.Add(1)
			err = w.writeBoth(nil, rest[:n])
			rest = rest[n:]
		}
	}
	w.moved.Add(1)
	if cap(b) <= 2*copyLimit {
		w.scratch = b[:0]
	}
	if err != nil {
		w.torn = true
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("%w: %w", ErrPeerClosed, err)
		}
		return w.end(err)
	}
	w.out.Add(uint64(lengthSize + size))
	return nil
}

// writeBoth writes the beginning of a frame and what follows.
func (w *wire) writeBoth(head, body []byte) error {
	if w.whole != nil {
		return w.whole.WritePieces(head, body)
	}
	if len(head) == 0 {
		_, err := w.c.Write(body)
		return err
	}
	w.pieces = [2][]byte{head, body}
	w.vector = w.pieces[:]
	_, err := w.vector.WriteTo(w.c)
	w.pieces = [2][]byte{}
	return err
}

// shake does what the stream needs first, such as TLS, and exchanges SP headers: that
// the other side is the opposite. What a quick peer sends behind its header stays in the
// buffer.
func (w *wire) shake(self, peer uint16) error {
	if o, ok := w.c.(carrier.Opener); ok {
		// The end of the wire ends it.
		if err := o.Handshake(context.Background()); err != nil {
			return w.end(handshakeError(err))
		}
	}
	head := spHeader(self)
	if _, err := w.c.Write(head[:]); err != nil {
		return w.end(err)
	}
	if err := w.fill(lengthSize); err != nil {
		return w.end(err)
	}
	got := [8]byte(w.in[w.from : w.from+lengthSize])
	w.from += lengthSize
	if err := checkSPHeader(got, peer); err != nil {
		return w.end(err)
	}
	return nil
}

func spHeader(proto uint16) [8]byte {
	return [8]byte{0, 'S', 'P', 0, byte(proto >> 8), byte(proto), 0, 0}
}

func checkSPHeader(got [8]byte, peer uint16) error {
	want := spHeader(peer)
	switch {
	case got == want:
		return nil
	case [4]byte(got[:4]) == [4]byte(want[:4]) && [2]byte(got[6:]) == [2]byte(want[6:]):
		return fmt.Errorf("%w: SP protocol %#02x, not %#02x", ErrNotSP, binary.BigEndian.Uint16(got[4:]), peer)
	}
	return fmt.Errorf("%w: the first bytes are %q", ErrNotSP, got[:])
}

// end closes the wire for that reason. Only the first reason counts; it is
// returned, so that whoever fails second reports the cause and not the effect.
func (w *wire) end(cause error) error {
	ours, first := w.fails(cause)
	if ours {
		w.shut(cause)
	}
	return first
}

// fails notes why the wire ends, and returns the first reason. ours says that it is this
// one: then the caller has to shut the wire.
func (w *wire) fails(cause error) (ours bool, first error) {
	w.ending.Lock()
	defer w.ending.Unlock()
	if w.err != nil {
		return false, w.err
	}
	w.err = cause
	return true, cause
}

// shut closes the wire whose end was noted.
func (w *wire) shut(cause error) {
	w.ending.Lock()
	release := w.release
	w.ending.Unlock()

	close(w.done)
	_ = w.c.Close()
	if w.onEnd != nil {
		w.onEnd(cause)
	}
	if release != nil {
		// Often called from inside mangos's own Close of this pipe, which
		// holds what release needs.
		go release()
	}
}

// attach says how to tell mangos that the wire has ended.
func (w *wire) attach(release func()) {
	w.ending.Lock()
	ended := w.err != nil
	w.release = release
	w.ending.Unlock()
	if ended {
		go release()
	}
}

// cause is why the wire ended; nil while it has not.
func (w *wire) cause() error {
	w.ending.Lock()
	defer w.ending.Unlock()
	return w.err
}

// Close is mangos closing the pipe.
func (w *wire) Close() error {
	_ = w.end(ErrConnClosed)
	return nil
}

// GetOption hands the protocol the wire under its pipe.
func (w *wire) GetOption(name string) (any, error) {
	switch name {
	case optionWire:
		return w, nil
	case mangos.OptionLocalAddr:
		return w.c.LocalAddr(), nil
	case mangos.OptionRemoteAddr:
		return w.c.RemoteAddr(), nil
	}
	return nil, mangos.ErrBadOption
}

// fresh returns n bytes of memory of their own, not cleared: what is received
// fills all of them before anybody sees one, and clearing a frame first costs a
// tenth of receiving it. Go clears what make returns; the memory under a
// strings.Builder is the one kind it does not.
func fresh(n int) []byte {
	var b strings.Builder
	b.Grow(n + 1)
	b.WriteByte(0)                                        // the data of an empty string would be unspecified
	return unsafe.Slice(unsafe.StringData(b.String()), n) //nolint:gosec // nobody else has the string, and all of it is written before it is read
}
