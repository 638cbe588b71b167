package socket

// A connection: its handshake, its frames, its beats and its end.

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.nanomsg.org/mangos/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// Conn is one connection between a sender and a member. The sender's end comes
// from Listener.Accept and opens with Welcome, the member's from Dial, open.
//
// One goroutine at a time may call Recv; everything else is safe for concurrent
// use, and several goroutines may send. After an end, all methods return an
// error that wraps its first cause.
type Conn struct {
	w    *wire
	pipe corePipe
	role role
	cfg  settings

	hello    frame.Hello
	peer     Peer
	token    []byte // of the sender's end: what the member proved to know
	identity carrier.Identity
	// greeting and guard are the sender's, from proof to Welcome.
	greeting *greeting
	guard    *guard

	state atomic.Uint32 // a connState
	beat  *time.Timer
	stall stall

	// What is being sent; under w.mu.
	out    mangos.Message
	header []byte
	ping   mangos.Message
}

type connState uint32

const (
	shaking connState = iota
	opened
)

// settings are what both configurations have in common.
type settings struct {
	maxFrame  int
	beat      time.Duration
	deadAfter int
	alloc     func(int) []byte
}

func (s settings) check() error {
	var faults []error
	if s.maxFrame < strangerFrame || s.maxFrame > maxMaxFrame {
		faults = append(faults, fmt.Errorf("max frame %d is not between %d and %d", s.maxFrame, strangerFrame, maxMaxFrame))
	}
	if s.beat < time.Millisecond {
		faults = append(faults, fmt.Errorf("beat %v is less than a millisecond", s.beat))
	}
	if s.deadAfter < 2 {
		faults = append(faults, fmt.Errorf("dead after %d beats: one late beat must not be death", s.deadAfter))
	}
	return errors.Join(faults...)
}

func (s settings) patience() time.Duration { return time.Duration(s.deadAfter) * s.beat }

func newConn(w *wire, pipe corePipe, r role, cfg settings) *Conn {
	c := &Conn{w: w, pipe: pipe, role: r, cfg: cfg}
	c.ping.Body = frame.AppendPing(nil)
	// Set going by open; made here so that no two goroutines write the field.
	c.beat = time.AfterFunc(time.Hour, c.tick)
	c.beat.Stop()
	return c
}

// release is what is to be done after the end, besides telling mangos.
func (c *Conn) release(hangUp func()) func() {
	return func() {
		c.beat.Stop()
		hangUp()
	}
}

// Hello is what the member asked for; the sender's handshake has checked that
// it came from a holder of the token.
func (c *Conn) Hello() frame.Hello { return c.hello }

// Peer is what is known of the other side. On the sender's end MaxMessage is
// what Welcome told.
func (c *Conn) Peer() Peer { return c.peer }

// ProvedBy reports whether token is the one that the member proved to know. It is for the
// sender's end.
func (c *Conn) ProvedBy(token []byte) bool { return len(token) > 0 && hmac.Equal(c.token, token) }

// Identity is who the peer has proved to be by its certificate; the zero Identity when
// it has shown none.
func (c *Conn) Identity() carrier.Identity { return c.identity }

// Recheck ends the connection with ErrTLS when the peer's certificates are not trusted
// any more. On the sender's side Listener.Look does that.
func (c *Conn) Recheck() { c.w.recheck() }

// RemoteAddr is the peer's address, host:port.
func (c *Conn) RemoteAddr() string { return c.w.remote }

// BytesIn counts what arrived since the connection was made.
func (c *Conn) BytesIn() uint64 { return c.w.received.Load() }

// BytesOut counts what was handed to the kernel.
func (c *Conn) BytesOut() uint64 { return c.w.out.Load() }

// LastHeard is when the last byte arrived, as far as Recv has read.
func (c *Conn) LastHeard() time.Time {
	return c.w.born.Add(time.Duration(c.w.heard.Load()))
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.w.done }

// Err is why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	if err := c.w.cause(); err != nil {
		return c.failed("connection", err)
	}
	return nil
}

// Close ends the connection. It waits for nothing: a running Recv or Send
// returns with ErrConnClosed, what the kernel has not sent may be lost. It never
// fails; calling it again does nothing.
func (c *Conn) Close() error {
	_ = c.w.end(ErrConnClosed)
	return nil
}

// Welcome ends the handshake on the sender's side: it proves to the member that
// it found sender, whose records have at most maxMessage bytes, and opens the
// connection. It fails when the connection has ended meanwhile, by its deadline
// or an eviction, when it was called before, and with messages.ErrTooLarge when
// maxMessage and frame.Overhead are over MaxFrame; after that one the connection
// waits on.
func (c *Conn) Welcome(sender string, maxMessage uint64) error {
	if maxMessage > uint64(c.cfg.maxFrame-frame.Overhead) {
		return c.failed("welcome", fmt.Errorf("messages of %d bytes need frames over %d: %w", maxMessage, c.cfg.maxFrame, messages.ErrTooLarge))
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.greeting == nil {
		return c.failed("welcome", fmt.Errorf("%w: not a connection that was accepted", frame.ErrProtocol))
	}
	word, err := c.greeting.welcome(sender, maxMessage)
	if err != nil {
		return c.failed("welcome", err)
	}
	if err := c.guard.welcome(c); err != nil {
		return c.failed("welcome", err)
	}
	c.peer.MaxMessage = maxMessage
	if err := c.sendLocked("welcome", word); err != nil {
		return err
	}
	c.open()
	return nil
}

// Refuse says Bye instead of Welcome, and ends the connection. It is best
// effort and blocks for 100 ms at most.
func (c *Conn) Refuse(code pb.Code, reason string) {
	c.byeBye(code, reason, fmt.Errorf("%w: refused, %s: %s", ErrConnClosed, code, frame.Clip(reason)))
}

// Abort ends the connection for cause, and says Bye with that code. It is called by who
// calls Recv, for what that returned, and blocks for less than a second: a Send that is stuck
// is cut short.
func (c *Conn) Abort(code pb.Code, cause error) { _ = c.w.expel(code, cause) }

// byeTimeout bounds the writing of a last frame to somebody who need not read.
const byeTimeout = 100 * time.Millisecond

// byeBye ends the connection for cause, after a Bye. The Bye goes past Send: its
// failure must not become the cause, or a stranger who hangs up quickly would
// not be counted for what he did.
func (c *Conn) byeBye(code pb.Code, reason string, cause error) {
	if c.w.mu.TryLock() {
		c.w.sayBye(code, reason, time.Now().Add(byeTimeout))
		c.w.mu.Unlock()
	}
	_ = c.w.end(cause)
}

// proved hands the connection over from its greeting to Accept.
func (c *Conn) proved(g *greeting, guard *guard) {
	c.greeting, c.guard = g, guard
	c.hello, c.token = g.agreed.hello, g.secret.Token
	c.peer = Peer{ID: c.hello.Member, Incarnation: g.agreed.incarnation, Level: g.levels.With(c.hello.Level)}
}

// open lets frames flow and starts the beats.
func (c *Conn) open() {
	limit := c.cfg.maxFrame
	if c.role == roleSender {
		limit = min(limit, max(memberFrame, int(c.peer.MaxMessage))+frame.Overhead+frame.MaxError)
	}
	c.w.trust(limit, c.cfg.patience(), c.cfg.alloc)
	c.state.Store(uint32(opened))
	c.beat.Reset(untilBeat(time.Now(), c.cfg.beat))
	if c.w.cause() != nil {
		// The end came before the Reset, and may have stopped the timer first.
		c.beat.Stop()
	}
}

// untilBeat is after how long the next beat is due: a beat, or up to a quarter less, so
// that the beats of all connections of a machine fall on four instants of each. A process
// with a thousand idle links wakes four times a second for them, and not a thousand times.
func untilBeat(now time.Time, beat time.Duration) time.Duration {
	return beat - time.Duration(now.UnixNano()%max(int64(beat/4), 1))
}

// tick sends one beat, unless somebody is writing: then bytes are moving, or
// the peer does not read and a beat would only wait with them. It sets the next
// tick first, which watches over this one's write.
func (c *Conn) tick() {
	if c.w.cause() != nil {
		return
	}
	c.beat.Reset(untilBeat(time.Now(), c.cfg.beat))
	if c.w.cause() != nil {
		c.beat.Stop()
		return
	}
	if !c.w.mu.TryLock() {
		c.watch()
		return
	}
	c.stall.over()
	_ = c.pipe.SendMsg(&c.ping)
	c.w.mu.Unlock()
}

// Recv waits for the next frame and fills f, which may be reused: what of the
// last frame stays the caller's is said at each field. Beats are consumed here
// and keep the peer's pulse, so somebody should always be in Recv.
//
// It ends with the connection: ErrConnClosed, ErrListenerClosed, ErrPeerClosed,
// ErrPeerSilent, or the network's error. Frames that do not decode end the
// connection with an error that wraps messages.ErrCorrupt, frames over MaxFrame, or replies
// over MaxMessage, with messages.ErrTooLarge, frames that have no place with
// frame.ErrProtocol: frame.Breaks tells these. The peer is told why, by a Bye.
func (c *Conn) Recv(f *frame.Frame) error {
	if connState(c.state.Load()) != opened {
		return c.failed("receive", fmt.Errorf("%w: not welcomed", frame.ErrProtocol))
	}
	for {
		m := c.pipe.RecvMsg()
		if m == nil {
			return c.failed("receive", c.w.cause())
		}
		kind, inner, err := frame.Open(m.Body)
		if err == nil {
			err = c.role.admits(kind, len(inner), c.peer.MaxMessage)
		}
		var gathered bool
		if err == nil {
			gathered, err = f.Decode(kind, inner)
		}
		if size := len(f.Reply.Record); err == nil && kind == frame.KindReply && uint64(size) > c.peer.MaxMessage {
			err = fmt.Errorf("%w: reply of %d bytes, the limit is %d: %w", frame.ErrProtocol, size, c.peer.MaxMessage, messages.ErrTooLarge)
		}
		switch {
		case err != nil:
			return c.failed("receive", c.w.expel(pb.Code_PROTOCOL_ERROR, err))
		case kind == frame.KindPing && f.Ping == (frame.Ping{}):
			continue
		case kind == frame.KindReply && !c.w.owned:
			f.Reply.Record = bytes.Clone(f.Reply.Record)
		case kind == frame.KindData && !gathered && !c.w.owned:
			// A small frame lies in the read buffer.
			records := c.w.memory(len(f.Data.Records))
			copy(records, f.Data.Records)
			f.Data.Records = records
		}
		return nil
	}
}

// SendData sends records, as messages.AppendRecord makes them, of which the
// first has the link sequence first. attempts is parallel to them, or nil when
// all are first attempts; deaths is that of each of them. The slices are not
// touched after it returns.
//
// It returns when the kernel has the bytes, and blocks while the peer does not
// read; the end of the connection ends it. It fails with messages.ErrTooLarge
// over MaxFrame, and messages.ErrInvalid without records or with the sequence
// 0: nothing is sent then and the connection lives on.
func (c *Conn) SendData(first uint64, attempts []uint32, redelivered bool, deaths uint32, records []byte) error {
	if len(records) == 0 || first == 0 {
		return c.failed("send data", fmt.Errorf("%d bytes of records from sequence %d: %w", len(records), first, messages.ErrInvalid))
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if err := c.maySend(frame.KindData); err != nil {
		return c.failed("send data", err)
	}
	c.header = frame.AppendDataHeader(c.header[:0], first, attempts, redelivered, deaths, len(records))
	if size := len(c.header) + len(records); size > c.cfg.maxFrame {
		return c.failed("send data", fmt.Errorf("frame of %d bytes, the limit is %d: %w", size, c.cfg.maxFrame, messages.ErrTooLarge))
	}
	return c.sendMessage("send data", c.header, records)
}

// SendAck sends an Ack. Its ranges must be ascending, apart, above Cumulative,
// and at most frame.MaxAckRanges, else the error wraps messages.ErrInvalid and nothing
// is sent.
// Blocking and ends are as with SendData.
func (c *Conn) SendAck(a *frame.Ack) error {
	if err := a.Check(); err != nil {
		return c.failed("send ack", fmt.Errorf("%w: %w", messages.ErrInvalid, err))
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if err := c.maySend(frame.KindAck); err != nil {
		return c.failed("send ack", err)
	}
	c.header = frame.AppendAck(c.header[:0], a)
	if len(c.header) > c.cfg.maxFrame {
		return c.failed("send ack", fmt.Errorf("frame of %d bytes, the limit is %d: %w", len(c.header), c.cfg.maxFrame, messages.ErrTooLarge))
	}
	return c.sendMessage("send ack", c.header, nil)
}

// SendReply sends a Reply, whose Record is what messages.AppendRecord makes. It fails with
// messages.ErrTooLarge when the record is over the sender's MaxMessage, and
// messages.ErrInvalid when it is no Reply: nothing is sent then and the connection lives on.
// Blocking and ends are as with SendData.
func (c *Conn) SendReply(r *frame.Reply) error {
	if r.Request == 0 || r.Failed == (len(r.Record) > 0) {
		return c.failed("send reply", fmt.Errorf("to request %d, refused: %t, %d bytes: %w", r.Request, r.Failed, len(r.Record), messages.ErrInvalid))
	}
	if len(r.Record) > int(min(c.peer.MaxMessage, frame.Largest)) {
		return c.failed("send reply", fmt.Errorf("%d bytes, the limit is %d: %w", len(r.Record), c.peer.MaxMessage, messages.ErrTooLarge))
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if err := c.maySend(frame.KindReply); err != nil {
		return c.failed("send reply", err)
	}
	c.header = frame.AppendReplyHeader(c.header[:0], r, len(r.Record))
	return c.sendMessage("send reply", c.header, r.Record)
}

// SendNack hands one record back. Blocking and ends are as with SendData.
func (c *Conn) SendNack(n frame.Nack) error {
	return c.sendOpen("send nack", frame.KindNack, n.Wire())
}

// SendPing sends a ping that says something; those that say nothing are sent without
// being asked for. Blocking and ends are as with SendData.
func (c *Conn) SendPing(p frame.Ping) error {
	return c.sendOpen("send ping", frame.KindPing, p.Wire())
}

// SendDrain asks for the end in order, or answers that. Blocking and ends are
// as with SendData.
func (c *Conn) SendDrain(d frame.Drain) error {
	return c.sendOpen("send drain", frame.KindDrain, d.Wire())
}

// SendBye sends the last frame. The connection stays open, because closing it
// here could destroy the Bye on its way: the peer closes when it has read it,
// which ends Recv; close after a while should it not. Blocking and ends are as
// with SendData.
func (c *Conn) SendBye(code pb.Code, reason string) error {
	return c.sendOpen("send bye", frame.KindBye, frame.Bye{Code: code, Reason: reason}.Wire())
}

// Leave ends the connection in order: it says Bye, waits until the peer has
// closed, and closes. It blocks for 200 ms at most, whoever reads or does not:
// a Send that is stuck is cut short. Recv must keep running meanwhile, for the peer's
// end to be noticed.
func (c *Conn) Leave(code pb.Code, reason string) {
	_ = c.w.c.SetWriteDeadline(time.Now().Add(byeTimeout))
	if c.SendBye(code, reason) == nil {
		patience := time.NewTimer(byeTimeout)
		defer patience.Stop()
		select {
		case <-c.Done():
		case <-patience.C:
		}
	}
	_ = c.Close()
}

// maySend keeps us to what the peer would accept.
func (c *Conn) maySend(k frame.Kind) error {
	if connState(c.state.Load()) != opened {
		return fmt.Errorf("%w: not welcomed", frame.ErrProtocol)
	}
	other := roleMember
	if c.role == roleMember {
		other = roleSender
	}
	if !other.expects(k) {
		return fmt.Errorf("%w: this side does not send %s", frame.ErrProtocol, k)
	}
	return nil
}

func (c *Conn) sendOpen(op string, k frame.Kind, f *pb.Frame) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if err := c.maySend(k); err != nil {
		return c.failed(op, err)
	}
	return c.sendLocked(op, f)
}

func (c *Conn) sendControl(op string, f *pb.Frame) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.sendLocked(op, f)
}

func (c *Conn) sendLocked(op string, f *pb.Frame) error {
	if err := c.sendBody(f); err != nil {
		return c.failed(op, err)
	}
	return nil
}

func (c *Conn) sendBody(f *pb.Frame) error {
	var err error
	if c.header, err = frame.AppendControl(c.header[:0], f); err != nil {
		return err
	}
	return c.transmit(c.header, nil)
}

func (c *Conn) sendMessage(op string, header, body []byte) error {
	if err := c.transmit(header, body); err != nil {
		return c.failed(op, err)
	}
	return nil
}

// transmit sends one frame in two parts. The caller holds w.mu.
func (c *Conn) transmit(header, body []byte) error {
	c.out.Header, c.out.Body = header, body
	err := c.pipe.SendMsg(&c.out)
	c.out.Header, c.out.Body = nil, nil
	if cap(c.header) > 2*copyLimit {
		// One frame with thousands of attempts shall not cost memory forever.
		c.header = nil
	}
	return err
}

// recvHandshake reads one frame of a handshake.
func (c *Conn) recvHandshake() (*pb.Frame, error) {
	m := c.pipe.RecvMsg()
	if m == nil {
		return nil, c.w.cause()
	}
	if _, _, err := frame.Open(m.Body); err != nil {
		return nil, c.w.end(err)
	}
	f := new(pb.Frame)
	if err := proto.Unmarshal(m.Body, f); err != nil {
		return nil, c.w.end(fmt.Errorf("frame: %w: %w", messages.ErrCorrupt, err))
	}
	return f, nil
}

func (c *Conn) failed(op string, err error) error {
	return fmt.Errorf("%s: peer %s: %w", op, c.w.remote, err)
}
