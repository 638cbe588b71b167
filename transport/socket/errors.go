package socket

// How connections end and why they are refused.

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// Errors of connections. All are wrapped with the
// operation and the address: compare with errors.Is and errors.As. None holds
// a token or a proof. What breaks the protocol is frame.ErrProtocol.
var (
	// ErrConnClosed: this side called Close, or sent a refusal.
	ErrConnClosed = fmt.Errorf("connection %w", messages.ErrClosed)
	// ErrListenerClosed: Listener.Close ended the Accept or the connection.
	ErrListenerClosed = fmt.Errorf("listener %w", messages.ErrClosed)
	// ErrPeerClosed: the peer closed the connection or its process died.
	ErrPeerClosed = errors.New("peer closed the connection")
	// ErrPeerSilent: nothing arrived for as many beats as DeadAfter allows.
	ErrPeerSilent = errors.New("peer is silent")
	// ErrPeerStuck: the peer shows that it lives and takes no bytes: a write
	// moved nothing for as many beats as DeadAfter allows, or for ten times as long
	// where the system does not say what the peer has taken.
	ErrPeerStuck = errors.New("peer takes no bytes")
	// ErrPeerProof: who answered the dialled address does not know the token.
	// Nothing was sent to it but the Hello and a proof bound to this address.
	ErrPeerProof = errors.New("the sender's proof is wrong")
	// ErrHandshakeTimeout: there was no Welcome in time.
	ErrHandshakeTimeout = errors.New("handshake not finished in time")
	// ErrNotSP: the peer does not speak nanomsg's protocol, or the wrong half
	// of it.
	ErrNotSP = errors.New("not a pipe's peer")
	// ErrTLS: there is no encrypted connection with this peer: certificates are not
	// trusted, or not any more, or it speaks something else.
	ErrTLS = errors.New("TLS")
	// ErrNotAllowed: Listener.Judge has found that the member may not join any more.
	ErrNotAllowed = errors.New("the member is not allowed any more")
	// ErrLevel: the sender's release is older than this side has links with, or than etcd
	// says.
	ErrLevel = errors.New("level")
	// errEvicted: a newer connection took the place among those that have not
	// been welcomed.
	errEvicted = errors.New("evicted for a newer connection")
)

// RefusedError is what Dial returns when the sender said Bye.
type RefusedError struct {
	// Code is the sender's reason for programs. A sender that does not know
	// the destination answers BAD_PROOF, as to a wrong token.
	Code pb.Code
	// Reason is its reason for people.
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused by the sender with %s: %q", e.Code, e.Reason)
}

// Reason says why a listener did not welcome a connection.
type Reason uint8

// The reasons, in the order in which a connection can meet them.
const (
	// ReasonGone: the peer closed before it was welcomed.
	ReasonGone Reason = iota
	// ReasonNotSP: the first bytes are not those of a pipe's member.
	ReasonNotSP
	// ReasonTLS: its certificate is missing or not trusted, or it does not speak TLS.
	ReasonTLS
	// ReasonTimeout: no Welcome within HandshakeTimeout.
	ReasonTimeout
	// ReasonEvicted: MaxPending newer connections came.
	ReasonEvicted
	// ReasonTooLarge: a frame over 4 KiB.
	ReasonTooLarge
	// ReasonMalformed: a frame that does not decode or lacks what it must have.
	ReasonMalformed
	// ReasonProtocol: a frame of the wrong kind.
	ReasonProtocol
	// ReasonVersion: the peer speaks another version, or its level is too old.
	ReasonVersion
	// ReasonUnknownDestination: Lookup does not know the destination; the peer
	// was told that its proof is wrong.
	ReasonUnknownDestination
	// ReasonBadProof: the peer does not know the token.
	ReasonBadProof
	// ReasonAddress: the proof is right, but for an address that is not this
	// listener's: somebody passes on what was meant for them.
	ReasonAddress
	// ReasonNotAllowed: the proof is right, and ListenerConfig.Allow refuses the member;
	// the peer was told that its proof is wrong.
	ReasonNotAllowed
	// ReasonFull: MaxLinks connections are open.
	ReasonFull
	// ReasonRefused: Conn.Refuse or Conn.Close was called.
	ReasonRefused
	// ReasonClosing: the listener was closed.
	ReasonClosing

	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonGone:               "gone",
	ReasonNotSP:              "not-sp",
	ReasonTLS:                "tls",
	ReasonTimeout:            "timeout",
	ReasonEvicted:            "evicted",
	ReasonTooLarge:           "too-large",
	ReasonMalformed:          "malformed",
	ReasonProtocol:           "protocol",
	ReasonVersion:            "version",
	ReasonUnknownDestination: "unknown-destination",
	ReasonBadProof:           "bad-proof",
	ReasonAddress:            "address",
	ReasonNotAllowed:         "not-allowed",
	ReasonFull:               "full",
	ReasonRefused:            "refused",
	ReasonClosing:            "closing",
}

// String is a short fixed name, fit for a metric's label.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// handshakeError sorts the failure of a stream's own handshake.
func handshakeError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w in the handshake", ErrPeerClosed)
	case errors.Is(err, messages.ErrTooLarge), errors.Is(err, net.ErrClosed):
		return err
	case errors.Is(err, carrier.ErrNoWebSocket):
		return fmt.Errorf("%w: %w", ErrNotSP, err)
	}
	return fmt.Errorf("%w: %w", ErrTLS, err)
}

// isTLS reports whether TLS ended a session: bytes that are not the peer's, or its
// word why it does not trust us.
func isTLS(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &record) ||
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// reasonOf sorts the end of a connection that was not welcomed.
func reasonOf(err error) Reason {
	var fault *handshakeFault
	switch {
	case errors.As(err, &fault):
		return fault.reason
	case errors.Is(err, ErrNotSP):
		return ReasonNotSP
	case errors.Is(err, ErrHandshakeTimeout):
		return ReasonTimeout
	case errors.Is(err, errEvicted):
		return ReasonEvicted
	case errors.Is(err, messages.ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, messages.ErrCorrupt):
		return ReasonMalformed
	case errors.Is(err, ErrTLS):
		return ReasonTLS
	case errors.Is(err, frame.ErrProtocol):
		return ReasonProtocol
	case errors.Is(err, ErrListenerClosed):
		return ReasonClosing
	case errors.Is(err, ErrConnClosed):
		return ReasonRefused
	}
	return ReasonGone
}

// lastWord is how long the Bye to who breaks the protocol may take. That is an instant, unless
// the peer reads nothing; a machine that is busy for longer than byeTimeout still says it.
const lastWord = 500 * time.Millisecond

// expel is end for what the peer did. It tells the peer, and then drops what still comes
// until the peer has closed: closing before could destroy the Bye on its way. It is called
// by who reads, and blocks for less than a second: a write that is stuck is cut short.
func (w *wire) expel(code pb.Code, cause error) error {
	ours, first := w.fails(cause)
	if !ours {
		return first
	}
	free := w.mu.TryLock()
	if !free {
		_ = w.c.SetWriteDeadline(time.Now().Add(byeTimeout)) // who writes is cut short then
	}
	const pause = time.Millisecond
	for tries := byeTimeout / pause; !free && tries > 0; tries-- { // a busy machine has as many tries
		time.Sleep(pause)
		free = w.mu.TryLock()
	}
	said := free && !w.torn && w.sayBye(code, cause.Error(), time.Now().Add(lastWord))
	if free {
		w.mu.Unlock()
	}
	if said {
		until := time.Now().Add(byeTimeout)
		_ = w.c.SetReadDeadline(until)
		for {
			if _, err := w.c.Read(w.in); err != nil || !time.Now().Before(until) {
				break
			}
		}
	}
	w.shut(cause)
	return cause
}

// sayBye writes a last frame, and reports whether it is out. The caller holds mu.
func (w *wire) sayBye(code pb.Code, reason string, until time.Time) bool {
	b, err := frame.AppendControl(make([]byte, lengthSize, lengthSize+64), frame.Bye{Code: code, Reason: reason}.Wire())
	if err != nil {
		return false
	}
	binary.BigEndian.PutUint64(b, uint64(len(b)-lengthSize))
	_ = w.c.SetWriteDeadline(until)
	_, err = w.c.Write(b)
	return err == nil
}
