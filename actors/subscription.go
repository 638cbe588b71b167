package actors

// One process's place in a topic's consumer group: its key, its part of the
// group's coordination, its claims and all commits to them.

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// subscription watches its group, performs what consumerGroup.decide says, and keeps
// a consumer for each claim. How is in subscription_claims.go, what is committed
// in subscription_commit.go, how it ends in subscription_end.go.
//
//	entering ──share claimed──▶ inside ──drain──▶ draining ──all released──▶ leaving ──key gone──▶ (stopped)
//	    └───refused, retire───────┴──retire, topic gone──┴───────────────────▲
type subscription struct {
	eng   *Engine
	sub   *Subscription
	asker *actor.PID // waits for the first share

	host     supervisor.Host
	state    subscriptionState
	write    *keyWrite
	begun    *recordConsumption // whose handlers this incarnation began
	farewell *keyWrite          // that this member leaves, or nil
	view     *consumerGroup
	holds    map[int]*holding
	busy     map[int]struct{} // partitions that a claim or revocation is under way for
	claiming int              // claims under way
	troubled int              // times that etcd kept it from coming in
	raced    int              // times in a row that etcd was ahead of the watch
	held     map[int]int64    // see self
	out      map[int]struct{} // partitions of ours whose log is damaged
	giving   *pb.Assignment   // being written, or nil
	settings settingsWork     // put back, when somebody deletes them
	alarm    func()           // stops the timer of what time alone changes

	settling  settling
	idle      []*claim // to be released
	releasing []*claim // being released
	commits   commits
}

// holding is a claim and its consumer.
type holding struct {
	c   *claim
	pid *actor.PID
}

type subscriptionState string

const (
	subEntering subscriptionState = "entering"
	subInside   subscriptionState = "inside"
	subDraining subscriptionState = "draining"
	subLeaving  subscriptionState = "leaving"
)

var subscriptionMoves = supervisor.Moves[subscriptionState]{
	"":          {subEntering},
	subEntering: {subInside, subDraining, subLeaving},
	subInside:   {subDraining, subLeaving},
	subDraining: {subLeaving},
}

// claimPause is how long a claim waits that etcd refused for a reason that may
// pass.
const claimPause = 200 * time.Millisecond

// unusablePause is how long a partition is left alone whose offset makes no
// sense: somebody has to mend that.
const unusablePause = 5 * time.Second

// Questions, answers and facts of a subscription.
type (
	subscribed      struct{}
	subscribeResult struct{ err error }
	assigned        struct {
		of    *pb.Assignment
		moved int
		err   error
	}
	// claimsMade is the end of a claiming; taken are ready to be read.
	claimsMade struct {
		asked []int
		made  []commitlog.Claimed
		lease int64
		me    int64 // the member's revision under which they were made
		// unwritten are those whose position is not in etcd.
		unwritten []int
		err       error
	}
	revoked struct {
		p      int
		h      commitlog.Holder
		why    string
		done   bool
		failed error
	}
	// orphansReleased is the end of a forsake.
	orphansReleased struct {
		positions []commitlog.Position
		err       error
	}
	// idle: nobody has a claim in hand that is to be released.
	idle        struct{ c *claim }
	decideAgain struct{}
	usableAgain struct{ p int }
	leaveTold   struct{}
	drainLate   struct{}
	// topicChanged tells of new settings, or of the topic's end.
	topicChanged struct{ path *topicPath }
	subKeyGone   struct{}
	// consumeRecords asks for handlers around c.
	consumeRecords struct{ c *recordConsumption }
)

func newSubscription(e *Engine, s *Subscription, asker *actor.PID) actor.Producer {
	return func() actor.Actor {
		return &subscription{
			eng: e, sub: s, asker: asker, view: newConsumerGroup(),
			holds: make(map[int]*holding), busy: make(map[int]struct{}), held: make(map[int]int64), out: make(map[int]struct{}),
		}
	}
}

func (a *subscription) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case subscribeResult:
		a.written(ctx, m.err)
	case discovery.Snapshot:
		a.seen(ctx, m)
	case discovery.Delta:
		a.seen(ctx, m)
	case *topicChanged:
		a.topicChanged(ctx)
	case decideAgain:
		a.decide(ctx)
	case usableAgain:
		a.usableAgain(ctx, m.p)
	case settingsWritten:
		a.settingsWritten(ctx, m)
	case assigned:
		a.assigned(ctx, m)
	case claimsMade:
		a.claimed(ctx, m)
	case revoked:
		a.revoked(ctx, m)
	case orphansReleased:
		a.forsaken(ctx, m)
	case *idle:
		a.release(ctx, m.c)
	case settled:
		a.settled(m)
	case claimsReleased:
		a.released(ctx, m)
	case commitTick:
		a.commit(ctx)
	case commitWanted:
		a.commit(ctx)
	case *commitNow:
		a.commitNow(ctx, m)
	case commitDone:
		a.commitDone(ctx, m)
	case *seekIn:
		a.seek(ctx, m)
	case *consumeRecords:
		a.consume(ctx, m.c)
	case *drainMember:
		a.drain(ctx, ctx.Sender())
	case *leaveUnasked:
		a.drain(ctx, ctx.Self())
	case *memberDrained:
		a.sub.left()
		a.retire(ctx) // nobody else asked
	case drainLate:
		a.drainLate(ctx)
	case *retire:
		a.retire(ctx)
	case subKeyGone:
		ctx.Stop(ctx.Self())
	case *supervisor.Failed:
		a.eng.hub.emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
	case *supervisor.Ended:
		a.ended(ctx, m)
	case crash:
		panic(m.err)
	case *actor.Restarting:
		a.host.End()
		a.dismiss(ctx, errRestarted)
	case *actor.Stopping:
		a.host.End()
		a.dismiss(ctx, messages.ErrClosed)
		for _, leaver := range a.sub.takeLeavers() {
			ctx.Send(leaver, &memberDrained{})
		}
	}
}

func (a *subscription) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = subscriptionMoves.To(ctx, a.state, subEntering)
	eng, sub := a.eng, a.sub
	a.write = beginWrite(a.host.Context())
	write := a.write
	supervisor.Call(&a.host, "join", func(context.Context) subscribeResult {
		return subscribeResult{write.do(func(ctx context.Context) error { return eng.writeSubscription(ctx, sub) })}
	})
	tell := a.host.Teller()
	watch := discovery.NewWatch(eng.etcd.Watch, eng.space.ConsumerGroup(sub.path.id, sub.cfg.Group), discovery.WatchConfig{})
	a.host.Run("watch group", func(ctx context.Context) error {
		return watch.Run(ctx, func(e discovery.WatchEvent) { tell(e) })
	})
	a.host.Every(sub.cfg.CommitEvery, commitTick{})
	for _, c := range sub.shelf.held() { // of an earlier incarnation
		a.hold(ctx, c)
	}
	if c := sub.consumption(); c != nil {
		a.consume(ctx, c)
	}
	if sub.isLeaving() {
		a.drain(ctx, nil)
	}
	if sub.async.waits() {
		ctx.Send(ctx.Self(), commitWanted{}) // an earlier incarnation may have taken the word
	}
}

func (a *subscription) written(ctx actor.Context, err error) {
	if a.state == subLeaving {
		return
	}
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	a.sub.written.Store(true)
	a.decide(ctx)
}

// ended: the watch is refused. Whoever waits for the share is told; later it is
// tried again.
func (a *subscription) ended(ctx actor.Context, m *supervisor.Ended) {
	err := m.Err
	switch {
	case err == nil:
	case m.Name == settleCall:
		a.settled(settled{err})
	case a.sub.announced.Load():
		supervisor.Fail(ctx, err)
	default:
		a.refuse(ctx, err)
	}
}

// refuse ends a subscription that cannot be, and tells who asked for it.
func (a *subscription) refuse(ctx actor.Context, err error) {
	if a.sub.announced.CompareAndSwap(false, true) {
		ctx.Send(a.asker, err)
	}
	a.sub.shelf.leave(shelfLeft, err)
	a.retire(ctx)
}

func (a *subscription) seen(ctx actor.Context, e discovery.WatchEvent) {
	a.raced = 0
	a.view.take(a.eng.space, e, time.Now())
	if s, ok := e.(discovery.Snapshot); ok && s.Reset {
		a.setBack(ctx, s.Revision)
	}
	a.decide(ctx)
}

// setBack forgets what cannot be in an etcd that has only come that far: it was
// restored or replaced, and its revisions may take long to grow to where they
// were.
func (a *subscription) setBack(ctx actor.Context, revision int64) {
	maps.DeleteFunc(a.held, func(_ int, r int64) bool { return r > revision })
	for _, h := range a.holds {
		if h.c.fence > revision && !slices.Contains(a.releasing, h.c) {
			a.lose(ctx, h.c, messages.ErrFenced)
		}
	}
}

func (a *subscription) topicChanged(ctx actor.Context) {
	if err := a.sub.path.ended(); err != nil {
		if a.state != subLeaving {
			a.refuse(ctx, err)
		}
		return
	}
	a.decide(ctx)
}

// self is what decide needs to know of this member.
func (a *subscription) self() self {
	me := self{
		id: a.sub.cfg.ID, manual: a.sub.cfg.Partitions, partitions: a.sub.path.partitions(),
		holds: make(map[int]hold), busy: a.busy, held: a.held, revoke: a.sub.cfg.RevokeTimeout,
	}
	if a.sub.written.Load() {
		me.revision = a.view.members[me.id]
	}
	for p, h := range a.holds {
		me.holds[p] = hold{fence: h.c.fence, memberRevision: h.c.memberRevision}
		if slices.Contains(a.releasing, h.c) {
			me.holds[p] = hold{fence: h.c.fence, memberRevision: h.c.memberRevision, stage: beingReleased}
		}
	}
	return me
}

// decide looks at the group and does what is to be done.
func (a *subscription) decide(ctx actor.Context) {
	if a.state == subLeaving {
		return
	}
	me := a.self()
	s := a.view.decide(me, time.Now())
	for _, p := range s.lost {
		a.lose(ctx, a.holds[p].c, messages.ErrFenced)
	}
	if a.state == subDraining { // it wants nothing more
		a.emptied(ctx)
		return
	}
	for _, p := range s.release {
		a.sub.shelf.release(a.holds[p].c)
	}
	if s.settings == putSettingsBack && a.settings == settingsLeft {
		a.putSettingsBack()
	}
	if s.assign != nil && a.giving == nil {
		a.assign(s.assign, s.moved, me.revision)
	}
	if len(s.claim) > 0 {
		a.claim(s.claim, me.revision)
	}
	for p, r := range s.revoke {
		a.revoke(p, r, me.revision)
	}
	if len(s.orphans) > 0 {
		a.forsake(s.orphans)
	}
	if a.alarm != nil {
		a.alarm()
		a.alarm = nil
	}
	if s.again > 0 {
		a.alarm = a.host.After(s.again, decideAgain{})
	}
	a.settle(ctx, me)
}

// settle answers who subscribed, once the group has thought of this member and
// each partition of its share is claimed, or known to be another's.
func (a *subscription) settle(ctx actor.Context, me self) {
	if a.state != subEntering || me.revision == 0 {
		return
	}
	if _, named := a.view.plan.named[me.id]; me.manual == nil && !named {
		return
	}
	for _, p := range a.view.wanted(me) {
		if _, out := a.out[p]; a.holds[p] == nil && !out && !a.view.taken(me, p) {
			return
		}
	}
	a.state = subscriptionMoves.To(ctx, a.state, subInside)
	if a.sub.announced.CompareAndSwap(false, true) {
		a.eng.hub.emit(messages.Subscribed{Topic: a.sub.path.name, Group: a.sub.cfg.Group, Member: a.sub.cfg.ID})
		ctx.Send(a.asker, &subscribed{})
	}
}

// me is this member as transactions compare it.
func (a *subscription) me(revision int64) commitlog.Me {
	return commitlog.Me{
		Topic: a.sub.path.info(), Group: a.sub.cfg.Group, Member: a.sub.cfg.ID,
		MemberRevision: revision, Lease: clientv3.LeaseID(a.eng.lease.Load()),
	}
}

// consume begins the handlers of a Consume.
func (a *subscription) consume(ctx actor.Context, c *recordConsumption) {
	if a.begun == c {
		return // begun by this incarnation already, as an earlier one's
	}
	a.begun = c
	c.running.Store(int64(a.sub.cfg.Concurrency))
	for range a.sub.cfg.Concurrency {
		if _, err := ctx.SpawnNamed(supervisor.Props(newHandler(c)), a.eng.name("handler", "")); err != nil {
			supervisor.Fail(ctx, err)
		}
	}
}
