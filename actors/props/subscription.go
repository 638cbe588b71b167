package props

// A subscription as a child of a user's actor, with another actor of the user's to
// receive records.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// subscription joins a consumer group and hands out records.
//
//	subscribing ──subscribed──▶ consuming ──Leave──▶ leaving ──left──▶ (stopped)
//	     │                         │  receiver terminated
//	     │                         └──▶ taking back ──taken back──▶ (stopped)
//	     └──refused──▶ (stopped) ◀── the subscription ended
type subscription struct {
	face *Face
	cfg  *groups.Config // with the topic's name
	to   Receiver

	host    supervisor.Host
	state   subscriptionState
	stop    context.CancelFunc // ends the consuming
	sight   sight              // of To
	passage passage            // of To's mailbox
	crew    *crew              // of Handler
	*subscriptionPart
}

// subscriptionPart outlives the incarnations of the actor.
type subscriptionPart struct {
	came   atomic.Pointer[groups.Subscription] // what Subscribe returned and nobody took
	handle *groups.Subscription                // nil before it has subscribed
	told   bool                                // the parent knows
	leave  *leaving                            // nil before Leave
	gone   error                               // why the receiver gets nothing more
	hand   hand
	asked  steering    // before there was a handle
	over   atomic.Bool // the subscription is given up: the parent is told nothing more
}

type subscriptionState string

const (
	subSubscribing subscriptionState = "subscribing"
	subConsuming   subscriptionState = "consuming"
	subTakingBack  subscriptionState = "taking back"
	subLeaving     subscriptionState = "leaving"
)

var subscriptionMoves = supervisor.Moves[subscriptionState]{
	"":             {subSubscribing},
	subSubscribing: {subConsuming},
	subConsuming:   {subTakingBack, subLeaving},
}

// What the actor tells itself; left and receiverFailed as well.
type subscribed struct{ err error }

// consuming names the hosted work.
const consuming = "consume"

// Subscription describes an actor that joins a consumer group when it starts and hands
// records to a receiver, with the settings of cfg, whose Topic is not used. One
// partition's records, or batches, come one after the other: the next when the one
// before is settled. Of as many partitions as cfg.PartitionsAtOnce says the receiver has one
// in hand at once, and never more in its mailbox; of workers there are as many. What
// fails is retried as Consume does, and so is what a worker panics over.
//
// The actor takes *messages.Leave, *messages.Pause and *messages.Resume. It tells its parent *messages.Subscribed,
// *messages.Assigned, *messages.Revoking and *messages.Lost. Revoking is left out where
// cfg.ManualCommit asks to commit nothing and neither BeforeRelease nor AwaitReleased
// is given.
func (f *Face) Subscription(topic string, cfg groups.Config, to Receiver) *actor.Props {
	cfg.Topic = topic
	producer := func() actor.Actor { return &subscription{face: f, cfg: &cfg, to: to} }
	if to.Handler == nil {
		return supervisor.Props(producer)
	}
	return supervisor.Props(producer, supervisor.WithPolicy(policy()))
}

func (a *subscription) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case subscribed:
		a.subscribed(ctx, m)
	case receiverFailed:
		a.pass(ctx)
	case siblingFailed:
		a.sight.suspect(&a.host)
	case sightDue:
		a.sight.due(ctx, &a.host, m)
	case *glanced:
		if a.sight.sees(m) {
			a.pass(ctx)
		}
	case passed:
		a.hand.passed(m.round)
		a.passage.came(&a.host, m.round)
	case passageDue:
		a.late(m)
	case lookDue:
		a.crew.look()
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *messages.Pause:
		a.pause(ctx, m.Partitions)
	case *messages.Resume:
		a.resume(ctx, m.Partitions)
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
		a.stopping(ctx)
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *subscription) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.subscriptionPart = part(a.face, ctx.Self(), func() *subscriptionPart { return &subscriptionPart{} })
	a.state = subscriptionMoves.To(ctx, a.state, subSubscribing)
	if err := a.validate(ctx); err != nil {
		giveUp(ctx, err)
		return
	}
	if a.take(); a.handle != nil {
		a.attend(ctx) // an earlier incarnation subscribed
		return
	}
	face, cfg, part := a.face, a.report(ctx), a.subscriptionPart
	supervisor.Call(&a.host, "subscribe", func(ctx context.Context) subscribed {
		topic, err := face.engine.Topic(ctx, cfg.Topic, topics.ProducerConfig{})
		if err != nil {
			return subscribed{err}
		}
		defer func() { _ = topic.Close(context.WithoutCancel(ctx)) }() // the subscription keeps the topic open
		join := func() error {
			handle, err := topic.Subscribe(ctx, cfg)
			if err == nil {
				part.came.Store(handle)
			}
			return err
		}
		if cfg.ID == "" {
			return subscribed{join()} // it gets a place of its own
		}
		return subscribed{face.enter(ctx, stool(&cfg, cfg.ID), join)}
	})
}

// validate returns what is wrong with the receiver.
func (a *subscription) validate(ctx actor.Context) error {
	if a.to.AwaitReleased && ctx.Parent() == nil {
		return fmt.Errorf("a subscription without a parent awaits its reply: %w", messages.ErrInvalid)
	}
	if len(a.cfg.Use) > 0 && a.to.Batch > 0 {
		return fmt.Errorf("subscribe %q to %q: middleware of records surrounds one record, and the receiver takes batches; leave out one of the two: %w",
			a.cfg.Group, a.cfg.Topic, messages.ErrInvalid)
	}
	if a.cfg.Concurrency > 0 && a.to.Batch > 0 {
		return fmt.Errorf("subscribe %q to %q: with Concurrency records come one by one, and the receiver takes batches; leave out one of the two: %w",
			a.cfg.Group, a.cfg.Topic, messages.ErrInvalid)
	}
	return errors.Join(a.face.home(ctx), a.to.validate(ctx.ActorSystem()))
}

// take takes what Subscribe returned, which may be when nobody hears of it any more.
func (p *subscriptionPart) take() {
	if handle := p.came.Swap(nil); handle != nil {
		p.handle = handle
	}
}

// report are the settings, with those that have the parent told of partitions.
func (a *subscription) report(ctx actor.Context) groups.Config {
	cfg, system, parent, over, await := *a.cfg, ctx.ActorSystem(), ctx.Parent(), &a.over, a.to.AwaitReleased
	if parent == nil {
		return cfg
	}
	cfg.Claimed = func(partitions []int) {
		if !over.Load() {
			system.Root.Send(parent, &messages.Assigned{Topic: cfg.Topic, Group: cfg.Group, Partitions: partitions})
		}
	}
	cfg.Lost = func(partitions []int) {
		if !over.Load() {
			system.Root.Send(parent, &messages.Lost{Topic: cfg.Topic, Group: cfg.Group, Partitions: partitions})
		}
	}
	before := a.cfg.BeforeRelease
	if before == nil && cfg.ManualCommit && !await {
		return cfg
	}
	cfg.BeforeRelease = func(ctx context.Context, partitions []int) error {
		if before != nil {
			if err := before(ctx, partitions); err != nil {
				return err
			}
		}
		revoking := &messages.Revoking{Topic: cfg.Topic, Group: cfg.Group, Partitions: partitions}
		switch {
		case await && over.Load():
			return groups.ErrUnasked
		case await:
			released, err := supervisor.Ask[*messages.Released](ctx, system, parent, revoking)
			if err != nil {
				return fmt.Errorf("ask %s to finish partitions %d: %w", parent.Id, partitions, err)
			}
			return released.Err
		case !over.Load():
			system.Root.Send(parent, revoking)
		}
		return nil
	}
	return cfg
}

// stool names a member of a topic's group among the ends that are under way.
func stool(cfg *groups.Config, id string) string {
	return fmt.Sprintf("member %q of group %q of topic %q", id, cfg.Group, cfg.Topic)
}

func (a *subscription) subscribed(ctx actor.Context, m subscribed) {
	if m.err != nil {
		giveUp(ctx, m.err)
		return
	}
	a.take()
	a.attend(ctx)
}

// attend watches the receiver, and consumes. After a restart of this actor the records of
// the earlier Consume are still in the receiver's mailbox: they pass first.
func (a *subscription) attend(ctx actor.Context) {
	a.gone, a.stop = nil, func() {} // one that is gone says so to each who watches it
	a.asked.apply(a.handle)
	again := a.told
	if !a.told {
		a.told = true
		tellParent(ctx, &messages.Subscribed{Topic: a.cfg.Topic, Group: a.cfg.Group, Member: a.handle.ID()})
	}
	if a.to.Handler != nil {
		a.crew = newCrew(a.face, ctx.ActorSystem(), a.cfg.Topic, a.cfg.Group)
		if err := a.crew.spawn(ctx, a.to.Handler, a.cfg.Workers()); err != nil {
			a.fails(ctx, err)
			return
		}
		a.host.Every(lookEvery, lookDue{})
	} else {
		a.sight.begin(ctx, &a.host, a.to.To)
		if again {
			a.passage.sent(&a.host, a.hand.empty(ctx, a.to.To))
		}
	}
	a.state = subscriptionMoves.To(ctx, a.state, subConsuming)
	a.consume(ctx)
	if a.leave != nil {
		a.leaves(ctx)
	}
}

// consume hands out what comes until it is stopped.
func (a *subscription) consume(ctx actor.Context) {
	handle, to, hand, crew, system := a.handle, a.to, &a.hand, a.crew, ctx.ActorSystem()
	work, stop := context.WithCancel(a.host.Context())
	a.stop = stop
	a.host.Run(consuming, func(context.Context) error {
		if to.Batch > 0 {
			give := func(ctx context.Context, rs []messages.Record) (int, error) {
				s, err := settle(ctx, system, hand, to.To, func() (any, <-chan messages.RecordsSettled) {
					return messages.NewRecords(ctx, slices.Clone(rs))
				})
				return s.Handled, cmp.Or(err, s.Err)
			}
			return handle.ConsumeBatches(work, to.Batch, func(ctx context.Context, rs []messages.Record) (n int, err error) {
				if rs[0].Attempt > 1 { // where the receiver failed, another one of the batch may be why
					if n, err = give(ctx, rs[:1]); err != nil || len(rs) == 1 {
						return n, err
					}
				}
				m, err := give(ctx, rs[n:])
				return n + m, err
			})
		}
		return handle.Consume(work, func(ctx context.Context, r messages.Record) error {
			if crew != nil {
				return crew.handle(ctx, r)
			}
			failed, err := settle(ctx, system, hand, to.To, func() (any, <-chan error) {
				return messages.NewRecordDelivery(ctx, r)
			})
			return cmp.Or(err, failed)
		})
	})
}

// pass has the receiver's mailbox passed: it has begun again, or continues without what it
// failed over.
func (a *subscription) pass(ctx actor.Context) { a.passage.sent(&a.host, a.hand.pass(ctx, a.to.To)) }

// late tells of a receiver whose mailbox does not pass.
func (a *subscription) late(m passageDue) {
	if a.passage.late(&a.host, m) && a.gone == nil {
		a.face.engine.Emit(messages.ReceiverStuck{
			Topic: a.cfg.Topic, Group: a.cfg.Group, Receiver: a.to.To.Id, Waiting: m.after, Why: whyStuck,
		})
	}
}

// terminated: the receiver is no more. What it had in hand is handed out again.
func (a *subscription) terminated(ctx actor.Context, who *actor.PID) {
	mine := a.to.To != nil && who.Equal(a.to.To) || a.crew != nil && a.crew.has(who)
	if !mine || a.gone != nil || a.handle == nil {
		return
	}
	a.gone = fmt.Errorf("the receiver %s has terminated: %w", who.Id, messages.ErrClosed)
	if a.state == subConsuming { // a Leave ends it by itself
		a.state = subscriptionMoves.To(ctx, a.state, subTakingBack)
	}
	a.stop()
}

// ended: the consuming is over, because it was stopped or with the subscription.
func (a *subscription) ended(ctx actor.Context, m *supervisor.Ended) {
	var bug *supervisor.PanicError
	switch {
	case errors.As(m.Err, &bug):
		supervisor.Fail(ctx, m.Err)
	case a.state == subTakingBack:
		a.fails(ctx, a.gone)
	case a.state == subConsuming:
		a.fails(ctx, a.face.over(fmt.Sprintf("consume group %q of %q", a.cfg.Group, a.cfg.Topic), m.Err))
	}
}

// fails ends the actor for good, whose place whoever hears of it may take at once.
func (a *subscription) fails(ctx actor.Context, why error) {
	a.surrender()
	giveUp(ctx, why)
}

// asksToLeave begins the end of the subscription, or has it begun once there is one.
func (a *subscription) asksToLeave(ctx actor.Context) {
	if a.leave != nil {
		reply(ctx, ctx.Sender(), &messages.Left{Err: messages.ErrBusy})
		return
	}
	a.leave = &leaving{ctx.Sender()}
	if a.state == subConsuming {
		a.leaves(ctx)
	}
}

// leaves ends the subscription in order: the receiver finishes what it has in hand.
func (a *subscription) leaves(ctx actor.Context) {
	a.state = subscriptionMoves.To(ctx, a.state, subLeaving)
	handle := a.handle
	supervisor.Call(&a.host, "unsubscribe", func(ctx context.Context) left { return left{handle.Unsubscribe(ctx)} })
}

func (a *subscription) left(ctx actor.Context, err error) {
	reply(ctx, a.leave.asker, &messages.Left{Err: err})
	a.leave = nil
	if err == nil {
		a.handle = nil // there is nothing to give up
	}
	ctx.Stop(ctx.Self())
}

// end ends the incarnation.
func (a *subscription) end(ctx actor.Context) {
	a.sight.end(ctx)
	a.host.End()
}

// stopping gives the subscription up, which the engine ends behind this actor. What the
// receiver has in hand is handed out again by others.
func (a *subscription) stopping(ctx actor.Context) {
	if a.subscriptionPart == nil {
		return
	}
	a.face.forget(ctx.Self())
	if a.leave != nil {
		reply(ctx, a.leave.asker, &messages.Left{Err: messages.ErrClosed})
	}
	a.surrender()
}

// surrender has the engine end the subscription, if there is one.
func (a *subscription) surrender() {
	a.over.Store(true)
	if a.take(); a.handle != nil {
		if ps := a.handle.Partitions(); a.to.AwaitReleased && len(ps) > 0 {
			a.face.engine.Emit(messages.ReleaseUnasked{Topic: a.cfg.Topic, Group: a.cfg.Group, Partitions: ps})
		}
		a.face.end(stool(a.cfg, a.handle.ID()), a.handle.Unsubscribe)
		a.handle = nil
	}
}
