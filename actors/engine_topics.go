package actors

// The engine's actor, as far as topics and subscriptions go.

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/prefetch"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

type (
	// openTopic asks for the path of a topic; topicOpened answers it, and who asked
	// is a user.
	openTopic struct {
		info    messages.TopicInfo
		counted *topicPath // the engine's actor alone uses it
	}
	topicOpened struct{ path *topicPath }
	// openingLeft: who asked has not waited for the answer.
	openingLeft struct{ of *openTopic }
	// topicUsed counts users of a topic up or down.
	topicUsed struct {
		path *topicPath
		by   int
	}
	// subscribe is answered with *subscribed or an error.
	subscribe struct{ sub *Subscription }
	// sessionStands: the lease can be trusted, again or for the first time.
	sessionStands struct{}
	// sweepTopics asks for what interrupted deletions have left to be removed;
	// swept is the end of it.
	sweepTopics struct{}
	swept       struct{}
)

// openTopic answers the one path that this runtime has of a topic. A path of an
// older topic of that name ends.
func (a *engineActor) openTopic(ctx actor.Context, m *openTopic) {
	info := m.info
	if a.isStopping(ctx) {
		return
	}
	if p := a.book.topics[info.Name]; p != nil {
		switch {
		case p.handle.id == info.ID && p.handle.ended() == nil:
			opened(ctx, m, p.handle)
			return
		case p.handle.id != info.ID && p.handle.info().CreateRevision > info.CreateRevision:
			ctx.Respond(messages.ErrTopicDeleted) // and made again, before who asks came to ask
			return
		}
		p.handle.close(messages.ErrTopicDeleted)
		a.eng.stats.removeTopic(p.handle)
		a.tellSubscriptions(ctx, p.handle)
		ctx.Stop(p.pid)
	}
	p := &placement[*topicPath]{handle: newTopicPath(a.eng, info)}
	a.book.topics[info.Name] = p
	a.eng.stats.addTopic(p.handle)
	a.placeTopic(ctx, p)
	opened(ctx, m, p.handle)
}

// opened counts who asked.
func opened(ctx actor.Context, m *openTopic, path *topicPath) {
	path.users++
	m.counted = path
	ctx.Respond(&topicOpened{path})
}

func (a *engineActor) openingLeft(ctx actor.Context, m *openTopic) {
	if m.counted != nil {
		a.topicUsed(ctx, &topicUsed{m.counted, -1})
	}
}

func (a *engineActor) topicUsed(ctx actor.Context, m *topicUsed) {
	m.path.users += m.by
	a.forgetUnused(ctx, m.path)
}

// forgetUnused ends a topic that nobody here uses any more.
func (a *engineActor) forgetUnused(ctx actor.Context, path *topicPath) {
	p := a.book.topics[path.name]
	if p == nil || p.handle != path || path.users > 0 {
		return
	}
	for s := range a.book.subs {
		if s.path == path {
			return
		}
	}
	path.close(messages.ErrClosed)
	a.eng.stats.removeTopic(path)
	delete(a.book.topics, path.name)
	ctx.Stop(p.pid)
}

func (a *engineActor) placeTopic(ctx actor.Context, p *placement[*topicPath]) {
	p.pid = a.spawn(ctx, "topic", p.handle.name, newTopic(p.handle), supervisor.WithPolicy(topicPolicy()))
	p.handle.pid.Store(p.pid)
}

// sweep removes what others left behind. What it cannot remove now, the next
// one will.
func (a *engineActor) sweep() {
	log := a.eng.log
	supervisor.Call(&a.host, "sweep", func(ctx context.Context) swept {
		_ = log.Sweep(ctx)
		return swept{}
	})
}

// topicChanged tells the topic's subscriptions.
func (a *engineActor) topicChanged(ctx actor.Context, m *topicChanged) {
	if p := a.book.topics[m.path.name]; p != nil && p.handle == m.path && m.path.ended() != nil {
		delete(a.book.topics, m.path.name)
		a.eng.stats.removeTopic(m.path)
	}
	a.tellSubscriptions(ctx, m.path)
}

func (a *engineActor) tellSubscriptions(ctx actor.Context, path *topicPath) {
	for s, p := range a.book.subs {
		if s.path == path {
			ctx.Send(p.pid, &topicChanged{path})
		}
	}
}

func (a *engineActor) subscribe(ctx actor.Context, s *Subscription) {
	if a.isStopping(ctx) {
		return
	}
	if err := s.path.ended(); err != nil { // by a Close, since who asks has looked
		ctx.Respond(err)
		return
	}
	for other := range a.book.subs {
		if other.path.id == s.path.id && other.cfg.Group == s.cfg.Group && other.cfg.ID == s.cfg.ID {
			ctx.Respond(errOurs("member", s.cfg.ID))
			return
		}
	}
	p := &placement[*Subscription]{handle: s, asker: ctx.Sender()}
	a.book.subs[s] = p
	a.eng.stats.addSubscription(s)
	a.placeSubscription(ctx, p)
}

func (a *engineActor) placeSubscription(ctx actor.Context, p *placement[*Subscription]) {
	s := p.handle
	p.pid = a.spawn(ctx, "subscription", s.cfg.Topic+"/"+s.cfg.Group, newSubscription(a.eng, s, p.asker),
		supervisor.WithPolicy(topicPolicy()))
	s.pid.Store(p.pid)
}

// beginTopics begins what an earlier incarnation had.
func (a *engineActor) beginTopics(ctx actor.Context) {
	for name, p := range a.book.topics {
		if p.handle.ended() != nil {
			delete(a.book.topics, name)
			a.eng.stats.removeTopic(p.handle)
			continue
		}
		a.placeTopic(ctx, p)
	}
	for _, p := range a.book.subs {
		a.placeSubscription(ctx, p)
		if len(p.leavers) > 0 {
			ctx.Send(p.pid, &retire{})
		}
	}
}

// closeTopics tells whoever still holds a handle that it is over.
func (a *engineActor) closeTopics(ctx actor.Context) {
	for _, p := range a.book.topics {
		p.handle.close(messages.ErrClosed)
	}
	for s, p := range a.book.subs {
		s.end()
		a.dismiss(ctx, p.asker, &s.announced)
		a.release(ctx, p.leavers...)
	}
}

// failedTopic hears of a topic or subscription that was given up.
func (a *engineActor) failedTopic(m *supervisor.Failed) bool {
	for _, p := range a.book.topics {
		if m.Who.Equal(p.pid) {
			p.handle.close(m.Err)
			return true
		}
	}
	for s, p := range a.book.subs {
		if m.Who.Equal(p.pid) {
			s.buffer.Leave(prefetch.Left, m.Err)
			return true
		}
	}
	return false
}

func (a *engineActor) terminatedTopic(ctx actor.Context, who *actor.PID) {
	for name, p := range a.book.topics {
		if who.Equal(p.pid) {
			p.handle.close(messages.ErrClosed)
			a.eng.stats.removeTopic(p.handle)
			delete(a.book.topics, name)
			return
		}
	}
	for s, p := range a.book.subs {
		if who.Equal(p.pid) {
			delete(a.book.subs, s)
			a.eng.stats.removeSubscription(s)
			a.forgetUnused(ctx, s.path)
			s.end()
			a.dismiss(ctx, p.asker, &s.announced)
			a.release(ctx, p.leavers...)
			return
		}
	}
}

// takenTopic ends a subscription whose key somebody else holds, or whose topic
// is gone.
func (a *engineActor) takenTopic(ctx actor.Context, k keys.Key, err error) {
	if k.Kind != keys.KindConsumerMember {
		return
	}
	for s, p := range a.book.subs {
		if s.cfg.ID != k.ID || s.cfg.Group != k.Group || s.path.id != k.Topic {
			continue
		}
		if errors.Is(err, messages.ErrDestinationTaken) { // its guard: the topic
			err = messages.ErrTopicDeleted
		}
		s.buffer.Leave(prefetch.Left, err)
		ctx.Send(p.pid, &retire{})
	}
}

// stands lets subscriptions hand out what waited for the session.
func (a *engineActor) stands() {
	for s := range a.book.subs {
		s.buffer.Renewed()
	}
}

// settle waits for what was put, or gives it up when ctx ends. Nothing more is
// taken.
func (t *topicPath) settle(ctx context.Context) error {
	t.refuse(messages.ErrClosed)
	var cause error
	for _, part := range t.used() {
		cause = errors.Join(cause, part.acc.Flushed(ctx, part.acc.Taken()))
		if cause != nil {
			break
		}
	}
	if cause == nil {
		return nil
	}
	left := t.giveUp(messages.ErrClosed)
	if left == 0 {
		return nil
	}
	t.eng.hub.emit(messages.Abandoned{Destination: t.name, Count: left, Cause: cause})
	return &messages.AbandonedError{Messages: left, Where: "topic " + t.name, Err: cause}
}
