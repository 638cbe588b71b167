package groups

// The branch of the engine's actor that keeps an actor for each subscription.

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Branch is a part of the engine's actor, and runs on its goroutine.
type Branch struct {
	subs   *Subscriptions
	host   *supervisor.Host
	unused func(ctx actor.Context, path *topiclog.Topic) // hears of a topic that has one user less
	over   bool                                          // its children end with it
}

// Questions to the branch, and the replies.
type (
	// subscribe is answered with *subscribed or an error.
	subscribe struct{ sub *Subscription }
	// withdraw is answered with *Withdrawn when the id is free again.
	withdraw struct{ sub *Subscription }
	listHeld struct{}
	heldList struct{ all Held }
	// keysTaken: the key and the claims of a subscription are gone whose actor had
	// ended without that.
	keysTaken struct{ sub *Subscription }
)

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
// unused is called when a topic has one subscription less.
func (s *Subscriptions) Branch(h *supervisor.Host, unused func(actor.Context, *topiclog.Topic)) *Branch {
	return &Branch{subs: s, host: h, unused: unused}
}

// Begin begins what an earlier incarnation had.
func (b *Branch) Begin(ctx actor.Context) {
	if b.subs.peers.Begun() {
		b.subs.peers.Begin(ctx, true)
	}
	for _, p := range b.subs.all {
		if p.Ended {
			b.takeKeys(p.Handle)
			continue
		}
		b.enter(ctx, p)
		if len(p.Leavers) > 0 {
			supervisor.Notify(ctx, p.PID, &retire{})
		}
	}
}

// Receive handles what is for this branch, and reports whether msg was.
func (b *Branch) Receive(ctx actor.Context, msg any) bool {
	switch m := msg.(type) {
	case *subscribe:
		b.subscribe(ctx, m.sub)
	case *withdraw:
		b.withdraw(ctx, m.sub)
	case keysTaken:
		b.forget(ctx, m.sub)
	case *listHeld:
		b.list(ctx)
	default:
		return false
	}
	return true
}

func (b *Branch) subscribe(ctx actor.Context, s *Subscription) {
	if b.subs.env.Refuse(ctx) {
		return
	}
	if err := s.path.Ended(); err != nil { // by a Close, since who asks has looked
		supervisor.Reply(ctx, err)
		return
	}
	for other := range b.subs.all {
		if other.path.ID == s.path.ID && other.cfg.Group == s.cfg.Group && other.cfg.ID == s.cfg.ID {
			supervisor.Reply(ctx, node.ErrOurs("member", s.cfg.ID))
			return
		}
	}
	p := &node.Placement[*Subscription]{Handle: s, Asker: ctx.Sender()}
	b.subs.all[s] = p
	b.subs.added(s)
	s.begin()
	b.enter(ctx, p)
}

// enter begins a subscription's actor.
func (b *Branch) enter(ctx actor.Context, p *node.Placement[*Subscription]) {
	s := p.Handle
	b.subs.peers.Begin(ctx, false)
	p.PID = b.subs.env.Spawn(ctx, "subscription", s.cfg.Topic+"/"+s.cfg.Group, newSubscription(b.subs.env, s, p.Asker),
		supervisor.WithPolicy(topiclog.Policy()), node.ShowPID(&s.pid))
}

// withdraw ends what a caller no longer waits for, or has drained.
func (b *Branch) withdraw(ctx actor.Context, s *Subscription) {
	p := b.subs.all[s]
	if p == nil {
		node.Release(ctx, ctx.Sender())
		return
	}
	p.Leavers = append(p.Leavers, ctx.Sender())
	supervisor.Notify(ctx, p.PID, &retire{})
}

func (b *Branch) list(ctx actor.Context) {
	held := &heldList{}
	for s := range b.subs.all {
		held.all = append(held.all, s)
	}
	supervisor.Reply(ctx, held)
}

// Uses reports whether a subscription reads this topic.
func (b *Branch) Uses(path *topiclog.Topic) bool {
	for s := range b.subs.all {
		if s.path == path {
			return true
		}
	}
	return false
}

// Tell tells the topic's subscriptions that it has other settings, or has ended.
func (b *Branch) Tell(ctx actor.Context, path *topiclog.Topic) {
	for s, p := range b.subs.all {
		if s.path == path {
			supervisor.Notify(ctx, p.PID, &topiclog.Changed{Path: path})
		}
	}
}

// Terminated hears of a child that has ended, and reports whether it was of this
// branch.
func (b *Branch) Terminated(ctx actor.Context, who *actor.PID) bool {
	if b.subs.peers.Is(who) {
		if b.over {
			return true
		}
		b.subs.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		b.subs.peers.Begin(ctx, true)
		return true
	}
	for s, p := range b.subs.all {
		if !who.Equal(p.PID) {
			continue
		}
		b.subs.peers.Want(who, nil)
		if s.removal.Settled() {
			b.forget(ctx, s)
			return true
		}
		p.Ended = true
		s.end(node.ErrOutside)
		b.subs.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: s.buffer.Cause()})
		b.takeKeys(s)
		return true
	}
	return false
}

// takeKeys does what the actor has not: who is gone keeps no partition.
func (b *Branch) takeKeys(s *Subscription) {
	remove := func(ctx context.Context) error { return s.removeKeys(ctx, s.me(0)) }
	node.TakeAway(b.host, &s.removal, remove, keysTaken{s})
}

// forget ends a subscription whose actor and keys are gone.
func (b *Branch) forget(ctx actor.Context, s *Subscription) {
	p := b.subs.all[s]
	delete(b.subs.all, s)
	b.subs.removed(s)
	b.unused(ctx, s.path)
	s.end(nil)
	s.role.Over(s.buffer.Cause())
	node.Dismiss(ctx, p.Asker, &s.announced, s.buffer.Cause())
	node.Release(ctx, p.Leavers...)
}

// Failed hears of a child that was given up, and reports whether it was of this
// branch.
func (b *Branch) Failed(_ actor.Context, m *supervisor.Failed) bool {
	for s, p := range b.subs.all {
		if m.Who.Equal(p.PID) {
			s.buffer.Leave(prefetch.Left, m.Err)
			return true
		}
	}
	return false
}

// KeyLost ends a subscription whose key somebody else holds, or whose topic is
// gone.
func (b *Branch) KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss) {
	if k.Kind != keys.KindConsumerMember {
		return
	}
	for s, p := range b.subs.all {
		if s.cfg.ID != k.ID || s.cfg.Group != k.Group || s.path.ID != k.Topic {
			continue
		}
		err := loss.As(messages.ErrTopicDeleted)
		if loss.Guard { // the error of everything that ends with its topic
			err = messages.ErrTopicDeleted
		}
		s.buffer.Leave(prefetch.Left, err)
		supervisor.Notify(ctx, p.PID, &retire{})
	}
}

// LeaseTrusted lets subscriptions hand out what waited for the session.
func (b *Branch) LeaseTrusted() {
	for s := range b.subs.all {
		s.buffer.Renewed()
	}
}

// End comes at the end of an incarnation.
func (b *Branch) End() { b.over = true }

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *Branch) Close(ctx actor.Context) {
	for s, p := range b.subs.all {
		s.end(b.subs.env.Failure())
		node.Dismiss(ctx, p.Asker, &s.announced, s.buffer.Cause())
		node.Release(ctx, p.Leavers...)
	}
}
