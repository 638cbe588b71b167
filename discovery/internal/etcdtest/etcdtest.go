package etcdtest

// The etcd of a package's tests, and what they do with keys and events.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/discovery/embedded"
)

// Main runs a package's tests with one etcd, which it puts into shared, and fails
// when they leave a goroutine. Each test has a prefix of its own, see Space; tests
// that stop or wipe etcd start their own.
func Main(m *testing.M, shared **embedded.Server) {
	srv, err := embedded.Start(context.Background(), "", embedded.UnsafeNoFsync())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	*shared = srv
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

// Must ends the test on an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Patience is how long a test waits for what should come at once.
const Patience = time.Minute

// Context ends with the test, and after two minutes.
func Context(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var spaces atomic.Int64

// Space is a prefix that no other test uses, nor another run of this one.
func Space(t *testing.T) string {
	return fmt.Sprintf("%s%d/", SpaceOf(t), spaces.Add(1))
}

// SpaceOf is how all spaces of a test begin.
func SpaceOf(t *testing.T) string { return "/" + strings.ReplaceAll(t.Name(), "/", "-") + "-" }

// Background runs f until the test ends, and fails the test when f ends before,
// or with another error than that of its context.
func Background(t *testing.T, f func(context.Context) error) (stop func()) {
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
		case <-time.After(Patience):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// Inbox collects events and lets a test wait for one. Make it with NewInbox; Put
// may be called from any goroutine, the rest from that of the test.
type Inbox[E any] struct {
	mu    sync.Mutex
	all   []E
	read  int
	added chan struct{}
}

// NewInbox makes an empty inbox.
func NewInbox[E any]() *Inbox[E] { return &Inbox[E]{added: make(chan struct{}, 1)} }

// Put adds an event.
func (b *Inbox[E]) Put(e E) {
	b.mu.Lock()
	b.all = append(b.all, e)
	b.mu.Unlock()
	select {
	case b.added <- struct{}{}:
	default:
	}
}

// All returns every event until now, read or not.
func (b *Inbox[E]) All() []E {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all)
}

// Next returns the next unread event that match accepts, skipping others.
func (b *Inbox[E]) Next(t *testing.T, what string, match func(E) bool) E {
	t.Helper()
	deadline := time.After(Patience)
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

// Is reports whether e is a T.
func Is[T, E any](e E) bool { _, ok := any(e).(T); return ok }

// As waits for an event of type T.
func As[T, E any](t *testing.T, b *Inbox[E]) T {
	t.Helper()
	return any(b.Next(t, fmt.Sprintf("%T", *new(T)), Is[T, E])).(T)
}

// Eventually polls a condition about etcd, of which nothing signals.
func Eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(Patience)
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

// Value returns what is under a key, "" for nothing.
func Value(t *testing.T, c *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
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

// Put writes a key and returns its revision.
func Put(t *testing.T, c *clientv3.Client, key, value string, opts ...clientv3.OpOption) int64 {
	t.Helper()
	resp, err := c.Put(Context(t), key, value, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// Del deletes a key, which must exist.
func Del(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	resp, err := c.Delete(Context(t), key)
	if err != nil || resp.Deleted != 1 {
		t.Fatal(resp, err)
	}
}

// Grant makes a lease of two minutes.
func Grant(t *testing.T, c *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	resp, err := c.Grant(Context(t), 120)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

// SteadyAddress can be given up and taken again: it is not among the ports that
// the system hands out by itself, to a client that dials meanwhile.
func SteadyAddress(t *testing.T) string {
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
