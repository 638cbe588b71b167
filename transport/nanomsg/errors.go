package nanomsg

// How connections end, and why some never begin.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/carrier"
)

// Errors of connections, each wrapped with the address: compare with errors.Is.
var (
	// ErrPeerClosed: the peer closed the connection, or its process died.
	ErrPeerClosed = errors.New("the peer closed the connection")
	// ErrNotSP: the other side does not speak nanomsg's protocol, or is not the kind of
	// peer that belongs here.
	ErrNotSP = errors.New("not a nanomsg peer")
	// ErrHandshakeTimeout: the protocol's header did not come in time.
	ErrHandshakeTimeout = errors.New("handshake not finished in time")
	// ErrStalled: the peer has read nothing for StallAfter. The connection lives.
	ErrStalled = errors.New("the peer reads nothing")
	// ErrClosed: this side has closed the connection or the listener.
	ErrClosed = fmt.Errorf("connection %w", messages.ErrClosed)

	errEvicted = errors.New("evicted for a newer connection")
	errFull    = errors.New("as many peers are connected as may be")
)

// Refusal is a connection that did not become a peer.
type Refusal struct {
	// Remote is the other side's address.
	Remote string
	// Reason is a short fixed name, fit for a metric's label: gone, not-sp, timeout,
	// evicted, full or closing.
	Reason string
	// Err says more.
	Err error
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, ErrNotSP):
		return "not-sp"
	case errors.Is(err, ErrHandshakeTimeout):
		return "timeout"
	case errors.Is(err, errEvicted):
		return "evicted"
	case errors.Is(err, errFull):
		return "full"
	case errors.Is(err, ErrClosed):
		return "closing"
	}
	return "gone"
}

// sorted names what the system says of a connection that has ended.
func sorted(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrPeerClosed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: %w", ErrPeerClosed, err)
	case errors.Is(err, carrier.ErrNoWebSocket):
		return fmt.Errorf("%w: %w", ErrNotSP, err)
	}
	return err
}

// late reports whether a deadline has passed.
func late(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
