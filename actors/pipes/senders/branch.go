package senders

// The branch of the engine's actor that keeps an actor for each destination.

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Branch is a part of the engine's actor, and runs on its goroutine. The
// listeners are in listeners.go.
type Branch struct {
	senders *Senders
	host    *supervisor.Host

	binding map[string][]*node.Placement[*Destination] // by the URL asked for
	accepts map[string]*actor.PID                      // the listeners' actors, by the URL asked for
	freeing map[string]*freeing                        // listeners on their way to be closed
}

// Questions to the branch, and the replies.
type (
	register   struct{ dest *Destination }
	registered struct{}
	// withdraw is answered with *Withdrawn when the name is free again.
	withdraw struct{ dest *Destination }
	listHeld struct{}
	heldList struct{ all Held }
	// keysTaken: the keys of a sender are gone whose actor had ended without that.
	keysTaken struct{ dest *Destination }
)

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
func (s *Senders) Branch(h *supervisor.Host) *Branch {
	return &Branch{
		senders: s, host: h, binding: make(map[string][]*node.Placement[*Destination]),
		accepts: make(map[string]*actor.PID), freeing: make(map[string]*freeing),
	}
}

// Begin begins what an earlier incarnation had. What was leaving is begun again
// too: its keys have to be taken away.
func (b *Branch) Begin(ctx actor.Context) {
	for asked, l := range b.senders.bound() {
		b.accepts[asked] = b.senders.node.Spawn(ctx, "listener", "", b.senders.newListener(l))
	}
	for _, p := range b.senders.dests {
		if p.Ended {
			b.takeKeys(p.Handle)
			continue
		}
		p.PID = nil
		b.bind(ctx, p)
	}
	for asked := range b.senders.bound() {
		b.free(ctx, asked)
	}
}

// Receive handles what is for this branch, and reports whether msg was.
func (b *Branch) Receive(ctx actor.Context, msg any) bool {
	switch m := msg.(type) {
	case *register:
		b.register(ctx, m.dest)
	case bound:
		b.whenBound(ctx, m)
	case freed:
		b.freed(ctx, m.asked)
	case *withdraw:
		b.withdraw(ctx, m.dest)
	case keysTaken:
		b.forget(ctx, m.dest)
	case *listHeld:
		b.list(ctx)
	case *linkOffered:
		b.offer(ctx, m)
	case *addressChanged:
		b.moved(ctx, m.listener)
	default:
		return false
	}
	return true
}

func (b *Branch) register(ctx actor.Context, d *Destination) {
	if b.senders.node.Refuse(ctx) {
		return
	}
	if _, ok := b.senders.dests[d.cfg.Name]; ok {
		supervisor.Reply(ctx, fmt.Errorf("destination %w", messages.ErrExists))
		return
	}
	p := &node.Placement[*Destination]{Handle: d, Asker: ctx.Sender()}
	b.senders.dests[d.cfg.Name] = p
	d.begin()
	b.bind(ctx, p)
}

// place begins a destination's actor.
func (b *Branch) place(ctx actor.Context, p *node.Placement[*Destination], at where) {
	d := p.Handle
	if d.tokens.Of(links.AllGroups) == nil {
		d.tokens.Draw(links.AllGroups, nil)
		d.since = time.Now()
	}
	d.at.Store(&at)
	secret := placedSecret{incarnation: d.incarnation, listen: d.cfg.Listen, tokens: &d.tokens}
	if d.asksRights {
		secret.rights = &d.rights
	}
	b.senders.secrets.put(d.cfg.Name, secret)
	b.senders.addQueue(d.out)
	p.PID = b.senders.node.Spawn(ctx, "dest", d.cfg.Name, newDestination(b.senders.node, d, p.Asker), node.ShowPID(&d.pid))
	if len(p.Leavers) > 0 {
		supervisor.Notify(ctx, p.PID, &retire{})
	}
}

// withdraw ends what a caller no longer waits for, or has drained.
func (b *Branch) withdraw(ctx actor.Context, d *Destination) {
	p := b.senders.dests[d.cfg.Name]
	switch {
	case p == nil || p.Handle != d:
		node.Release(ctx, ctx.Sender())
	case p.PID == nil:
		delete(b.senders.dests, d.cfg.Name) // its listener is still binding
		d.role.Forget()
		node.Dismiss(ctx, p.Asker, &d.announced, nil)
		node.Release(ctx, ctx.Sender())
	default:
		p.Leavers = append(p.Leavers, ctx.Sender())
		supervisor.Notify(ctx, p.PID, &retire{})
	}
}

func (b *Branch) list(ctx actor.Context) {
	held := &heldList{}
	for _, p := range b.senders.dests {
		if !p.Handle.cfg.Lends { // its subscriptions end it
			held.all = append(held.all, p.Handle)
		}
	}
	supervisor.Reply(ctx, held)
}

func (b *Branch) offer(ctx actor.Context, m *linkOffered) {
	if p := b.senders.dests[m.conn.Hello().Destination]; p != nil && p.PID != nil && !p.Ended {
		supervisor.Notify(ctx, p.PID, m)
		return
	}
	m.conn.Refuse(codeGone, "the destination is not here any more")
}

// Terminated hears of a child that has ended, and reports whether it was of this
// branch.
func (b *Branch) Terminated(ctx actor.Context, who *actor.PID) bool {
	for asked, pid := range b.accepts {
		if l := b.senders.bound()[asked]; who.Equal(pid) && l != nil { // stopped from outside
			b.senders.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
			b.accepts[asked] = b.senders.node.Spawn(ctx, "listener", "", b.senders.newListener(l))
			return true
		}
	}
	for name, p := range b.senders.dests {
		if !who.Equal(p.PID) {
			continue
		}
		d := p.Handle
		b.senders.secrets.remove(name)
		if d.removal.Settled() {
			b.forget(ctx, d)
			return true
		}
		p.Ended = true
		d.out.Close(node.ErrOutside)
		b.senders.node.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: d.out.Cause()})
		b.takeKeys(d)
		return true
	}
	return false
}

// takeKeys does what the actor has not: who is gone draws no member.
func (b *Branch) takeKeys(d *Destination) {
	node.TakeAway(b.host, &d.removal, d.takeAway, keysTaken{d})
}

// forget ends a destination whose actor and keys are gone.
func (b *Branch) forget(ctx actor.Context, d *Destination) {
	p := b.senders.dests[d.cfg.Name]
	delete(b.senders.dests, d.cfg.Name)
	b.senders.removeQueue(d.out)
	d.out.Close(nil)
	if len(p.Leavers) == 0 {
		b.senders.lose(d.out)
	}
	d.role.Over(d.out.Cause())
	node.Dismiss(ctx, p.Asker, &d.announced, d.out.Cause())
	if !b.free(ctx, d.cfg.Listen, p.Leavers...) {
		node.Release(ctx, p.Leavers...)
	}
}

// Failed hears of a child that was given up, and reports whether it was of this
// branch.
func (b *Branch) Failed(_ actor.Context, m *supervisor.Failed) bool {
	for _, p := range b.senders.dests {
		if m.Who.Equal(p.PID) {
			p.Handle.out.Refuse(m.Err) // its end follows, when its links are gone
			return true
		}
	}
	return false
}

// KeyLost ends a destination whose key somebody else holds.
func (b *Branch) KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss) {
	if loss.Guard && (k.Kind == keys.KindSecret || k.Kind == keys.KindGroupSecret) {
		return // it is of a generation that is over: the destination writes the next one
	}
	if p := b.senders.dests[k.Dest]; p != nil && p.PID != nil && k.ID == p.Handle.id {
		p.Handle.out.Refuse(loss.As(messages.ErrDestinationTaken))
		supervisor.Notify(ctx, p.PID, &oust{}) // its other keys are still kept
	}
}

// End replies to those who wait for a port, when what frees ports has ended: this
// incarnation hears of it no more. Who wants a URL again is in dests.
func (b *Branch) End(ctx actor.Context) {
	for _, f := range b.freeing {
		node.Release(ctx, f.leavers...)
	}
	clear(b.freeing)
}

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *Branch) Close(ctx actor.Context) {
	for _, p := range b.senders.dests {
		p.Handle.out.Close(b.senders.node.Failure())
		node.Dismiss(ctx, p.Asker, &p.Handle.announced, p.Handle.out.Cause())
		node.Release(ctx, p.Leavers...)
	}
}
