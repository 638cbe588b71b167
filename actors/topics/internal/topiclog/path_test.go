package topiclog

// The data path of a topic whose actors have not begun. No test here has an etcd.

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// quiet is a world without an etcd, with an actor that takes whatever is sent to the
// topic's.
func quiet(t *testing.T) (env *Env, mail chan any, to *actor.PID) {
	t.Helper()
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	space := keys.Space("/test")
	n := &node.Node{System: node.NewSystem(), Etcd: &discovery.Clients{Control: c, Watch: c}, Keys: space, Events: events.New(), Runs: usercode.New()}
	supervisor.Prepare(n.System)
	mail = make(chan any, 100)
	to = n.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case actor.SystemMessage, actor.AutoReceiveMessage:
		default:
			mail <- m
		}
	}))
	t.Cleanup(func() {
		n.System.Shutdown()
		c.Close()
	})
	return &Env{Node: n, Log: commitlog.New(commitlog.Config{Client: c, Space: space, Classify: discovery.Classify})}, mail, to
}

// topicOf is a topic with so many partitions, and what is sent to its actor.
func topicOf(t *testing.T, partitions int) (path *Topic, mail chan any) {
	t.Helper()
	env, mail, to := quiet(t)
	cfg := messages.TopicConfig{Partitions: partitions}
	cfg.EnsureDefaults()
	path = New(env, messages.TopicInfo{Name: "orders", ID: "t1", Config: cfg, CreateRevision: 5, ModRevision: 5})
	path.PID.Store(to)
	return path, mail
}

// producer puts into what at returns.
func producer(path *Topic, at func(int) (*produce.Accumulator, error), ending *produce.Ending) *produce.Producer {
	return produce.New(produce.Config{
		Partitioner: produce.ByKey(), MaxBuffer: 1 << 20, Partitions: path.Partitions, Info: path.Current.Load,
		At: at, Ending: ending, Host: func(usercode.Callbacks) {}, Panicked: func(any, []byte) error { return nil },
	})
}

// put hands a topic records that nobody appends.
func put(t *testing.T, path *Topic, n int) {
	t.Helper()
	p := producer(path, path.Accumulator, path.Puts)
	for range n {
		if err := p.PutAsync(t.Context(), &messages.Message{Value: []byte("x")}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Promise: a partition has one path, made and announced when it is asked for first;
// those of a topic that grew are found too.
func TestPartitionIsMadeOnce(t *testing.T) {
	path, mail := topicOf(t, 2)
	for _, p := range []int{-1, 2} {
		if _, err := path.Partition(p); !errors.Is(err, messages.ErrNoPartition) {
			t.Errorf("partition %d of 2: %v", p, err)
		}
	}
	first, err := path.Partition(1)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := (<-mail).(*partitionWanted); !ok || m.part != first {
		t.Errorf("the actor was told %+v", m)
	}
	grown := path.Info()
	grown.Config.Partitions = 4
	path.Current.Store(&grown)
	if again, err := path.Partition(1); err != nil || again != first {
		t.Errorf("asked again: another path, %v", err)
	}
	if p, err := path.Partition(3); err != nil || p.P != 3 {
		t.Errorf("partition 3 of 4: %+v, %v", p, err)
	}
	if m, ok := (<-mail).(*partitionWanted); !ok || m.part.P != 3 { // and nothing of partition 1
		t.Errorf("the actor was told %+v", m)
	}
	if used := path.used(); len(used) != 2 || used[0] != first {
		t.Errorf("%d partitions are in use", len(used))
	}
}

// Promise: what takes nothing more can still be read, also where nobody read before.
func TestRefusedTopicIsRead(t *testing.T) {
	path, _ := topicOf(t, 2)
	before, err := path.Accumulator(0)
	if err != nil {
		t.Fatal(err)
	}
	path.Refuse(messages.ErrClosed)
	if _, err := path.Accumulator(0); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("a put: %v", err)
	}
	if err := path.Ended(); err != nil {
		t.Errorf("it has ended: %v", err)
	}
	part, err := path.Partition(1)
	if err != nil {
		t.Fatalf("a read: %v", err)
	}
	for p, acc := range []*produce.Accumulator{before, part.acc} {
		putter := producer(path, func(int) (*produce.Accumulator, error) { return acc, nil }, produce.NewEnding())
		if err := putter.PutAsync(t.Context(), &messages.Message{}, nil); !errors.Is(err, messages.ErrClosed) {
			t.Errorf("partition %d takes more: %v", p, err)
		}
	}
}

// Promise: a topic ends once, with the first cause.
func TestCloseCountsOnce(t *testing.T) {
	path, _ := topicOf(t, 1)
	put(t, path, 3)
	path.Close(messages.ErrTopicDeleted)
	path.Close(messages.ErrClosed)
	if err := path.Ended(); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("it ended with %v", err)
	}
	for what, err := range map[string]error{"read": second(path.Partition(0)), "put": second(path.Accumulator(0))} {
		if !errors.Is(err, messages.ErrTopicDeleted) {
			t.Errorf("a %s afterwards: %v", what, err)
		}
	}
	if s := path.Stats(); s.Topic != "orders" || s.Records != 3 || s.Failed != 3 || s.Committed != 0 {
		t.Errorf("counted %+v", s)
	}
}

func second[T any](_ T, err error) error { return err }

// Promise: what was put and cannot be waited for is given up, and counted.
func TestSettle(t *testing.T) {
	path, _ := topicOf(t, 1)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := path.Settle(over); err != nil {
		t.Errorf("nothing was put: %v", err)
	}
	path, _ = topicOf(t, 1)
	put(t, path, 3)
	var lost *messages.AbandonedError
	if err := path.Settle(over); !errors.As(err, &lost) || lost.Messages != 3 || !errors.Is(err, context.Canceled) {
		t.Errorf("with 3 records: %v", err)
	}
	if n := path.Env.Events.Count()["abandoned"]; n != 1 {
		t.Errorf("%d events of it", n)
	}
	if err := path.Settle(over); err != nil {
		t.Errorf("again: %v", err)
	}
}

// Promise: a request reaches a partition whose actor has yet to begin.
func TestFetchIsHandedOn(t *testing.T) {
	path, mail := topicOf(t, 1)
	part, err := path.Partition(0)
	if err != nil {
		t.Fatal(err)
	}
	<-mail // partitionWanted
	f := &Fetch{}
	part.FetchTo(f)
	if m, ok := (<-mail).(*PartitionMail); !ok || m.Part != part || m.Mail != any(f) {
		t.Errorf("the topic's actor was told %+v", m)
	}
	part.PID.Store(path.PID.Load())
	part.FetchTo(f)
	if m := <-mail; m != any(f) {
		t.Errorf("the partition's actor was told %+v", m)
	}
}

// Promise: whoever reads is counted, and told to the actors that follow the index.
func TestReadersAreCounted(t *testing.T) {
	path, mail := topicOf(t, 1)
	part, err := path.Partition(0)
	if err != nil {
		t.Fatal(err)
	}
	<-mail // partitionWanted
	part.Join()
	if _, ok := (<-mail).(*readerCame); !ok || part.readers.Load() != 1 {
		t.Errorf("%d readers after Join", part.readers.Load())
	}
	me := new(int)
	part.PID.Store(path.PID.Load())
	part.Leave(me)
	if m, ok := (<-mail).(*readerLeft); !ok || m.reader != any(me) || part.readers.Load() != 0 {
		t.Errorf("%d readers after Leave: %+v", part.readers.Load(), m)
	}
}

// Promise: why reading stops is an event that names the place.
func TestUnreadable(t *testing.T) {
	path, _ := topicOf(t, 1)
	part, err := path.Partition(0)
	if err != nil {
		t.Fatal(err)
	}
	corrupt := &commitlog.CorruptError{Topic: "orders", Base: 70, Why: "damaged"}
	told := path.Env.Events.Events(t.Context())
	part.Unreadable(5, 9, messages.ErrLogRolledBack)
	part.Unreadable(5, 9, corrupt)
	part.Unreadable(80, 90, corrupt)
	part.Unreadable(5, 9, messages.ErrTopicDeleted) // is told by others
	path.Env.Events.Close(messages.RuntimeStopped{})
	want := []messages.Event{
		messages.LogRolledBack{Topic: "orders", Position: 5, End: 9},
		messages.BatchCorrupt{Topic: "orders", Offset: 70, Err: corrupt},
		messages.BatchCorrupt{Topic: "orders", Offset: 80, Err: corrupt},
		messages.RuntimeStopped{},
	}
	if got := slices.Collect(told); !slices.Equal(got, want) {
		t.Errorf("there were %v, want %v", got, want)
	}
}

// Promise: etcd is asked until it responds, each failure is told, and who waits can
// give up.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the reader has left")
		ctx, cancel := context.WithCancelCause(t.Context())
		for name, tt := range map[string]struct {
			fails int
			err   error // after the failures
			want  error
		}{
			"at once":         {0, nil, nil},
			"after a while":   {7, nil, nil},
			"refused":         {2, messages.ErrDenied, messages.ErrDenied},
			"a topic is gone": {0, messages.ErrTopicDeleted, messages.ErrTopicDeleted},
		} {
			calls, told := 0, 0
			err := Retry(ctx, func(error) { told++ }, func() error {
				if calls++; calls <= tt.fails {
					return messages.ErrUnavailable
				}
				return tt.err
			})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || calls != tt.fails+1 || told != tt.fails {
				t.Errorf("%s: %d calls, %d told: %v", name, calls, told, err)
			}
		}
		began := time.Now()
		time.AfterFunc(time.Minute, func() { cancel(gone) })
		calls := 0
		err := Retry(ctx, func(error) {}, func() error { calls++; return messages.ErrUnavailable })
		if !errors.Is(err, gone) || time.Since(began) != time.Minute {
			t.Errorf("given up after %s: %v", time.Since(began), err)
		}
		if calls < 20 || calls > 200 { // 2 s apart at most, after some short waits
			t.Errorf("etcd was asked %d times in a minute", calls)
		}
	})
}
