package pipes_test

// What counts as an attempt and what as a death of a message that a member has in hand,
// while the member's process fails in each way. The member is a process of its own.

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// deadly is the message that kills whoever handles it.
const deadly = 20

// handlerFaults are what a child's handler does with message 0 when it comes for the
// first time. Others it acks.
var handlerFaults = map[string]func(ctx context.Context, d penstock.Delivery, finish <-chan struct{}) error{
	"waits": faultAt0(func(ctx context.Context, finish <-chan struct{}) error {
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}),
	"error":   faultAt0(func(context.Context, <-chan struct{}) error { return errNack }),
	"panic":   faultAt0(func(context.Context, <-chan struct{}) error { panic("a bug") }),
	"goexit":  faultAt0(func(context.Context, <-chan struct{}) error { runtime.Goexit(); return nil }),
	"later":   faultAt0(func(context.Context, <-chan struct{}) error { return penstock.RetryAfter(laterBy, errNack) }),
	"rejects": faultAt0(func(context.Context, <-chan struct{}) error { return errors.Join(errNack, penstock.ErrReject) }),
	"replies": repliesLate,
	"dies": func(_ context.Context, d penstock.Delivery, _ <-chan struct{}) error {
		if harness.Number(d) == deadly {
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return err
			}
			return errors.Join(self.Kill(), errors.New("it lives"))
		}
		return nil
	},
}

func faultAt0(f func(context.Context, <-chan struct{}) error) func(context.Context, penstock.Delivery, <-chan struct{}) error {
	return func(ctx context.Context, d penstock.Delivery, finish <-chan struct{}) error {
		if harness.Number(d) != 0 || d.Redelivered {
			return nil
		}
		return f(ctx, finish)
	}
}

// stricken is a member whose handler has message 0 in hand, or has failed over it.
type stricken struct {
	*child
	rt   *penstock.Runtime // the sender's
	road *penstocktest.Proxy
}

// unlinked does something, and waits until the sender has lost the member.
func (s stricken) unlinked(t *testing.T, do func()) {
	t.Helper()
	events := penstocktest.Record(t, s.rt)
	do()
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == s.name })
}

// leaves has the member end in order while its handler finishes what it has in hand.
func (s stricken) leaves(t *testing.T, how string) {
	t.Helper()
	s.tell(t, how)
	s.tell(t, "finish")
	harness.Await(t, "the end of the member", harness.Closing(s.left))
}

// Promise: a failed handler is an attempt; the end of the process, of the link, or of
// AckWait is a death of what was in hand; an end in order is neither. What was not in
// hand counts nothing.
func TestAttemptsAndDeaths(t *testing.T) {
	ackWait := 300 * time.Millisecond
	for name, test := range map[string]struct {
		fault   string
		ackWait time.Duration
		act     func(t *testing.T, s stricken)
		want    taking // how message 0 comes again; zero when it does not
		// unaware: the member may take others of a link before it hears of its end, and
		// these come to the survivor, too.
		unaware bool
		counts  penstock.PipeCounters
	}{
		"leaves": {fault: "waits", act: func(t *testing.T, s stricken) { s.leaves(t, "leave") }},
		"drains": {fault: "waits", act: func(t *testing.T, s stricken) { s.leaves(t, "drain") }},
		"its Consume ends": {
			fault: "waits", act: func(t *testing.T, s stricken) { s.tell(t, "cancel") }, want: taking{attempt: 1},
		},
		"dies by SIGKILL": {
			fault: "waits", act: func(t *testing.T, s stricken) { s.unlinked(t, func() { s.kill(t) }) },
			want: taking{attempt: 1, deaths: 1}, counts: penstock.PipeCounters{Died: 1},
		},
		"is frozen by SIGSTOP": {
			fault: "waits", act: func(t *testing.T, s stricken) { s.unlinked(t, func() { penstocktest.Freeze(t, s.cmd.Process) }) },
			want: taking{attempt: 1, deaths: 1}, counts: penstock.PipeCounters{Died: 1},
		},
		"its link is cut": {
			fault: "waits", act: func(t *testing.T, s stricken) {
				s.unlinked(t, s.road.Cut)
				s.road.Resume()
				s.tell(t, "finish")
			},
			want: taking{attempt: 1, deaths: 1}, counts: penstock.PipeCounters{Died: 1},
			unaware: true,
		},
		"its AckWait passes": {
			fault: "waits", ackWait: ackWait, want: taking{attempt: 1, deaths: 1}, counts: penstock.PipeCounters{Died: 1},
		},
		"its handler returns an error": {
			fault: "error", want: taking{attempt: 2}, counts: penstock.PipeCounters{Nacked: 1},
		},
		"its handler panics": {
			fault: "panic", want: taking{attempt: 2}, counts: penstock.PipeCounters{Nacked: 1},
		},
		"its handler ends its goroutine": {
			fault: "goexit", want: taking{attempt: 2}, counts: penstock.PipeCounters{Nacked: 1},
		},
		"its handler returns RetryAfter": {
			fault: "later", want: taking{attempt: 2}, counts: penstock.PipeCounters{Nacked: 1},
		},
		"its handler rejects": {
			fault: "rejects", counts: penstock.PipeCounters{Rejected: 1, DeadLettered: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 4
			ns := penstocktest.Space(t)
			port := penstocktest.FreePort(t)
			road := penstocktest.NewProxy(t, harness.Loopback(port))
			rt := harness.Runtime(t, ns, penstock.Listen("tcp://"+harness.Loopback(port)+"?advertise="+road.Addr()))
			letters := make(chan penstock.DeadLetter, n)
			orders := harness.Register(t, rt, "orders", quick, penstock.DeadLetters(
				func(_ context.Context, l penstock.DeadLetter) error { letters <- l; return nil }))
			if test.ackWait == 0 {
				test.ackWait = time.Minute
			}
			c := spawn(t, childSpec{
				Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
				Member: "fails", Window: n, AckWait: test.ackWait, Fault: test.fault,
			}, nil)
			c.awaitReady(t)
			harness.Send(t, orders, 0, n)
			if got := harness.Await(t, "the first", c.took); got != (taking{0, 1, 0}) {
				t.Fatalf("the first is %+v", got)
			}
			began := time.Now()
			if test.act != nil {
				test.act(t, stricken{c, rt, road})
			}
			survivor := make(chan taking, 100)
			consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing"), func(_ context.Context, d penstock.Delivery) error {
				survivor <- taking{harness.Number(d), d.Attempt, d.Deaths}
				return nil
			})
			due := map[int]taking{1: {1, 1, 0}, 2: {2, 1, 0}, 3: {3, 1, 0}}
			if test.want != (taking{}) {
				due[0] = test.want
			}
			for patience := harness.Context(t); len(due) > 0; {
				var got taking
				select {
				case got = <-survivor:
				case got = <-c.took:
				case <-patience.Done():
					t.Fatalf("%v did not come", due)
				}
				want, ok := due[got.id]
				if !ok && test.unaware && got == (taking{got.id, 1, 0}) {
					continue
				}
				if !ok || got != want {
					t.Errorf("%+v came, want %+v", got, want)
				}
				if delete(due, got.id); got.id == 0 && test.fault == "later" && time.Since(began) < laterBy-100*time.Millisecond {
					t.Errorf("it came again after %v", time.Since(began))
				}
			}
			if err := orders.Flush(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			counts := rt.Stats().Pipes[0].PipeCounters
			got := penstock.PipeCounters{Nacked: counts.Nacked, Died: counts.Died, Rejected: counts.Rejected, DeadLettered: counts.DeadLettered}
			if got != test.counts {
				t.Errorf("counted %+v, want %+v", got, test.counts)
			}
			if test.counts.Rejected > 0 {
				if l := harness.Await(t, "the dead letter", letters); !l.Rejected || l.Attempts != 0 || l.Deaths != 0 || string(l.Message.Value) != "0" {
					t.Errorf("the dead letter %+v", l)
				}
			}
			if len(letters) > 0 {
				t.Errorf("a dead letter %+v", <-letters)
			}
		})
	}
}

// Promise: a message that kills each process which handles it is a dead letter after
// MaxDeaths. It counts no attempt, and the others are handled.
func TestADeadlyMessageEnds(t *testing.T) {
	const n, deaths = 200, 3
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	letters := make(chan penstock.DeadLetter, n)
	orders := harness.Register(t, rt, "orders", quick, penstock.MaxDeaths(deaths), penstock.DeadLetters(
		func(_ context.Context, l penstock.DeadLetter) error { letters <- l; return nil }))
	born, died := 0, 0
	handled := make(map[int]bool)
	var alive []*child
	birth := func() {
		born++
		alive = append(alive, spawn(t, childSpec{
			Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
			Window: 16, AckWait: time.Minute, Fault: "dies",
		}, nil))
	}
	birth()
	birth()
	for _, c := range alive {
		c.awaitReady(t)
	}
	harness.Send(t, orders, 0, n)
	takes := func(got taking) {
		switch {
		case got.attempt != 1:
			t.Errorf("%+v came: nobody has failed", got)
		case got.id != deadly:
			handled[got.id] = true
		}
	}
	replace := func(i int) {
		for died++; len(alive[i].took) > 0; {
			takes(<-alive[i].took)
		}
		alive = slices.Delete(alive, i, i+1)
		birth()
	}
	var letter *penstock.DeadLetter
	for patience := harness.Context(t); letter == nil || len(handled) < n-1; {
		select {
		case got := <-alive[0].took:
			takes(got)
		case got := <-alive[1].took:
			takes(got)
		case <-alive[0].ended:
			replace(0)
		case <-alive[1].ended:
			replace(1)
		case l := <-letters:
			if letter != nil {
				t.Errorf("another dead letter %+v", l)
			}
			letter = &l
		case <-patience.Done():
			t.Fatalf("%d are handled, %d of %d processes died, the dead letter: %v", len(handled), died, born, letter)
		}
	}
	if string(letter.Message.Value) != "20" || letter.Deaths != deaths || letter.Attempts != 0 {
		t.Errorf("the dead letter %+v", letter)
	}
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Error(err)
	}
}
