package props_test

// Pipes among a user's own actors.

import (
	"errors"
	"fmt"
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

// hears waits for what a parent is told.
func hears[T any](t *testing.T, p *parent) T {
	t.Helper()
	for {
		select {
		case m := <-p.told:
			if got, ok := m.(T); ok {
				return got
			}
			if f, ok := m.(*supervisor.Failed); ok {
				t.Fatalf("failed: %v", f.Err)
			}
		case <-enginetest.Within(t).Done():
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
			var inHand, most atomic.Int64
			seen := make(chan int, n)
			handle := func(d messages.Delivery) {
				var id int
				fmt.Sscan(string(d.Value), &id)
				seen <- id
				inHand.Add(-1)
				d.Ack()
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
			}))
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
			if most.Load() > window {
				t.Errorf("%d in hand, the window is %d", most.Load(), window)
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
