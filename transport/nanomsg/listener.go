package nanomsg

// Where PULL peers dial: bound URLs, and who may come in.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// ListenerConfig says where to listen. URLs are required; every other zero field has a
// default.
type ListenerConfig struct {
	// URLs are where to bind and what to advertise.
	URLs []address.URL
	// HandshakeTimeout is how long a connection may take for its header; 5 s when 0.
	HandshakeTimeout time.Duration
	// MaxPending is how many connections may be without one; 128 when 0.
	MaxPending int
	// MaxPeers is how many peers may be connected; 1024 when 0. More are refused.
	MaxPeers int
	// Refused, when set, is told of each connection that did not become a peer. It is
	// called from many goroutines and must not block.
	Refused func(Refusal)
}

const (
	handshakeTimeout = 5 * time.Second
	maxPending       = 128
	maxPeers         = 1024
)

// Pauses after a failed accept, doubled each time in a row.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// ParseAll takes apart the addresses of one listener, with spaces between them. Its error
// wraps messages.ErrInvalid and names every fault.
func ParseAll(text string) ([]address.URL, error) {
	urls, err := address.ParseAll(text)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, u := range urls {
		faults = append(faults, checkScheme(u))
	}
	return urls, errors.Join(faults...)
}

// Listener accepts PULL peers. Its methods are safe for concurrent use.
type Listener struct {
	cfg      ListenerConfig
	doors    []door
	ready    chan *Puller
	stopping chan struct{}
	work     sync.WaitGroup
	closing  sync.Once

	mu      sync.Mutex
	urls    []string             // advertised now
	pending []*stream            // without a header, oldest first
	peers   map[*Puller]struct{} // with one
}

// door is one bound URL.
type door struct {
	url address.URL
	ln  net.Listener
}

// advertised are the URLs to dial.
func (d door) advertised() []string {
	port := "0"
	if at, ok := d.ln.Addr().(*net.TCPAddr); ok {
		port = strconv.Itoa(at.Port)
	}
	return d.url.Advertised(port, address.Hosts)
}

// first is the first URL to dial.
func (d door) first() string {
	if all := d.advertised(); len(all) > 0 {
		return all[0]
	}
	return d.url.String()
}

// exposed reports whether others than this machine can reach the door.
func (d door) exposed() bool {
	at, ok := d.ln.Addr().(*net.TCPAddr)
	return ok && !at.IP.IsLoopback()
}

// Listen binds the first free port of each of cfg.URLs and begins to accept. ctx bounds
// Listen only. An error wraps messages.ErrInvalid for URLs that cannot be listened at, and
// messages.ErrAddrInUse when no port of a range is free.
func Listen(ctx context.Context, cfg ListenerConfig) (*Listener, error) {
	cfg.HandshakeTimeout = cmp.Or(cfg.HandshakeTimeout, handshakeTimeout)
	cfg.MaxPending = cmp.Or(cfg.MaxPending, maxPending)
	cfg.MaxPeers = cmp.Or(cfg.MaxPeers, maxPeers)
	if len(cfg.URLs) == 0 {
		return nil, fmt.Errorf("listen for plain peers: %w: there is no url", messages.ErrInvalid)
	}
	l := &Listener{cfg: cfg, ready: make(chan *Puller), stopping: make(chan struct{}), peers: make(map[*Puller]struct{})}
	for _, u := range cfg.URLs {
		d, err := open(ctx, u)
		if err != nil {
			l.shut()
			return nil, err
		}
		l.doors = append(l.doors, d)
	}
	l.Look()
	for _, d := range l.doors {
		l.work.Go(func() { l.accept(d) })
	}
	return l, nil
}

func open(ctx context.Context, u address.URL) (door, error) {
	if err := errors.Join(u.Check(), checkScheme(u)); err != nil {
		return door{}, fmt.Errorf("listen on %s: %w", u, err)
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		return door{}, err
	}
	ln, err := by.Listen(ctx, u, nil)
	return door{u, ln}, err
}

func (l *Listener) shut() {
	for _, d := range l.doors {
		_ = d.ln.Close()
	}
}

// URLs are what peers dial, in the order of the configuration.
func (l *Listener) URLs() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.urls)
}

// Exposed are those of URLs that others than this machine can reach.
func (l *Listener) Exposed() (urls []string) {
	for _, d := range l.doors {
		if d.exposed() {
			urls = append(urls, d.advertised()...)
		}
	}
	return urls
}

// Look finds out whether URLs are still those of this machine, and reports whether they
// changed. It asks the system and does not block otherwise.
func (l *Listener) Look() (changed bool) {
	var urls []string
	for _, d := range l.doors {
		if r, ok := d.ln.(carrier.Refresher); ok {
			_ = r.Refresh() // it is tried again
		}
		urls = append(urls, d.advertised()...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	changed = !slices.Equal(urls, l.urls)
	l.urls = urls
	return changed
}

// Accept waits for the next peer. It ends with ctx, or with ErrClosed. Whoever gets a
// peer closes it.
func (l *Listener) Accept(ctx context.Context) (*Puller, error) {
	select {
	case p := <-l.ready:
		return p, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.stopping:
		return nil, fmt.Errorf("accept plain peers: %w", ErrClosed)
	}
}

// Close frees the ports and ends every connection.
func (l *Listener) Close() {
	l.closing.Do(func() {
		l.mu.Lock()
		close(l.stopping)
		all := slices.Clone(l.pending)
		for p := range l.peers {
			all = append(all, p.stream)
		}
		l.mu.Unlock()
		l.shut()
		for _, s := range all {
			s.Close()
		}
		l.work.Wait()
	})
}

func (l *Listener) accept(d door) {
	for pause := time.Duration(0); ; {
		c, err := d.ln.Accept()
		if err == nil {
			pause = 0
			l.admit(d, newStream(c))
			continue
		}
		pause = min(max(2*pause, firstPause), lastPause)
		select {
		case <-l.stopping:
			return
		case <-time.After(pause):
		}
	}
}

// admit gives a connection a place among those without a header, and lets it begin.
func (l *Listener) admit(d door, s *stream) {
	var old *stream
	l.mu.Lock()
	select {
	case <-l.stopping:
		l.mu.Unlock()
		s.Close()
		return
	default:
	}
	if len(l.pending) >= l.cfg.MaxPending {
		old = l.pending[0]
		l.pending = slices.Delete(l.pending, 0, 1)
	}
	l.pending = append(l.pending, s)
	l.work.Go(func() { l.greet(d, s) })
	l.mu.Unlock()
	if old != nil {
		_ = old.end(errEvicted)
	}
}

// greet makes a peer of a connection that says that it is one.
func (l *Listener) greet(d door, s *stream) {
	err := s.greet(protoPush, protoPull, l.cfg.HandshakeTimeout)
	p := &Puller{stream: s, prefix: prefixOf(d.url.Scheme), url: d.first()}
	p.whole, _ = s.c.(carrier.Pieces)
	p.onEnd = func() { l.forget(p) }
	if err == nil {
		err = l.enter(p)
	} else {
		l.leave(s)
	}
	if err != nil {
		l.refuse(s, s.end(err))
		return
	}
	select {
	case l.ready <- p:
	case <-l.stopping:
		p.Close()
	}
}

// enter moves a connection from those without a header to the peers.
func (l *Listener) enter(p *Puller) error {
	l.leave(p.stream)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.peers) >= l.cfg.MaxPeers {
		return fmt.Errorf("%w: %d", errFull, l.cfg.MaxPeers)
	}
	l.peers[p] = struct{}{}
	return nil
}

func (l *Listener) leave(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.pending, s); i >= 0 {
		l.pending = slices.Delete(l.pending, i, i+1)
	}
}

func (l *Listener) forget(p *Puller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, p)
}

func (l *Listener) refuse(s *stream, err error) {
	if l.cfg.Refused != nil {
		l.cfg.Refused(Refusal{Remote: s.remote, Reason: reasonOf(err), Err: err})
	}
}
