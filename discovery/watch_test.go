package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/discovery/internal/etcdtest"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/discovery/internal/stream"
	"github.com/penstock-io/penstock/messages"
)

func follow(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) *etcdtest.Inbox[WatchEvent] {
	t.Helper()
	events := etcdtest.NewInbox[WatchEvent]()
	w := NewWatch(c, prefix, cfg)
	etcdtest.Background(t, func(ctx context.Context) error { return w.Run(ctx, events.Put) })
	return events
}

// following is a way to follow a prefix until the test ends.
type following func(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) *etcdtest.Inbox[WatchEvent]

// followShared is follow over the streams of Watches.
func followShared(t *testing.T, c *clientv3.Client, prefix string, cfg WatchConfig) *etcdtest.Inbox[WatchEvent] {
	t.Helper()
	events := etcdtest.NewInbox[WatchEvent]()
	w := NewWatches(c, cfg)
	w.Watch(prefix, events.Put)
	etcdtest.Background(t, w.Run)
	etcdtest.Background(t, w.List)
	return events
}

// both runs a test for a Watch and for Watches, which promise the same.
func both(t *testing.T, test func(*testing.T, following)) {
	t.Run("alone", func(t *testing.T) { test(t, follow) })
	t.Run("shared", func(t *testing.T) { test(t, followShared) })
}

// brisk notices silence soon.
var brisk = WatchConfig{Progress: 200 * time.Millisecond, Relist: time.Hour}

func TestWatch(t *testing.T) { both(t, testWatch) }

func testWatch(t *testing.T, follow following) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	etcdtest.Put(t, c, p+"a", "1")
	etcdtest.Put(t, c, p+"b", "2")
	etcdtest.Put(t, c, p[:len(p)-1]+"!", "not under the prefix")
	lease := etcdtest.Grant(t, c)

	events := follow(t, c, p, WatchConfig{Page: 1})
	snap := etcdtest.As[Snapshot](t, events)
	if len(snap.KVs) != 2 || snap.KVs[0].Key != p+"a" || string(snap.KVs[1].Value) != "2" || snap.Reset {
		t.Fatalf("%+v", snap)
	}
	rev := etcdtest.Put(t, c, p+"c", "3", clientv3.WithLease(lease))
	if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Lease != lease || d.Revision != rev || d.Puts[0].CreateRevision != rev {
		t.Fatalf("%+v", d)
	}
	etcdtest.Put(t, c, p+"d", "4", clientv3.WithLease(lease))
	etcdtest.As[Delta](t, events)
	// A lease that ends takes all its keys in one revision.
	if _, err := c.Revoke(etcdtest.Context(t), lease); err != nil {
		t.Fatal(err)
	}
	if d := etcdtest.As[Delta](t, events); len(d.Deletes) != 2 || len(d.Puts) != 0 || string(d.Deletes[0].Value) != "3" {
		t.Fatalf("%+v", d)
	}
	// A transaction comes as one.
	if _, err := c.Txn(etcdtest.Context(t)).Then(clientv3.OpDelete(p+"a"), clientv3.OpPut(p+"e", "5")).Commit(); err != nil {
		t.Fatal(err)
	}
	if d := etcdtest.As[Delta](t, events); len(d.Deletes) != 1 || len(d.Puts) != 1 {
		t.Fatalf("%+v", d)
	}
}

// On a quiet etcd a watch must not be taken for dead.
func TestWatchQuietIsNotSilent(t *testing.T) {
	// Of its own: others write to the shared one.
	srv, err := embedded.Start(etcdtest.Context(t), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	c := connect(t, srv.Config())
	for _, write := range []bool{false, true} {
		t.Run(fmt.Sprint(write), func(t *testing.T) {
			p := etcdtest.Space(t)
			if write {
				etcdtest.Put(t, c, p+"a", "1")
			}
			events := etcdtest.NewInbox[WatchEvent]()
			ctx, cancel := context.WithTimeout(etcdtest.Context(t), 8*brisk.Progress)
			defer cancel()
			shared := followShared(t, c, p, brisk)
			if err := NewWatch(c, p, brisk).Run(ctx, events.Put); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			for _, ev := range append(events.All(), shared.All()...) {
				if d, bad := ev.(Delayed); bad && errors.Is(d.Err, stream.ErrSilent) {
					t.Errorf("%v", d.Err)
				}
			}
		})
	}
}

func TestWatchMakesUpForAGap(t *testing.T) { both(t, testWatchMakesUpForAGap) }

func testWatchMakesUpForAGap(t *testing.T, follow following) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	etcdtest.Put(t, c, p+"a", "1")
	etcdtest.Put(t, c, p+"b", "1")
	etcdtest.Put(t, c, p+"c", "1")

	w := etcdtest.NewWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.Config()), p, brisk)
	etcdtest.As[Snapshot](t, events)
	w.Set(etcdtest.Cut)
	etcdtest.As[Delayed](t, events)
	etcdtest.Del(t, c, p+"a")
	etcdtest.Put(t, c, p+"b", "2")
	etcdtest.Del(t, c, p+"c")
	rev := etcdtest.Put(t, c, p+"c", "2")
	// The history of the gap is gone: a watch that resumed would fail.
	if _, err := c.Compact(etcdtest.Context(t), rev); err != nil {
		t.Fatal(err)
	}
	w.Set(etcdtest.Whole)
	d := etcdtest.As[Delta](t, events)
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
	etcdtest.Put(t, c, p+"d", "1")
	if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+"d" {
		t.Fatal(show(d))
	}
}

// A connection that breaks and is back at once: etcd's client would resume the
// watch, from however long ago, and say nothing.
func TestWatchDoesNotResume(t *testing.T) { both(t, testWatchDoesNotResume) }

func testWatchDoesNotResume(t *testing.T, follow following) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	w := etcdtest.NewWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.Config()), p, WatchConfig{Progress: time.Hour, Relist: time.Hour})
	etcdtest.As[Snapshot](t, events)
	etcdtest.Put(t, c, p+"0", "1")
	etcdtest.As[Delta](t, events)
	w.Set(etcdtest.Cut)
	w.Set(etcdtest.Whole)
	etcdtest.As[Delayed](t, events)
	etcdtest.Put(t, c, p+"1", "1")
	if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+"1" {
		t.Fatal(show(d))
	}
}

// A connection that stays open and carries nothing.
func TestWatchNoticesSilence(t *testing.T) { both(t, testWatchNoticesSilence) }

func testWatchNoticesSilence(t *testing.T, follow following) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	w := etcdtest.NewWire(t, shared.Endpoint())
	events := follow(t, connect(t, w.Config()), p, brisk)
	etcdtest.As[Snapshot](t, events)
	etcdtest.Put(t, c, p+"0", "1")
	etcdtest.As[Delta](t, events) // so the watch is up
	w.Set(etcdtest.Mute)
	events.Next(t, "silence", func(ev WatchEvent) bool {
		d, ok := ev.(Delayed)
		return ok && errors.Is(d.Err, stream.ErrSilent)
	})
	etcdtest.Put(t, c, p+"a", "1")
	w.Set(etcdtest.Cut) // bytes were swallowed, so the old connections are of no use
	w.Set(etcdtest.Whole)
	if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 {
		t.Fatal(show(d))
	}
}

// troubled reports whether an event is of trouble. A busy machine may take longer
// to open a watch than a test lets it live.
func troubled[E any](ev E) bool {
	d, delayed := any(ev).(Delayed)
	return delayed && !errors.Is(d.Err, context.DeadlineExceeded)
}

func TestWatchRelists(t *testing.T) { both(t, testWatchRelists) }

func testWatchRelists(t *testing.T, follow following) {
	p := etcdtest.Space(t)
	c := connect(t, shared.Config())
	events := follow(t, c, p, WatchConfig{Progress: 100 * time.Millisecond, Relist: 150 * time.Millisecond})
	etcdtest.As[Snapshot](t, events)
	for i := range 20 {
		etcdtest.Put(t, c, p+fmt.Sprint(i), "1")
		if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 || d.Puts[0].Key != p+fmt.Sprint(i) {
			t.Fatal(show(d))
		}
		if err := retry.Sleep(etcdtest.Context(t), 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for _, ev := range events.All() {
		if troubled(ev) {
			t.Errorf("a routine list is not trouble: %+v", ev)
		}
	}
}

func TestWatchOfAWipedEtcd(t *testing.T) { both(t, testWatchOfAWipedEtcd) }

func testWatchOfAWipedEtcd(t *testing.T, follow following) {
	ctx := etcdtest.Context(t)
	first, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Listen(etcdtest.SteadyAddress(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	c, p := connect(t, first.Config()), etcdtest.Space(t)
	etcdtest.Put(t, c, p+"a", "1")
	etcdtest.Put(t, c, p+"b", "1")
	events := follow(t, c, p, brisk)
	etcdtest.As[Snapshot](t, events)
	first.Close()
	etcdtest.As[Delayed](t, events)

	second, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync(), embedded.Listen(first.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	if d := etcdtest.As[Delta](t, events); len(d.Deletes) != 2 || len(d.Puts) != 0 {
		t.Fatal(show(d))
	}
	if s := etcdtest.As[Snapshot](t, events); !s.Reset || len(s.KVs) != 0 {
		t.Fatal(show(s))
	}
	etcdtest.Put(t, c, p+"a", "2")
	if d := etcdtest.As[Delta](t, events); len(d.Puts) != 1 {
		t.Fatal(show(d))
	}
}

func TestWatchConfigFaults(t *testing.T) {
	c := connect(t, shared.Config())
	for _, cfg := range []WatchConfig{{Progress: -1}, {Page: -1}, {Relist: time.Second}} {
		if err := NewWatch(c, "/x/", cfg).Run(etcdtest.Context(t), nil); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
		if err := NewWatches(c, cfg).Run(etcdtest.Context(t)); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestList(t *testing.T) {
	c, p := connect(t, shared.Config()), etcdtest.Space(t)
	ctx := etcdtest.Context(t)
	if kvs, rev, err := List(ctx, c, p); err != nil || len(kvs) != 0 || rev == 0 {
		t.Fatal(kvs, rev, err)
	}
	for i := range 7 {
		etcdtest.Put(t, c, fmt.Sprintf("%s%d", p, i), "v")
	}
	for _, page := range []int64{1, 3, 7, 8} {
		l, err := list(ctx, c, p, page, etcdtest.Patience)
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
	mute  int // so many streams confirm no watch

	mu      sync.Mutex
	lists   int
	watches int
	asked   []watchAsked
}

// watchAsked is a watch that was asked for: from which revision, after how many lists.
type watchAsked struct {
	from  int64
	lists int
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
		create := req.GetCreateRequest()
		if create == nil {
			continue
		}
		f.mu.Lock()
		f.asked = append(f.asked, watchAsked{create.StartRevision, f.lists})
		f.mu.Unlock()
		if n <= f.mute {
			<-s.Context().Done()
			return s.Context().Err()
		}
		if err := s.Send(&etcdserverpb.WatchResponse{Header: f.header(0), Created: true}); err != nil {
			return err
		}
		if err := f.watch(n, s); err != nil {
			return err
		}
	}
}

// serve runs a fake etcd until the test ends and returns how to reach it.
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

// The first watch begins now and before the list, because etcd lets one from a
// revision before wait. Where it is refused or hears nothing, which is no trouble yet,
// the next begins at the list.
func TestWatchFirstFromNow(t *testing.T) {
	for name, first := range map[string]func(s etcdserverpb.Watch_WatchServer) error{
		"refused": func(s etcdserverpb.Watch_WatchServer) error {
			return s.Send(&etcdserverpb.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CancelReason: "because"})
		},
		"hears nothing": func(etcdserverpb.Watch_WatchServer) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			fake, again := &fakeEtcd{}, make(chan struct{})
			opened := sync.OnceFunc(func() { close(again) })
			fake.watch = func(n int, s etcdserverpb.Watch_WatchServer) error {
				if n == 1 {
					return first(s)
				}
				opened()
				<-s.Context().Done()
				return nil
			}
			cfg := serve(t, func(s *grpc.Server) {
				etcdserverpb.RegisterKVServer(s, fake)
				etcdserverpb.RegisterWatchServer(s, fake)
			})
			events := follow(t, connect(t, cfg), "/x/", WatchConfig{Progress: 50 * time.Millisecond, Relist: time.Hour})
			etcdtest.As[Snapshot](t, events)
			<-again
			if got := events.All(); slices.ContainsFunc(got, troubled[WatchEvent]) {
				t.Errorf("trouble is told: %+v", got)
			}
			fake.mu.Lock()
			defer fake.mu.Unlock()
			if want := []watchAsked{{0, 0}, {12, 2}}; !slices.Equal(fake.asked[:2], want) {
				t.Errorf("asked for %+v, want %+v", fake.asked, want)
			}
		})
	}
}

// mutedEtcd confirms no watch of the first streams, and makes a client of it.
func mutedEtcd(t *testing.T, streams int) *clientv3.Client {
	fake := &fakeEtcd{mute: streams, watch: func(_ int, s etcdserverpb.Watch_WatchServer) error {
		<-s.Context().Done()
		return nil
	}}
	return connect(t, serve(t, func(s *grpc.Server) {
		etcdserverpb.RegisterKVServer(s, fake)
		etcdserverpb.RegisterWatchServer(s, fake)
	}))
}

// impatient waits long for everything but the confirmation of a watch.
var impatient = WatchConfig{Progress: time.Minute, Relist: time.Hour, Timeout: 300 * time.Millisecond}

// A first watch that etcd does not confirm holds up nobody for longer than a request may
// take.
func TestFirstWatchIsNotConfirmed(t *testing.T) {
	c, since := mutedEtcd(t, 1), time.Now()
	etcdtest.As[Snapshot](t, follow(t, c, "/x/", impatient))
	if took := time.Since(since); took > 20*time.Second { // grpc's server ends the connection after 30, etcd's does not
		t.Errorf("there was no list for %v", took)
	}
}

// Nor does a later one: the prefix is listed again, and why is told.
func TestLaterWatchIsNotConfirmed(t *testing.T) {
	c, since := mutedEtcd(t, 2), time.Now()
	events := follow(t, c, "/x/", impatient)
	etcdtest.As[Snapshot](t, events)
	if d := etcdtest.As[Delayed](t, events); !errors.Is(d.Err, stream.ErrSilent) {
		t.Errorf("%v, want ErrSilent", d.Err)
	}
	etcdtest.As[Delta](t, events) // the key is changed by each list
	if took := time.Since(since); took > 20*time.Second {
		t.Errorf("there was no second list for %v", took)
	}
}

// The first watch tells also what was written before the list, which is no sign of
// an etcd that was rolled back.
func TestFirstWatchOverlapsTheList(t *testing.T) { both(t, testFirstWatchOverlapsTheList) }

func testFirstWatchOverlapsTheList(t *testing.T, follow following) {
	fake := &fakeEtcd{}
	fake.watch = func(_ int, s etcdserverpb.Watch_WatchServer) error {
		for revision := int64(10); revision <= 12; revision++ { // the list is of revision 11
			if err := s.Send(&etcdserverpb.WatchResponse{
				Header: &etcdserverpb.ResponseHeader{ClusterId: 1, Revision: revision},
				Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("/x/b"), CreateRevision: 10, ModRevision: revision, Version: revision - 9}}},
			}); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return nil
	}
	cfg := serve(t, func(s *grpc.Server) {
		etcdserverpb.RegisterKVServer(s, fake)
		etcdserverpb.RegisterWatchServer(s, fake)
	})
	events := follow(t, connect(t, cfg), "/x/", WatchConfig{Progress: time.Hour, Relist: time.Hour})
	etcdtest.As[Snapshot](t, events)
	d := etcdtest.As[Delta](t, events)
	if all := events.All(); d.Revision != 12 || len(d.Puts) != 1 || slices.ContainsFunc(all, troubled[WatchEvent]) {
		t.Errorf("%+v, of %+v", d, all)
	}
}

// Whatever way the server ends a watch, the prefix is listed again.
func TestWatchEndedByServer(t *testing.T) { both(t, testWatchEndedByServer) }

func testWatchEndedByServer(t *testing.T, follow following) {
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
		{"silent", func(s etcdserverpb.Watch_WatchServer) error {
			<-s.Context().Done()
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := &fakeEtcd{}
			fake.watch = func(_ int, s etcdserverpb.Watch_WatchServer) error { return c.watch(s) }
			cfg := serve(t, func(s *grpc.Server) {
				etcdserverpb.RegisterKVServer(s, fake)
				etcdserverpb.RegisterWatchServer(s, fake)
			})
			events := follow(t, connect(t, cfg), "/x/", WatchConfig{Progress: 50 * time.Millisecond, Relist: time.Hour})
			etcdtest.As[Snapshot](t, events)
			etcdtest.As[Delayed](t, events)
			// The fake changes the key with each list, which shows that there
			// was one.
			etcdtest.As[Delta](t, events)
			etcdtest.As[Delta](t, events)
		})
	}
}
