package props_test

// Engines that keep an actor waiting, or make it fail.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// gated registers and joins once its gate is open, though nobody waits any more.
type gated struct {
	*actors.Engine
	gate    chan struct{}
	entered chan struct{}
	emit    func(messages.Event)
	calls   sync.WaitGroup
}

func newGated(t *testing.T, e *actors.Engine) *gated {
	t.Helper()
	g := &gated{Engine: e, gate: make(chan struct{}), entered: make(chan struct{}, 100), emit: func(messages.Event) {}}
	t.Cleanup(func() { g.wait(t) })
	return g
}

// wait waits for the end of all actors of the face, and for what they have called.
func (g *gated) wait(t *testing.T) {
	t.Helper()
	enginetest.Until(t, "the actors are gone", func() bool {
		return !slices.ContainsFunc(g.Tree(), func(info supervisor.Info) bool { return strings.HasPrefix(info.Type, "*props.") })
	})
	g.calls.Wait()
}

func (g *gated) Register(ctx context.Context, cfg senders.Config) (*senders.Destination, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Engine.Register(context.WithoutCancel(ctx), cfg)
}

func (g *gated) Join(ctx context.Context, cfg members.Config) (*members.Member, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Engine.Join(context.WithoutCancel(ctx), cfg)
}

func (g *gated) Call(queue usercode.Callbacks) {
	g.calls.Go(func() { queue.Call(context.Background()) })
}

func (g *gated) Emit(e messages.Event) { g.emit(e) }

// What is registered or joined when nobody wants it any more is given up.
func TestKilledWhileRegistering(t *testing.T) {
	s := enginetest.NewSpace(t)
	e, c := s.Begin(t), s.Client(t)
	to := acker(t, e)
	for _, poison := range []bool{false, true} {
		g := newGated(t, e)
		face := props.New(g)
		p, _, pids := family(t, e, map[string]*actor.Props{
			"orders":  face.Destination(senders.Config{Name: "orders", SoleSender: true}),
			"billing": face.Member(members.Config{Destination: "orders", Group: "billing", ID: "b"}, props.Receiver{To: to}),
		})
		for range pids {
			enginetest.Await(t, "an actor that waits", g.entered)
		}
		for _, pid := range pids {
			if poison {
				e.System().Root.Poison(pid)
			} else {
				e.System().Root.Stop(pid)
			}
		}
		close(g.gate)
		g.wait(t)
		nothingLeft(t, s, c)
		for len(p.told) > 0 {
			t.Errorf("the parent is told %T", <-p.told)
		}
	}
}

// What exceeds the bounds is refused at once, and what waits hears of the end: nothing of
// it is silent.
func TestWhatWaitsIsBounded(t *testing.T) {
	s := enginetest.NewSpace(t)
	e := s.Begin(t)
	sys := e.System()
	g := newGated(t, e)
	events := make(chan messages.MessagesDropped, 10)
	g.emit = func(event messages.Event) {
		if m, ok := event.(messages.MessagesDropped); ok {
			events <- m
		}
	}
	face := props.New(g)
	p, pid, pids := family(t, e, map[string]*actor.Props{"orders": face.Destination(senders.Config{Name: "orders"})})
	enginetest.Await(t, "an actor that waits", g.entered)
	orders := pids["orders"]
	ctx := enginetest.Within(t)
	sys.Root.RequestWithCustomSender(orders, &messages.Publish{Messages: make([]messages.Message, props.MaxWaiting)}, pid)
	full, err := supervisor.Ask[*messages.Published](ctx, sys, orders, &messages.Publish{Messages: make([]messages.Message, 1)})
	if err != nil || !errors.Is(full.Err, messages.ErrGroupFull) || full.Accepted != 0 {
		t.Error(full, err)
	}
	sys.Root.Send(orders, &messages.Publish{Messages: make([]messages.Message, 3)})
	if m := enginetest.Await(t, "the event", events); m.Count != 3 || m.Destination != "orders" {
		t.Errorf("%+v", m)
	}
	sys.Root.RequestWithCustomSender(orders, &messages.Publish{Messages: make([]messages.Message, 1)}, sys.NewLocalPID("dead")) // the reply is a dead letter
	flush, err := supervisor.Ask[*messages.Flushed](ctx, sys, orders, &messages.Flush{})
	if err != nil || !errors.Is(flush.Err, messages.ErrGroupFull) {
		t.Error(flush, err)
	}
	sys.Root.Stop(orders)
	close(g.gate)
	if m := hears[*messages.Published](t, p); !errors.Is(m.Err, messages.ErrClosed) || m.Accepted != 0 {
		t.Errorf("what waited: %+v", m)
	}
}

// A destination with a bug keeps its place and what waits; one that is given up leaves
// nothing.
func TestADestinationHasABug(t *testing.T) {
	for _, restarts := range []int{0, 3} {
		t.Run(fmt.Sprint(restarts, " restarts"), func(t *testing.T) {
			s := enginetest.NewSpace(t)
			e, c := s.Begin(t), s.Client(t)
			g := newGated(t, e)
			close(g.gate)
			g.emit = func(messages.Event) { panic("a bug") }
			face := props.New(g)
			p := newParent(map[string]*actor.Props{"orders": face.Destination(senders.Config{Name: "orders", MaxMessageSize: 10})})
			sys := e.System()
			pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p },
				actor.WithSupervisor(actor.NewOneForOneStrategy(restarts, 0, func(any) actor.Directive { return actor.RestartDirective }))))
			defer func() { _ = supervisor.Stop(enginetest.Within(t), sys, pid) }()
			hears[*messages.Registered](t, p)
			orders := (<-p.pids)["orders"]
			m := enginetest.Join(t, e, actors.MemberConfig{})
			enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { return nil })
			for range max(1, restarts-1) {
				// What nobody hears of is an event, which is too much here.
				sys.Root.Send(orders, &messages.Publish{Messages: []messages.Message{{Value: make([]byte, 11)}}})
			}
			if restarts == 0 {
				if err := supervisor.Await(enginetest.Within(t), sys, orders); err != nil && !errors.Is(err, supervisor.ErrNoActor) {
					t.Error(err)
				}
			} else {
				publish(t, e, orders, 1000)
				if flush, err := supervisor.Ask[*messages.Flushed](enginetest.Within(t), sys, orders, &messages.Flush{}); err != nil || flush.Err != nil {
					t.Error(flush, err)
				}
				if err := supervisor.Stop(enginetest.Within(t), sys, orders); err != nil {
					t.Error(err)
				}
			}
			if err := m.Leave(enginetest.Within(t)); err != nil {
				t.Error(err)
			}
			g.wait(t)
			nothingLeft(t, s, c)
			for _, m := range p.before {
				t.Errorf("the parent was told %T", m)
			}
		})
	}
}
