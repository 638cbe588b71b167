package socket

// The member's side: one connection for each Dial, in a mangos socket of its
// own, because mangos never forgets a dialer while its socket lives.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// DialConfig says whom to dial and what to ask for. URL, Token and the names in
// Hello are required; every other zero field is given a default.
type DialConfig struct {
	// URL is the listener's, letter for letter as it advertises it: the proof
	// covers it.
	URL string
	// TLS is required where URL is encrypted, and Identities are then the names under
	// which the sender is listed: it has to prove one of them.
	TLS        *carrier.TLS
	Identities []string
	// Token is the destination's, 16 bytes or more. Dial does not keep it.
	Token []byte
	// Hello is who this is and what it wants. Version, Level and URL are set by Dial.
	Hello frame.Hello
	// Levels are those of this release when zero. Listed is the level with which etcd
	// lists the sender: who answers with a lower one is not trusted.
	Levels pb.Levels
	Listed pb.Level
	// MaxFrame is the largest frame in bytes, sent or received.
	// DefaultMaxFrame when 0. Dial fails where the sender's messages are
	// larger.
	MaxFrame int
	// Timeout is how long Dial may take; 5 s when 0.
	Timeout time.Duration
	// Beat is how often each side shows that it lives; 1 s when 0. Both sides
	// must be configured alike.
	Beat time.Duration
	// DeadAfter is how many beats without a byte mean death; 3 when 0.
	DeadAfter int
	// Buffer, when set, supplies the memory of received records: n bytes or
	// more, whose contents do not matter. It belongs to the receiver of the
	// Data. When it is nil or returns nil, the frame gets memory of its own.
	Buffer func(n int) []byte
}

// EnsureDefaults fills in the zero fields that have a default.
func (c *DialConfig) EnsureDefaults() {
	c.MaxFrame = orDefault(c.MaxFrame, DefaultMaxFrame)
	c.Timeout = orDefault(c.Timeout, defaultHandshakeTimeout)
	c.Beat = orDefault(c.Beat, defaultBeat)
	c.DeadAfter = orDefault(c.DeadAfter, defaultDeadAfter)
	c.Levels = orDefault(c.Levels, pb.LevelsNow())
}

// Validate finds every fault at once; the error wraps messages.ErrInvalid.
func (c *DialConfig) Validate() error {
	u, _, err := address.Dial(c.URL)
	if u.EndToEnd() && c.TLS == nil {
		err = fmt.Errorf("url %s needs certificates, and there are none", c.URL)
	}
	faults := []error{err, c.Hello.Check(), c.settings().check()}
	if c.Timeout <= 0 {
		faults = append(faults, fmt.Errorf("timeout %v is not positive", c.Timeout))
	}
	if len(c.Token) < minToken {
		faults = append(faults, fmt.Errorf("token has %d bytes, %d is the least", len(c.Token), minToken))
	}
	return invalid("dial config", faults)
}

func (c *DialConfig) settings() settings {
	return settings{maxFrame: c.MaxFrame, beat: c.Beat, deadAfter: c.DeadAfter, alloc: c.Buffer}
}

// String hides the token.
func (c DialConfig) String() string {
	return fmt.Sprintf("dial %s as %s/%s/%s", c.URL, c.Hello.Destination, c.Hello.Group, c.Hello.Member)
}

// GoString hides the token from %#v.
func (c DialConfig) GoString() string { return c.String() }

// LogValue hides the token from slog.
func (c DialConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Dial connects to a sender and returns when it has welcomed this member. It
// ends at once when ctx does, with its cause.
//
// Errors: *RefusedError when the sender said Bye; ErrPeerProof when it does not
// know the token; ErrHandshakeTimeout; ErrPeerClosed; ErrNotSP; an error that
// wraps messages.ErrTooLarge when its messages do not fit MaxFrame, or
// messages.ErrInvalid for a bad configuration; ErrTLS when one side does not trust the
// other's certificate, or it is not of who etcd says; ErrLevel when the sender's release is
// too old, or older than etcd says; else the network's.
func Dial(ctx context.Context, cfg DialConfig) (*Conn, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	register()
	cfg.Hello.Version = protocolVersion
	cfg.Hello.URL = cfg.URL
	late := fmt.Errorf("%w: no welcome after %v", ErrHandshakeTimeout, cfg.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Timeout, late)
	defer cancel()

	c, err := connect(ctx, &cfg)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("dial %s: %w", cfg.URL, err)
	}
	return c, nil
}

func connect(ctx context.Context, cfg *DialConfig) (*Conn, error) {
	u, at, err := address.Dial(cfg.URL)
	if err != nil {
		return nil, err
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		return nil, err
	}
	proto := &memberProtocol{cfg: cfg.settings()}
	sock := protocol.MakeSocket(proto)
	proto.hangUp = func() { _ = sock.Close() }

	call := &dialCall{ctx: ctx, open: func(ctx context.Context) (net.Conn, error) {
		return by.Dial(ctx, u, at, carrier.Target{TLS: cfg.TLS, Identities: cfg.Identities})
	}}
	err = sock.DialOptions(privateScheme+"://"+at, map[string]any{
		optionDial: call,
		// mangos "redials" after this time, to be told that there is no more
		// to dial; until then it holds on to the closed pipe.
		mangos.OptionReconnectTime: time.Duration(0),
	})
	c := proto.take()
	if err == nil && c == nil {
		err = errors.New("no connection")
	}
	if err == nil {
		err = join(c, cfg)
	}
	if call.forget != nil && !call.forget() && err == nil {
		// The context ended after the Welcome but before the answer.
		err = context.Cause(ctx)
	}
	if err != nil {
		if c != nil {
			err = c.w.end(err)
		}
		_ = sock.Close()
		return nil, err
	}
	return c, nil
}

// join does what a joining decides.
func join(c *Conn, cfg *DialConfig) error {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	id, exporter, err := c.w.session()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTLS, err)
	}
	j, word := begin(cfg.Hello, nonce, cfg.Token, uint64(cfg.MaxFrame-frame.Overhead), cfg.Levels, cfg.Listed)
	j.agreed.exporter = exporter
	for {
		if word != nil {
			if err := c.sendControl("handshake", word); err != nil {
				return err
			}
		}
		f, err := c.recvHandshake()
		if err != nil {
			return err
		}
		if word, err = j.step(f); err != nil {
			return err
		}
		if j.state == welcomed {
			break
		}
	}
	c.hello, c.peer, c.identity = j.agreed.hello, j.peer(), id
	c.open()
	return nil
}
