package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/messages"
)

// fast settings make what takes a minute take a moment.
var fast = Config{Audit: 300 * time.Millisecond, Progress: 200 * time.Millisecond}

// keep runs a registry that watches every space of the test, unless cfg names
// collections.
func keep(t *testing.T, c *clientv3.Client, cfg Config) (*Registry, *etcdtest.Inbox[Event]) {
	t.Helper()
	if cfg.Collections == nil {
		cfg.Collections = []string{etcdtest.SpaceOf(t)}
	}
	r := New(c, cfg)
	events := etcdtest.NewInbox[Event]()
	etcdtest.Background(t, func(ctx context.Context) error { return r.Run(ctx, events.Put) })
	return r, events
}

func leased(key, value string) Entry { return Entry{Key: key, Value: []byte(value), Leased: true} }
func plain(key, value string) Entry  { return Entry{Key: key, Value: []byte(value)} }

func TestRegistryPutUpdateRemove(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	r, _ := keep(t, c, Config{})
	lease := etcdtest.Grant(t, c)
	r.SetLease(lease)

	bytes := []byte("1")
	etcdtest.Must(t, r.Put(ctx, Entry{Key: p + "a", Value: bytes, Leased: true}))
	bytes[0] = 'x' // the caller's again
	kvs, _, err := discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 1 || string(kvs[0].Value) != "1" || kvs[0].Lease != lease {
		t.Fatal(kvs, err)
	}
	created := kvs[0].CreateRevision
	etcdtest.Must(t, r.Put(ctx, leased(p+"a", "2")))
	etcdtest.Must(t, r.PutAll(ctx, []Entry{leased(p+"b", "1"), plain(p+"c", "1"), leased(p+"a", "3")}))
	kvs, _, err = discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 3 || string(kvs[0].Value) != "3" || kvs[0].CreateRevision != created || kvs[2].Lease != 0 {
		t.Fatal(kvs, err)
	}
	if kvs[0].ModRevision != kvs[1].ModRevision {
		t.Error("not one transaction")
	}
	etcdtest.Must(t, r.Remove(ctx, p+"a", p+"c", p+"unknown"))
	kvs, _, err = discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 1 || kvs[0].Key != p+"b" {
		t.Fatal(kvs, err)
	}
	r.Forget(p + "b")
	etcdtest.Del(t, c, p+"b")
	etcdtest.Must(t, r.Put(ctx, leased(p+"d", "1")))
	etcdtest.Del(t, c, p+"d")
	etcdtest.Eventually(t, "d is back", func() bool { return etcdtest.Value(t, c, p+"d") == "1" })
	if etcdtest.Value(t, c, p+"b") != "" {
		t.Error("a forgotten key came back")
	}
}

func TestRegistryTaken(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	other := etcdtest.Grant(t, c)
	etcdtest.Put(t, c, p+"a", "theirs", clientv3.WithLease(other))
	r, events := keep(t, c, fast)
	r.SetLease(etcdtest.Grant(t, c))

	// All or none.
	err := r.PutAll(ctx, []Entry{leased(p+"a", "ours"), leased(p+"b", "ours")})
	var taken *discovery.TakenError
	if !errors.Is(err, messages.ErrTaken) || !errors.As(err, &taken) || taken.Key != p+"a" || string(taken.Holder.Value) != "theirs" {
		t.Fatalf("got %v", err)
	}
	if etcdtest.Value(t, c, p+"a") != "theirs" || etcdtest.Value(t, c, p+"b") != "" {
		t.Fatal("something was written")
	}
	// What was refused is not kept: it does not come when the way is free.
	etcdtest.Del(t, c, p+"a")
	etcdtest.Must(t, r.Put(ctx, leased(p+"c", "ours")))

	// A key that is taken while it is kept is left alone, and taken back when
	// the other goes.
	if _, err := c.Txn(ctx).Then(clientv3.OpPut(p+"c", "theirs", clientv3.WithLease(other))).Commit(); err != nil {
		t.Fatal(err)
	}
	if got := etcdtest.As[Conflict](t, events); got.Key != p+"c" || got.Holder.Lease != other {
		t.Fatalf("%+v", got)
	}
	if etcdtest.Value(t, c, p+"c") != "theirs" {
		t.Fatal("overwritten")
	}
	if _, err := c.Revoke(ctx, other); err != nil {
		t.Fatal(err)
	}
	if got := etcdtest.As[PutBack](t, events); got.Key != p+"c" {
		t.Fatalf("%+v", got)
	}
	if etcdtest.Value(t, c, p+"a") != "" {
		t.Error("a refused entry was kept")
	}
	// Removing what somebody else holds removes nothing.
	etcdtest.Must(t, r.Put(ctx, leased(p+"d", "ours")))
	etcdtest.Put(t, c, p+"d", "theirs")
	etcdtest.Must(t, r.Remove(ctx, p+"d"))
	if etcdtest.Value(t, c, p+"d") != "theirs" {
		t.Error("deleted what is not ours")
	}
}

// Settings that many share: the first decides, equal ones agree.
func TestRegistrySharedSettings(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	a, _ := keep(t, c, fast)
	b, eventsB := keep(t, c, fast)
	etcdtest.Must(t, a.Put(ctx, plain(p+"meta", "mode=1")))
	etcdtest.Must(t, b.Put(ctx, plain(p+"meta", "mode=1")))
	var taken *discovery.TakenError
	if err := b.Put(ctx, plain(p+"meta2", "x")); err != nil {
		t.Fatal(err)
	}
	if err := a.Put(ctx, plain(p+"meta2", "y")); !errors.As(err, &taken) || string(taken.Holder.Value) != "x" {
		t.Fatal(err)
	}
	etcdtest.Must(t, a.Put(ctx, plain(p+"meta", "mode=2"))) // an update of its own value
	if got := etcdtest.As[Conflict](t, eventsB); string(got.Holder.Value) != "mode=2" {
		t.Fatalf("%+v", got)
	}
	a.Forget(p + "meta")
	etcdtest.Del(t, c, p+"meta")
	// b still keeps what it put.
	etcdtest.Eventually(t, "meta is back", func() bool { return etcdtest.Value(t, c, p+"meta") == "mode=1" })
}

func TestRegistryEachKeyDeletedByHandComesBack(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	// No audit within the test: the watch alone must notice.
	r, events := keep(t, c, Config{Audit: time.Hour})
	lease := etcdtest.Grant(t, c)
	r.SetLease(lease)
	entries := []Entry{leased(p+"senders/1", "s"), leased(p+"z/secret", "t"), plain(p+"meta", "m")}
	etcdtest.Must(t, r.PutAll(ctx, entries))
	for range 3 {
		for _, e := range entries {
			etcdtest.Del(t, c, e.Key)
			if got := etcdtest.As[PutBack](t, events); got.Key != e.Key || got.Why != Deleted {
				t.Fatalf("%+v", got)
			}
			if etcdtest.Value(t, c, e.Key) != string(e.Value) {
				t.Fatalf("%s came back as %q", e.Key, etcdtest.Value(t, c, e.Key))
			}
		}
	}
	kvs, _, err := discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 3 || kvs[1].Lease != lease {
		t.Fatal(kvs, err)
	}
}

func TestRegistryNewLease(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	s := lease.NewSession(running(t, c), lease.Config{TTL: 6 * time.Second})
	r, events := keep(t, c, Config{Audit: time.Hour})
	etcdtest.Background(t, func(ctx context.Context) error {
		return s.Run(ctx, func(ev lease.Event) {
			switch ev := ev.(type) {
			case lease.Alive:
				r.SetLease(ev.Lease)
			case lease.Lost:
				r.SetLease(0)
			}
		})
	})
	// Put waits for the first lease.
	var entries []Entry
	for i := range 130 { // more than one transaction
		entries = append(entries, leased(fmt.Sprintf("%s%03d", p, i), "v"))
	}
	etcdtest.Must(t, r.PutAll(ctx, entries[:100]))
	etcdtest.Must(t, r.PutAll(ctx, entries[100:]))
	for range 2 {
		old, _ := s.Fresh()
		if _, err := c.Revoke(ctx, old); err != nil {
			t.Fatal(err)
		}
		back := map[string]bool{}
		for len(back) < len(entries) {
			if got := etcdtest.As[PutBack](t, events); got.Why != NewLease {
				t.Fatalf("%+v", got)
			} else {
				back[got.Key] = true
			}
		}
		kvs, _, err := discovery.List(ctx, c, p)
		if err != nil || len(kvs) != len(entries) {
			t.Fatal(len(kvs), err)
		}
		for _, kv := range kvs {
			if kv.Lease == old || kv.Lease == 0 {
				t.Fatalf("%+v", kv)
			}
		}
	}
}

func TestRegistryGuard(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	r, events := keep(t, c, fast)
	r.SetLease(etcdtest.Grant(t, c))
	// Nobody else under the prefix: a destination for one sender only.
	alone := discovery.AbsentUnder(p + "senders/")
	sole := func(id, value string) Entry {
		return Entry{Key: p + "senders/" + id, Value: []byte(value), Leased: true, Guard: []discovery.Guard{alone}}
	}
	etcdtest.Must(t, r.Put(ctx, sole("a", "1")))
	etcdtest.Must(t, r.Put(ctx, sole("a", "2"))) // no guard on a change
	if err := r.Put(ctx, sole("b", "1")); !errors.Is(err, discovery.ErrGuard) || !strings.Contains(err.Error(), p+"senders/b") {
		t.Fatalf("got %v", err)
	}
	// Put back, it is created again and the guard counts.
	if _, err := c.Txn(ctx).Then(clientv3.OpDelete(p+"senders/a"), clientv3.OpPut(p+"senders/x", "other")).Commit(); err != nil {
		t.Fatal(err)
	}
	if got := etcdtest.As[Refused](t, events); got.Key != p+"senders/a" || !errors.Is(got.Err, discovery.ErrGuard) {
		t.Fatalf("%+v", got)
	}
	etcdtest.Del(t, c, p+"senders/x")
	if got := etcdtest.As[PutBack](t, events); got.Key != p+"senders/a" {
		t.Fatalf("%+v", got)
	}
	if etcdtest.Value(t, c, p+"senders/b") != "" {
		t.Error("a refused entry was kept")
	}
}

// The old fault: Register hung when etcd could not be reached.
func TestRegistryPutDoesNotHang(t *testing.T) {
	p := etcdtest.Space(t)
	c := connect(t, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	r, _ := keep(t, c, Config{Timeout: 500 * time.Millisecond})

	ctx, cancel := context.WithTimeout(etcdtest.Context(t), 100*time.Millisecond)
	defer cancel()
	err := r.Put(ctx, leased(p+"a", "1"))
	if !errors.Is(err, messages.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lease") {
		t.Fatalf("without a lease: %v", err)
	}

	r.SetLease(7)
	began := time.Now()
	err = r.Put(etcdtest.Context(t), leased(p+"a", "1")) // a context without a near end
	if !errors.Is(err, messages.ErrUnavailable) || time.Since(began) > 10*time.Second {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	// Who, where, why, what to do.
	for _, want := range []string{"register " + p + "a", "127.0.0.1:1", "check that etcd runs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) != 0 || len(r.stray) != 1 {
		t.Errorf("kept %v, stray %v", r.kept, r.stray)
	}
}

// Who waits for the writes of others has no less time for his own.
func TestRegistryPutsWaitForOneAnother(t *testing.T) {
	const each, timeout, puts = 200 * time.Millisecond, time.Second, 10
	p := etcdtest.Space(t)
	cfg := shared.Config()
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if strings.HasSuffix(method, "/Txn") {
			<-time.After(each)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
	r := New(connect(t, cfg), Config{Timeout: timeout})
	answers := make(chan error, puts)
	for i := range puts {
		go func() { answers <- r.Put(etcdtest.Context(t), Entry{Key: p + string(rune('a'+i)), Value: []byte("1")}) }()
	}
	for range puts {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

func TestRegistryCancelled(t *testing.T) {
	c := connect(t, clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	r := New(c, Config{})
	ctx, cancel := context.WithCancel(etcdtest.Context(t))
	cancel()
	if err := r.Put(ctx, leased("/a", "1")); !errors.Is(err, context.Canceled) || errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A write that was applied though its caller heard of a failure.
func TestRegistryStrayIsRemoved(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	w := etcdtest.NewWire(t, shared.Endpoint())
	r, _ := keep(t, connect(t, w.Config()), fast)
	lease := etcdtest.Grant(t, c)
	r.SetLease(lease)
	w.Set(etcdtest.Cut)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := r.Put(short, leased(p+"a", "1")); !errors.Is(err, messages.ErrUnavailable) {
		t.Fatal(err)
	}
	etcdtest.Put(t, c, p+"a", "1", clientv3.WithLease(lease)) // as if it had arrived late
	etcdtest.Put(t, c, p+"b", "1", clientv3.WithLease(lease)) // not of this registry's doing
	w.Set(etcdtest.Whole)
	etcdtest.Eventually(t, "the stray is gone", func() bool { return etcdtest.Value(t, c, p+"a") == "" })
	if etcdtest.Value(t, c, p+"b") != "1" {
		t.Error("removed what was never put")
	}
	// It can be put after all.
	etcdtest.Must(t, r.Put(ctx, leased(p+"a", "2")))
	if etcdtest.Value(t, c, p+"a") != "2" {
		t.Error("not there")
	}
}

// A write that nobody waited for any more is undone by who removes its keys, not some
// time later: the next one for the place would find them.
func TestRegistryRemovesWhatMayHaveBeenWritten(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	short, cancel := context.WithCancel(ctx)
	applied := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if strings.HasSuffix(method, "/Txn") && short.Err() == nil {
			cancel()
			return context.Canceled // nobody hears of it
		}
		return err
	}
	r := New(connect(t, around(shared.Config(), applied)), Config{}) // it does not run
	r.SetLease(etcdtest.Grant(t, c))
	if err := r.Put(short, leased(p+"a", "1")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if etcdtest.Value(t, c, p+"a") != "1" || !r.Astray(p+"a") {
		t.Fatal("it is not astray")
	}
	etcdtest.Put(t, c, p+"b", "1") // somebody else's
	etcdtest.Must(t, r.Remove(ctx, p+"a", p+"b"))
	if etcdtest.Value(t, c, p+"a") != "" || etcdtest.Value(t, c, p+"b") != "1" {
		t.Error("removed the wrong ones")
	}
	if !r.Astray(p+"a") || r.Astray(p+"b") {
		t.Error("what may still come is not looked for")
	}
}

// A removal that failed is made good.
func TestRegistryRemoveWhileAway(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	w := etcdtest.NewWire(t, shared.Endpoint())
	r, _ := keep(t, connect(t, w.Config()), fast)
	r.SetLease(etcdtest.Grant(t, c))
	etcdtest.Must(t, r.Put(ctx, leased(p+"a", "1")))
	w.Set(etcdtest.Cut)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := r.Remove(short, p+"a"); !errors.Is(err, messages.ErrUnavailable) {
		t.Fatal(err)
	}
	w.Set(etcdtest.Whole)
	etcdtest.Eventually(t, "it is gone", func() bool { return etcdtest.Value(t, c, p+"a") == "" })
}

func TestRegistryAndSessionOverRestartAndWipe(t *testing.T) {
	ctx, dir := etcdtest.Context(t), t.TempDir()
	start := func(dir, listen string) *embedded.Server {
		t.Helper()
		srv, err := embedded.Start(ctx, dir, embedded.UnsafeNoFsync(), embedded.Listen(listen))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	srv := start(dir, etcdtest.SteadyAddress(t))
	c, p := connect(t, srv.Config()), etcdtest.Space(t)
	s := lease.NewSession(running(t, c), lease.Config{TTL: 6 * time.Second})
	r, events := keep(t, c, fast)
	sessions := etcdtest.NewInbox[lease.Event]()
	etcdtest.Background(t, func(ctx context.Context) error {
		return s.Run(ctx, func(ev lease.Event) {
			switch ev := ev.(type) {
			case lease.Alive:
				r.SetLease(ev.Lease)
			case lease.Lost:
				r.SetLease(0)
			}
			sessions.Put(ev)
		})
	})
	lease := etcdtest.As[lease.Alive](t, sessions).Lease
	etcdtest.Must(t, r.PutAll(ctx, []Entry{leased(p+"a", "1"), plain(p+"meta", "2")}))

	// The same etcd again: everything is there, nothing happens to the lease.
	srv.Close()
	etcdtest.As[Delayed](t, events)
	srv = start(dir, srv.Endpoint())
	etcdtest.Eventually(t, "renewed", func() bool { id, fresh := s.Fresh(); return fresh && id == lease })
	etcdtest.Del(t, c, p+"a")
	etcdtest.Eventually(t, "a is back", func() bool { return etcdtest.Value(t, c, p+"a") == "1" })

	// Another, empty one in its place.
	srv.Close()
	start(t.TempDir(), srv.Endpoint())
	etcdtest.Eventually(t, "everything is back", func() bool { return etcdtest.Value(t, c, p+"a") == "1" && etcdtest.Value(t, c, p+"meta") == "2" })
	if id, _ := s.Fresh(); id == lease {
		t.Error("the lease of the etcd that was")
	}
	kvs, _, err := discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 2 || kvs[0].Lease == 0 {
		t.Fatal(kvs, err)
	}
}

func TestRegistryManyCallers(t *testing.T) {
	c, p, ctx := connect(t, shared.Config()), etcdtest.Space(t), etcdtest.Context(t)
	r, _ := keep(t, c, fast)
	r.SetLease(etcdtest.Grant(t, c))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprintf("%s%d", p, i)
			for n := range 5 {
				if err := r.Put(ctx, leased(key, fmt.Sprint(n))); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
			if i%2 == 0 {
				if err := r.Remove(ctx, key); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	kvs, _, err := discovery.List(ctx, c, p)
	if err != nil || len(kvs) != 4 {
		t.Fatal(kvs, err)
	}
	for _, kv := range kvs {
		if string(kv.Value) != "4" {
			t.Errorf("%+v", kv)
		}
	}
}

func TestRegistryInvalid(t *testing.T) {
	c := connect(t, shared.Config())
	r := New(c, Config{})
	r.SetLease(1)
	for name, entries := range map[string][]Entry{
		"empty key": {leased("", "v")},
		"twice":     {leased("/a", "v"), leased("/a", "w")},
		"too many":  make([]Entry, MaxBatch+1),
	} {
		if err := r.PutAll(etcdtest.Context(t), entries); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Remove(etcdtest.Context(t), make([]string, MaxBatch+1)...); !errors.Is(err, messages.ErrInvalid) {
		t.Error(err)
	}
	for _, cfg := range []Config{
		{Audit: -1}, {Collections: []string{"/a/", ""}}, {Collections: make([]string, MaxCollections+1)},
	} {
		if err := New(c, cfg).Run(etcdtest.Context(t), nil); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if err := r.PutAll(etcdtest.Context(t), nil); err != nil {
		t.Error(err)
	}
}
