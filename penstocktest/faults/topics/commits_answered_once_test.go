package topics_test

// What a group has committed, who is told of it, and the way out of a full etcd.

import (
	"cmp"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: who leaves in order costs no record a second handling, also when an
// old commit of his reaches etcd after a newer one.
func TestLateCommitDoesNotOutliveTheRelease(t *testing.T) {
	ns := penstocktest.Space(t)
	rt, on := meetTapped(t, ns)
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 10)
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit())
	recs := polled(t, sub, 10)
	var late atomic.Pointer[func() error]
	on.requests(func(r request) error {
		if r.writes("/offsets/") && late.CompareAndSwap(nil, &r.late) {
			return status.Error(codes.Unavailable, "somebody has it, and is frozen")
		}
		return r.send()
	})
	for _, rec := range []penstock.Record{recs[2], recs[9]} {
		if err := sub.Commit(harness.Context(t), rec); err != nil {
			t.Fatal(err)
		}
	}
	committed := func() int64 { return groupOf(t, rt, theTopic, theGroup).Partitions[0].Committed }
	if at := committed(); at != 10 {
		t.Fatalf("committed is %d, want 10", at)
	}
	if err := (*late.Load())(); err != nil {
		t.Fatal(err)
	}
	if at := committed(); at != 10 {
		t.Fatalf("committed is %d after the late one, want 10", at)
	}
	unsubscribe(t, sub)
	if at := committed(); at != 10 {
		t.Errorf("committed is %d after the release, want 10", at)
	}
}

// Promise: a commit is of records that this subscription has handed out, and what
// else it is given is refused whole, with what is allowed.
func TestCommitTakesOnlyWhatWasHandedOut(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	old := makeTopic(t, rt, theTopic, 2)
	newAccount().put(t, old, 0, 4)
	before := polled(t, subscribe(t, old, theGroup, penstock.ManualCommit()), 1)[0]
	if err := rt.DeleteTopic(harness.Context(t), theTopic); err != nil {
		t.Fatal(err)
	}
	topic, other := makeTopic(t, rt, theTopic, 2), makeTopic(t, rt, "elsewhere", 2)
	for p := range 2 {
		for range 5 {
			for _, at := range []*penstock.Topic{topic, other} {
				if _, err := at.PutTo(harness.Context(t), p, harness.Numbered(0)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	first := func(s *penstock.Subscription) penstock.Record { return polled(t, s, 1)[0] }
	sub, err := topic.SubscribePartitions(harness.Context(t), theGroup, []int{0}, penstock.ManualCommit())
	if err != nil {
		t.Fatal(err)
	}
	recs := polled(t, sub, 3)
	var read penstock.Record
	for rec, err := range topic.Read(harness.Context(t), 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		read = rec
		break
	}
	neighbour, err := topic.SubscribePartitions(harness.Context(t), theGroup, []int{1}, penstock.ManualCommit())
	if err != nil {
		t.Fatal(err)
	}
	edited := func(edit func(*penstock.Record)) penstock.Record {
		r := recs[0]
		edit(&r)
		return r
	}
	offset := func(o int64) penstock.Record { return edited(func(r *penstock.Record) { r.Offset = o }) }
	committed := func() (at [2]int64) {
		for i, p := range groupOf(t, rt, theTopic, theGroup).Partitions {
			at[i] = p.Committed
		}
		return at
	}
	commitRecord(t, sub, recs[0])
	for name, c := range map[string]struct {
		rec   penstock.Record
		want  error
		names string
	}{
		"the next, as Kafka names it":   {offset(3), penstock.ErrOffsetOutOfRange, "0 to 2"},
		"one behind the end":            {offset(5), penstock.ErrOffsetOutOfRange, "5"},
		"a far one":                     {offset(1 << 40), penstock.ErrOffsetOutOfRange, "0 to 2"},
		"the largest":                   {offset(math.MaxInt64), penstock.ErrOffsetOutOfRange, "9223372036854775807"},
		"a negative one":                {offset(-1), penstock.ErrOffsetOutOfRange, "-1"},
		"the smallest":                  {offset(math.MinInt64), penstock.ErrOffsetOutOfRange, "0 to 2"},
		"another partition's":           {edited(func(r *penstock.Record) { r.Partition = 1 }), penstock.ErrInvalid, "partition 1"},
		"a partition that is not":       {edited(func(r *penstock.Record) { r.Partition = -1 }), penstock.ErrInvalid, "partition -1"},
		"another topic's":               {first(subscribe(t, other, theGroup)), penstock.ErrInvalid, "elsewhere"},
		"another group's":               {first(subscribe(t, topic, "others")), penstock.ErrInvalid, "fence"},
		"another member's":              {first(neighbour), penstock.ErrInvalid, "partition 1"},
		"the topic's before":            {before, penstock.ErrInvalid, "fence"},
		"without a group":               {read, penstock.ErrInvalid, "fence"},
		"nobody's":                      {penstock.Record{}, penstock.ErrInvalid, "topic"},
		"with a fence that is nobody's": {edited(func(r *penstock.Record) { r.Fence = math.MaxInt64 }), penstock.ErrInvalid, "fence"},
	} {
		told := make(chan error, 1)
		sub.CommitAsync(func(err error) { told <- err }, recs[2], c.rec)
		for how, err := range map[string]error{"Commit": sub.Commit(harness.Context(t), recs[2], c.rec), "CommitAsync": harness.Await(t, "the callback", told)} {
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) {
				t.Errorf("%s of %s: %v, want %v that says %q", how, name, err, c.want, c.names)
			}
		}
		if at := committed(); at != [2]int64{1, -1} {
			t.Fatalf("%s: %d is committed, want 1 and nothing", name, at)
		}
	}
	events := penstocktest.Record(t, rt)
	sub.CommitAsync(nil, offset(9)) // nobody to tell but who watches
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.CommitDelayed) bool { return errors.Is(e.Err, penstock.ErrOffsetOutOfRange) })
	commitRecord(t, sub, recs[2])
	for _, to := range []int64{6, -1, math.MaxInt64, math.MinInt64} {
		at := penstock.FromOffset(to)
		if err := sub.Seek(harness.Context(t), 0, at); !errors.Is(err, penstock.ErrOffsetOutOfRange) {
			t.Errorf("seek to %d: %v", to, err)
		}
		if _, err := rt.ResetOffsets(harness.Context(t), theTopic, "fresh", at); !errors.Is(err, penstock.ErrOffsetOutOfRange) {
			t.Errorf("reset to %d: %v", to, err)
		}
		if _, err := topic.Subscribe(harness.Context(t), "young", at); !errors.Is(err, penstock.ErrOffsetOutOfRange) {
			t.Errorf("subscribe at %d: %v", to, err)
		}
		if _, err := topic.Subscribe(harness.Context(t), "others", at); to < 0 && !errors.Is(err, penstock.ErrOffsetOutOfRange) { // which has begun
			t.Errorf("subscribe to a group that has begun, at %d: %v", to, err)
		}
	}
	if at := committed(); at != [2]int64{3, -1} {
		t.Errorf("%d is committed, want 3 and nothing", at)
	}
	// Where the next owner begins.
	unsubscribe(t, sub)
	again, err := topic.SubscribePartitions(harness.Context(t), theGroup, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	if rec := first(again); rec.Offset != 3 {
		t.Errorf("the next owner begins at %d, want 3", rec.Offset)
	}
}

// Promise: each callback of CommitAsync is called once, one after the other and
// in the order of the calls, also while the subscription ends.
func TestEachCommitAsyncIsAnsweredOnceInOrder(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 1)
	for range 10 {
		sub := subscribe(t, topic, theGroup)
		var mu sync.Mutex
		var answered []int
		var calls atomic.Int64
		var at atomic.Int32 // how many callbacks are running
		var once atomic.Bool
		begun, over, closed := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
		out := make(chan struct{}, 100) // calls without an answer
		go func() {
			defer func() { over <- struct{}{} }()
			for i := 0; ; i++ {
				select {
				case <-closed:
					return
				case out <- struct{}{}:
				}
				if i == 10 {
					begun <- struct{}{}
				}
				calls.Add(1)
				sub.CommitAsync(func(err error) {
					if at.Add(1) != 1 && once.CompareAndSwap(false, true) {
						t.Error("two callbacks are called at once")
					}
					mu.Lock()
					defer mu.Unlock()
					answered = append(answered, i)
					if err != nil && !errors.Is(err, penstock.ErrClosed) {
						t.Error(err)
					}
					at.Add(-1)
					<-out
				})
			}
		}()
		harness.Await(t, "the first calls", begun)
		unsubscribe(t, sub)
		close(closed)
		harness.Await(t, "the last call", over)
		harness.Eventually(t, "every call is answered", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return int64(len(answered)) >= calls.Load()
		})
		mu.Lock()
		for i, call := range answered {
			if call != i {
				t.Errorf("callback %d was called as number %d of %d", call, i, len(answered))
				break
			}
		}
		if n := calls.Load(); int64(len(answered)) != n {
			t.Errorf("%d callbacks of %d calls", len(answered), n)
		}
		mu.Unlock()
		if t.Failed() {
			return
		}
	}
}

// Promise: while etcd does not answer, calls of CommitAsync wait up to a bound;
// those beyond it are answered at once, and ask for nothing.
func TestCommitAsyncIsBounded(t *testing.T) {
	proxy := penstocktest.NewProxy(t, harness.Etcd.Endpoint())
	cfg := harness.Etcd.Config()
	cfg.Endpoints = []string{proxy.Addr()}
	ns := penstocktest.Space(t)
	watcher, rt := harness.Runtime(t, ns), harness.Runtime(t, ns, penstock.EtcdConfig(cfg), penstock.LeaseTTL(time.Minute))
	makeTopic(t, watcher, theTopic, 2)
	newAccount().put(t, openTopic(t, watcher, theTopic), 0, 8)
	sub := subscribe(t, openTopic(t, rt, theTopic), theGroup, penstock.ManualCommit())
	recs := polled(t, sub, 8)
	slices.SortFunc(recs, func(a, b penstock.Record) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Partition, b.Partition))
	})
	proxy.Hang()
	const beyond = 1000
	var refused, answered, odd atomic.Int64
	ask := func(weight int, recs ...penstock.Record) {
		sub.CommitAsync(func(err error) {
			switch {
			case errors.Is(err, penstock.ErrBusy):
				refused.Add(1)
			case err != nil:
				odd.Add(1)
			default:
				answered.Add(int64(weight))
			}
		}, recs...)
	}
	for range penstock.MaxCommitsWaiting / 4 {
		ask(2, recs[0], recs[1]) // of two partitions
		ask(2, recs[0], recs[1])
	}
	if n := refused.Load(); n != 0 {
		t.Fatalf("%d were refused within the bound", n)
	}
	for range beyond {
		ask(1, recs[2])
	}
	if n := refused.Load(); n != beyond {
		t.Errorf("%d of %d were refused beyond the bound", n, beyond)
	}
	sub.CommitAsync(nil, recs[1]) // nobody waits
	proxy.Resume()
	harness.Eventually(t, "the others are answered", func() bool { return answered.Load() == penstock.MaxCommitsWaiting })
	if n := odd.Load(); n != 0 {
		t.Errorf("%d had another error", n)
	}
	for _, p := range groupOf(t, watcher, theTopic, theGroup).Partitions {
		if p.Committed != 1 {
			t.Errorf("partition %d is committed up to %d; what was refused is not to be", p.Partition, p.Committed)
		}
	}
	done := make(chan error, 1)
	sub.CommitAsync(func(err error) { done <- err }, recs[2])
	if err := harness.Await(t, "one more, as there is room again", done); err != nil {
		t.Error(err)
	}
	unsubscribe(t, sub)
}

// Promise: a callback that panics, or none at all, keeps nobody else from
// being told.
func TestCommitAsyncSurvivesItsCallbacks(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 3)
	sub := subscribe(t, topic, theGroup, penstock.ManualCommit())
	recs := polled(t, sub, 3)
	told := make(chan error, 1)
	sub.CommitAsync(func(error) { panic("a callback's own fault") }, recs[0])
	sub.CommitAsync(nil, recs[1])
	sub.CommitAsync(func(err error) { told <- err }, recs[2])
	if err := harness.Await(t, "the last callback", told); err != nil {
		t.Error(err)
	}
	if at := groupOf(t, rt, theTopic, theGroup).Partitions[0].Committed; at != 3 {
		t.Errorf("committed is %d, want 3", at)
	}
	unsubscribe(t, sub)
}

// Promise: a topic of a full etcd can be deleted, which is the way to room for
// others.
func TestTopicOfAFullEtcdCanBeDeleted(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync(), embedded.Quota(16<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	client, err := clientv3.New(srv.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config()))
	topic := makeTopic(t, rt, theTopic, 2)
	sub := subscribe(t, topic, theGroup)
	fat := penstock.Message{Value: make([]byte, 500<<10)}
	rand.Read(fat.Value)
	for n := 0; err == nil; n++ {
		if n == 1000 {
			t.Fatal("etcd never filled up")
		}
		_, _, err = topic.Put(harness.Context(t), fat)
	}
	if !errors.Is(err, penstock.ErrNoSpace) {
		t.Fatalf("put: %v, want ErrNoSpace", err)
	}
	// By one that begins now, too, though etcd gives no lease.
	late := harness.Runtime(t, ns, penstock.EtcdConfig(srv.Config()))
	if d, err := late.DescribeTopic(harness.Context(t), theTopic); err != nil || len(d.Groups) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := late.DeleteTopic(harness.Context(t), theTopic); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.Poll(harness.Context(t), 1000); err == nil { // what was read ahead may come first
		_, err = sub.Poll(harness.Context(t), 1000)
		if !errors.Is(err, penstock.ErrTopicDeleted) {
			t.Errorf("poll: %v, want ErrTopicDeleted", err)
		}
	}
	if _, _, err := topic.Put(harness.Context(t), fat); !errors.Is(err, penstock.ErrTopicDeleted) {
		t.Errorf("put: %v, want ErrTopicDeleted", err)
	}
	left, err := client.Get(harness.Context(t), ns+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range left.Kvs {
		if strings.Contains(string(kv.Key), topic.Info().ID) || string(kv.Key) == keys.Space(ns).Topic(theTopic) {
			t.Errorf("%s is left", kv.Key)
		}
	}
	if _, err := client.Compact(harness.Context(t), left.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Defragment(harness.Context(t), srv.Endpoint()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AlarmDisarm(harness.Context(t), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	newAccount().put(t, makeTopic(t, rt, theTopic, 2), 0, 10)
}
