package penstocktest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A link that can be cut, or hang.

// Proxy passes connections over TCP, or over unix sockets, on to a target, until it is told
// to cut them or to let them hang. Get one from NewProxy.
//
// Before an etcd, give Addr to the runtime in place of the server's endpoint.
// Before a sender, the sender advertises the proxy and listens elsewhere:
//
//	port := penstocktest.FreePort(t)
//	p := penstocktest.NewProxy(t, fmt.Sprintf("127.0.0.1:%d", port))
//	penstock.Listen(fmt.Sprintf("tcp://127.0.0.1:%d?advertise=%s", port, p.Addr()))
type Proxy struct {
	t      testing.TB
	target string
	// network is that of both ends, and addr where the proxy listens.
	network, addr string

	carry func(*Proxy, net.Conn) // joins a client to the target until either ends
	work  sync.WaitGroup

	mu       sync.Mutex
	state    linkState
	changed  chan struct{} // closed when state changes
	listener net.Listener  // nil while cut
	conns    map[net.Conn]struct{}
	taken    int
}

// linkState is what the proxy does with bytes.
//
//	passing ──Hang──▶ hanging ──Resume──▶ passing
//	   │ ▲               │ Cut
//	   │ └──Resume─── cut ◀┘       any of them ──the test ends──▶ closed
//	   └──Cut──▶ cut
type linkState string

const (
	passing linkState = "passing"
	hanging linkState = "hanging"
	cut     linkState = "cut"
	closed  linkState = "closed"
)

// NewProxy passes what comes to a new port of the loopback on to target,
// host:port, which need not listen yet. A target that begins with a slash is a unix socket,
// and then the proxy listens at another one. It ends with t.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	return newProxy(t, target, (*Proxy).join)
}

// newProxy is one whose connections are carry's to carry.
func newProxy(t testing.TB, target string, carry func(*Proxy, net.Conn)) *Proxy {
	t.Helper()
	p := &Proxy{
		t: t, target: target, carry: carry,
		state: passing, changed: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	if strings.HasPrefix(target, "/") {
		dir, err := os.MkdirTemp("", "proxy") // t's own would be too long for a socket
		if err != nil {
			t.Fatal("penstocktest: proxy: ", err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		p.network, p.addr = "unix", filepath.Join(dir, "s")
	} else {
		p.network, p.addr = "tcp", fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	}
	if err := p.listen(); err != nil {
		t.Fatal("penstocktest: proxy: ", err)
	}
	t.Cleanup(func() {
		p.move(closed)
		p.work.Wait()
	})
	return p
}

// Addr is where the proxy listens, host:port or the path of a unix socket. It stays the same.
func (p *Proxy) Addr() string { return p.addr }

// Accepted counts the connections that came so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// Cut closes every connection and refuses new ones, as a crash of the target's
// process would.
func (p *Proxy) Cut() { p.move(cut) }

// Hang passes nothing on any more, in either direction: connections stay open,
// new ones are taken and get no answer, as when a router drops every packet.
// What was on its way arrives after Resume.
func (p *Proxy) Hang() { p.move(hanging) }

// Resume passes everything on again, and listens again after Cut. It fails the
// test when somebody else took its place.
func (p *Proxy) Resume() {
	p.t.Helper()
	p.mu.Lock()
	was := p.state
	p.mu.Unlock()
	if was == cut {
		if err := p.listen(); err != nil {
			p.t.Fatal("penstocktest: proxy: ", err)
		}
	}
	p.move(passing)
}

func (p *Proxy) move(to linkState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == closed || p.state == to {
		return
	}
	p.state = to
	close(p.changed)
	p.changed = make(chan struct{})
	if to == passing || to == hanging {
		return
	}
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) listen() error {
	l, err := net.Listen(p.network, p.addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if p.enter(c) {
				p.work.Go(func() {
					defer p.drop(c)
					p.carry(p, c)
				})
			}
		}
	})
	return nil
}

// enter takes c in, or closes it when the link is cut.
func (p *Proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == cut || p.state == closed {
		_ = c.Close()
		return false
	}
	p.taken++
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// pass waits while the link hangs, and reports whether it carries bytes.
func (p *Proxy) pass() bool {
	for {
		p.mu.Lock()
		state, changed := p.state, p.changed
		p.mu.Unlock()
		if state != hanging {
			return state == passing
		}
		<-changed
	}
}

// join passes what c and the target send on to one another until either ends.
func (p *Proxy) join(c net.Conn) {
	if !p.pass() {
		return
	}
	target, err := net.Dial(p.network, p.target)
	if err != nil || !p.adopt(target) {
		return
	}
	defer p.drop(target)
	var both sync.WaitGroup
	both.Go(func() { p.copy(target, c) })
	both.Go(func() { p.copy(c, target) })
	both.Wait()
}

// adopt takes in the connection to the target.
func (p *Proxy) adopt(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == cut || p.state == closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

// copy moves bytes one way. The end of one way ends the other.
func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.pass() // a hanging link does not tell of an end either
			}
			return
		}
	}
}
