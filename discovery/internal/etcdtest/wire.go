package etcdtest

// A wire to etcd that a test can cut.

import (
	"net"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Wire is a proxy before an etcd that a test can cut and mend.
type Wire struct {
	l      net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	state WireState
	conns map[net.Conn]struct{}
}

// WireState is what a Wire does with connections.
type WireState uint8

// The states of a Wire.
const (
	Whole WireState = iota // bytes pass
	Cut                    // connections are closed, new ones too
	Mute                   // connections stay, no byte passes
)

// NewWire makes a whole wire before target, a host and port. It ends with the test.
func NewWire(t *testing.T, target string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{l: l, target: target, conns: map[net.Conn]struct{}{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.Set(Cut)
		w.wg.Wait()
	})
	return w
}

// Config reaches etcd over the wire.
func (w *Wire) Config() clientv3.Config {
	return clientv3.Config{Endpoints: []string{w.l.Addr().String()}}
}

// Set changes the wire's state.
func (w *Wire) Set(s WireState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if s == Cut {
		for c := range w.conns {
			c.Close()
		}
	}
}

func (w *Wire) accept() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", w.target)
		w.mu.Lock()
		if err != nil || w.state == Cut {
			w.mu.Unlock()
			c.Close()
			if up != nil {
				up.Close()
			}
			continue
		}
		w.conns[c], w.conns[up] = struct{}{}, struct{}{}
		w.mu.Unlock()
		w.wg.Go(func() { w.pipe(c, up) })
		w.wg.Go(func() { w.pipe(up, c) })
	}
}

func (w *Wire) pipe(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		muted := w.state == Mute
		w.mu.Unlock()
		if n > 0 && !muted {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
