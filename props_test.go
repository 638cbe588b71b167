package penstock_test

// What cannot become an actor.

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: what is wrong with the arguments of props is told to the parent of the
// actor, which stops.
func TestPropsWithFaultsAreRefusedToTheParent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	system := actor.NewActorSystem()
	defer system.Shutdown()
	for name, props := range map[string]*actor.Props{
		"a destination without a runtime":  penstock.DestinationProps(nil, "orders"),
		"a destination's nil option":       penstock.DestinationProps(&penstock.Runtime{}, "orders", nil),
		"a member without a runtime":       penstock.MemberProps(nil, "orders", "billing", penstock.Receiver{}),
		"a member's nil option":            penstock.MemberProps(&penstock.Runtime{}, "orders", "billing", penstock.Receiver{}, nil),
		"a producer without a runtime":     penstock.ProducerProps(nil, "audit"),
		"a producer's nil option":          penstock.EnsureProducerProps(&penstock.Runtime{}, "audit", penstock.TopicConfig{}, nil),
		"a subscription without a runtime": penstock.SubscriptionProps(nil, "audit", "export", penstock.Receiver{}),
		"a subscription's nil option":      penstock.SubscriptionPartitionsProps(&penstock.Runtime{}, "audit", "export", nil, penstock.Receiver{}, nil),
	} {
		failed, stopped := make(chan error, 1), make(chan *actor.PID, 1)
		parent := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				ctx.Spawn(props)
			case *supervisor.Failed:
				failed <- m.Err
			case *actor.Terminated:
				stopped <- m.Who
			}
		}))
		select {
		case err := <-failed:
			if !errors.Is(err, penstock.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		case <-ctx.Done():
			t.Fatalf("%s: the parent is not told", name)
		}
		select {
		case <-stopped:
		case <-ctx.Done():
			t.Fatalf("%s: the actor does not stop", name)
		}
		if err := supervisor.Stop(ctx, system, parent); err != nil {
			t.Error(name, err)
		}
	}
}
