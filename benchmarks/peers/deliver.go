package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

// An actor of the user's that a member delivers to, behind the same sender and broker as
// the pipe that it is compared with.

// deliverToActors delivers so many messages at most at once; 0 is one by one.
func deliverToActors(batch int) side.System {
	s := systems.All()["penstock"]
	s.Receive = func(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
		return joinActors(ctx, at, to[0], batch)
	}
	return s
}

type household struct {
	sys *actor.ActorSystem
	rt  *penstock.Runtime
	pid []*actor.PID
}

func joinActors(ctx context.Context, at side.Place, to *side.Receiver, batch int) (_ side.Receiving, err error) {
	h := &household{sys: newActors()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.rt, err = systems.Runtime(ctx, at, penstock.ActorSystem(h.sys)); err != nil {
		return nil, err
	}
	taker := h.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *penstock.Delivery:
			to.Take(m.Value)
			m.Ack()
		case *penstock.Deliveries:
			for i := range m.Deliveries {
				to.Take(m.Deliveries[i].Value)
				m.Deliveries[i].Ack()
			}
		}
	}))
	joined := make(chan error, 1)
	props := penstock.MemberProps(h.rt, systems.Destination, systems.GroupName(0), penstock.Receiver{To: taker, Batch: batch})
	parent := h.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			ctx.Spawn(props)
		case *penstock.Joined:
			joined <- nil
		}
	}))
	h.pid = []*actor.PID{parent, taker}
	select {
	case err = <-joined:
		return h, err
	case <-ctx.Done():
		return nil, fmt.Errorf("the member has not joined: %w", context.Cause(ctx))
	}
}

func (h *household) Address() string { return "" }

func (h *household) Close() error {
	var errs []error
	for _, pid := range h.pid {
		errs = append(errs, h.sys.Root.StopFuture(pid).Wait())
	}
	if h.rt != nil {
		errs = append(errs, h.rt.Stop(context.Background()))
	}
	h.sys.Shutdown()
	return errors.Join(errs...)
}
