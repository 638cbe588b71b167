package actors

// The branch of the engine's actor that keeps an actor for each topic in use, and
// the subscriptions.

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// topicsBranch is a part of the engine's actor, and runs on its goroutine.
type topicsBranch struct {
	*Topics
	host *supervisor.Host
	subs *subsBranch
}

// Questions to the branch, and their answers.
type (
	// openTopic asks for the path of a topic; topicOpened answers it, and who asked
	// is a user.
	openTopic struct {
		info    messages.TopicInfo
		counted *topicPath // the branch alone uses it
	}
	topicOpened struct{ path *topicPath }
	// openingLeft: who asked has not waited for the answer.
	openingLeft struct{ of *openTopic }
	// listTopics is answered with *HeldTopics, without subscriptions.
	listTopics struct{}
	// sweepTopics asks for what interrupted deletions have left to be removed;
	// swept is the end of it.
	sweepTopics struct{}
	swept       struct{}
)

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
func (t *Topics) Branch(h *supervisor.Host) *topicsBranch {
	b := &topicsBranch{Topics: t, host: h}
	b.subs = t.subs.Branch(b.forgetUnused)
	return b
}

// Begin begins what an earlier incarnation had.
func (b *topicsBranch) Begin(ctx actor.Context) {
	for name, p := range b.paths {
		if p.Handle.ended() != nil {
			delete(b.paths, name)
			b.removed(p.Handle)
			continue
		}
		b.place(ctx, p)
	}
	b.subs.Begin(ctx)
}

// Receive handles what is for this branch, and reports whether msg was.
func (b *topicsBranch) Receive(ctx actor.Context, msg any) bool {
	switch m := msg.(type) {
	case *openTopic:
		b.openTopic(ctx, m)
	case *openingLeft:
		b.openingLeft(ctx, m.of)
	case *topicUsed:
		b.used(ctx, m)
	case *topicChanged:
		b.changed(ctx, m)
	case *listTopics:
		b.list(ctx)
	case *sweepTopics:
		b.sweep()
	case swept:
	default:
		return b.subs.Receive(ctx, msg)
	}
	return true
}

// openTopic answers the one path that this runtime has of a topic. A path of an
// older topic of that name ends.
func (b *topicsBranch) openTopic(ctx actor.Context, m *openTopic) {
	info := m.info
	if b.env.Refuse(ctx) {
		return
	}
	if p := b.paths[info.Name]; p != nil {
		switch {
		case p.Handle.id == info.ID && p.Handle.ended() == nil:
			opened(ctx, m, p.Handle)
			return
		case p.Handle.id != info.ID && p.Handle.info().CreateRevision > info.CreateRevision:
			ctx.Respond(messages.ErrTopicDeleted) // and made again, before who asks came to ask
			return
		}
		p.Handle.close(messages.ErrTopicDeleted)
		b.removed(p.Handle)
		b.subs.Tell(ctx, p.Handle)
		ctx.Stop(p.PID)
	}
	p := &Placement[*topicPath]{Handle: newTopicPath(b.env, info)}
	b.paths[info.Name] = p
	b.added(p.Handle)
	b.place(ctx, p)
	opened(ctx, m, p.Handle)
}

// opened counts who asked.
func opened(ctx actor.Context, m *openTopic, path *topicPath) {
	path.users++
	m.counted = path
	ctx.Respond(&topicOpened{path})
}

func (b *topicsBranch) openingLeft(ctx actor.Context, m *openTopic) {
	if m.counted != nil {
		b.used(ctx, &topicUsed{m.counted, -1})
	}
}

func (b *topicsBranch) used(ctx actor.Context, m *topicUsed) {
	m.path.users += m.by
	b.forgetUnused(ctx, m.path)
}

// forgetUnused ends a topic that nobody here uses any more.
func (b *topicsBranch) forgetUnused(ctx actor.Context, path *topicPath) {
	p := b.paths[path.name]
	if p == nil || p.Handle != path || path.users > 0 || b.subs.Uses(path) {
		return
	}
	path.close(messages.ErrClosed)
	b.removed(path)
	delete(b.paths, path.name)
	ctx.Stop(p.PID)
}

// place begins a topic's actor.
func (b *topicsBranch) place(ctx actor.Context, p *Placement[*topicPath]) {
	p.PID = b.env.Spawn(ctx, "topic", p.Handle.name, newTopic(p.Handle), supervisor.WithPolicy(topicPolicy()))
	p.Handle.pid.Store(p.PID)
}

// sweep removes what others left behind. What it cannot remove now, the next
// one will.
func (b *topicsBranch) sweep() {
	log := b.env.Log
	supervisor.Call(b.host, "sweep", func(ctx context.Context) swept {
		_ = log.Sweep(ctx)
		return swept{}
	})
}

// changed tells the topic's subscriptions.
func (b *topicsBranch) changed(ctx actor.Context, m *topicChanged) {
	if p := b.paths[m.path.name]; p != nil && p.Handle == m.path && m.path.ended() != nil {
		delete(b.paths, m.path.name)
		b.removed(m.path)
	}
	b.subs.Tell(ctx, m.path)
}

func (b *topicsBranch) list(ctx actor.Context) {
	held := &HeldTopics{}
	for _, p := range b.paths {
		held.topics = append(held.topics, p.Handle)
	}
	ctx.Respond(held)
}

// Terminated hears of a child that has ended, and reports whether it was of this
// branch.
func (b *topicsBranch) Terminated(ctx actor.Context, who *actor.PID) bool {
	for name, p := range b.paths {
		if who.Equal(p.PID) {
			p.Handle.close(messages.ErrClosed)
			b.removed(p.Handle)
			delete(b.paths, name)
			return true
		}
	}
	return b.subs.Terminated(ctx, who)
}

// Failed hears of a child that was given up, and reports whether it was of this
// branch.
func (b *topicsBranch) Failed(ctx actor.Context, m *supervisor.Failed) bool {
	for _, p := range b.paths {
		if m.Who.Equal(p.PID) {
			p.Handle.close(m.Err)
			return true
		}
	}
	return b.subs.Failed(ctx, m)
}

// KeyLost ends a subscription whose key is lost.
func (b *topicsBranch) KeyLost(ctx actor.Context, k keys.Key, loss KeyLoss) {
	b.subs.KeyLost(ctx, k, loss)
}

// LeaseTrusted lets subscriptions hand out what waited for the session.
func (b *topicsBranch) LeaseTrusted() { b.subs.LeaseTrusted() }

// End is nothing to a topic.
func (b *topicsBranch) End(actor.Context) {}

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *topicsBranch) Close(ctx actor.Context) {
	for _, p := range b.paths {
		p.Handle.close(messages.ErrClosed)
	}
	b.subs.Close(ctx)
}
