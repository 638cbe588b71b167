package props_test

// Pipes among a user's own actors.

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// parent is a user's actor: it spawns children and hands what they tell it to a
// channel.
type parent struct {
	children map[string]*actor.Props
	pids     chan map[string]*actor.PID
	told     chan any
	before   []any // told, and not asked for
}

func (p *parent) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		pids := make(map[string]*actor.PID)
		for name, props := range p.children {
			pid, err := ctx.SpawnNamed(props, name)
			if err != nil {
				panic(err)
			}
			pids[name] = pid
		}
		p.pids <- pids
	case *messages.Registered, *messages.Joined, *supervisor.Failed, *messages.Published, *messages.Flushed, *messages.Unregistered, *messages.Left:
		p.told <- m
	}
}

// family spawns a parent with children in the engine's system.
func family(t *testing.T, e *actors.Engine, children map[string]*actor.Props) (p *parent, pid *actor.PID, pids map[string]*actor.PID) {
	t.Helper()
	p = &parent{children: children, pids: make(chan map[string]*actor.PID, 10), told: make(chan any, 1000)}
	pid = e.System().Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
	t.Cleanup(func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), pid) })
	return p, pid, <-p.pids
}

// hears waits for what a parent is told, in any order.
func hears[T any](t *testing.T, p *parent) T {
	t.Helper()
	for i, m := range p.before {
		if got, ok := m.(T); ok {
			p.before = slices.Delete(p.before, i, i+1)
			return got
		}
	}
	late := enginetest.Within(t)
	for {
		select {
		case m := <-p.told:
			if got, ok := m.(T); ok {
				return got
			}
			if f, ok := m.(*supervisor.Failed); ok {
				t.Fatalf("failed: %v", f.Err)
			}
			p.before = append(p.before, m)
		case <-late.Done():
			t.Fatalf("no %T", *new(T))
		}
	}
}

// A message that is published to a child goes through a pipe to a receiver, whose
// mailbox never holds more than its window.
func TestPublishedMessagesReachAReceiver(t *testing.T) {
	const n, window = 5000, 64
	for name, batch := range map[string]int{"one by one": 0, "in batches": 16} {
		t.Run(name, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e := s.Begin(t)
			seen := make(chan int, n)
			var box depth
			handle := func(d messages.Delivery) {
				var id int
				fmt.Sscan(string(d.Value), &id)
				seen <- id
				box.ack(d)
			}
			to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case *messages.Delivery:
					handle(*m)
				case *messages.Deliveries:
					for _, d := range m.Deliveries {
						handle(d)
					}
				}
			}, actor.WithMailbox(actor.Unbounded(&box))))
			defer func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), to) }()
			p, _, pids := family(t, e, map[string]*actor.Props{
				"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
				"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Window: window}, actors.Receiver{To: to, Batch: batch}),
			})
			hears[*messages.Registered](t, p)
			hears[*messages.Joined](t, p)
			for i := range n {
				ack, err := supervisor.Ask[*messages.Published](enginetest.Within(t), e.System(), pids["orders"],
					&messages.Publish{Messages: []messages.Message{{Value: []byte(fmt.Sprint(i))}}})
				if err != nil || ack.Err != nil || ack.Accepted != 1 {
					t.Fatal(ack, err)
				}
			}
			flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), e.System(), pids["orders"], &messages.Flush{})
			if err != nil || flush.Err != nil {
				t.Fatal(flush, err)
			}
			if len(seen) != n {
				t.Errorf("%d of %d", len(seen), n)
			}
			if box.most.Load() > window {
				t.Errorf("%d in the mailbox, the window is %d", box.most.Load(), window)
			}
			end, err := supervisor.Ask[*messages.Unregistered](enginetest.Within(t), e.System(), pids["orders"], &messages.Unregister{})
			if err != nil || end.Err != nil {
				t.Error(end, err)
			}
			gone, err := supervisor.Ask[*messages.Left](enginetest.Within(t), e.System(), pids["billing"], &messages.Leave{})
			if err != nil || gone.Err != nil {
				t.Error(gone, err)
			}
		})
	}
}

// depth counts the deliveries that a receiver has in hand, and the most there were.
type depth struct{ now, most atomic.Int64 }

func (*depth) MailboxStarted()     {}
func (*depth) MailboxEmpty()       {}
func (*depth) MessageReceived(any) {}

func (d *depth) MessagePosted(m any) {
	n := 0
	switch m := actor.UnwrapEnvelopeMessage(m).(type) {
	case *messages.Delivery:
		n = 1
	case *messages.Deliveries:
		n = len(m.Deliveries)
	}
	if now := d.now.Add(int64(n)); now > d.most.Load() {
		d.most.Store(now) // one goroutine posts deliveries
	}
}

// ack settles a delivery that is not in hand any more.
func (d *depth) ack(m messages.Delivery) {
	d.now.Add(-1)
	m.Ack()
}

// A parent that restarts begins its children again, and nothing of the ones before is
// in the way.
func TestAParentRestarts(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	to := e.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if d, ok := ctx.Message().(*messages.Delivery); ok {
			d.Ack()
		}
	}))
	defer func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), to) }()
	children := map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders", SoleSender: true}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", ID: "b"}, actors.Receiver{To: to}),
	}
	p := &parent{children: children, pids: make(chan map[string]*actor.PID, 10), told: make(chan any, 1000)}
	pid := e.System().Root.Spawn(supervisor.Props(func() actor.Actor { return &crasher{p} }))
	defer func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), pid) }()
	for range 3 {
		<-p.pids
		for range 2 {
			select {
			case m := <-p.told:
				if f, ok := m.(*supervisor.Failed); ok {
					t.Fatal(f.Err)
				}
			case <-enginetest.Within(t).Done():
				t.Fatal("the children do not come up")
			}
		}
		e.System().Root.Send(pid, errors.New("a bug"))
	}
}

type crasher struct{ *parent }

func (c *crasher) Receive(ctx actor.Context) {
	if err, ok := ctx.Message().(error); ok {
		panic(err)
	}
	c.parent.Receive(ctx)
}
