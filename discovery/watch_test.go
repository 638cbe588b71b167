package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
)

func follow(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) *inbox[WatchEvent] {
	t.Helper()
	events := newInbox[WatchEvent]()
	w := NewWatch(c, prefix, cfg)
	background(t, func(ctx context.Context) error { return w.Run(ctx, events.put) })
	return events
}

// brisk notices silence soon.
var brisk = WatchConfig{Progress: 200 * time.Millisecond, Relist: time.Hour}

func TestWatch(t *testing.T) {
	c, p := connect(t, shared.Config()), space(t)
	put(t, c, p+"a", "1")
	put(t, c, p+"b", "2")
	put(t, c, p[:len(p)-1]+"!", "not under the prefix")
	lease := grant(t, c)

	events := follow(t, c, p, WatchConfig{Page: 1})
	snap := as[Snapshot](t, events)
	if len(snap.KVs) != 2 || snap.KVs[0].Key != p+"a" || string(snap.KVs[1].Value) != "2" || snap.Reset {
		t.Fatalf("%+v", snap)
	}
	rev := put(t, c, p+"c", "3", clientv3.WithLease(lease))
	if d := as[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Lease != lease || d.Revision != rev || d.Puts[0].CreateRevision != rev {
		t.Fatalf("%+v", d)
	}
	put(t, c, p+"d", "4", clientv3.WithLease(lease))
	as[Delta](t, events)
	// A lease that ends takes all its keys in one revision.
	if _, err := c.Revoke(testContext(t), lease); err != nil {
		t.Fatal(err)
	}
	if d := as[Delta](t, events); len(d.Deletes) != 2 || len(d.Puts) != 0 || string(d.Deletes[0].Value) != "3" {
		t.Fatalf("%+v", d)
	}
	// A transaction comes as one.
	if _, err := c.Txn(testContext(t)).Then(clientv3.OpDelete(p+"a"), clientv3.OpPut(p+"e", "5")).Commit(); err != nil {
		t.Fatal(err)
	}
	if d := as[Delta](t, events); len(d.Deletes) != 1 || len(d.Puts) != 1 {
		t.Fatalf("%+v", d)
	}
}

// On a quiet etcd a watch must not be taken for dead.
func TestWatchQuietIsNotSilent(t *testing.T) {
	// Of its own: others write to the shared one.
	srv, err := embedded.Start(testContext(t), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	c := connect(t, srv.Config())
	for _, write := range []bool{false, true} {
		t.Run(fmt.Sprint(write), func(t *testing.T) {
			p := space(t)
			if write {
				put(t, c, p+"a", "1")
			}
			events := newInbox[WatchEvent]()
			ctx, cancel := context.WithTimeout(testContext(t), 8*brisk.Progress)
			defer cancel()
			if err := NewWatch(c, p, brisk).Run(ctx, events.put); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			for _, ev := range events.all {
				if d, bad := ev.(Delayed); bad && errors.Is(d.Err, errSilent) {
					t.Errorf("%v", d.Err)
				}
			}
		})
	}
}

func TestWatchMakesUpForAGap(t *testing.T) {
	p := space(t)
	c := connect(t, shared.Config())
	put(t, c, p+"a", "1")
	put(t, c, p+"b", "1")
	put(t, c, p+"c", "1")

	w := newWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.config()), p, brisk)
	as[Snapshot](t, events)
	w.set(cut)
	as[Delayed](t, events)
	del(t, c, p+"a")
	put(t, c, p+"b", "2")
	del(t, c, p+"c")
	rev := put(t, c, p+"c", "2")
	// The history of the gap is gone: a watch that resumed would fail.
	if _, err := c.Compact(testContext(t), rev); err != nil {
		t.Fatal(err)
	}
	w.set(whole)
	d := as[Delta](t, events)
	want := map[string]bool{"-" + p + "a": true, "-" + p + "c": true, "+" + p + "b": true, "+" + p + "c": true}
	for _, kv := range d.Deletes {
		delete(want, "-"+kv.Key)
	}
	for _, kv := range d.Puts {
		delete(want, "+"+kv.Key)
	}
	if len(want) != 0 || d.Revision < rev {
		t.Fatalf("%s misses %v", show(d), want)
	}
	// And it goes on.
	put(t, c, p+"d", "1")
	if d := as[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+"d" {
		t.Fatal(show(d))
	}
}

// A connection that breaks and is back at once: etcd's client would resume the
// watch, from however long ago, and say nothing.
func TestWatchDoesNotResume(t *testing.T) {
	p := space(t)
	c := connect(t, shared.Config())
	w := newWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.config()), p, WatchConfig{Progress: time.Hour, Relist: time.Hour})
	as[Snapshot](t, events)
	put(t, c, p+"0", "1")
	as[Delta](t, events)
	w.set(cut)
	w.set(whole)
	as[Delayed](t, events)
	put(t, c, p+"1", "1")
	if d := as[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+"1" {
		t.Fatal(show(d))
	}
}

// A connection that stays open and carries nothing.
func TestWatchNoticesSilence(t *testing.T) {
	p := space(t)
	c := connect(t, shared.Config())
	w := newWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.config()), p, brisk)
	as[Snapshot](t, events)
	put(t, c, p+"0", "1")
	as[Delta](t, events) // so the watch is up
	w.set(mute)
	events.next(t, "silence", func(ev WatchEvent) bool {
		d, ok := ev.(Delayed)
		return ok && errors.Is(d.Err, errSilent)
	})
	put(t, c, p+"a", "1")
	w.set(cut) // bytes were swallowed, so the old connections are of no use
	w.set(whole)
	if d := as[Delta](t, events); len(d.Puts) != 1 {
		t.Fatal(show(d))
	}
}

// askedWatcher answers nothing.
type askedWatcher struct{ clientv3.Watcher }

func (askedWatcher) RequestProgress(context.Context) error { return nil }

// Time that passes while nobody asks, as in a process that stands still, is no
// silence.
func TestWatchOutlivesAStandstill(t *testing.T) {
	quiet := &tail{watcher: askedWatcher{}, ctx: t.Context(), every: time.Nanosecond}
	for range 2 * silentFor {
		must(t, quiet.beat())
		must(t, quiet.took(clientv3.WatchResponse{}, true))
	}
	for range silentFor {
		must(t, quiet.beat())
	}
	if err := quiet.beat(); !errors.Is(err, errSilent) {
		t.Errorf("%d requests without an answer: %v", silentFor, err)
	}
}

// troubled tells whether an event is of trouble. A busy machine may take longer
// to open a watch than a test lets it live.
func troubled[E any](ev E) bool {
	d, delayed := any(ev).(Delayed)
	return delayed && !errors.Is(d.Err, context.DeadlineExceeded)
}

func TestWatchRelists(t *testing.T) {
	p := space(t)
	c := connect(t, shared.Config())
	events := follow(t, c, p, WatchConfig{Progress: 100 * time.Millisecond, Relist: 150 * time.Millisecond})
	as[Snapshot](t, events)
	for i := range 20 {
		put(t, c, p+fmt.Sprint(i), "1")
		if d := as[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+fmt.Sprint(i) {
			t.Fatal(show(d))
		}
		if err := sleep(testContext(t), 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	events.mu.Lock()
	defer events.mu.Unlock()
	for _, ev := range events.all {
		if troubled(ev) {
			t.Errorf("a routine list is not trouble: %+v", ev)
		}
	}
}

func TestWatchOfAWipedEtcd(t *testing.T) {
	ctx := testContext(t)
	first, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Listen(steadyAddress(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	c, p := connect(t, first.Config()), space(t)
	put(t, c, p+"a", "1")
	put(t, c, p+"b", "1")
	events := follow(t, c, p, brisk)
	as[Snapshot](t, events)
	first.Close()
	as[Delayed](t, events)

	second, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Listen(first.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	if d := as[Delta](t, events); len(d.Deletes) != 2 || len(d.Puts) != 0 {
		t.Fatal(show(d))
	}
	if s := as[Snapshot](t, events); !s.Reset || len(s.KVs) != 0 {
		t.Fatal(show(s))
	}
	put(t, c, p+"a", "2")
	if d := as[Delta](t, events); len(d.Puts) != 1 {
		t.Fatal(show(d))
	}
}

func TestWatchConfigFaults(t *testing.T) {
	c := connect(t, shared.Config())
	for _, cfg := range []WatchConfig{{Progress: -1}, {Page: -1}, {Relist: time.Second}} {
		if err := NewWatch(c, "/x/", cfg).Run(testContext(t), nil); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestList(t *testing.T) {
	c, p := connect(t, shared.Config()), space(t)
	ctx := testContext(t)
	if kvs, rev, err := List(ctx, c, p); err != nil || len(kvs) != 0 || rev == 0 {
		t.Fatal(kvs, rev, err)
	}
	for i := range 7 {
		put(t, c, fmt.Sprintf("%s%d", p, i), "v")
	}
	for _, page := range []int64{1, 3, 7, 8} {
		l, err := list(ctx, c, p, page, patience)
		if err != nil || len(l.kvs) != 7 || l.kvs[6].Key != p+"6" {
			t.Fatal(page, l, err)
		}
	}
}

// fakeEtcd answers lists with one key, and watches as the test says.
type fakeEtcd struct {
	etcdserverpb.UnimplementedKVServer
	etcdserverpb.UnimplementedWatchServer
	watch func(n int, s etcdserverpb.Watch_WatchServer) error

	mu      sync.Mutex
	lists   int
	watches int
}

func (f *fakeEtcd) header(n int) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: int64(10 + n)}
}

func (f *fakeEtcd) Range(context.Context, *etcdserverpb.RangeRequest) (*etcdserverpb.RangeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	return &etcdserverpb.RangeResponse{
		Header: f.header(f.lists), Count: 1,
		Kvs: []*mvccpb.KeyValue{{Key: []byte("/x/a"), CreateRevision: 5, ModRevision: int64(f.lists)}},
	}, nil
}

func (f *fakeEtcd) Watch(s etcdserverpb.Watch_WatchServer) error {
	f.mu.Lock()
	f.watches++
	n := f.watches
	f.mu.Unlock()
	for {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		if req.GetCreateRequest() == nil {
			continue
		}
		if err := s.Send(&etcdserverpb.WatchResponse{Header: f.header(0), Created: true}); err != nil {
			return err
		}
		if err := f.watch(n, s); err != nil {
			return err
		}
	}
}

// serve runs a fake etcd until the test ends and answers how to reach it.
func serve(t *testing.T, register func(*grpc.Server)) clientv3.Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return clientv3.Config{Endpoints: []string{l.Addr().String()}}
}

// Whatever way the server ends a watch, the prefix is listed again.
func TestWatchEndedByServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		watch func(s etcdserverpb.Watch_WatchServer) error
	}{
		{"cancelled", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{Canceled: true, CancelReason: "because"})
		}},
		{"compacted", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CompactRevision: 99})
		}},
		{"no leader", func(s etcdserverpb.Watch_WatchServer) error { return rpctypes.ErrGRPCNoLeader }},
		{"closed", func(s etcdserverpb.Watch_WatchServer) error { return rpctypes.ErrGRPCCorrupt }},
		{"other cluster", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{WatchId: -1, Header: &etcdserverpb.ResponseHeader{ClusterId: 2, Revision: 100}})
		}},
		{"rolled back", func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{WatchId: -1, Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: 3}})
		}},
		{"silent", func(s etcdserverpb.Watch_WatchServer) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := &fakeEtcd{}
			fake.watch = func(_ int, s etcdserverpb.Watch_WatchServer) error { return c.watch(s) }
			cfg := serve(t, func(s *grpc.Server) {
				etcdserverpb.RegisterKVServer(s, fake)
				etcdserverpb.RegisterWatchServer(s, fake)
			})
			events := follow(t, connect(t, cfg), "/x/", WatchConfig{Progress: 50 * time.Millisecond, Relist: time.Hour})
			as[Snapshot](t, events)
			as[Delayed](t, events)
			// The fake changes the key with each list, which shows that there
			// was one.
			as[Delta](t, events)
			as[Delta](t, events)
		})
	}
}
