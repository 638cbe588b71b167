package enginetest

// Where a test's engines live: one etcd for a package, a prefix for each test.

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages/keys"
)

// shared is the etcd of this package's tests. The first test that asks starts it.
var shared struct {
	mu     sync.Mutex
	server *embedded.Server
	spaces atomic.Int64
}

// Main runs a package's tests, ends their etcd, and fails when they leave a
// goroutine behind.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func etcd(t testing.TB) clientv3.Config {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		srv, err := embedded.Start(context.Background(), "", embedded.UnsafeNoFsync())
		if err != nil {
			t.Fatal(err)
		}
		shared.server = srv
	}
	return shared.server.Config()
}

// Space is one test's namespace in the etcd that all of them share.
type Space struct {
	Etcd clientv3.Config
	Keys keys.Space
}

// NewSpace makes an empty namespace.
func NewSpace(t testing.TB) Space {
	t.Helper()
	return Space{Etcd: etcd(t), Keys: keys.Space(fmt.Sprintf("/test/%d", shared.spaces.Add(1)))}
}

// Start begins an engine that listens on the loopback. set changes its settings.
// The caller stops it.
func (s Space) Start(t testing.TB, set ...func(*actors.Config)) *actors.Engine {
	t.Helper()
	cfg := actors.Config{Etcd: s.Etcd, Prefix: string(s.Keys), Listen: "tcp://127.0.0.1:0"}
	for _, f := range set {
		f(&cfg)
	}
	e, err := actors.Start(Within(t), nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Begin is Start of an engine that ends with t, without an error, if the test did
// not end it.
func (s Space) Begin(t testing.TB, set ...func(*actors.Config)) *actors.Engine {
	t.Helper()
	e := s.Start(t, set...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return e
}

// Client returns a client of etcd that is no engine's. It ends with t.
func (s Space) Client(t *testing.T) *clientv3.Client {
	t.Helper()
	c, err := discovery.NewClient(s.Etcd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Hold writes keys under a lease of seconds that nobody renews, as a process
// leaves them that was killed.
func Hold(t *testing.T, c *clientv3.Client, seconds int64, keys ...string) {
	t.Helper()
	lease, err := c.Grant(Within(t), seconds)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if _, err := c.Put(Within(t), key, "", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
}

// With returns the keys of the namespace that have word in them.
func (s Space) With(t *testing.T, c *clientv3.Client, word string) (out []string) {
	t.Helper()
	resp, err := c.Get(Within(t), string(s.Keys)+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Key), word) {
			out = append(out, string(kv.Key))
		}
	}
	return out
}
