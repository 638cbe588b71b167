package topics

// The branch of the engine's actor that keeps an actor for each topic in use, and
// the subscriptions.

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/actors/topics/tables"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Branch is a part of the engine's actor, and runs on its goroutine.
type Branch struct {
	topics *Topics
	host   *supervisor.Host
	subs   *groups.Branch
	tables *tables.Branch
	// governor looks how full etcd is; nil before the first topic.
	governor *actor.PID
	// unfollow ends the watch of partitions with delayed records; nil before the first
	// topic, and while etcd refuses it.
	unfollow func()
	over     bool // its children end with it
}

// Questions to the branch, and the replies.
type (
	// openTopic asks for the path of a topic; topicOpened is the reply, and who asked
	// is a user.
	openTopic struct {
		info    messages.TopicInfo
		counted *topiclog.Topic // the branch alone uses it
	}
	topicOpened struct{ path *topiclog.Topic }
	// openingLeft: who asked has not waited for the reply.
	openingLeft struct{ of *openTopic }
	// listHeld is answered with *heldList.
	listHeld struct{}
	heldList struct{ all []*topiclog.Topic }
	// sweepTopics asks for what interrupted deletions have left to be removed;
	// swept is the end of it.
	sweepTopics struct{}
	swept       struct{}
	// keeperWanted asks for a keeper: there is something to look after.
	keeperWanted struct{}
	// delaysRefused: etcd does not let it be watched where records are delayed; followDelays
	// asks for it again.
	delaysRefused struct{}
	followDelays  struct{}
)

// delaysRefusedFor is how long a runtime waits for rights on the marks of delayed records.
const delaysRefusedFor = time.Minute

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
func (t *Topics) Branch(h *supervisor.Host) *Branch {
	b := &Branch{topics: t, host: h, tables: t.tables.Branch()}
	b.subs = t.subs.Branch(h, b.forgetUnused)
	return b
}

// Begin begins what an earlier incarnation had.
func (b *Branch) Begin(ctx actor.Context) {
	if k := b.topics.keeper; k.Begun() || k.Always() {
		k.Begin(ctx, true)
	}
	for name, p := range b.topics.paths {
		if p.Handle.Ended() != nil {
			delete(b.topics.paths, name)
			b.topics.removed(p.Handle)
			continue
		}
		b.place(ctx, p)
	}
	b.govern(ctx)
	if len(b.topics.paths) > 0 {
		b.follow()
	}
	b.subs.Begin(ctx)
	b.tables.Begin(ctx)
}

// Receive handles what is for this branch, and reports whether msg was.
func (b *Branch) Receive(ctx actor.Context, msg any) bool {
	switch m := msg.(type) {
	case *openTopic:
		b.openTopic(ctx, m)
	case *openingLeft:
		b.openingLeft(ctx, m.of)
	case *topiclog.Used:
		b.used(ctx, m)
	case *topiclog.Changed:
		b.changed(ctx, m)
	case *listHeld:
		b.list(ctx)
	case *sweepTopics:
		b.sweep()
	case swept:
	case *keeperWanted:
		b.topics.keeper.Begin(ctx, false)
	case *delaysRefused:
		b.unfollow = nil
		b.host.After(delaysRefusedFor, &followDelays{})
	case *followDelays:
		b.follow()
	default:
		return b.subs.Receive(ctx, msg) || b.tables.Receive(ctx, msg)
	}
	return true
}

// openTopic replies with the one path that this runtime has of a topic. A path of an
// older topic of that name ends.
func (b *Branch) openTopic(ctx actor.Context, m *openTopic) {
	info := m.info
	if b.topics.env.Refuse(ctx) {
		return
	}
	if p := b.topics.paths[info.Name]; p != nil {
		switch {
		case p.Handle.ID == info.ID && p.Handle.Ended() == nil:
			opened(ctx, m, p.Handle)
			return
		case p.Handle.ID != info.ID && p.Handle.Info().CreateRevision > info.CreateRevision:
			supervisor.Reply(ctx, messages.ErrTopicDeleted) // and made again, before who asks came to ask
			return
		}
		p.Handle.Close(messages.ErrTopicDeleted)
		b.topics.removed(p.Handle)
		b.tell(ctx, p.Handle)
		ctx.Stop(p.PID)
	}
	p := &node.Placement[*topiclog.Topic]{Handle: topiclog.New(b.topics.env, info)}
	b.topics.paths[info.Name] = p
	b.topics.added(p.Handle)
	b.place(ctx, p)
	b.govern(ctx)
	b.follow()
	b.keep(ctx, p.Handle)
	opened(ctx, m, p.Handle)
}

// keep begins the keeper, if the topic has limits that somebody has to look after, or
// schedules.
func (b *Branch) keep(ctx actor.Context, path *topiclog.Topic) {
	if info := path.Info(); info.Scheduled || messages.Tended(&info.Config) {
		b.topics.keeper.Begin(ctx, false)
	}
}

// follow has a keeper begun when records wait to be delivered, in whatever topic.
func (b *Branch) follow() {
	if b.unfollow != nil || b.over {
		return
	}
	tell := b.host.Teller()
	b.unfollow = b.topics.keeper.Follow(func() { tell(&keeperWanted{}) }, func() { tell(&delaysRefused{}) })
}

// opened counts who asked.
func opened(ctx actor.Context, m *openTopic, path *topiclog.Topic) {
	path.Users++
	m.counted = path
	supervisor.Reply(ctx, &topicOpened{path})
}

func (b *Branch) openingLeft(ctx actor.Context, m *openTopic) {
	if m.counted != nil {
		b.used(ctx, &topiclog.Used{Path: m.counted, By: -1})
	}
}

func (b *Branch) used(ctx actor.Context, m *topiclog.Used) {
	m.Path.Users += m.By
	b.forgetUnused(ctx, m.Path)
}

// forgetUnused ends a topic that nobody here uses any more.
func (b *Branch) forgetUnused(ctx actor.Context, path *topiclog.Topic) {
	p := b.topics.paths[path.Name]
	if p == nil || p.Handle != path || path.Users > 0 || b.subs.Uses(path) {
		return
	}
	path.Close(messages.ErrClosed)
	b.topics.removed(path)
	delete(b.topics.paths, path.Name)
	ctx.Stop(p.PID)
}

// place begins a topic's actor.
func (b *Branch) place(ctx actor.Context, p *node.Placement[*topiclog.Topic]) {
	p.PID = b.topics.env.Spawn(ctx, "topic", p.Handle.Name, topiclog.NewActor(p.Handle),
		supervisor.WithPolicy(topiclog.Policy()), node.ShowPID(&p.Handle.PID))
}

// sweep removes what others left behind. What it cannot remove now, the next
// one will.
func (b *Branch) sweep() {
	log := b.topics.env.Log
	supervisor.Call(b.host, "sweep", func(ctx context.Context) swept {
		_ = log.Sweep(ctx)
		return swept{}
	})
}

// changed tells the topic's subscriptions.
func (b *Branch) changed(ctx actor.Context, m *topiclog.Changed) {
	if p := b.topics.paths[m.Path.Name]; p != nil && p.Handle == m.Path && m.Path.Ended() != nil {
		delete(b.topics.paths, m.Path.Name)
		b.topics.removed(m.Path)
	}
	b.keep(ctx, m.Path)
	b.tell(ctx, m.Path)
}

// tell tells who reads a topic that it has other settings, or has ended.
func (b *Branch) tell(ctx actor.Context, path *topiclog.Topic) {
	b.subs.Tell(ctx, path)
	b.tables.Tell(ctx, path)
}

func (b *Branch) list(ctx actor.Context) {
	held := &heldList{}
	for _, p := range b.topics.paths {
		held.all = append(held.all, p.Handle)
	}
	supervisor.Reply(ctx, held)
}

// Terminated hears of a child that has ended, and reports whether it was of this
// branch.
func (b *Branch) Terminated(ctx actor.Context, who *actor.PID) bool {
	if who.Equal(b.governor) {
		b.governor = nil // until the next topic is opened nobody looks, and everything passes
		b.topics.env.Gate.Blind()
		return true
	}
	if k := b.topics.keeper; k.Is(who) {
		if !b.over {
			b.topics.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
			k.Begin(ctx, true)
		}
		return true
	}
	for name, p := range b.topics.paths {
		if who.Equal(p.PID) {
			if p.Handle.Ended() == nil {
				b.topics.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
			}
			p.Handle.Close(node.ErrOutside)
			b.topics.removed(p.Handle)
			delete(b.topics.paths, name)
			b.tell(ctx, p.Handle)
			return true
		}
	}
	return b.subs.Terminated(ctx, who) || b.tables.Terminated(who)
}

// Failed hears of a child that was given up, and reports whether it was of this
// branch.
func (b *Branch) Failed(ctx actor.Context, m *supervisor.Failed) bool {
	for _, p := range b.topics.paths {
		if m.Who.Equal(p.PID) {
			p.Handle.Close(m.Err)
			return true
		}
	}
	return b.subs.Failed(ctx, m) || b.tables.Failed(m)
}

// KeyLost ends a subscription whose key is lost.
func (b *Branch) KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss) {
	b.subs.KeyLost(ctx, k, loss)
}

// LeaseTrusted lets subscriptions hand out what waited for the session.
func (b *Branch) LeaseTrusted() { b.subs.LeaseTrusted() }

// End comes at the end of an incarnation.
func (b *Branch) End(actor.Context) {
	b.over = true
	if b.unfollow != nil {
		b.unfollow()
	}
	b.subs.End()
}

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *Branch) Close(ctx actor.Context) {
	for _, p := range b.topics.paths {
		p.Handle.Close(b.topics.env.Closed())
	}
	b.subs.Close(ctx)
	b.tables.Close()
}
