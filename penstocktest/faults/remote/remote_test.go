package remote

// The four children beside proto.actor's remote.

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/supervisor"
)

// parent is a user's actor: it spawns children and hands on what it is told.
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
			pids[name] = ctx.Spawn(props)
		}
		p.pids <- pids
	case *penstock.Registered, *penstock.Joined, *penstock.Opened, *penstock.Subscribed, *supervisor.Failed:
		p.told <- m
	}
}

// await takes one thing.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("not within a minute: %s", what)
		panic("unreachable")
	}
}

// Promise: children live, deliver and end in order in a system with remote, to receivers
// that were spawned before it began, whose address is the local one, and after, whose
// address is remote's.
func TestChildrenBesideRemote(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	sys := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond))
	defer sys.Shutdown()
	got := make(chan string, 100)
	receiver := actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *penstock.Delivery:
			m.Ack()
			got <- string(m.Value)
		case *penstock.RecordDelivery:
			m.Ack()
			got <- string(m.Value)
		}
	})
	early := sys.Root.Spawn(receiver)
	r := remote.NewRemote(sys, remote.Configure("127.0.0.1", 0))
	r.Start() // before any other grpc runs, as it replaces grpc's logger
	etcd := penstocktest.Etcd(t)
	defer etcd.Stop()
	late := sys.Root.Spawn(receiver)
	if early.Address == late.Address || late.Address != sys.Address() {
		t.Errorf("addresses %q and %q of %q", early.Address, late.Address, sys.Address())
	}
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()), penstock.Listen("tcp://127.0.0.1:0"), penstock.ActorSystem(sys))
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]*actor.PID{"early": early, "late": late} {
		p := &parent{pids: make(chan map[string]*actor.PID, 1), told: make(chan any, 10), children: map[string]*actor.Props{
			"orders":  penstock.DestinationProps(rt, "orders-"+name),
			"billing": penstock.MemberProps(rt, "orders-"+name, "billing", penstock.Receiver{To: to}),
			"audit":   penstock.EnsureProducerProps(rt, "audit-"+name, penstock.TopicConfig{Partitions: 2}),
		}}
		pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
		pids := await(t, "the children", p.pids)
		for range pids {
			if f, ok := await(t, "a child", p.told).(*supervisor.Failed); ok {
				t.Fatalf("%s: %v", name, f)
			}
		}
		q := &parent{pids: make(chan map[string]*actor.PID, 1), told: make(chan any, 10), children: map[string]*actor.Props{
			"export": penstock.SubscriptionProps(rt, "audit-"+name, "export", penstock.Receiver{To: to}, penstock.FromEarliest()),
		}}
		other := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return q }))
		if f, ok := await(t, "the subscription", q.told).(*supervisor.Failed); ok {
			t.Fatalf("%s: %v", name, f)
		}
		if m, err := supervisor.Ask[*penstock.Published](ctx, sys, pids["orders"], &penstock.Publish{Messages: []penstock.Message{{Value: []byte("order")}}}); err != nil || m.Err != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		if v := await(t, "a delivery", got); v != "order" {
			t.Errorf("%s: delivered %q", name, v)
		}
		if m, err := supervisor.Ask[*penstock.PutDone](ctx, sys, pids["audit"], &penstock.Put{Messages: []penstock.Message{{Value: []byte("record")}}}); err != nil || m.Err != nil {
			t.Errorf("%s: %v, %v", name, m, err)
		}
		if v := await(t, "a record", got); v != "record" {
			t.Errorf("%s: handed out %q", name, v)
		}
		for _, pid := range []*actor.PID{other, pid} {
			if err := supervisor.Stop(ctx, sys, pid); err != nil {
				t.Error(err)
			}
		}
	}
	if err := rt.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	for _, pid := range []*actor.PID{early, late} {
		if err := supervisor.Stop(ctx, sys, pid); err != nil {
			t.Error(err)
		}
	}
	r.Shutdown(true)
}
