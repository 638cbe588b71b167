package carrier

// Frames of WebSocket, as a stream.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/penstock-io/penstock/messages"
)

const (
	// firstLimit is what a message may have before Limit was called.
	firstLimit = 4 << 10
	// idleFrames and busyFrames are what is read ahead at first, and once that was too
	// little.
	idleFrames, busyFrames = 512, 4 << 10
	// maskPiece is what is masked at a time: the caller's bytes stay as they are.
	maskPiece = 32 << 10
	// lastWord is how long a close frame may take.
	lastWord = 10 * time.Millisecond
	// lengthSize is nanomsg's length before each message.
	lengthSize = 8
)

// The SP headers of the two ends, which WebSocket says by its subprotocol.
var (
	pushHeader = []byte{0, 'S', 'P', 0, 0, 0x50, 0, 0}
	pullHeader = []byte{0, 'S', 'P', 0, 0, 0x51, 0, 0}
)

// webSocket is a stream in frames of WebSocket. To who reads and writes it is as tcp is
// with nanomsg: an SP header, then messages, each behind its length. On the network a
// message is a binary message of WebSocket, and nothing else.
//
// A Write that begins a message holds its length, and a Write holds no part of a second.
type webSocket struct {
	net.Conn        // tcp, or TLS over it
	whole    Pieces // Conn, where it is that
	side     ws.State
	upgrade  func(*webSocket) error
	// upgraded tells that frames may be written.
	upgraded atomic.Bool

	// Reading: one goroutine at a time. ready is what to return before anything else; left
	// is what is to come of the frame that is read.
	in       []byte
	from, to int
	header   bytes.Reader
	scratch  [ws.MaxHeaderSize]byte
	state    ws.State
	ready    []byte
	length   [lengthSize]byte
	left     int64
	mask     [4]byte
	masked   bool
	at       int
	limit    int64
	// gathered is a message that comes in several frames, while gathering; final tells
	// that this frame is its last.
	gathering, final bool
	gathered         []byte
	broken           error

	// owed is the ping that is to be answered.
	owed atomic.Pointer[[]byte]

	// writing guards what follows. due is what is to come of the message that is written.
	writing sync.Mutex
	greeted bool
	due     int64
	key     [4]byte
	keyed   int
	out     []byte
	sink    sink
	room    [ws.MaxHeaderSize]byte
	pieces  [2][]byte
	vector  net.Buffers
}

// newWebSocket makes a stream of c, which is one of the two sides. Whoever reads or
// writes first calls Handshake before.
func newWebSocket(c net.Conn, side ws.State, upgrade func(*webSocket) error) net.Conn {
	w := &webSocket{Conn: c, side: side, state: side, upgrade: upgrade, in: make([]byte, idleFrames), limit: firstLimit}
	w.whole, _ = c.(Pieces)
	w.ready = pullHeader
	if side.ClientSide() {
		w.ready = pushHeader
	}
	if s, ok := c.(Session); ok {
		return &provedSocket{webSocket: w, session: s}
	}
	return w
}

// provedSocket is a webSocket over a Session.
type provedSocket struct {
	*webSocket
	session Session
}

func (c *provedSocket) Identity() Identity        { return c.session.Identity() }
func (c *provedSocket) Exporter() ([]byte, error) { return c.session.Exporter() }
func (c *provedSocket) Recheck() error            { return c.session.Recheck() }

// Handshake is Opener's: that of the stream below, and the HTTP request.
func (c *webSocket) Handshake(ctx context.Context) error {
	if o, ok := c.Conn.(Opener); ok {
		if err := o.Handshake(ctx); err != nil {
			return err
		}
	}
	if err := c.upgrade(c); err != nil {
		return err
	}
	c.upgraded.Store(true)
	return nil
}

// Limit is Limited's.
func (c *webSocket) Limit(n int) { c.limit = int64(n) }

// NetConn is the stream below WebSocket.
func (c *webSocket) NetConn() net.Conn { return c.Conn }

// SyscallConn is the tcp connection's.
func (c *webSocket) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// Close says so to who is there, unless that has to wait, and ends the stream.
func (c *webSocket) Close() error {
	if c.upgraded.Load() && c.writing.TryLock() {
		c.close(ws.StatusNormalClosure, "")
		c.writing.Unlock()
	}
	return c.Conn.Close()
}

// close writes a close frame where one may stand. The caller holds writing.
func (c *webSocket) close(code ws.StatusCode, why string) {
	if c.due > 0 {
		return
	}
	c.due = -1 // nothing follows
	_ = c.SetWriteDeadline(time.Now().Add(lastWord))
	_, _ = c.Conn.Write(c.control(c.out[:0], ws.OpClose, ws.NewCloseFrameBody(code, why)))
}

// Read returns what is there, and waits only when nothing is.
func (c *webSocket) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(c.ready) > 0:
			m := copy(p[n:], c.ready)
			c.ready = c.ready[m:]
			n += m
		case c.broken != nil && n > 0:
			return n, nil
		case c.broken != nil:
			return 0, c.broken
		case c.left > 0 && c.from == c.to && !c.gathering && n == 0 && c.left >= int64(len(c.in)):
			m, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
			c.unmask(p[:m])
			return m, err
		case c.left > 0 && c.from < c.to:
			part := c.in[c.from:min(int64(c.to), int64(c.from)+c.left)]
			if !c.gathering {
				part = part[:min(len(part), len(p)-n)]
			}
			c.from += len(part)
			c.unmask(part)
			if !c.gathering {
				n += copy(p[n:], part)
				continue
			}
			c.gathered = append(c.gathered, part...)
			c.gather()
		case c.left == 0 && c.next():
		case n > 0:
			return n, nil
		default:
			if err := c.fill(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// fill reads ahead.
func (c *webSocket) fill() error {
	switch {
	case c.from == c.to:
		c.from, c.to = 0, 0
	case c.from > 0:
		c.from, c.to = 0, copy(c.in, c.in[c.from:c.to])
	}
	if c.to == len(c.in) {
		return fmt.Errorf("%w: a frame's header does not end", ErrNoWebSocket)
	}
	n, err := c.Conn.Read(c.in[c.to:])
	if c.to += n; c.to == len(c.in) && len(c.in) < busyFrames {
		in := make([]byte, busyFrames)
		copy(in, c.in[:c.to])
		c.in = in
	}
	if n > 0 {
		return nil
	}
	return err
}

// unmask takes the mask off what was read of a frame.
func (c *webSocket) unmask(part []byte) {
	if c.masked {
		ws.Cipher(part, c.mask, c.at)
	}
	c.at += len(part)
	c.left -= int64(len(part))
}

// next begins with the next frame, and reports whether all of its header is there.
func (c *webSocket) next() bool {
	c.header.Reset(c.in[c.from:c.to])
	h, err := ws.ReadHeaderBuffer(&c.header, c.scratch[:0])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return false
	case errors.Is(err, ws.ErrHeaderLengthMSB):
		return c.breaks(ws.StatusMessageTooBig, fmt.Errorf("a frame of more than 2^63 bytes: %w", messages.ErrTooLarge))
	case err == nil:
		err = ws.CheckHeader(h, c.state)
	}
	if err != nil {
		return c.breaks(ws.StatusProtocolError, fmt.Errorf("%w: %w", ErrNoWebSocket, err))
	}
	size := c.to - c.from - c.header.Len()
	c.mask, c.masked, c.at = h.Mask, h.Masked, 0
	if h.OpCode.IsControl() {
		if c.header.Len() < int(h.Length) {
			return false
		}
		c.from += size
		body := c.in[c.from : c.from+int(h.Length)]
		c.from += len(body)
		c.left = h.Length
		c.unmask(body)
		return c.hears(h.OpCode, body)
	}
	c.from += size
	whole := h.Length + int64(len(c.gathered))
	switch {
	case h.OpCode == ws.OpText:
		return c.breaks(ws.StatusUnsupportedData, fmt.Errorf("%w: a text message", ErrNoWebSocket))
	case whole > c.limit || whole < 0:
		return c.breaks(ws.StatusMessageTooBig, fmt.Errorf("frame of %d bytes, the limit is %d: %w", whole, c.limit, messages.ErrTooLarge))
	}
	c.left, c.final = h.Length, h.Fin
	if c.gathering = !h.Fin || h.OpCode == ws.OpContinuation; c.gathering {
		c.state = c.side.Set(ws.StateFragmented)
		c.gather()
		return true
	}
	binary.BigEndian.PutUint64(c.length[:], uint64(whole))
	c.ready = c.length[:]
	return true
}

// gather makes a message ready once all of its frames have come.
func (c *webSocket) gather() {
	if c.left > 0 || !c.final {
		return
	}
	c.ready = append(binary.BigEndian.AppendUint64(nil, uint64(len(c.gathered))), c.gathered...)
	c.gathering, c.gathered, c.state = false, nil, c.side
}

// hears takes a control frame. It returns true.
func (c *webSocket) hears(code ws.OpCode, body []byte) bool {
	switch code {
	case ws.OpClose:
		status, why := ws.ParseCloseFrameData(body)
		err := io.EOF
		if status != ws.StatusNormalClosure && status != ws.StatusGoingAway && !status.Empty() {
			err = fmt.Errorf("WebSocket closed with %d %q: %w", status, why, io.EOF)
		}
		return c.breaks(ws.StatusNormalClosure, err)
	case ws.OpPing:
		ping := bytes.Clone(body)
		c.owed.Store(&ping)
		// Who writes now answers when that is over: a reader that waited for it could
		// wait for a peer that waits for a reader.
		if c.writing.TryLock() {
			defer c.writing.Unlock()
			if c.due == 0 {
				if b := c.pong(c.out[:0]); len(b) > 0 {
					_, _ = c.Conn.Write(b) // the next read or write hears of it
				}
			}
		}
	}
	return true
}

// breaks ends reading, after a word to the peer why. It returns true.
func (c *webSocket) breaks(code ws.StatusCode, err error) bool {
	c.broken, c.left, c.gathered = err, 0, nil
	if c.writing.TryLock() {
		c.close(code, "")
		c.writing.Unlock()
	}
	return true
}

// Write is WritePieces.
func (c *webSocket) Write(p []byte) (int, error) {
	if err := c.WritePieces(p, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WritePieces writes what belongs to one message.
func (c *webSocket) WritePieces(head, body []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	b := c.out[:0]
	switch {
	case !c.greeted:
		c.greeted = true // the SP header, of which the subprotocol speaks
		return nil
	case c.due < 0:
		return net.ErrClosed
	case c.due == 0:
		b = c.pong(b)
		c.due = int64(binary.BigEndian.Uint64(head))
		head = head[lengthSize:]
		b = c.begin(b, ws.OpBinary, c.due)
	}
	if c.due -= int64(len(head) + len(body)); c.due < 0 {
		return fmt.Errorf("%d bytes more than the message has: %w", -c.due, io.ErrShortWrite)
	}
	if c.due == 0 && len(body) == 0 || c.side.ClientSide() {
		return c.writeMasked(b, head, body)
	}
	b = append(b, head...)
	c.keep(b)
	if c.whole != nil {
		return c.whole.WritePieces(b, body)
	}
	c.pieces = [2][]byte{b, body}
	c.vector = c.pieces[:]
	_, err := c.vector.WriteTo(c.Conn)
	c.pieces = [2][]byte{}
	return err
}

// writeMasked writes behind b what it copies, masked where this side has to.
func (c *webSocket) writeMasked(b []byte, parts ...[]byte) error {
	for _, part := range parts {
		for len(part) > 0 {
			n := min(len(part), maskPiece)
			at := len(b)
			b = append(b, part[:n]...)
			part = part[n:]
			if c.side.ClientSide() {
				ws.Cipher(b[at:], c.key, c.keyed)
				c.keyed += n
			}
			if len(b) >= maskPiece {
				if _, err := c.Conn.Write(b); err != nil {
					return err
				}
				c.keep(b)
				b = b[:0]
			}
		}
	}
	c.keep(b)
	if len(b) == 0 {
		return nil
	}
	_, err := c.Conn.Write(b)
	return err
}

// keep uses the memory of b again, unless it is much for a link that is idle.
func (c *webSocket) keep(b []byte) {
	if cap(b) <= busyFrames+lengthSize+ws.MaxHeaderSize {
		c.out = b[:0]
	}
}

// begin appends the header of a frame, with a mask of its own on the side that has one.
func (c *webSocket) begin(b []byte, code ws.OpCode, length int64) []byte {
	h := ws.Header{Fin: true, OpCode: code, Length: length}
	if c.side.ClientSide() {
		rand.Read(c.key[:])
		h.Masked, h.Mask, c.keyed = true, c.key, 0
	}
	c.sink = b
	_ = ws.WriteHeaderBuffer(&c.sink, h, c.room[:]) // it fails for no length that an int64 can be
	return c.sink
}

// sink is where the library writes headers.
type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

// control appends a control frame.
func (c *webSocket) control(b []byte, code ws.OpCode, body []byte) []byte {
	b = c.begin(b, code, int64(len(body)))
	at := len(b)
	b = append(b, body...)
	if c.side.ClientSide() {
		ws.Cipher(b[at:], c.key, 0)
	}
	return b
}

// pong appends the answer to the last ping, if one is owed. The caller holds writing.
func (c *webSocket) pong(b []byte) []byte {
	ping := c.owed.Swap(nil)
	if ping == nil {
		return b
	}
	return c.control(b, ws.OpPong, *ping)
}
