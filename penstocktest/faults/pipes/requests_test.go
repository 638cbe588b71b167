package pipes_test

// What is promised of requests and replies.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// echo replies with what it got, and who replied.
func echo(d penstock.Delivery) verdict {
	if err := d.Reply(penstock.Message{Key: d.Key, Value: d.Value, Headers: []penstock.Header{{Name: "by", Value: []byte(d.Group)}}}); err != nil {
		panic(err)
	}
	return ack
}

// asks makes a request that must be replied to with its own value.
func (s scene) asks(d sender, value, group string) {
	s.Helper()
	r, err := d.request(harness.Context(s.T), penstock.Message{Value: []byte(value)}, group)
	if err != nil {
		s.Fatal(err)
	}
	if by, _ := r.Header("by"); string(r.Value) != value || group != "" && (r.Group != group || string(by) != group) {
		s.Fatalf("%q was replied to with %q by %q, the header says %q", value, r.Value, r.Group, by)
	}
}

// Of several groups the one that is named gets a request; a reply of another one's
// request is not taken for it.
func requestHasAReply(s scene) {
	d := s.register()
	s.join("billing", echo)
	for i := range 20 {
		s.asks(d, fmt.Sprint("first ", i), "")
	}
	s.join("audit", echo)
	if _, err := d.request(harness.Context(s.T), penstock.Message{}, ""); !errors.Is(err, penstock.ErrInvalid) {
		s.Errorf("a request to two groups: %v", err)
	}
	if _, err := d.request(harness.Context(s.T), penstock.Message{}, "nobody"); !errors.Is(err, penstock.ErrNoGroup) {
		s.Errorf("a request to a group that is none: %v", err)
	}
	var wg sync.WaitGroup
	for _, group := range []string{"billing", "audit"} {
		wg.Go(func() {
			for i := range 50 {
				if r, err := d.request(harness.Context(s.T), penstock.Message{Value: []byte(fmt.Sprint(group, i))}, group); err != nil || string(r.Value) != fmt.Sprint(group, i) || r.Group != group {
					s.Errorf("%s %d: %q by %q, %v", group, i, r.Value, r.Group, err)
				}
			}
		})
	}
	wg.Wait()
	s.flush(d)
}

// A request that is nacked is tried again; one that is rejected fails with the cause, one that
// is acked without a reply fails at once.
func requestIsRetried(s scene) {
	d := s.register(quick)
	s.join("billing", func(d penstock.Delivery) verdict {
		switch {
		case string(d.Value) == "reject":
			d.Reject(errors.New("not in this life"))
		case string(d.Value) == "ack":
		case d.Attempt < 3:
			return nack
		default:
			return echo(d)
		}
		return ack
	})
	s.asks(d, "retry", "")
	var refused *penstock.RemoteError
	if _, err := d.request(harness.Context(s.T), penstock.Message{Value: []byte("reject")}, ""); !errors.As(err, &refused) || refused.Text != "not in this life" || refused.Group != "billing" {
		s.Errorf("a rejected request: %v", err)
	}
	if _, err := d.request(harness.Context(s.T), penstock.Message{Value: []byte("ack")}, ""); !errors.Is(err, penstock.ErrNoReply) {
		s.Errorf("a request that was acked without a reply: %v", err)
	}
	s.flush(d)
}

func requestWithoutMember(s scene) {
	d := s.register()
	if _, err := d.request(harness.Context(s.T), penstock.Message{}, ""); !errors.Is(err, penstock.ErrNoGroup) {
		s.Errorf("without a group: %v", err)
	}
	if err := s.rt.DeclareGroup(harness.Context(s.T), "orders", "billing"); err != nil {
		s.Fatal(err)
	}
	harness.Eventually(s.T, "the group is known", func() bool { return len(s.rt.Stats().Pipes) > 0 })
	began := time.Now()
	_, err := d.request(harness.Context(s.T), penstock.Message{}, "billing")
	if took := time.Since(began); !errors.Is(err, penstock.ErrNoMember) || took > 5*time.Second {
		s.Errorf("without a member: %v after %s", err, took)
	}
	if p := s.rt.Stats().Pipes[0]; p.Pending != 0 {
		s.Errorf("%d messages are queued after that", p.Pending)
	}
	s.join("billing", echo)
	s.asks(d, "at last", "billing")
}

// A requester whose time is up leaves nothing queued, and the late reply is dropped.
func requestGivesUp(s scene) {
	d := s.register()
	got, go1 := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(go1) })
	defer release() // or a failure would wait for the handler
	var handled atomic.Int64
	s.join("billing", func(d penstock.Delivery) verdict {
		if handled.Add(1) == 1 {
			got <- struct{}{}
			<-go1
		}
		return echo(d)
	}, penstock.Window(1))
	soon, cancel := context.WithTimeout(harness.Context(s.T), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := d.request(soon, penstock.Message{}, ""); !errors.Is(err, context.DeadlineExceeded) {
				s.Errorf("a request whose time is up: %v", err)
			}
		})
	}
	harness.Await(s.T, "the request in hand", got)
	wg.Wait()
	release()
	s.flush(d)
	harness.Eventually(s.T, "the late reply is counted", func() bool { return s.rt.Stats().Pipes[0].LateReplies == 1 })
	if p := s.rt.Stats().Pipes[0]; handled.Load() != 1 || p.Dropped+p.Expired != 9 || p.Pending != 0 {
		s.Errorf("%d were handled, %d withdrawn, %d are pending", handled.Load(), p.Dropped+p.Expired, p.Pending)
	}
	s.asks(d, "next", "")
}

// A requester whose sender ends hears of it.
func requestEndsWithSender(s scene) {
	d := s.register()
	got := make(chan struct{}, 10)
	s.join("billing", func(penstock.Delivery) verdict { got <- struct{}{}; return hold })
	told := make(chan error, 1)
	go func() {
		_, err := d.request(harness.Context(s.T), penstock.Message{}, "")
		told <- err
	}()
	harness.Await(s.T, "the request", got)
	_ = d.giveUp(harness.Context(s.T))
	if err := <-told; !errors.Is(err, penstock.ErrClosed) {
		s.Errorf("the sender has ended: %v", err)
	}
}

// Promise: each of many requests at once gets its own reply.
func TestManyRequestsAtOnce(t *testing.T) {
	const n = 10_000
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	d, err := rt.Register(ctx, "orders", penstock.MaxQueue(1000, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m, err := rt.Join(ctx, "orders", "billing", penstock.Concurrency(4))
		if err != nil {
			t.Fatal(err)
		}
		consume(t, m, penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
			return penstock.Message{Value: d.Value}, nil
		}))
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			want := fmt.Sprint("request ", i)
			if r, err := d.Request(ctx, penstock.Message{Value: []byte(want)}); err != nil || string(r.Value) != want {
				t.Errorf("%s: %q, %v", want, r.Value, err)
			}
		})
	}
	wg.Wait()
	if err := d.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if p := rt.Stats().Pipes[0]; p.Acked != n || p.LateReplies != 0 || p.Dropped != 0 {
		t.Errorf("%+v", p)
	}
}

// Promise: RequestMany has an outcome from each group, and ends when there are enough or
// nothing comes for a while; what it leaves is withdrawn.
func TestRequestToAllGroups(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	d, err := rt.Register(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range d.RequestMany(ctx, penstock.Message{}) {
		if !errors.Is(err, penstock.ErrNoGroup) {
			t.Errorf("without a group: %+v, %v", r, err)
		}
	}
	for _, group := range []string{"a", "b", "refuses", "silent"} {
		m, err := rt.Join(ctx, "orders", group)
		if err != nil {
			t.Fatal(err)
		}
		consume(t, m, func(ctx context.Context, d penstock.Delivery) error {
			switch d.Group {
			case "refuses":
				return fmt.Errorf("no: %w", penstock.ErrReject)
			case "silent":
				<-ctx.Done()
				return ctx.Err()
			}
			return d.Reply(penstock.Message{Value: []byte(d.Group)})
		})
	}
	if err := rt.DeclareGroup(ctx, "orders", "empty"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "all groups are linked", func() bool {
		stats := rt.Stats().Pipes
		links := 0
		for _, p := range stats {
			links += p.Links
		}
		return len(stats) == 5 && links == 4
	})
	got := map[string]error{}
	for r, err := range d.RequestMany(ctx, penstock.Message{}, penstock.QuietFor(time.Second)) {
		if _, twice := got[r.Group]; twice || err == nil && string(r.Value) != r.Group {
			t.Errorf("%+v, %v", r, err)
		}
		got[r.Group] = err
	}
	var refused *penstock.RemoteError
	if len(got) != 4 || got["a"] != nil || got["b"] != nil || !errors.As(got["refuses"], &refused) || !errors.Is(got["empty"], penstock.ErrNoMember) {
		t.Errorf("got %v", got)
	}
	replies := 0
	for _, err := range d.RequestMany(ctx, penstock.Message{}, penstock.FromGroup("a", "b"), penstock.EnoughReplies(1)) {
		if replies++; err != nil {
			t.Error(err)
		}
	}
	if replies != 1 {
		t.Errorf("%d replies where one is enough", replies)
	}
}

// Promise: a request whose member dies, or whose link is cut, is replied to by another.
func TestRequestOutlivesItsMember(t *testing.T) {
	space := penstocktest.Space(t)
	ctx := harness.Context(t)
	rt := harness.Runtime(t, space)
	d, err := rt.Register(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	dying := harness.Runtime(t, space)
	got := make(chan struct{})
	events := penstocktest.Record(t, rt)
	m, err := dying.Join(ctx, "orders", "billing")
	if err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent[messages.MemberLinked](t, events, harness.Patience, nil)
	consume(t, m, func(ctx context.Context, d penstock.Delivery) error {
		close(got)
		<-ctx.Done()
		return ctx.Err()
	})
	type outcome struct {
		r   penstock.Reply
		err error
	}
	told := make(chan outcome, 1)
	go func() {
		r, err := d.Request(ctx, penstock.Message{Value: []byte("v")})
		told <- outcome{r, err}
	}()
	select {
	case <-got:
	case o := <-told:
		t.Fatalf("nobody got the request: %v", o.err)
	}
	other, err := rt.Join(ctx, "orders", "billing", penstock.MemberID("second"))
	if err != nil {
		t.Fatal(err)
	}
	consume(t, other, penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
		if !d.Redelivered {
			t.Error("it is not said to come again")
		}
		return penstock.Message{Value: d.Value}, nil
	}))
	stop, cancel := context.WithCancel(ctx)
	cancel()
	_ = dying.Stop(stop)
	if o := <-told; o.err != nil || string(o.r.Value) != "v" || o.r.Member != "second" {
		t.Errorf("%+v", o)
	}
}

// Promise: a reply over the limit refuses the request, and the link lives.
func TestReplyOverTheLimit(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	const limit = 100_000
	d, err := rt.Register(ctx, "orders", penstock.MaxMessageSize(limit))
	if err != nil {
		t.Fatal(err)
	}
	events := penstocktest.Record(t, rt)
	m, err := rt.Join(ctx, "orders", "billing")
	if err != nil {
		t.Fatal(err)
	}
	penstocktest.WaitEvent[messages.MemberLinked](t, events, harness.Patience, nil)
	consume(t, m, penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
		size := len(d.Value)
		if string(d.Key) == "more" {
			size = 2 * limit
		}
		return penstock.Message{Value: make([]byte, size)}, nil
	}))
	if r, err := d.Request(ctx, penstock.Message{Value: make([]byte, limit)}); err != nil || len(r.Value) != limit {
		t.Errorf("a reply at the limit: %d bytes, %v", len(r.Value), err)
	}
	var refused *penstock.RemoteError
	if _, err := d.Request(ctx, penstock.Message{Key: []byte("more")}); !errors.As(err, &refused) {
		t.Errorf("a reply over the limit: %v", err)
	}
	if r, err := d.Request(ctx, penstock.Message{Value: make([]byte, 10)}); err != nil || len(r.Value) != 10 {
		t.Errorf("the next reply: %d bytes, %v", len(r.Value), err)
	}
	if links := rt.Stats().Pipes[0].Links; links != 1 {
		t.Errorf("%d links", links)
	}
}
