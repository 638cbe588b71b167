package topics_test

// A tap in the connection to etcd: requests that fail, wait, or come late, and
// news that get lost.

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// request is one on its way to etcd.
type request struct {
	ctx     context.Context
	message any
	send    func() error
	// late sends a transaction once more, whatever became of it before; its
	// answer is nobody's.
	late func() error
}

// tap lets a test have its way with what a runtime sends to etcd.
type tap struct {
	through atomic.Pointer[func(request) error]
	keeps   atomic.Pointer[func(*mvccpb.Event) bool]
	sent    atomic.Int64
}

// meetTapped is meet with a tap.
func meetTapped(t *testing.T, space string, opts ...penstock.StartOption) (*penstock.Runtime, *tap) {
	t.Helper()
	return meetTappedAt(t, harness.Etcd.Config(), space, opts...)
}

// meetTappedAt is the same with another etcd.
func meetTappedAt(t *testing.T, cfg clientv3.Config, space string, opts ...penstock.StartOption) (*penstock.Runtime, *tap) {
	t.Helper()
	on := &tap{}
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainUnaryInterceptor(on.unary), grpc.WithChainStreamInterceptor(on.stream))
	return harness.Runtime(t, space, append([]penstock.StartOption{penstock.EtcdConfig(cfg)}, opts...)...), on
}

// requests sends each request through do from now on.
func (on *tap) requests(do func(request) error) { on.through.Store(&do) }

// news drops the events of watches that keep says no to.
func (on *tap) news(keep func(*mvccpb.Event) bool) { on.keeps.Store(&keep) }

func (on *tap) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	on.sent.Add(1)
	send := func() error { return invoke(ctx, method, req, reply, cc, opts...) }
	if do := on.through.Load(); do != nil {
		return (*do)(request{ctx, req, send, func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), harness.Patience)
			defer cancel()
			return invoke(ctx, method, req, new(etcdserverpb.TxnResponse), cc, opts...)
		}})
	}
	return send()
}

func (on *tap) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	return &tappedStream{s, on}, err
}

type tappedStream struct {
	grpc.ClientStream
	on *tap
}

func (s *tappedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if resp, ok := m.(*etcdserverpb.WatchResponse); ok && err == nil {
		if keep := s.on.keeps.Load(); keep != nil {
			var kept []*mvccpb.Event
			for _, ev := range resp.Events {
				if (*keep)(ev) {
					kept = append(kept, ev)
				}
			}
			resp.Events = kept
		}
	}
	return err
}

// failOnce refuses the first request that is meant, and returns whether there
// was one.
func (on *tap) failOnce(code codes.Code, why string, meant func(request) bool) (failed func() bool) {
	var done atomic.Bool
	on.requests(func(r request) error {
		if meant(r) && done.CompareAndSwap(false, true) {
			return status.Error(code, why)
		}
		return r.send()
	})
	return done.Load
}

// holdOnce lets the first request that is meant wait for release, or for its
// context.
func (on *tap) holdOnce(t *testing.T, meant func(request) bool) (held <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 1), make(chan struct{})
	var once, over atomic.Bool
	on.requests(func(r request) error {
		if meant(r) && once.CompareAndSwap(false, true) {
			in <- struct{}{}
			select {
			case <-out:
			case <-r.ctx.Done():
			}
		}
		return r.send()
	})
	release = func() {
		if over.CompareAndSwap(false, true) {
			close(out)
		}
	}
	t.Cleanup(release)
	return in, release
}

// reads reports whether a request reads a key that has part in it.
func (r request) reads(part string) bool {
	if m, ok := r.message.(*etcdserverpb.RangeRequest); ok {
		return strings.Contains(string(m.Key), part)
	}
	return anyOp(r.message, func(op *etcdserverpb.RequestOp) bool {
		m := op.GetRequestRange()
		return m != nil && strings.Contains(string(m.Key), part)
	})
}

// writes reports whether it puts one.
func (r request) writes(part string) bool {
	return anyOp(r.message, func(op *etcdserverpb.RequestOp) bool {
		m := op.GetRequestPut()
		return m != nil && strings.Contains(string(m.Key), part)
	})
}

// deletes reports whether it deletes one.
func (r request) deletes(part string) bool {
	if m, ok := r.message.(*etcdserverpb.DeleteRangeRequest); ok {
		return strings.Contains(string(m.Key), part)
	}
	return anyOp(r.message, func(op *etcdserverpb.RequestOp) bool {
		m := op.GetRequestDeleteRange()
		return m != nil && strings.Contains(string(m.Key), part)
	})
}

// anyOp looks into a transaction, and into those inside it.
func anyOp(message any, is func(*etcdserverpb.RequestOp) bool) bool {
	txn, ok := message.(*etcdserverpb.TxnRequest)
	if !ok {
		return false
	}
	for _, op := range txn.Success {
		if inner := op.GetRequestTxn(); is(op) || inner != nil && anyOp(inner, is) {
			return true
		}
	}
	return false
}

// polled takes the next n records of s.
func polled(t *testing.T, s *penstock.Subscription, n int) (all []penstock.Record) {
	t.Helper()
	ctx := harness.Context(t)
	for len(all) < n {
		recs, err := s.Poll(ctx, n-len(all))
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(all), n, err)
		}
		all = append(all, recs...)
	}
	return all
}
