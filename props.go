package penstock

// Pipes as children of a user's own actors: what is spawned in place of a call.

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/supervisor"
)

// DestinationProps describes an actor that registers a sender of a destination when it
// starts, as Register does with the same options, and ends it when it stops. It is to be
// spawned in the system that rt lives in, see ActorSystem; each actor spawned from it
// is a sender of its own.
//
// The actor takes *Publish, *Request, *Flush and *Unregister, and tells its parent
// *Registered.
// What DestinationProps is given is checked when the actor starts, as an actor has one
// way to say that it cannot: it tells its parent *supervisor.Failed and stops. The Err
// is that of Register: ErrInvalid, ErrTaken and the others; ErrClosed, with the cause,
// when the sender ended though nobody asked for it.
func DestinationProps(rt *Runtime, destination string, opts ...RegisterOption) *actor.Props {
	cfg := actors.DestinationConfig{Name: destination}
	if err := propsGiven(rt, opts); err != nil {
		return refused(fmt.Errorf("register %q: %w", destination, err))
	}
	for _, o := range opts {
		o.applyRegister(&cfg)
	}
	return rt.engine.Destination(cfg)
}

// MemberProps describes an actor that joins a group of a destination when it starts, as
// Join does with the same options, and leaves when it stops. It hands what comes to a
// receiver, another actor, as *Delivery or in batches as *Deliveries. The receiver acks
// and nacks each delivery, from any goroutine; while it has Window unsettled messages in
// hand, it gets no more. To settle is to ask for the next, so it settles at-most-once
// deliveries, too. It is to be spawned in the system that rt lives in.
//
// The actor takes *Leave, *Pause and *Resume, and tells its parent *Joined. When it
// cannot join, or the membership or the receiver ended, it tells its parent
// *supervisor.Failed and stops. The Err is that of Join, or ErrClosed with the cause.
func MemberProps(rt *Runtime, destination, group string, to Receiver, opts ...JoinOption) *actor.Props {
	cfg := actors.MemberConfig{Destination: destination, Group: group}
	if err := propsGiven(rt, opts); err != nil {
		return refused(fmt.Errorf("join %q of %q: %w", group, destination, err))
	}
	for _, o := range opts {
		o.applyJoin(&cfg)
	}
	return rt.engine.Member(cfg, to)
}

// propsGiven refuses a runtime or an option that is nil.
func propsGiven[O any](rt *Runtime, opts []O) error {
	if rt == nil {
		return fmt.Errorf("the runtime is nil: %w", ErrInvalid)
	}
	return optionsGiven(opts)
}

// refused describes an actor that tells its parent why it cannot be, and stops.
func refused(why error) *actor.Props {
	return actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); !ok {
			return
		}
		if parent := ctx.Parent(); parent != nil {
			ctx.Send(parent, &supervisor.Failed{Who: ctx.Self(), Err: why})
		}
		ctx.Stop(ctx.Self())
	})
}
