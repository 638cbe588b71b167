package props

// A member of a group as a child of a user's actor, with another actor of the user's
// to receive.

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Receiver is who gets a member's deliveries.
type Receiver struct {
	// To is the receiver's PID. It is watched: when it terminates, what it has in hand
	// goes back to the senders and the member ends; when it restarts, that goes back and
	// the next deliveries follow. Its restarts are seen by *supervisor.Restarted and
	// *actor.SupervisorEvent on the system's EventStream.
	To *actor.PID
	// Batch is how many deliveries come at most as one *messages.Deliveries. With 0
	// each comes by itself, as a *messages.Delivery.
	Batch int
}

// member joins a group and hands out what comes.
//
//	joining ──joined──▶ delivering ──receiver restarted──▶ taking back ──▶ delivering
//	   │                   │  │ Leave                         │ receiver terminated
//	   │                   │  └──▶ leaving ──left──▶ (stopped)│
//	   └──refused──▶ (stopped) ◀──the membership ended────────┘
type member struct {
	face *Face
	cfg  members.Config
	to   Receiver

	host     supervisor.Host
	state    memberState
	stop     context.CancelFunc // ends the delivering
	restarts *eventstream.Subscription
	why      error // why the member ends once all is taken back; nil continues
	*memberPart
}

// memberPart outlives the incarnations of the actor.
type memberPart struct {
	handle *members.Member // nil before it has joined
	leaver *actor.PID      // who asked to leave
}

type memberState string

const (
	memberJoining    memberState = "joining"
	memberDelivering memberState = "delivering"
	memberTakingBack memberState = "taking back"
	memberLeaving    memberState = "leaving"
)

var memberMoves = supervisor.Moves[memberState]{
	"":               {memberJoining},
	memberJoining:    {memberDelivering, memberLeaving},
	memberDelivering: {memberTakingBack, memberLeaving},
	memberTakingBack: {memberDelivering, memberLeaving},
}

// What the actor tells itself.
type (
	joined struct {
		handle *members.Member
		err    error
	}
	left              struct{ err error }
	receiverRestarted struct{}
)

// delivering names the hosted work.
const delivering = "deliver"

// Member describes an actor that joins a group when it starts and hands what comes to
// a receiver, never more than cfg.Window that the receiver has not settled. It takes
// *messages.Leave, and tells its parent *messages.Joined.
func (f *Face) Member(cfg members.Config, to Receiver) *actor.Props {
	return supervisor.Props(func() actor.Actor { return &member{face: f, cfg: cfg, to: to} }, supervisor.WithPolicy(policy()))
}

func (a *member) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case joined:
		a.joined(ctx, m)
	case receiverRestarted:
		a.takeBack(ctx, nil)
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *messages.Leave:
		a.leave(ctx, ctx.Sender())
	case left:
		a.left(ctx, m.err)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case *actor.Restarting:
		a.end(ctx)
	case *actor.Stopping:
		a.end(ctx)
		a.stopping(ctx)
	}
}

func (a *member) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.memberPart = part(a.face, ctx.Self(), func() *memberPart { return &memberPart{} })
	a.state = memberMoves.To(ctx, a.state, memberJoining)
	switch {
	case a.to.To == nil:
		giveUp(ctx, fmt.Errorf("a member without a receiver: %w", messages.ErrInvalid))
		return
	case a.handle != nil:
		a.attend(ctx) // an earlier incarnation joined
		return
	}
	face, cfg := a.face, a.cfg
	supervisor.Call(&a.host, "join", func(ctx context.Context) joined {
		if err := face.settled(ctx, seat(cfg)); err != nil {
			return joined{nil, err}
		}
		handle, err := face.engine.Join(ctx, cfg)
		return joined{handle, err}
	})
}

// seat names a member among the ends that are under way.
func seat(cfg members.Config) string {
	return fmt.Sprintf("member %q of group %q of %q", cfg.ID, cfg.Group, cfg.Destination)
}

func (a *member) joined(ctx actor.Context, m joined) {
	if m.err != nil {
		giveUp(ctx, m.err)
		return
	}
	a.handle = m.handle
	tellParent(ctx, &messages.Joined{Destination: a.cfg.Destination, Group: a.cfg.Group, Member: m.handle.ID()})
	a.attend(ctx)
}

// attend watches the receiver and the membership, and delivers.
func (a *member) attend(ctx actor.Context) {
	ctx.Watch(a.to.To)
	to, tell := a.to.To, a.host.Teller()
	a.restarts = ctx.ActorSystem().EventStream.Subscribe(func(event any) {
		if e, ok := event.(*supervisor.Restarted); ok && e.Who.Equal(to) {
			tell(receiverRestarted{})
		}
		if e, ok := event.(*actor.SupervisorEvent); ok && e.Directive == actor.RestartDirective && e.Child.Equal(to) {
			tell(receiverRestarted{})
		}
	})
	handle := a.handle
	a.host.Run(watching, func(ctx context.Context) error {
		select {
		case <-handle.Done():
			return errors.Join(handle.Err(), messages.ErrClosed)
		case <-ctx.Done():
			return nil
		}
	})
	a.deliver(ctx)
	if a.leaver != nil {
		a.leave(ctx, a.leaver)
	}
}

// deliver hands out what comes until it is stopped.
func (a *member) deliver(ctx actor.Context) {
	a.state = memberMoves.To(ctx, a.state, memberDelivering)
	handle, to, system := a.handle, a.to, ctx.ActorSystem()
	work, stop := context.WithCancel(a.host.Context())
	a.stop = stop
	hand, batch := func(ds []messages.Delivery) {
		for i := range ds {
			system.Root.Send(to.To, &ds[i])
		}
	}, 64
	if to.Batch > 0 {
		hand, batch = func(ds []messages.Delivery) { system.Root.Send(to.To, &messages.Deliveries{Deliveries: ds}) }, to.Batch
	}
	window := a.handle.Window()
	a.host.Run(delivering, func(context.Context) error { return handle.Deliver(work, window, batch, hand) })
}

// takeBack ends the delivering, to give back what the receiver has in hand: with a
// cause the member ends then, without one it continues.
func (a *member) takeBack(ctx actor.Context, why error) {
	a.why = errors.Join(a.why, why)
	if a.state != memberDelivering {
		return
	}
	a.state = memberMoves.To(ctx, a.state, memberTakingBack)
	a.stop()
}

func (a *member) terminated(ctx actor.Context, who *actor.PID) {
	if who.Equal(a.to.To) && a.state != memberLeaving {
		a.takeBack(ctx, fmt.Errorf("the receiver %s has terminated: %w", who.Id, messages.ErrClosed))
	}
}

// ended: the delivering is over, or the membership.
func (a *member) ended(ctx actor.Context, m *supervisor.Ended) {
	var bug *supervisor.PanicError
	switch {
	case errors.As(m.Err, &bug):
		supervisor.Fail(ctx, m.Err)
	case m.Name == watching && m.Err != nil && a.state != memberLeaving:
		a.handle = nil
		giveUp(ctx, m.Err)
	case m.Name == delivering && a.state == memberTakingBack:
		a.handle.TakeBack()
		if a.why != nil {
			giveUp(ctx, a.why)
			return
		}
		a.deliver(ctx)
	}
}

// leave ends the membership in order: the receiver finishes what it has in hand.
func (a *member) leave(ctx actor.Context, asker *actor.PID) {
	if a.state == memberLeaving {
		reply(ctx, asker, &messages.Left{Err: messages.ErrBusy})
		return
	}
	a.state = memberMoves.To(ctx, a.state, memberLeaving)
	a.leaver = asker
	handle := a.handle
	supervisor.Call(&a.host, "leave", func(ctx context.Context) left {
		if handle == nil {
			return left{messages.ErrClosed}
		}
		return left{handle.Leave(ctx)}
	})
}

func (a *member) left(ctx actor.Context, err error) {
	reply(ctx, a.leaver, &messages.Left{Err: err})
	a.handle, a.leaver = nil, nil
	ctx.Stop(ctx.Self())
}

// end ends the incarnation.
func (a *member) end(ctx actor.Context) {
	if a.restarts != nil {
		ctx.ActorSystem().EventStream.Unsubscribe(a.restarts)
		a.restarts = nil
	}
	a.host.End()
}

// stopping gives the membership up, which the engine ends behind this actor. What the
// receiver has in hand goes back.
func (a *member) stopping(ctx actor.Context) {
	if a.memberPart == nil {
		return
	}
	a.face.forget(ctx.Self())
	reply(ctx, a.leaver, &messages.Left{Err: messages.ErrClosed})
	if a.handle != nil {
		a.handle.TakeBack()
		a.face.end(seat(a.cfg), a.handle.Leave)
	}
}
