package penstock_test

// Examples of a service that is made of actors.

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/supervisor"
)

// The runtime lives in the actor system of the service, with a sender and a member that
// are children of an actor of the service.
func ExampleActorSystem() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))
	rt, err := penstock.Start(ctx, penstock.ActorSystem(system),
		penstock.EtcdConfig(etcd()), penstock.Prefix("/example-actors"), penstock.Listen("tcp://127.0.0.1:0"))
	check(err)

	settled := make(chan *penstock.Settled, 1)
	shop := system.Root.Spawn(supervisor.Props(func() actor.Actor { return &shop{rt: rt, settled: settled} }))
	fmt.Println("acked:", (<-settled).Acked)

	check(supervisor.Stop(ctx, system, shop)) // its children end with it
	check(rt.Stop(ctx))
	system.Shutdown()
	// Output:
	// billed tea
	// acked: 1
}

// shop sends orders, and bills them.
type shop struct {
	rt      *penstock.Runtime
	orders  *actor.PID
	settled chan<- *penstock.Settled
}

func (s *shop) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.orders = ctx.Spawn(penstock.DestinationProps(s.rt, "orders"))
		ctx.Spawn(penstock.MemberProps(s.rt, "orders", "billing", penstock.Receiver{
			Handler: supervisor.Props(func() actor.Actor { return &cashier{} }),
		}))
		ctx.Request(s.orders, &penstock.Publish{Messages: []penstock.Message{{Value: []byte("tea")}}, AwaitAcks: true})
	case *penstock.Published:
		if m.Err != nil {
			panic(m.Err)
		}
	case *penstock.Settled:
		s.settled <- m
	case *supervisor.Failed: // a child could not begin, or has ended
		panic(m.Err)
	}
}

// cashier bills one order at a time.
type cashier struct{}

func (*cashier) Receive(ctx actor.Context) {
	if d, ok := ctx.Message().(*penstock.Delivery); ok {
		fmt.Printf("billed %s\n", d.Value)
		d.Ack()
	}
}
