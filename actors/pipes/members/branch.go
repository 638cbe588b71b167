package members

// The branch of the engine's actor that keeps an actor for each member.

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Branch is a part of the engine's actor, and runs on its goroutine.
type Branch struct {
	members *Members
	host    *supervisor.Host
}

// Questions to the branch, and the replies.
type (
	join   struct{ member *Member }
	joined struct{}
	// withdraw is answered with *Withdrawn when the id is free again.
	withdraw struct{ member *Member }
	listHeld struct{}
	heldList struct{ all Held }
	// keysTaken: the key of a member is gone whose actor had ended without that.
	keysTaken struct{ member *Member }
)

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
func (s *Members) Branch(h *supervisor.Host) *Branch { return &Branch{s, h} }

// Begin begins what an earlier incarnation had.
func (b *Branch) Begin(ctx actor.Context) {
	if s := b.members; s.links.TLS != nil {
		b.host.Run("recheck", func(ctx context.Context) error { return s.trusted.recheck(ctx, s.links.TLS) })
	}
	for _, p := range b.members.all {
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
	case *join:
		b.join(ctx, m.member)
	case *withdraw:
		b.withdraw(ctx, m.member)
	case *listHeld:
		b.list(ctx)
	case keysTaken:
		b.forget(ctx, m.member)
	case pipegroup.Unlike:
		b.unlike(ctx, m)
	default:
		return false
	}
	return true
}

func (b *Branch) join(ctx actor.Context, m *Member) {
	if b.members.node.Refuse(ctx) {
		return
	}
	for other := range b.members.all {
		o, c := other.cfg, m.cfg
		if o.Destination == c.Destination && o.Group == c.Group && o.ID == c.ID {
			supervisor.Reply(ctx, node.ErrOurs("member", c.ID))
			return
		}
	}
	p := &node.Placement[*Member]{Handle: m, Asker: ctx.Sender()}
	b.members.all[m] = p
	b.members.addQueue(m.in)
	m.begin()
	b.enter(ctx, p)
}

// enter begins a member's actor.
func (b *Branch) enter(ctx actor.Context, p *node.Placement[*Member]) {
	m := p.Handle
	p.PID = b.members.node.Spawn(ctx, "member", m.cfg.Destination+"/"+m.cfg.Group, newMember(b.members.node, m, p.Asker),
		supervisor.WithPolicy(memberPolicy()), node.ShowPID(&m.pid))
}

// withdraw ends what a caller no longer waits for, or has drained.
func (b *Branch) withdraw(ctx actor.Context, m *Member) {
	p := b.members.all[m]
	if p == nil {
		node.Release(ctx, ctx.Sender())
		return
	}
	p.Leavers = append(p.Leavers, ctx.Sender())
	supervisor.Notify(ctx, p.PID, &retire{})
}

func (b *Branch) list(ctx actor.Context) {
	held := &heldList{}
	for m := range b.members.all {
		if !m.cfg.Lends { // its subscription ends it
			held.all = append(held.all, m)
		}
	}
	supervisor.Reply(ctx, held)
}

// unlike ends the members of a group that was removed and made again with other
// settings, while this process could not keep it.
func (b *Branch) unlike(ctx actor.Context, m pipegroup.Unlike) {
	have, err := messages.GroupSettingsOf(m.Meta.Mode, m.Meta.Policy, m.Meta.KeepForMs)
	if err != nil {
		return // of a newer version
	}
	for h, p := range b.members.all {
		cfg := h.cfg
		if err := have.Differ(cfg.group()); err != nil && pipegroup.At(b.members.node.Keys, cfg.Destination, cfg.Group) == m.Group {
			h.in.Leave(recvq.Left, fmt.Errorf("the group was made again meanwhile: %w", err))
			supervisor.Notify(ctx, p.PID, &retire{})
		}
	}
}

// Terminated hears of a child that has ended, and reports whether it was of this
// branch.
func (b *Branch) Terminated(ctx actor.Context, who *actor.PID) bool {
	for m, p := range b.members.all {
		if !who.Equal(p.PID) {
			continue
		}
		if m.removal.Settled() {
			b.forget(ctx, m)
			return true
		}
		p.Ended = true
		m.end(node.ErrOutside)
		b.members.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: m.in.Cause()})
		b.takeKeys(m)
		return true
	}
	return false
}

// takeKeys does what the actor has not: who is gone holds up no sender.
func (b *Branch) takeKeys(m *Member) {
	node.TakeAway(b.host, &m.removal, m.removeKeys, keysTaken{m})
}

// forget ends a membership whose actor and key are gone.
func (b *Branch) forget(ctx actor.Context, m *Member) {
	p := b.members.all[m]
	delete(b.members.all, m)
	b.members.removeQueue(m.in)
	m.end(nil)
	m.left()
	m.role.Over(m.in.Cause())
	node.Dismiss(ctx, p.Asker, &m.announced, m.in.Cause())
	node.Release(ctx, p.Leavers...)
}

// Failed hears of a child that was given up, and reports whether it was of this
// branch.
func (b *Branch) Failed(_ actor.Context, m *supervisor.Failed) bool {
	for h, p := range b.members.all {
		if m.Who.Equal(p.PID) {
			h.in.Leave(recvq.Left, m.Err)
			return true
		}
	}
	return false
}

// KeyLost ends a member whose key somebody else holds.
func (b *Branch) KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss) {
	for h, p := range b.members.all {
		if h.cfg.ID == k.ID && h.cfg.Destination == k.Dest && h.cfg.Group == k.Group {
			h.in.Leave(recvq.Left, loss.As(messages.ErrDestinationTaken))
			supervisor.Notify(ctx, p.PID, &retire{}) // the key is still kept
		}
	}
}

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *Branch) Close(ctx actor.Context) {
	for m, p := range b.members.all {
		m.end(b.members.node.Failure())
		node.Dismiss(ctx, p.Asker, &m.announced, m.in.Cause())
		node.Release(ctx, p.Leavers...)
	}
}
