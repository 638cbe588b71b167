package pipes_test

// What becomes of requests that are under way while processes die and stand still, links
// are cut, and runtimes stop.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// repliesLate replies to request 0 when it is told to finish, whatever has become of its
// context, and at once when that comes again.
func repliesLate(_ context.Context, d penstock.Delivery, finish <-chan struct{}) error {
	if d.Redelivered {
		return d.Reply(penstock.Message{Value: []byte("again")})
	}
	<-finish
	return d.Reply(penstock.Message{Value: []byte("late")})
}

// replied is what a requester got.
type replied struct {
	penstock.Reply
	err error
}

// requested makes a request in the background.
func requested(ctx context.Context, d *penstock.Destination) <-chan replied {
	told := make(chan replied, 1)
	go func() {
		r, err := d.Request(ctx, harness.Numbered(0), penstock.FromGroup("billing"))
		told <- replied{r, err}
	}()
	return told
}

// Promise: a request whose member dies, is frozen, loses its link or keeps it too long before the reply is
// replied to by another, once. The reply of the first one is dropped and counted.
func TestRequestOutlivesFaults(t *testing.T) {
	for name, test := range map[string]struct {
		ackWait time.Duration
		act     func(t *testing.T, s stricken) (after func())
		late    uint64
	}{
		"dies by SIGKILL": {act: func(t *testing.T, s stricken) func() {
			s.kill(t)
			return func() {}
		}},
		"is frozen": {act: func(t *testing.T, s stricken) func() {
			thaw := penstocktest.Freeze(t, s.cmd.Process)
			return func() {
				thaw()
				s.tell(t, "finish")
			}
		}},
		"keeps it beyond AckWait": {ackWait: 300 * time.Millisecond, late: 1, act: func(t *testing.T, s stricken) func() {
			return func() { s.tell(t, "finish") }
		}},
		"its link is cut": {act: func(t *testing.T, s stricken) func() {
			s.unlinked(t, s.road.Cut)
			s.tell(t, "finish")
			s.road.Resume()
			return func() {}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, port := penstocktest.Space(t), penstocktest.FreePort(t)
			road := penstocktest.NewProxy(t, harness.Loopback(port))
			rt := harness.Runtime(t, ns, penstock.Listen("tcp://"+harness.Loopback(port)+"?advertise="+road.Addr()))
			orders := harness.Register(t, rt, "orders", quick)
			if test.ackWait == 0 {
				test.ackWait = time.Minute
			}
			c := spawn(t, childSpec{
				Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
				Member: "fails", Window: 4, AckWait: test.ackWait, Fault: "replies",
			}, nil)
			c.awaitReady(t)
			told := requested(harness.Context(t), orders)
			if got := harness.Await(t, "the request", c.took); got != (taking{0, 1, 0}) {
				t.Fatalf("the request is %+v", got)
			}
			came := make(chan taking, 10)
			consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing"), penstock.ReplyHandler(
				func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
					came <- taking{harness.Number(d), d.Attempt, d.Deaths}
					return penstock.Message{Value: []byte("again")}, nil
				}))
			after := test.act(t, stricken{c, rt, road})
			if got := harness.Await(t, "the reply", told); got.err != nil || string(got.Value) != "again" {
				t.Fatalf("replied was %q by %q, %v", got.Value, got.Member, got.err)
			}
			after()
			select {
			case got := <-came:
				if got != (taking{0, 1, 1}) {
					t.Errorf("it came again as %+v", got)
				}
			case got := <-c.took: // over its second link
				if got != (taking{0, 1, 1}) {
					t.Errorf("it came again as %+v", got)
				}
			}
			if err := orders.Flush(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, fmt.Sprintf("%d late replies", test.late), func() bool { return rt.Stats().Pipes[0].LateReplies == test.late })
			if p := rt.Stats().Pipes[0]; p.Acked != 1 || p.Died != 1 || p.Dropped+p.DeadLettered != 0 {
				t.Errorf("counted are %+v", p.PipeCounters)
			}
		})
	}
}

// Promise: who asks returns when its context ends, with its cause, though the link has
// hung with the request, which nobody handles later than its deadline.
func TestRequesterOfAHungLink(t *testing.T) {
	port := penstocktest.FreePort(t)
	road := penstocktest.NewProxy(t, harness.Loopback(port))
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.Listen("tcp://"+harness.Loopback(port)+"?advertise="+road.Addr()))
	orders := harness.Register(t, rt, "orders")
	came := make(chan int, 10)
	consume(t, harness.Join(t, rt, "orders", "billing"), penstock.ReplyHandler(
		func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
			came <- harness.Number(d)
			return penstock.Message{}, nil
		}))
	if got := harness.Await(t, "the first reply", requested(harness.Context(t), orders)); got.err != nil {
		t.Fatal(got.err)
	}
	<-came
	road.Hang()
	const soon = 300 * time.Millisecond
	began := time.Now()
	ctx, cancel := context.WithTimeout(harness.Context(t), soon)
	defer cancel()
	why := errors.New("the user has gone")
	gone, leave := context.WithCancelCause(ctx)
	byTime, byUser := requested(ctx, orders), requested(gone, orders)
	leave(why)
	if got := harness.Await(t, "the end of who left", byUser); !errors.Is(got.err, why) {
		t.Errorf("who left: %v", got.err)
	}
	if got := harness.Await(t, "the end of who waited", byTime); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("who waited: %v", got.err)
	}
	if took := time.Since(began); took < soon {
		t.Errorf("who waited returned after %s", took)
	}
	road.Resume()
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	if len(came) > 0 {
		t.Errorf("request %d was handled after its time", <-came)
	}
	if got := harness.Await(t, "the next reply", requested(harness.Context(t), orders)); got.err != nil {
		t.Error(got.err)
	}
}

// Promise: at most once, a request whose member dies is handled by nobody else, and its
// requester waits until its context ends; one whose member lives is replied to.
func TestRequestAtMostOnce(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	dying := harness.Runtime(t, ns)
	m, err := dying.Join(harness.Context(t), "orders", "billing", penstock.InMode(penstock.AtMostOnce))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{}, 1)
	consume(t, m, func(ctx context.Context, d penstock.Delivery) error {
		if string(d.Value) == "0" {
			got <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		return d.Reply(penstock.Message{Value: d.Value})
	})
	r, err := orders.Request(harness.Context(t), penstock.Message{Value: []byte("v")})
	if err != nil || string(r.Value) != "v" {
		t.Fatalf("%q, %v", r.Value, err)
	}
	polled, err := rt.Join(harness.Context(t), "orders", "polled", penstock.InMode(penstock.AtMostOnce))
	if err != nil {
		t.Fatal(err)
	}
	other := make(chan replied, 1)
	go func() {
		r, err := orders.Request(harness.Context(t), penstock.Message{Value: []byte("p")}, penstock.FromGroup("polled"))
		other <- replied{r, err}
	}()
	ds, err := polled.Poll(harness.Context(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := ds[0].Reply(penstock.Message{Value: []byte("polled")}); err != nil {
		t.Errorf("a reply after Poll: %v", err)
	}
	if got := harness.Await(t, "the reply after Poll", other); got.err != nil || string(got.Value) != "polled" {
		t.Errorf("after Poll: %q, %v", got.Value, got.err)
	}

	ctx, cancel := context.WithTimeout(harness.Context(t), 2*time.Second)
	defer cancel()
	told := requested(ctx, orders)
	harness.Await(t, "the request", got)
	stop, cancelStop := context.WithCancel(ctx)
	cancelStop()
	_ = dying.Stop(stop)
	consume(t, harness.Join(t, rt, "orders", "billing", penstock.InMode(penstock.AtMostOnce)), func(context.Context, penstock.Delivery) error {
		t.Error("it was handled twice")
		return nil
	})
	if got := harness.Await(t, "the end of the request", told); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("at most once: %q, %v", got.Value, got.err)
	}
}

// requestEndsWithRuntime: who waits hears of a runtime that stops and has no time; one that
// has time delivers the reply.
func requestEndsWithRuntime(s scene) {
	for _, patient := range []bool{true, false} {
		ns := penstocktest.Space(s.T)
		there := harness.Runtime(s.T, ns)
		here := scene{s.T, s.face, harness.Runtime(s.T, ns)}
		d := here.register()
		got, reply := make(chan struct{}, 1), make(chan struct{})
		scene{s.T, s.face, there}.join("billing", func(d penstock.Delivery) verdict {
			got <- struct{}{}
			<-reply
			if !patient {
				return release
			}
			return echo(d)
		})
		told := make(chan error, 1)
		go func() {
			_, err := d.request(harness.Context(s.T), penstock.Message{}, "")
			told <- err
		}()
		harness.Await(s.T, "the request", got)
		if patient {
			draining := make(chan error, 1)
			go func() { draining <- here.rt.Stop(harness.Context(s.T)) }()
			harness.Eventually(s.T, "it drains", func() bool { return !here.rt.Health(harness.Context(s.T)).Ready })
			close(reply)
			if err := harness.Await(s.T, "the reply", told); err != nil {
				s.Errorf("a runtime that has time: %v", err)
			}
			if err := harness.Await(s.T, "the end of the runtime", draining); err != nil {
				s.Error(err)
			}
			continue
		}
		stop, cancel := context.WithCancel(context.Background())
		cancel()
		_ = here.rt.Stop(stop)
		if err := harness.Await(s.T, "the end of the request", told); !errors.Is(err, penstock.ErrClosed) {
			s.Errorf("a runtime without time: %v", err)
		}
		close(reply)
	}
}
