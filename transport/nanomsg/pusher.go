package nanomsg

// The side of a connection that reads: from a PUSH peer, which listens.

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// DialConfig says whom to dial. URL and MaxMessage are required.
type DialConfig struct {
	URL string
	// MaxMessage is the largest message in bytes; a peer that sends a larger one is
	// ended.
	MaxMessage int
	// Timeout is how long Dial may take; 5 s when 0.
	Timeout time.Duration
}

const (
	// readBuffer is what one read takes of small messages.
	readBuffer = 32 << 10
	// firstRead is the memory that a long message gets at first. It gets more as its
	// bytes come: a length is only what the peer claims.
	firstRead = 256 << 10
)

// Check returns why a URL cannot be dialled for messages of stock peers; it wraps
// messages.ErrInvalid.
func Check(url string) error {
	u, _, err := address.Dial(url)
	if err != nil {
		return err
	}
	return checkScheme(u)
}

// checkScheme refuses what no stock peer speaks.
func checkScheme(u address.URL) error {
	if u.Encrypted() {
		return fmt.Errorf("url %q: %w: plain peers are not encrypted: use %s://, %s:// or %s://", u, messages.ErrInvalid, address.TCP, address.WS, address.IPC)
	}
	if u.Scheme == address.InProc {
		return fmt.Errorf("url %q: %w: a stock peer is no part of this process", u, messages.ErrInvalid)
	}
	return nil
}

// Pusher is a PUSH peer. One goroutine reads; Close is for any.
type Pusher struct {
	*stream
	peer   string // its address
	prefix prefix
	in     *bufio.Reader
	max    int
}

// Dial connects to a PUSH peer. It ends at once when ctx does, with its cause.
//
// Errors: ErrNotSP when something else listens there, ErrHandshakeTimeout,
// ErrPeerClosed, an error that wraps messages.ErrInvalid for a URL that cannot be dialled,
// else the network's.
func Dial(ctx context.Context, cfg DialConfig) (*Pusher, error) {
	p, err := dial(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", cfg.URL, err)
	}
	return p, nil
}

func dial(ctx context.Context, cfg DialConfig) (*Pusher, error) {
	u, at, err := address.Dial(cfg.URL)
	if err == nil {
		err = checkScheme(u)
	}
	if err != nil {
		return nil, err
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = handshakeTimeout
	}
	end := time.Now().Add(cfg.Timeout)
	opening, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	c, err := by.Dial(opening, u, at, carrier.Target{})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case opening.Err() != nil:
		return nil, fmt.Errorf("%w: not connected after %v", ErrHandshakeTimeout, cfg.Timeout)
	default:
		return nil, err
	}
	s := newStream(c)
	peer := s.remote
	s.remote = cfg.URL // for errors
	forget := context.AfterFunc(ctx, func() { _ = s.end(context.Cause(ctx)) })
	err = s.greet(protoPull, protoPush, time.Until(end))
	if !forget() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, s.end(err)
	}
	if l, ok := c.(carrier.Limited); ok {
		l.Limit(cfg.MaxMessage)
	}
	return &Pusher{stream: s, peer: peer, prefix: prefixOf(u.Scheme), in: bufio.NewReaderSize(c, readBuffer), max: cfg.MaxMessage}, nil
}

// PeerAddr is the peer's address on the connection.
func (p *Pusher) PeerAddr() string { return p.peer }

// Recv returns the next message, in memory of its own. The error says why the connection
// has ended: it wraps messages.ErrTooLarge when a message is larger than MaxMessage.
func (p *Pusher) Recv() ([]byte, error) {
	b, err := p.next()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.remote, p.end(err))
	}
	return b, nil
}

func (p *Pusher) next() ([]byte, error) {
	head, err := p.in.Peek(p.prefix.size())
	if err != nil {
		if err = sorted(err); len(head) > 0 {
			err = cutShort(err)
		}
		return nil, err
	}
	if n := len(p.prefix); n > 0 && string(head[:n]) != string(p.prefix) {
		return nil, fmt.Errorf("%w: a message begins with %q", ErrNotSP, head[:n])
	}
	size := binary.BigEndian.Uint64(head[len(p.prefix):])
	if size > uint64(p.max) {
		return nil, fmt.Errorf("a message of %d bytes, the limit is %d: %w", size, p.max, messages.ErrTooLarge)
	}
	_, _ = p.in.Discard(len(head)) // it is there
	n := int(size)
	body := make([]byte, min(n, firstRead))
	for at := 0; at < n; {
		if at == len(body) {
			more := make([]byte, min(n, 4*at))
			copy(more, body)
			body = more
		}
		m, err := io.ReadFull(p.in, body[at:])
		if err != nil {
			return nil, cutShort(sorted(err))
		}
		at += m
	}
	return body, nil
}

func cutShort(err error) error {
	if errors.Is(err, ErrPeerClosed) {
		return fmt.Errorf("%w in the middle of a message", err)
	}
	return err
}
