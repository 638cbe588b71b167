package enginetest

// An etcd that does what it is asked, and of which nobody hears.

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
)

// Gate passes TCP connections on to an etcd. From the first request with its word
// in it on, no response comes back until the gate is opened.
type Gate struct {
	addr   string
	word   []byte
	shut   sync.Once
	closed chan struct{} // the word went by
	opened chan struct{}
	open   func()
}

// Behind is the same namespace, its etcd behind a gate that closes at word. The
// gate opens with the end of t.
func (s Space) Behind(t *testing.T, word string) (Space, *Gate) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{addr: l.Addr().String(), word: []byte(word), closed: make(chan struct{}), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	target := s.Etcd.Endpoints[0]
	ctx, cancel := context.WithCancel(context.Background()) // t's own ends before the engines behind it
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { g.carry(ctx, c, target) })
		}
	})
	t.Cleanup(func() {
		g.open()
		l.Close()
		cancel()
		work.Wait()
	})
	s.Etcd.Endpoints = []string{g.addr}
	return s, g
}

// Closed is closed when the gate is.
func (g *Gate) Closed() <-chan struct{} { return g.closed }

// Shut closes the gate without a word.
func (g *Gate) Shut() { g.shut.Do(func() { close(g.closed) }) }

// Open lets all responses pass, for the rest of the test.
func (g *Gate) Open() { g.open() }

func (g *Gate) carry(ctx context.Context, c net.Conn, target string) {
	defer c.Close()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { c.Close(); up.Close() })()
	var both sync.WaitGroup
	both.Go(func() { g.copy(up, c, g.request) })
	both.Go(func() { g.copy(c, up, g.response) })
	both.Wait()
}

func (g *Gate) copy(to, from net.Conn, pass func([]byte)) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		pass(buf[:n])
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// request closes the gate before the request can be answered.
func (g *Gate) request(b []byte) {
	if bytes.Contains(b, g.word) {
		g.Shut()
	}
}

func (g *Gate) response([]byte) {
	select {
	case <-g.closed:
		<-g.opened
	default:
	}
}
