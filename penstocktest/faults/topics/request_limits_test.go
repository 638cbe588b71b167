package topics_test

// An etcd, or a client of it, that takes less in one request than by default:
// what is refused is halved, what cannot be halved is told to its own caller, and
// everything else continues.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// small is a runtime on an etcd of its own.
func small(t *testing.T, tune func(*embed.Config), change func(*clientv3.Config)) *penstock.Runtime {
	t.Helper()
	opts := []embedded.Option{embedded.UnsafeNoFsync()}
	if tune != nil {
		opts = append(opts, embedded.Tune(tune))
	}
	srv, err := embedded.Start(harness.Context(t), "", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	cfg := srv.Config()
	if change != nil {
		change(&cfg)
	}
	return harness.Runtime(t, penstocktest.Space(t), penstock.EtcdConfig(cfg))
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// shortly is a context that ends long before a test's patience: what it bounds must
// not wait.
func shortly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Promise: a record that etcd takes in no request is ErrTooLarge for its caller
// alone, and batches are as large as etcd takes.
func TestRecordsOverTheLimitOfEtcd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tune   func(*embed.Config)
		change func(*clientv3.Config)
		large  []int
	}{
		"etcd's, and its server's": {func(c *embed.Config) { c.MaxRequestBytes = 256 << 10 }, nil, []int{300 << 10, 900 << 10}},
		"the client's":             {nil, func(c *clientv3.Config) { c.MaxCallSendMsgSize = 256 << 10 }, []int{300 << 10, 900 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rt := small(t, c.tune, c.change)
			topic := makeTopic(t, rt, theTopic, 1)
			for _, n := range c.large {
				_, _, err := topic.Put(shortly(t), penstock.Message{Value: noise(n)})
				var limit *messages.LimitError
				if !errors.Is(err, penstock.ErrTooLarge) || errors.Is(err, penstock.ErrUnknownOutcome) || !errors.As(err, &limit) || limit.Limit != messages.LimitRequest {
					t.Errorf("a record of %d bytes: %v", n, err)
				}
			}
			// Small ones around a large one, all in one batch if they could be.
			var good, bad atomic.Int64
			const records = 600
			for i := range records {
				value := noise(1000)
				if i == records/2 {
					value = noise(300 << 10)
				}
				if err := topic.PutAsync(shortly(t), penstock.Message{Value: value}, func(r penstock.PutResult) {
					switch {
					case r.Err == nil:
						good.Add(1)
					case errors.Is(r.Err, penstock.ErrTooLarge):
						bad.Add(1)
					default:
						t.Error(r.Err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := topic.Flush(shortly(t)); err != nil {
				t.Error(err)
			}
			if good.Load() != records-1 || bad.Load() != 1 {
				t.Errorf("%d put, %d too large, of %d", good.Load(), bad.Load(), records)
			}
			n := 0
			for rec, err := range topic.Read(shortly(t), 0, penstock.FromEarliest()) {
				if err != nil {
					t.Fatal(err)
				}
				if rec.Offset != int64(n) || len(rec.Value) != 1000 {
					t.Fatalf("record %d is at %d with %d bytes", n, rec.Offset, len(rec.Value))
				}
				if n++; n == records-1 {
					break
				}
			}
		})
	}
}

// Promise: whatever carries several operations carries as many as etcd takes.
func TestFewOperationsInOneRequest(t *testing.T) {
	t.Parallel()
	for _, ops := range []uint{32, 8} {
		t.Run(fmt.Sprint(ops), func(t *testing.T) {
			t.Parallel()
			rt := small(t, func(c *embed.Config) { c.MaxTxnOps = ops }, nil)
			ctx := harness.Context(t) // for some hundred requests
			const partitions = 70
			topic := makeTopic(t, rt, theTopic, partitions-7)
			if _, err := rt.UpdateTopic(ctx, theTopic, penstock.TopicUpdate{Partitions: partitions}); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the topic has grown", func() bool { return topic.Info().Config.Partitions == partitions })
			for p := range partitions {
				if _, err := topic.PutTo(ctx, p, penstock.Message{Value: []byte("v")}); err != nil {
					t.Fatal(err)
				}
			}
			sub, err := topic.Subscribe(ctx, theGroup, penstock.ManualCommit())
			if err != nil {
				t.Fatal(err)
			}
			if got := sub.Partitions(); len(got) != partitions {
				t.Errorf("%d partitions of %d", len(got), partitions)
			}
			recs := polled(t, sub, partitions)
			if err := sub.Commit(ctx, recs...); err != nil {
				t.Error(err)
			}
			if lag, err := sub.Lag(ctx); err != nil || lag.Lag != 0 {
				t.Errorf("lag %d, %v", lag.Lag, err)
			}
			if err := sub.Unsubscribe(ctx); err != nil {
				t.Error(err)
			}
			changes, err := rt.ResetOffsets(ctx, theTopic, theGroup, penstock.FromEarliest())
			if err != nil || len(changes) != partitions {
				t.Errorf("%d partitions reset, %v", len(changes), err)
			}
			d, err := rt.DescribeTopic(ctx, theTopic)
			if err != nil || len(d.Partitions) != partitions || d.Groups[0].Lag != partitions {
				t.Errorf("described with %d partitions, %v", len(d.Partitions), err)
			}
			if err := rt.DeleteTopic(ctx, theTopic); err != nil {
				t.Error(err)
			}
		})
	}
}

// Promise: a client that takes no large answers reads fewer batches at once; one
// that it does not take alone is a typed error.
func TestAnswersOverTheLimitOfTheClient(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(harness.Context(t), "", embedded.UnsafeNoFsync())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	ns, cfg := penstocktest.Space(t), srv.Config()
	writer := harness.Runtime(t, ns, penstock.EtcdConfig(cfg))
	cfg.MaxCallRecvMsgSize = 100 << 10
	reader := harness.Runtime(t, ns, penstock.EtcdConfig(cfg))
	topic := makeTopic(t, writer, theTopic, 1)
	const records = 20
	for range records {
		if _, _, err := topic.Put(shortly(t), penstock.Message{Value: noise(40 << 10)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := topic.Put(shortly(t), penstock.Message{Value: noise(200 << 10)}); err != nil {
		t.Fatal(err)
	}
	handle := openTopic(t, reader, theTopic)
	n := 0
	var last error
	for _, err := range handle.Read(shortly(t), 0, penstock.FromEarliest()) {
		if last = err; err == nil {
			n++
		}
	}
	var limit *messages.LimitError
	if n != records || !errors.As(last, &limit) || limit.Limit != messages.LimitResponse {
		t.Errorf("%d read, then %v", n, last)
	}
	events := make(chan penstock.Event, 100)
	ctx, cancel := context.WithCancel(shortly(t))
	defer cancel()
	heard := reader.Events(ctx)
	go func() {
		for e := range heard {
			if d, ok := e.(messages.ReadDelayed); ok {
				events <- d
			}
		}
	}()
	sub := subscribe(t, handle, theGroup)
	if recs := polled(t, sub, records); len(recs) != records {
		t.Errorf("%d polled", len(recs))
	}
	if e := harness.Await(t, "an event", events).(messages.ReadDelayed); !errors.Is(e.Err, penstock.ErrTooLarge) {
		t.Errorf("told %v", e.Err)
	}
	if err := sub.Seek(shortly(t), 0, penstock.FromOffset(3)); err != nil {
		t.Error(err)
	}
	if recs := polled(t, sub, 1); recs[0].Offset != 3 {
		t.Errorf("after a Seek: %d", recs[0].Offset)
	}
	unsubscribe(t, sub)
}

// Promise: no error of etcd is tried without end: puts and Subscribe tell of one that
// nobody has a name for.
func TestErrorsWithoutAName(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unknown, codes.Internal, codes.DataLoss, codes.FailedPrecondition, codes.ResourceExhausted, codes.OutOfRange} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			rt, on := meetTapped(t, penstocktest.Space(t))
			topic := makeTopic(t, rt, theTopic, 2)
			odd := status.Error(code, "an error of etcd that nobody knows")
			on.requests(func(r request) error {
				if r.writes("/index/") || r.writes("/claims/") {
					return odd
				}
				return r.send()
			})
			told := make(chan error, 1)
			if err := topic.PutAsync(shortly(t), penstock.Message{}, func(r penstock.PutResult) { told <- r.Err }); err != nil {
				t.Fatal(err)
			}
			if _, err := topic.Subscribe(shortly(t), theGroup); err == nil || !strings.Contains(err.Error(), "nobody knows") {
				t.Errorf("Subscribe: %v", err)
			}
			if err := harness.Await(t, "a put's fate", told); !errors.Is(err, penstock.ErrUnknownOutcome) || !strings.Contains(err.Error(), "nobody knows") {
				t.Errorf("a put: %v", err)
			}
			on.requests(func(r request) error { return r.send() })
			if _, _, err := topic.Put(shortly(t), penstock.Message{}); err != nil {
				t.Errorf("a put after that: %v", err)
			}
		})
	}
}
