package nanomsg

// What both sides of a connection have in common: the protocol's header, the length
// before each message, and why the connection ended.

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// The two halves of a pipeline, as the header names them.
const (
	protoPush uint16 = 0x50
	protoPull uint16 = 0x51
)

// lengthSize is that of the length before each message.
const lengthSize = 8

// lives is how dead hosts are noticed: nothing is said while nothing is sent.
var lives = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}

// stream is one connection.
type stream struct {
	c      net.Conn
	remote string

	mu  sync.Mutex
	err error // why it ended
}

func newStream(c net.Conn) *stream {
	s := &stream{c: c}
	if a := c.RemoteAddr(); a != nil {
		s.remote = a.String()
	}
	if t, ok := below(c).(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(lives) // without it dead hosts are noticed when something is sent
	}
	return s
}

// below is the connection that carries c, or c.
func below(c net.Conn) net.Conn {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		return over.NetConn()
	}
	return c
}

// RemoteAddr is the other side's address.
func (s *stream) RemoteAddr() string { return s.remote }

// Close ends the connection at once: every call returns ErrClosed.
func (s *stream) Close() { _ = s.end(ErrClosed) }

// end ends the connection for a cause, and returns the first one.
func (s *stream) end(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = cause
		_ = s.c.Close()
	}
	return s.err
}

// greet exchanges headers: that the other side is the opposite.
func (s *stream) greet(self, peer uint16, within time.Duration) error {
	_ = s.c.SetDeadline(time.Now().Add(within)) // fails on a closed connection, as what follows does
	head := header(self)
	var err error
	if o, ok := s.c.(carrier.Opener); ok {
		err = o.Handshake(context.Background()) // the deadline ends it
	}
	if err == nil {
		_, err = s.c.Write(head[:])
	}
	var got [lengthSize]byte
	if err == nil {
		_, err = io.ReadFull(s.c, got[:])
	}
	switch {
	case err == nil:
		err = checkHeader(got, peer)
	case late(err):
		err = fmt.Errorf("%w: no header after %v", ErrHandshakeTimeout, within)
	default:
		err = sorted(err)
	}
	if err != nil {
		return s.end(err)
	}
	_ = s.c.SetDeadline(time.Time{})
	return nil
}

func header(proto uint16) [lengthSize]byte {
	return [lengthSize]byte{0, 'S', 'P', 0, byte(proto >> 8), byte(proto), 0, 0}
}

// protocols are the names of those who come to the wrong place most.
var protocols = map[uint16]string{protoPush: "PUSH", protoPull: "PULL", 0x10: "PAIR", 0x20: "PUB", 0x21: "SUB", 0x30: "REQ", 0x31: "REP", 0x70: "BUS"}

func checkHeader(got [lengthSize]byte, peer uint16) error {
	want := header(peer)
	switch {
	case got == want:
		return nil
	case [4]byte(got[:4]) == [4]byte(want[:4]) && got[6] == 0 && got[7] == 0:
		return fmt.Errorf("%w of the kind %s: it is %s", ErrNotSP, kind(peer), kind(binary.BigEndian.Uint16(got[4:])))
	}
	return fmt.Errorf("%w: its first bytes are %q", ErrNotSP, got[:])
}

func kind(proto uint16) string {
	if name, ok := protocols[proto]; ok {
		return name
	}
	return fmt.Sprintf("%#02x", proto)
}

// prefix is what stands before the length of each message: streams of one machine have
// a byte that says that a message follows.
type prefix []byte

var inband = prefix{1}

// prefixOf is that of a scheme.
func prefixOf(scheme string) prefix {
	if scheme == address.IPC {
		return inband
	}
	return nil
}

// append puts what comes before a message of size bytes.
func (p prefix) append(b []byte, size int) []byte {
	return binary.BigEndian.AppendUint64(append(b, p...), uint64(size))
}

// size is how much comes before each message.
func (p prefix) size() int { return len(p) + lengthSize }
