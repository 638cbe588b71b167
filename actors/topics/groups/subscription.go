package groups

// One process's place in a topic's consumer group: its key, its part of the
// group's coordination, its claims and all commits to them.

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/topics/internal/peers"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/rebalance"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// subscription watches its group, performs what rebalance.View.Decide says, and keeps
// a consumer for each claim. How is in subscription_claims.go, what is committed
// in subscription_commit.go, how it ends in subscription_end.go.
//
//	entering ──share claimed──▶ inside ──drain──▶ draining ──all released──▶ leaving ──key gone──▶ (stopped)
//	    └───refused, retire───────┴──retire, topic gone──┴───────────────────▲
type subscription struct {
	env   *topiclog.Env
	sub   *Subscription
	asker *actor.PID // waits for the first share

	host      supervisor.Host
	state     subscriptionState
	write     *node.KeyWrite
	begun     *prefetch.Consumption // whose handlers this incarnation began
	handlers  *worker.Handlers
	moving    *node.KeyWrite // where its process is found now, or nil
	leaving   *node.KeyWrite // that this member leaves, or nil
	view      *rebalance.View
	holds     map[int]*holding
	busy      map[int]struct{}             // partitions that a claim or revocation is under way for
	claiming  int                          // claims under way
	troubled  int                          // times that etcd kept it from coming in
	raced     int                          // times in a row that etcd was ahead of the watch
	held      map[int]int64                // see rebalance.Member.Others
	out       map[int]struct{}             // partitions of ours whose log is damaged
	assigning *pb.Assignment               // being written, or nil
	settings  settingsWork                 // put back, when somebody deletes them
	alarm     func()                       // stops the timer of what time alone changes
	watched   map[string]rebalance.Process // whom it wants watched; nil before it said so
	dead      map[string]int64             // see rebalance.Member.Dead
	burying   map[string]struct{}          // and Burying

	lending   lendingState
	unlend    context.CancelFunc // ends the loop that lends, or nil
	settles   bool               // what was lent and not handled
	settling  settling
	idle      []*prefetch.Claim // to be released
	releasing []*prefetch.Claim // being released
	commits   commits
}

// holding is a claim and its consumer.
type holding struct {
	c   *prefetch.Claim
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

// Questions, replies and facts of a subscription.
type (
	subscribed      struct{}
	subscribeResult struct{ err error }
	assigned        struct {
		of    *pb.Assignment
		moved int
		err   error
	}
	// idle: nobody has a claim in hand that is to be released.
	idle        struct{ c *prefetch.Claim }
	decideAgain struct{}
	usableAgain struct{ p int }
	leaveTold   struct{}
	drainLate   struct{}
	subKeyGone  struct{}
	// drain asks for an orderly end; drained is the reply.
	drain   struct{}
	drained struct{}
	// retire asks for the end: what is held is given up, and the actor stops.
	retire struct{}
	// leaveUnasked asks to drain and retire by itself: who wants it cannot wait for it.
	leaveUnasked struct{}
	// consumeRecords asks for handlers around c.
	consumeRecords struct{ c *prefetch.Consumption }
)

func newSubscription(env *topiclog.Env, s *Subscription, asker *actor.PID) actor.Producer {
	return func() actor.Actor {
		return &subscription{
			env: env, sub: s, asker: asker, view: rebalance.NewView(),
			holds: make(map[int]*holding), busy: make(map[int]struct{}), held: make(map[int]int64), out: make(map[int]struct{}),
			dead: make(map[string]int64), burying: make(map[string]struct{}),
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
	case discovery.WatchEvent:
		a.seen(ctx, m)
	case *topiclog.Changed:
		a.topicChanged(ctx)
	case decideAgain:
		a.decide(ctx)
	case usableAgain:
		a.usableAgain(ctx, m.p)
	case settingsWritten:
		a.settingsWritten(ctx, m)
	case assigned:
		a.assigned(ctx, m)
	case *peers.Ended:
		a.processEnded(ctx, m.Token)
	case *peers.Moved:
		a.move()
	case relisted:
		a.relisted(m)
	case buried:
		a.buried(ctx, m)
	case claimsMade:
		a.claimed(ctx, m)
	case revoked:
		a.revoked(ctx, m)
	case orphansReleased:
		a.releasedOrphans(ctx, m)
	case *idle:
		a.release(ctx, m.c)
	case settled:
		a.settled(m)
	case claimsReleased:
		a.released(ctx, m)
	case commitTick, commitWanted:
		a.commit(ctx)
	case *commitNow:
		a.commitNow(ctx, m)
	case commitDone:
		a.commitDone(ctx, m)
	case *mayMove:
		a.mayMove(ctx, m)
	case *moved:
		a.moved(ctx, m)
	case tripped:
		a.trip(m.Tripped)
	case lendingBegun:
		a.lendingBegun(m)
	case lendAgain:
		a.lend()
	case leaseDoubted:
		a.leaseDoubted()
	case *seekIn:
		a.seek(ctx, m)
	case *consumeRecords:
		a.consume(ctx, m.c)
	case *drain:
		a.drain(ctx, ctx.Sender())
	case *leaveUnasked:
		a.drain(ctx, ctx.Self())
	case *drained:
		a.sub.left()
		a.retire(ctx) // nobody else asked
	case drainLate:
		a.drainLate(ctx)
	case *retire:
		a.retire(ctx)
	case subKeyGone:
		a.sub.removal.Settle()
		ctx.Stop(ctx.Self())
	case *supervisor.Failed:
		a.env.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
	case *actor.Terminated:
		if !a.handlers.Terminated(ctx, m.Who) {
			a.terminated(ctx, m.Who)
		}
	case *supervisor.Ended:
		a.ended(ctx, m)
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.host.End()
		a.dismiss(ctx, errRestarted)
	case *actor.Stopping:
		a.host.End()
		a.dismiss(ctx, messages.ErrClosed)
		for _, leaver := range a.sub.takeLeavers() {
			supervisor.Notify(ctx, leaver, &drained{})
		}
	default:
		supervisor.Unhandled(ctx)
	}
}

// becomes moves to a state, and notes it for whoever asks for the health.
func (a *subscription) becomes(ctx actor.Context, next subscriptionState) {
	a.state = subscriptionMoves.To(ctx, a.state, next)
	switch next {
	case subEntering:
		a.sub.role.Is(messages.RoleStarting)
	case subInside:
		a.sub.role.Is(messages.RoleEstablished)
	case subDraining, subLeaving:
		a.sub.role.Ends(a.sub.buffer.Cause())
	}
}

func (a *subscription) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.becomes(ctx, subEntering)
	env, sub := a.env, a.sub
	a.write = node.BeginWrite(a.host.Context())
	write := a.write
	supervisor.Call(&a.host, "join", func(context.Context) subscribeResult {
		return subscribeResult{write.Do(func(ctx context.Context) error { return sub.writeKeys(ctx) })}
	})
	tell := a.host.Teller()
	watch := discovery.NewWatch(env.Etcd.Watch, env.Keys.ConsumerGroup(sub.path.ID, sub.cfg.Group), discovery.WatchConfig{})
	a.host.Run("watch group", func(ctx context.Context) error {
		return watch.Run(ctx, func(e discovery.WatchEvent) { tell(e) })
	})
	a.host.Every(sub.cfg.CommitEvery, commitTick{})
	for _, c := range sub.buffer.Claims() { // of an earlier incarnation
		a.hold(ctx, c)
	}
	if len(a.holds) > 0 {
		a.lend()
	}
	if c := sub.consumption(); c != nil {
		a.consume(ctx, c)
	}
	if sub.isLeaving() {
		a.drain(ctx, nil)
	}
	if sub.async.waits() {
		supervisor.Notify(ctx, ctx.Self(), commitWanted{}) // an earlier incarnation may have taken the word
	}
	if sub.path.Ended() != nil {
		a.topicChanged(ctx) // an earlier actor was told, and ended before it heard
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
	a.move() // it may have moved meanwhile
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
	case m.Name == lendCall:
		a.lendEnded(ctx, err)
	case m.Name == settleLentCall:
		a.settleLentEnded(ctx, err)
	case a.sub.announced.Load():
		supervisor.Fail(ctx, err)
	default:
		a.refuse(ctx, err)
	}
}

// refuse ends a subscription that cannot be, and tells who asked for it.
func (a *subscription) refuse(ctx actor.Context, err error) {
	if a.sub.announced.CompareAndSwap(false, true) {
		supervisor.Notify(ctx, a.asker, err)
	}
	a.sub.buffer.Leave(prefetch.Left, err)
	a.retire(ctx)
}

func (a *subscription) seen(ctx actor.Context, e discovery.WatchEvent) {
	a.raced = 0
	now := time.Now()
	switch m := e.(type) {
	case discovery.Snapshot:
		a.view.Begin(m.Revision, groupFacts(a.env.Keys, m.KVs), now)
		if m.Reset {
			a.setBack(ctx, m.Revision)
		}
	case discovery.Delta:
		a.view.Change(m.Revision, groupGone(a.env.Keys, m.Deletes), groupFacts(a.env.Keys, m.Puts), now)
	}
	a.obeyPause()
	a.decide(ctx)
}

// obeyPause hands out nothing while the group is paused.
func (a *subscription) obeyPause() {
	cfg := a.sub.cfg
	value, paused := a.view.Paused()
	switch {
	case !a.sub.buffer.PauseGroup(paused):
	case paused:
		a.recallAll()
		a.env.Events.Emit(messages.GroupPaused{Topic: cfg.Topic, Group: cfg.Group, Member: cfg.ID, Until: messages.PauseUntil(value)})
	default:
		a.env.Events.Emit(messages.GroupResumed{Topic: cfg.Topic, Group: cfg.Group, Member: cfg.ID})
	}
}

// setBack forgets what cannot be in an etcd that has only come that far: it was
// restored or replaced, and its revisions may take long to grow to where they
// were.
func (a *subscription) setBack(ctx actor.Context, revision int64) {
	clear(a.dead)
	maps.DeleteFunc(a.held, func(_ int, r int64) bool { return r > revision })
	for _, h := range a.holds {
		if h.c.Fence > revision && !slices.Contains(a.releasing, h.c) {
			a.lose(ctx, h.c, messages.ErrFenced)
		}
	}
}

func (a *subscription) topicChanged(ctx actor.Context) {
	if err := a.sub.path.Ended(); err != nil {
		if a.state != subLeaving {
			a.refuse(ctx, err)
		}
		return
	}
	a.decide(ctx)
}

// member is what this member knows of itself.
func (a *subscription) member() rebalance.Member {
	me := rebalance.Member{
		ID: a.sub.cfg.ID, Manual: a.sub.cfg.Partitions, Partitions: a.sub.path.Partitions(),
		Holds: make(map[int]rebalance.Hold), Busy: a.busy, Others: a.held, RevokeTimeout: a.sub.cfg.RevokeTimeout,
		Process: a.sub.peers.Token(), Dead: a.dead, Burying: a.burying,
	}
	if a.sub.written.Load() {
		me.Revision = a.view.MemberRevision(me.ID)
	}
	for p, h := range a.holds {
		me.Holds[p] = rebalance.Hold{Fence: h.c.Fence, MemberRevision: h.c.MemberRevision, Releasing: slices.Contains(a.releasing, h.c)}
	}
	return me
}

// decide looks at the group and does what is to be done.
func (a *subscription) decide(ctx actor.Context) {
	if a.state == subLeaving {
		return
	}
	me := a.member()
	a.sub.role.Wants.Store(int64(len(a.view.Wanted(me))))
	a.watch(ctx, me)
	s := a.view.Decide(me, time.Now())
	for _, id := range s.Bury {
		a.bury(id, me.Revision)
	}
	for _, p := range s.Lost {
		a.lose(ctx, a.holds[p].c, messages.ErrFenced)
	}
	if a.state == subDraining { // it wants nothing more
		a.emptied(ctx)
		return
	}
	for _, p := range s.Release {
		a.giveUp(a.holds[p].c)
	}
	if s.RestoreSettings && a.settings == settingsLeft {
		a.putSettingsBack()
	}
	if s.Assign != nil && a.assigning == nil {
		a.assign(s.Assign, s.Moved, me.Revision)
	}
	if len(s.Claim) > 0 {
		a.claim(s.Claim, me.Revision)
	}
	for p, r := range s.Revoke {
		a.revoke(p, r, me.Revision)
	}
	if len(s.Orphans) > 0 {
		a.releaseOrphans(s.Orphans)
	}
	if a.alarm != nil {
		a.alarm()
		a.alarm = nil
	}
	if s.Again > 0 {
		a.alarm = a.host.After(s.Again, decideAgain{})
	}
	a.settle(ctx, me)
}

// settle replies to who subscribed, once the group has thought of this member and
// each partition of its share is claimed, or known to be another's.
func (a *subscription) settle(ctx actor.Context, me rebalance.Member) {
	if a.state != subEntering || me.Revision == 0 {
		return
	}
	if me.Manual == nil && !a.view.Named(me.ID) {
		return
	}
	for _, p := range a.view.Wanted(me) {
		if _, out := a.out[p]; a.holds[p] == nil && !out && !a.view.Taken(me, p) {
			return
		}
	}
	a.becomes(ctx, subInside)
	if a.sub.announced.CompareAndSwap(false, true) {
		a.env.Events.Emit(messages.Subscribed{Topic: a.sub.path.Name, Group: a.sub.cfg.Group, Member: a.sub.cfg.ID})
		supervisor.Notify(ctx, a.asker, &subscribed{})
	}
}

// me is this member as transactions compare it.
func (a *subscription) me(revision int64) commitlog.Me { return a.sub.me(revision) }

func (s *Subscription) me(revision int64) commitlog.Me {
	return commitlog.Me{
		Topic: s.path.Info(), Group: s.cfg.Group, Member: s.cfg.ID,
		MemberRevision: revision, Lease: clientv3.LeaseID(s.env.Lease.Load()),
	}
}

// consume begins the handlers of a Consume.
func (a *subscription) consume(ctx actor.Context, c *prefetch.Consumption) {
	if a.begun == c {
		return // begun by this incarnation already, as an earlier one's
	}
	a.begun = c
	c.SetWorkers(a.sub.cfg.Workers())
	a.handlers = worker.BeginHandlers(ctx, a.env.Node, c, a.sub.cfg.Workers())
}
