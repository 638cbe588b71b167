package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// One etcd for the package, a prefix for each test. Tests that stop or wipe
// etcd start their own.

var shared *embedded.Server

func TestMain(m *testing.M) {
	srv, err := embedded.Start(context.Background(), "", embedded.UnsafeNoFsync())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = srv
	code := m.Run()
	if err := srv.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	err = goleak.Find()
	for n := 0; err != nil && n < 15; n++ { // members of a cluster end their connections by a timeout of 5 s
		err = goleak.Find()
	}
	if code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience is how long a test waits for what should come at once.
const patience = time.Minute

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// connect makes a client of a server, closed when the test ends.
func connect(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var spaces atomic.Int64

// space is a prefix that no other test uses, nor another run of this one.
func space(t *testing.T) string {
	return fmt.Sprintf("%s%d/", spaceOf(t), spaces.Add(1))
}

// spaceOf is how all spaces of a test begin.
func spaceOf(t *testing.T) string { return "/" + strings.ReplaceAll(t.Name(), "/", "-") + "-" }

// background runs f until the test ends, and fails the test when f ends before,
// or with another error than that of its context.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// inbox collects events and lets a test wait for one.
type inbox[E any] struct {
	mu    sync.Mutex
	all   []E
	read  int
	added chan struct{}
}

func newInbox[E any]() *inbox[E] { return &inbox[E]{added: make(chan struct{}, 1)} }

func (b *inbox[E]) put(e E) {
	b.mu.Lock()
	b.all = append(b.all, e)
	b.mu.Unlock()
	select {
	case b.added <- struct{}{}:
	default:
	}
}

// next answers the next unread event that match accepts, skipping others.
func (b *inbox[E]) next(t *testing.T, what string, match func(E) bool) E {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		for b.read < len(b.all) {
			e := b.all[b.read]
			b.read++
			if match(e) {
				b.mu.Unlock()
				return e
			}
		}
		b.mu.Unlock()
		select {
		case <-b.added:
		case <-deadline:
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("no %s among %+v", what, b.all)
		}
	}
}

func is[T, E any](e E) bool { _, ok := any(e).(T); return ok }

// as waits for an event of type T.
func as[T, E any](t *testing.T, b *inbox[E]) T {
	t.Helper()
	return any(b.next(t, fmt.Sprintf("%T", *new(T)), is[T, E])).(T)
}

// eventually polls a condition about etcd, of which nothing signals.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func value(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := c.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func put(t *testing.T, c *clientv3.Client, key, value string, opts ...clientv3.OpOption) int64 {
	t.Helper()
	resp, err := c.Put(testContext(t), key, value, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func del(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	resp, err := c.Delete(testContext(t), key)
	if err != nil || resp.Deleted != 1 {
		t.Fatal(resp, err)
	}
}

func grant(t *testing.T, c *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	resp, err := c.Grant(testContext(t), 120)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

// steadyAddress can be given up and taken again: it is not among the ports that
// the system hands out by itself, to a client that dials meanwhile.
func steadyAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return l.Addr().String()
	}
	t.Fatal("no free port")
	return ""
}

// wire is a proxy before an etcd that a test can cut and mend.
type wire struct {
	l      net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	state wireState
	conns map[net.Conn]struct{}
}

type wireState uint8

const (
	whole wireState = iota
	cut             // connections are closed, new ones too
	mute            // connections stay, no byte passes
)

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, target: target, conns: map[net.Conn]struct{}{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.set(cut)
		w.wg.Wait()
	})
	return w
}

func (w *wire) config() clientv3.Config {
	return clientv3.Config{Endpoints: []string{w.l.Addr().String()}}
}

func (w *wire) set(s wireState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if s == cut {
		for c := range w.conns {
			c.Close()
		}
	}
}

func (w *wire) accept() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", w.target)
		w.mu.Lock()
		if err != nil || w.state == cut {
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

func (w *wire) pipe(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		muted := w.state == mute
		w.mu.Unlock()
		if n > 0 && !muted {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return
			}
			return
		}
	}
}
