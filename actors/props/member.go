package props

// A member of a group as a child of a user's actor, with another actor of the user's to
// receive, or workers of its own.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// member joins a group and hands out what comes.
//
//	joining ──joined──▶ delivering ──Leave──▶ leaving ──left──▶ (stopped)
//	   │                  │     ▲              │   ▲
//	   │  receiver failed ▼     │ passed       ▼   │
//	   │               taking back ──Leave──▶ leaving, taking back
//	   └──refused──▶ (stopped) ◀── the receiver terminated, or the membership ended
//
// After a restart of its own it begins with taking back.
type member struct {
	face *Face
	cfg  *members.Config
	to   Receiver

	host    supervisor.Host
	state   memberState
	stop    context.CancelFunc // ends the delivering; nil when there is none
	sight   sight              // of To
	passage passage            // of takeBack
	crew    *crew              // of Handler
	watches bool               // for the end of the membership
	*memberPart
}

// memberPart outlives the incarnations of the actor.
type memberPart struct {
	came   atomic.Pointer[members.Member] // what Join returned and nobody took
	handle *members.Member                // nil before it has joined, and once the membership is over
	told   bool                           // the parent knows
	leave  *leaving                       // nil before Leave
	gone   error                          // why the receiver gets nothing more
	round  int                            // of taking back: a message may return to the next incarnation
	failed error                          // why the receiver is taken back from, where it failed
	paused bool
}

// leaving is a Leave.
type leaving struct{ asker *actor.PID }

type memberState string

const (
	memberJoining     memberState = "joining"
	memberDelivering  memberState = "delivering"
	memberTakingBack  memberState = "taking back"
	memberLeaving     memberState = "leaving"
	memberLeavingBack memberState = "leaving, taking back"
)

var memberMoves = supervisor.Moves[memberState]{
	"":                {memberJoining},
	memberJoining:     {memberDelivering, memberTakingBack},
	memberDelivering:  {memberTakingBack, memberLeaving},
	memberTakingBack:  {memberDelivering, memberLeavingBack},
	memberLeaving:     {memberLeavingBack},
	memberLeavingBack: {memberLeaving},
}

// What the actor tells itself.
type (
	joined  struct{ err error }
	left    struct{ err error }
	lookDue struct{} // after what workers were sent
)

// passing goes through the receiver's mailbox and comes back: what was handed out before
// is not there any more.
type (
	passing struct{ round int }
	passed  struct{ round int } // is no passing: proto.actor would reply to it, too, to nobody
)

// GetAutoResponse is called by proto.actor once the receiver has seen the message.
func (p *passing) GetAutoResponse(actor.Context) any { return passed(*p) }

// NotInfluenceReceiveTimeout keeps the receiver's timeout as it is.
func (*passing) NotInfluenceReceiveTimeout() {}

// errReceiverFailed is the cause of a death.
var errReceiverFailed = errors.New("its receiver failed while it was in hand")

// delivering names the hosted work.
const delivering = "deliver"

// Member describes an actor that joins a group when it starts and hands what comes to
// a receiver, never more than cfg.Window that the receiver has not settled. It takes
// *messages.Leave, *messages.Pause and *messages.Resume, and tells its parent
// *messages.Joined.
func (f *Face) Member(cfg members.Config, to Receiver) *actor.Props {
	producer := func() actor.Actor { return &member{face: f, cfg: &cfg, to: to} }
	if to.Handler == nil {
		return supervisor.Props(producer)
	}
	return supervisor.Props(producer, supervisor.WithPolicy(policy()))
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
	case receiverFailed:
		a.receiverFailed(ctx)
	case receiverEnds:
		a.failed = errReceiverFailed
	case siblingFailed:
		a.sight.suspect(&a.host)
	case sightDue:
		a.sight.due(ctx, &a.host, m)
	case *glanced:
		if a.sight.sees(m) {
			a.receiverFailed(ctx)
		}
	case passed:
		a.passage.came(&a.host, m.round)
		a.passed(ctx, m.round)
	case passageDue:
		a.late(m)
	case lookDue:
		a.crew.look()
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *messages.Pause:
		a.pause(ctx)
	case *messages.Resume:
		a.resume(ctx)
	case *messages.Leave:
		a.asksToLeave(ctx)
	case left:
		a.left(ctx, m.err)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case *actor.Restarting:
		a.end(ctx)
	case *actor.Stopping:
		a.end(ctx)
		a.sight.forget(ctx)
	case *actor.Stopped:
		a.stopped(ctx) // the workers have ended
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *member) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.memberPart = part(a.face, ctx.Self(), func() *memberPart { return &memberPart{} })
	a.state = memberMoves.To(ctx, a.state, memberJoining)
	if err := errors.Join(a.face.home(ctx), a.validate(ctx)); err != nil {
		giveUp(ctx, err)
		return
	}
	if a.take(); a.handle != nil {
		a.attend(ctx) // an earlier incarnation joined
		return
	}
	face, cfg, part := a.face, *a.cfg, a.memberPart
	supervisor.Call(&a.host, "join", func(ctx context.Context) joined {
		join := func() error {
			handle, err := face.engine.Join(ctx, cfg)
			if err == nil {
				part.came.Store(handle)
			}
			return err
		}
		if cfg.ID == "" {
			return joined{join()} // it gets a place of its own
		}
		return joined{face.enter(ctx, seat(&cfg, cfg.ID), join)}
	})
}

// validate returns what is wrong with the receiver.
func (a *member) validate(ctx actor.Context) error {
	if len(a.cfg.Use) > 0 {
		return fmt.Errorf("join %q of %q: a receiver that is an actor has no middleware of handlers; give its props actor.WithReceiverMiddleware: %w",
			a.cfg.Group, a.cfg.Destination, messages.ErrInvalid)
	}
	return a.to.validate(ctx.ActorSystem())
}

// take takes what Join returned, which may be when nobody hears of it any more.
func (p *memberPart) take() {
	if handle := p.came.Swap(nil); handle != nil {
		p.handle = handle
	}
}

// seat names a member among the ends that are under way.
func seat(cfg *members.Config, id string) string {
	return fmt.Sprintf("member %q of group %q of %q", id, cfg.Group, cfg.Destination)
}

func (a *member) joined(ctx actor.Context, m joined) {
	if m.err != nil {
		giveUp(ctx, m.err)
		return
	}
	a.take()
	a.attend(ctx)
}

// attend watches the receiver, and delivers. After a restart of this actor it takes back
// first: nobody has heard of what happened to the receiver meanwhile.
func (a *member) attend(ctx actor.Context) {
	a.gone = nil // one that is gone says so to each who watches it
	if a.paused {
		a.handle.Pause()
	}
	again := a.told
	if !a.told {
		a.told = true
		tellParent(ctx, &messages.Joined{Destination: a.cfg.Destination, Group: a.cfg.Group, Member: a.handle.ID()})
	}
	if a.to.Handler != nil {
		a.handle.TakeBack(nil) // from workers of an earlier incarnation
		a.crew = newCrew(a.face, ctx.ActorSystem(), a.cfg.Destination, a.cfg.Group)
		if err := a.crew.spawn(ctx, a.to.Handler, a.cfg.Concurrency); err != nil {
			giveUp(ctx, err)
			return
		}
		a.watch() // the workers may all be busy
		a.host.Every(lookEvery, lookDue{})
	} else {
		a.sight.begin(ctx, &a.host, a.to.To)
	}
	if again && a.to.To != nil {
		a.state = memberMoves.To(ctx, a.state, memberTakingBack)
		a.round++
		a.ceased(ctx)
	} else {
		a.state = memberMoves.To(ctx, a.state, memberDelivering)
		a.deliver(ctx)
	}
	if a.leave != nil {
		a.leaves(ctx)
	}
}

// inBulk is how many deliveries a receiver without batches is sent at once.
const inBulk = 64

// deliver hands out what comes until it is stopped.
func (a *member) deliver(ctx actor.Context) {
	handle, to, system := a.handle, a.to, ctx.ActorSystem()
	work, stop := context.WithCancel(context.Background()) // end stops it, too
	a.stop = stop
	window := handle.Window()
	if crew := a.crew; crew != nil {
		a.host.Run(delivering, func(context.Context) error { return crew.deliver(work, handle) })
		return
	}
	hand, batch := func(ds []messages.Delivery) {
		for i := range ds {
			system.Root.Send(to.To, &ds[i])
		}
	}, inBulk
	if to.Batch > 0 {
		hand, batch = func(ds []messages.Delivery) { system.Root.Send(to.To, &messages.Deliveries{Deliveries: ds}) }, to.Batch
	}
	a.host.Run(delivering, func(context.Context) error { return handle.Deliver(work, window, batch, hand) })
}

// takeBack ends the delivering, to give back what the receiver has in hand.
func (a *member) takeBack(ctx actor.Context) {
	switch a.state {
	case memberDelivering:
		a.state = memberMoves.To(ctx, a.state, memberTakingBack)
	case memberLeaving:
		a.state = memberMoves.To(ctx, a.state, memberLeavingBack)
	default:
		return
	}
	a.round++
	if a.stop == nil {
		a.ceased(ctx)
		return
	}
	a.stop()
}

// ceased: nothing is handed out while the actor takes back.
func (a *member) ceased(ctx actor.Context) {
	if a.gone != nil {
		a.lost(ctx)
		return
	}
	a.watch() // the receiver may be stuck
	a.pass(ctx)
}

// takesBack reports whether it does.
func (a *member) takesBack() bool {
	return a.state == memberTakingBack || a.state == memberLeavingBack
}

// receiverFailed: the receiver has begun again, or continues without what it failed
// over.
func (a *member) receiverFailed(ctx actor.Context) {
	a.failed = errReceiverFailed
	if a.takesBack() {
		if a.stop == nil {
			a.pass(ctx) // it may have been over the last one
		}
		return
	}
	a.takeBack(ctx)
}

// pass has the receiver's mailbox passed.
func (a *member) pass(ctx actor.Context) {
	a.passage.sent(&a.host, a.round)
	ctx.Request(a.to.To, &passing{a.round})
}

// late tells of a receiver whose mailbox does not pass.
func (a *member) late(m passageDue) {
	if a.passage.late(&a.host, m) && a.gone == nil {
		a.face.engine.Emit(messages.ReceiverStuck{
			Destination: a.cfg.Destination, Group: a.cfg.Group, Receiver: a.to.To.Id, Waiting: m.after, Why: whyStuck,
		})
	}
}

// passed: what is not settled now is lost to the receiver. Where it failed, the oldest is
// what it may have failed over.
func (a *member) passed(ctx actor.Context, round int) {
	if !a.takesBack() || round != a.round || a.gone != nil {
		return
	}
	a.handle.TakeBack(a.failed)
	a.failed = nil
	if a.state == memberTakingBack {
		a.state = memberMoves.To(ctx, a.state, memberDelivering)
	} else {
		a.state = memberMoves.To(ctx, a.state, memberLeaving)
	}
	a.deliver(ctx)
}

// terminated: the receiver is no more, or one of the workers.
func (a *member) terminated(ctx actor.Context, who *actor.PID) {
	mine := a.to.To != nil && who.Equal(a.to.To) || a.crew != nil && a.crew.has(who)
	if !mine || a.gone != nil || a.handle == nil {
		return
	}
	a.gone = fmt.Errorf("the receiver %s has terminated: %w", who.Id, messages.ErrClosed)
	if a.takesBack() {
		if a.stop == nil {
			a.lost(ctx)
		}
		return
	}
	a.takeBack(ctx)
}

// lost gives back what the receiver that is gone had in hand. A Leave that is under way
// ends the member by itself.
func (a *member) lost(ctx actor.Context) {
	a.handle.TakeBack(a.failed)
	if a.state == memberLeavingBack {
		return
	}
	giveUp(ctx, a.gone)
}

// ended: the delivering is over, or the membership.
func (a *member) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Name == delivering {
		a.stop()
		a.stop = nil
	}
	var bug *supervisor.PanicError
	switch {
	case errors.As(m.Err, &bug):
		supervisor.Fail(ctx, m.Err)
	case a.leave == nil && a.over():
		err := a.face.over(fmt.Sprintf("receive as %q from %q", a.cfg.Group, a.cfg.Destination), a.handle.Err())
		a.handle = nil
		giveUp(ctx, err)
	case m.Name == delivering && a.takesBack():
		a.ceased(ctx)
	case m.Name == delivering && a.state == memberDelivering:
		a.watch() // nothing more comes: the membership is about to be over
	}
}

// watch has the actor told once the membership is over.
func (a *member) watch() {
	if a.watches {
		return
	}
	a.watches = true
	handle := a.handle
	a.host.Run(watching, func(ctx context.Context) error {
		select {
		case <-handle.Done():
		case <-ctx.Done():
		}
		return nil
	})
}

// over reports whether the membership is.
func (a *member) over() bool {
	if a.handle == nil {
		return false // and the parent knows
	}
	select {
	case <-a.handle.Done():
		return true
	default:
		return false
	}
}

// asksToLeave begins the end of the membership, or has it begun once there is one.
func (a *member) asksToLeave(ctx actor.Context) {
	if a.leave != nil {
		reply(ctx, ctx.Sender(), &messages.Left{Err: messages.ErrBusy})
		return
	}
	a.leave = &leaving{ctx.Sender()}
	if a.state != memberJoining {
		a.leaves(ctx)
	}
}

// leaves ends the membership in order: the receiver finishes what it has in hand.
func (a *member) leaves(ctx actor.Context) {
	if a.takesBack() {
		a.state = memberMoves.To(ctx, a.state, memberLeavingBack)
	} else {
		a.state = memberMoves.To(ctx, a.state, memberLeaving)
	}
	handle := a.handle
	supervisor.Call(&a.host, "leave", func(ctx context.Context) left { return left{handle.Leave(ctx)} })
}

func (a *member) left(ctx actor.Context, err error) {
	reply(ctx, a.leave.asker, &messages.Left{Err: err})
	a.handle, a.leave = nil, nil
	ctx.Stop(ctx.Self())
}

// end ends the incarnation.
func (a *member) end(ctx actor.Context) {
	a.sight.end(ctx)
	if a.stop != nil {
		a.stop()
	}
	a.host.End()
}

// stopped gives the membership up, which the engine ends behind this actor. What the
// receiver has in hand goes back.
func (a *member) stopped(ctx actor.Context) {
	if a.memberPart == nil {
		return
	}
	a.face.forget(ctx.Self())
	if a.leave != nil {
		reply(ctx, a.leave.asker, &messages.Left{Err: messages.ErrClosed})
	}
	if a.take(); a.handle != nil {
		a.handle.TakeBack(nil)
		a.face.end(seat(a.cfg, a.handle.ID()), a.handle.Leave)
	}
}
