package penstocktest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// A link on which old requests come after newer ones.

// LateProxy passes TCP connections on to a target, until it is told to hold what
// clients send on the connections that there are. New connections pass. What was
// held arrives when it is let go, in the pieces it was sent in: so a request that
// its sender gave up and made again, on another connection, reaches the target
// after newer ones, as it does when a switch, a tunnel or a machine stands still
// for a while. Get one from NewLateProxy.
//
// Before an etcd it shows whether a service bears the second coming of its own
// writes: give Addr to the runtime in place of the server's endpoint, with a
// LeaseTTL that outlasts the test.
type LateProxy struct {
	proxy *Proxy

	mu      sync.Mutex
	trigger [][]byte // Hold begins by itself with what contains all of these
	held    []*heldLink
	links   map[*heldLink]struct{}
	holds   chan struct{} // closed when the trigger was met
}

// heldLink is one connection of a client.
type heldLink struct {
	client, target net.Conn
	holding        bool
	pieces         [][]byte
}

// NewLateProxy passes what comes to a new port of the loopback on to target,
// host:port, which need not listen yet. It ends with t.
func NewLateProxy(t testing.TB, target string) *LateProxy {
	t.Helper()
	l := &LateProxy{links: make(map[*heldLink]struct{})}
	l.proxy = newProxy(t, target, l.carry)
	return l
}

// Addr is where the proxy listens, host:port. It stays the same.
func (l *LateProxy) Addr() string { return l.proxy.addr }

// Hold keeps what comes from clients on the connections that there are. They stay
// open and bring no answer.
func (l *LateProxy) Hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold()
}

func (l *LateProxy) hold() {
	for h := range l.links {
		if !h.holding {
			h.holding = true
			l.held = append(l.held, h)
		}
	}
}

// HoldAt is Hold as soon as a client sends a piece with all of parts in it, such
// as the keys of a request: that piece is the first that is kept. The channel that
// it returns is closed then.
func (l *LateProxy) HoldAt(parts ...string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trigger = nil
	for _, p := range parts {
		l.trigger = append(l.trigger, []byte(p))
	}
	l.holds = make(chan struct{})
	return l.holds
}

// Abandon closes the connections that are held towards their clients, who know
// then that nothing will be answered and can dial again. What they sent is kept.
// Without it they find out by their own time-outs.
func (l *LateProxy) Abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		_ = h.client.Close()
	}
}

// Release lets what was held arrive, the pieces of each connection apart from
// one another by gap: a target that serves requests at once has started one
// before it learns that it was given up. It returns when everything is written
// and gap has passed once more, or ctx has ended; the connections are closed then.
func (l *LateProxy) Release(ctx context.Context, gap time.Duration) {
	l.mu.Lock()
	held := l.held
	l.held = nil
	l.mu.Unlock()
	var all sync.WaitGroup
	for _, h := range held {
		all.Go(func() { l.deliver(ctx, h, gap) })
	}
	all.Wait()
}

func (l *LateProxy) deliver(ctx context.Context, h *heldLink, gap time.Duration) {
	defer h.target.Close()
	defer h.client.Close()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for i := 0; ; i++ {
		l.mu.Lock()
		left := h.pieces[min(i, len(h.pieces)):]
		l.mu.Unlock()
		if len(left) == 0 {
			break
		}
		if _, err := h.target.Write(left[0]); err != nil {
			return
		}
		pause.Reset(gap)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// carry joins a client to the target until either ends. A connection that is held
// ends with Release, or the test.
func (l *LateProxy) carry(p *Proxy, c net.Conn) {
	target, err := net.Dial("tcp", p.target)
	if err != nil || !p.adopt(target) {
		return
	}
	defer p.drop(target)
	h := &heldLink{client: c, target: target}
	l.mu.Lock()
	l.links[h] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.up(h) })
	both.Go(func() { l.down(h) })
	both.Wait()
	l.mu.Lock()
	delete(l.links, h)
	l.mu.Unlock()
}

// up moves what the client sends, or keeps it.
func (l *LateProxy) up(h *heldLink) {
	buf := make([]byte, 64<<10)
	for {
		n, err := h.client.Read(buf)
		holding := l.keep(h, buf[:n])
		if !holding && n > 0 {
			if _, werr := h.target.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if !holding {
				_ = h.target.Close()
			}
			return
		}
	}
}

// down moves what the target sends; to a client that is held, nothing.
func (l *LateProxy) down(h *heldLink) {
	defer h.client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := h.target.Read(buf)
		if n > 0 && !l.isHeld(h) {
			if _, werr := h.client.Write(buf[:n]); werr != nil && !l.isHeld(h) {
				err = werr
				_ = h.target.Close()
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *LateProxy) isHeld(h *heldLink) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.holding
}

// keep takes a piece of a connection that is held, and reports whether it is.
func (l *LateProxy) keep(h *heldLink, piece []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.trigger != nil && len(piece) > 0 && !h.holding {
		all := true
		for _, part := range l.trigger {
			all = all && bytes.Contains(piece, part)
		}
		if all {
			l.hold()
			l.trigger = nil
			close(l.holds)
		}
	}
	if h.holding && len(piece) > 0 {
		h.pieces = append(h.pieces, bytes.Clone(piece))
	}
	return h.holding
}
