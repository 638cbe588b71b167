package socket

// The sender's side: binding a port, and doing what a greeting decides.

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// ListenerConfig says where and for what to listen. Lookup is required; every
// other zero field is given a default.
type ListenerConfig struct {
	// URLs are where to bind and what to advertise, all for the same destinations.
	// Without any it is tcp://:0, any port on every interface.
	URLs []address.URL
	// TLS is required by URLs that are encrypted.
	TLS *carrier.TLS
	// MaxFrame is the largest frame in bytes, sent or received.
	// DefaultMaxFrame when 0.
	MaxFrame int
	// HandshakeTimeout is how long a connection may take from accept to
	// Welcome; 5 s when 0. It covers the time until Accept is called.
	HandshakeTimeout time.Duration
	// Beat is how often each side shows that it lives; 1 s when 0. Both sides
	// must be configured alike.
	Beat time.Duration
	// DeadAfter is how many beats without a byte mean death; 3 when 0.
	DeadAfter int
	// MaxPending is how many connections may be between accept and Welcome;
	// 128 when 0. The oldest is evicted for a newer one.
	MaxPending int
	// MaxLinks is how many connections may be open after their Welcome; 8192 when
	// 0. More are refused with LIMIT.
	MaxLinks int
	// Lookup finds the secret of a destination. It is called from many
	// goroutines, inside HandshakeTimeout, and must not block for long.
	Lookup func(destination string) (Secret, bool)
	// Tokens, when set, finds the tokens that admit to one group of a destination, beside
	// Secret.Token; nil where there is none. It is called as Lookup is.
	Tokens func(destination, group string) [MostTokens][]byte
	// Levels are those of this release when zero.
	Levels pb.Levels
	// Allow, when set, judges a member that has proved to know the token. With an error
	// it is refused as for a wrong token. It is called as Lookup is.
	Allow func(hello frame.Hello, id carrier.Identity) error
	// Refused, when set, is told of each connection that ended without a
	// Welcome. It is called from many goroutines and must not block.
	Refused func(Refusal)
	// Troubled, when set, is told when members cannot dial one of URLs any more, once for each
	// trouble. Look calls it.
	Troubled func(u address.URL, err error)
}

// MostTokens is how many tokens admit to one group at a time.
const MostTokens = 4

// Defaults of ListenerConfig and DialConfig.
const (
	// DefaultMaxFrame holds a message of 4 MiB with as many headers as there can
	// be.
	DefaultMaxFrame = 4<<20 + 512<<10

	defaultHandshakeTimeout = 5 * time.Second
	defaultBeat             = time.Second
	defaultDeadAfter        = 3
	defaultMaxPending       = 128
	defaultMaxLinks         = 8192
	maxMaxFrame             = 1 << 30
)

// EnsureDefaults fills in the zero fields that have a default.
func (c *ListenerConfig) EnsureDefaults() {
	if len(c.URLs) == 0 {
		c.URLs = []address.URL{{Scheme: address.TCP}}
	}
	c.MaxFrame = orDefault(c.MaxFrame, DefaultMaxFrame)
	c.HandshakeTimeout = orDefault(c.HandshakeTimeout, defaultHandshakeTimeout)
	c.Beat = orDefault(c.Beat, defaultBeat)
	c.DeadAfter = orDefault(c.DeadAfter, defaultDeadAfter)
	c.MaxPending = orDefault(c.MaxPending, defaultMaxPending)
	c.MaxLinks = orDefault(c.MaxLinks, defaultMaxLinks)
	c.Levels = orDefault(c.Levels, pb.LevelsNow())
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Validate finds every fault at once; the error wraps messages.ErrInvalid.
func (c *ListenerConfig) Validate() error {
	faults := []error{c.settings().check()}
	for _, u := range c.URLs {
		faults = append(faults, u.Check())
	}
	if c.HandshakeTimeout <= 0 {
		faults = append(faults, fmt.Errorf("handshake timeout %v is not positive", c.HandshakeTimeout))
	}
	if c.MaxPending < 1 {
		faults = append(faults, fmt.Errorf("max pending %d is less than 1", c.MaxPending))
	}
	if c.MaxLinks < 1 {
		faults = append(faults, fmt.Errorf("max links %d is less than 1", c.MaxLinks))
	}
	if c.Lookup == nil {
		faults = append(faults, errors.New("lookup is missing"))
	}
	return invalid("listener config", faults)
}

func (c *ListenerConfig) settings() settings {
	return settings{maxFrame: c.MaxFrame, beat: c.Beat, deadAfter: c.DeadAfter}
}

func invalid(what string, faults []error) error {
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%s: %w: %w", what, messages.ErrInvalid, err)
	}
	return nil
}

// Refusal is one connection that was not welcomed.
type Refusal struct {
	// Remote is the peer's address.
	Remote string
	Reason Reason
	// Err says more than the peer was told.
	Err error
}

// ListenerStats counts since Listen; Pending and Open are of this moment.
type ListenerStats struct {
	// Accepted counts the connections that were welcomed.
	Accepted uint64
	// Refused counts those that were not; reasons that did not occur are
	// absent.
	Refused map[Reason]uint64
	// Pending is how many are between accept and Welcome, Open how many there
	// are in all.
	Pending, Open int
	// AcceptErrors counts failures to accept, such as a lack of descriptors.
	AcceptErrors uint64
}

// Listener accepts members, for any number of destinations. Its methods are safe for
// concurrent use.
type Listener struct {
	cfg   ListenerConfig
	url   string // as first advertised
	doors []*door
	sock  mangos.Socket
	guard *guard

	mu         sync.Mutex
	urls       []string // advertised now
	identities []string

	// decoyKey makes secrets for destinations that do not exist: the same each
	// time, as real ones are.
	decoyKey [32]byte
	accepted chan *Conn

	closing  sync.Once
	closeErr error
}

// Listen binds the first free port of each of cfg.URLs and begins to accept. ctx
// bounds Listen only. An error wraps messages.ErrInvalid for a bad configuration and
// messages.ErrAddrInUse when no port of a range is free.
func Listen(ctx context.Context, cfg ListenerConfig) (*Listener, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	register()
	l := &Listener{cfg: cfg, accepted: make(chan *Conn)}
	for _, u := range cfg.URLs {
		d, err := open(ctx, u, cfg.TLS)
		if err != nil {
			l.shut()
			return nil, err
		}
		l.doors = append(l.doors, d)
	}
	l.guard = newGuard(l.doors, &cfg)
	rand.Read(l.decoyKey[:])
	l.Look()
	l.url = l.urls[0]
	l.sock = protocol.MakeSocket(&senderProtocol{listener: l})
	if err := l.sock.ListenOptions(privateScheme+"://"+l.doors[0].ln.Addr().String(), map[string]any{optionGuard: l.guard}); err != nil {
		l.shut()
		_ = l.sock.Close()
		return nil, fmt.Errorf("listen on %s: %w", cfg.URLs[0], err)
	}
	return l, nil
}

// open binds one address.
func open(ctx context.Context, u address.URL, t *carrier.TLS) (*door, error) {
	c, err := carrier.Of(u.Scheme)
	if err != nil {
		return nil, err
	}
	ln, err := c.Listen(ctx, u, t)
	if err != nil {
		return nil, err
	}
	return &door{url: u, ln: ln, hosts: address.Hosts}, nil
}

// shut unbinds what was bound by a Listen that failed.
func (l *Listener) shut() {
	for _, d := range l.doors {
		_ = d.ln.Close()
	}
}

// URL is what members dial: the advertised host and the bound port. It is the
// first of URLs, as it was when Listen returned.
func (l *Listener) URL() string { return l.url }

// URLs are what members dial, in the order of the configuration.
func (l *Listener) URLs() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.urls)
}

// Identities are the names by which members know this listener on encrypted URLs;
// there are none without such a URL.
func (l *Listener) Identities() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.identities)
}

// Exposed are the advertised URLs that others than this machine can reach, and over
// which they can read along.
func (l *Listener) Exposed() (urls []string) {
	for _, d := range l.doors {
		urls = append(urls, d.exposed()...)
	}
	return urls
}

// Look finds out whether this machine's addresses and certificate are still those that
// are advertised, and reports whether URLs or Identities changed. It ends connections
// whose certificates are not trusted any more. It asks the system and does not block
// otherwise. Who dials an earlier URL that leads here is still let in.
func (l *Listener) Look() (changed bool) {
	var urls, identities []string
	for _, d := range l.doors {
		if err := d.look(); err != nil && l.cfg.Troubled != nil {
			l.cfg.Troubled(d.url, err)
		}
		urls = append(urls, d.advertised()...)
		if d.url.Encrypted() && identities == nil {
			identities, _ = l.cfg.TLS.Identities() // what cannot be read leaves what was
		}
	}
	if l.cfg.TLS != nil {
		l.cfg.TLS.Look(time.Now())
	}
	l.guard.recheck()
	l.mu.Lock()
	defer l.mu.Unlock()
	if identities == nil {
		identities = l.identities
	}
	if slices.Equal(urls, l.urls) && slices.Equal(identities, l.identities) {
		return false
	}
	l.urls, l.identities = urls, identities
	return true
}

// Judge asks allow again about each member that was welcomed, once for those of the same
// destination, group, certificate and Own, and ends the connections of those that it refuses:
// each is told what it would be told about a wrong token, and ends here with ErrNotAllowed.
// It blocks as long as allow does, which is called from this goroutine alone, and ends with
// ctx.
func (l *Listener) Judge(ctx context.Context, allow func(hello frame.Hello, id carrier.Identity) error) {
	type who struct{ destination, group, own, id string }
	verdicts := make(map[who]error)
	for _, c := range l.guard.members() {
		if ctx.Err() != nil {
			return
		}
		w := who{c.hello.Destination, c.hello.Group, c.hello.Own, fmt.Sprintf("%q", c.identity)}
		err, known := verdicts[w]
		if !known {
			err = allow(c.hello, c.identity)
			verdicts[w] = err
		}
		if err != nil {
			c.byeBye(pb.Code_BAD_PROOF, wrongProof, fmt.Errorf("%w: %w", ErrNotAllowed, err))
		}
	}
}

// Addr is where the first URL is bound, which behind a forwarded port is not what is
// advertised.
func (l *Listener) Addr() net.Addr { return l.doors[0].ln.Addr() }

// Accept waits for the next connection whose proof was right. The Welcome is
// the caller's to send, or Refuse; until then the connection can do nothing and
// its HandshakeTimeout runs. Accept ends with ctx, or with ErrListenerClosed.
func (l *Listener) Accept(ctx context.Context) (*Conn, error) {
	for {
		select {
		case c := <-l.accepted:
			if c.w.cause() != nil {
				continue
			}
			return c, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("accept on %s: %w", l.url, context.Cause(ctx))
		case <-l.guard.stopping:
			return nil, fmt.Errorf("accept on %s: %w", l.url, ErrListenerClosed)
		}
	}
}

// Stats counts what came to this listener.
func (l *Listener) Stats() ListenerStats { return l.guard.stats() }

// Close frees the port and ends every connection with ErrListenerClosed. It
// waits for no caller of this package; a second call returns what the first did.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		l.guard.stop()
		l.guard.endAll(ErrListenerClosed)
		if err := l.sock.Close(); err != nil {
			l.closeErr = fmt.Errorf("close listener %s: %w", l.url, err)
		}
	})
	return l.closeErr
}

// greet leads one connection from its Hello to Accept.
func (l *Listener) greet(c *Conn) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	id, exporter, err := c.w.session()
	if err != nil {
		_ = c.w.end(fmt.Errorf("%w: %w", ErrTLS, err))
		return
	}
	g := newGreeting(nonce, c.w.door.dialled(), l.cfg.Levels, l.cfg.Lookup, l.decoy)
	g.agreed.exporter = exporter
	g.tokens = l.cfg.Tokens
	if allow := l.cfg.Allow; allow != nil {
		g.allow = func(h frame.Hello) error { return allow(h, id) }
	}
	for g.state != proved {
		f, err := c.recvHandshake()
		if err != nil {
			return
		}
		reply, fault := g.step(f)
		if fault != nil {
			c.byeBye(fault.code, fault.say, fault)
			return
		}
		if reply != nil && c.sendControl("handshake", reply) != nil {
			return
		}
	}
	if l.guard.full() {
		err := fmt.Errorf("%d connections are open, which is the limit", l.cfg.MaxLinks)
		c.byeBye(pb.Code_LIMIT, err.Error(), g.refuse(ReasonFull, pb.Code_LIMIT, err.Error(), err))
		return
	}
	c.identity = id
	c.proved(g, l.guard)
	select {
	case l.accepted <- c:
	case <-c.w.done:
	case <-l.guard.stopping:
		_ = c.w.end(ErrListenerClosed)
	}
}

// decoy is a secret that nobody can know, told like any other.
func (l *Listener) decoy(destination string) Secret {
	derive := func(what string) []byte {
		mac := hmac.New(sha256.New, l.decoyKey[:])
		mac.Write([]byte(what))
		mac.Write([]byte{0})
		mac.Write([]byte(destination))
		return mac.Sum(nil)
	}
	return Secret{Token: derive("token"), Incarnation: hex.EncodeToString(derive("incarnation")[:incarnationSize])}
}
