package topiclog

// A topic in this process: it follows the topic's settings and its index, and
// keeps the partitions that are in use.

import (
	"context"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// topic watches its key, and, once somebody reads, the index of all its
// partitions: one watch, however many partitions there are.
//
//	open ──key gone, or another topic's──▶ gone ──▶ (stopped)
type topic struct {
	env      *Env
	path     *Topic
	host     supervisor.Host
	state    topicState
	children map[int]*actor.PID
	follow   followState
	opened   discovery.Opened // where the index is followed from; zero before it is
	// wanted is where to look next, looking where it is under way.
	wanted, looking []*lookWanted
}

type topicState string

const topicOpen, topicGone topicState = "open", "gone"

var topicMoves = supervisor.Moves[topicState]{
	"":        {topicOpen},
	topicOpen: {topicGone},
}

// followState says whether the index is followed.
type followState string

const notFollowing, following followState = "not following", "following"

// What a topic hears.
type (
	// partitionWanted: somebody uses a partition that nobody used before.
	partitionWanted struct{ part *Partition }
	// PartitionMail is for a partition that has no actor yet.
	PartitionMail struct {
		Part *Partition
		Mail any
	}
	// Changed tells the parent of new settings, or of the topic's end.
	Changed struct{ Path *Topic }
	// readerCame: somebody reads, so the index is to be followed.
	readerCame struct{}
	// lookWanted: a partition's reader must know where the log ends.
	lookWanted struct {
		part *Partition
		pid  *actor.PID // gets *looked
		from snapshot
	}
	// lookDone is the end of a look, with a reply for each that wanted it.
	lookDone struct{ replies []*looked }
)

// NewActor makes the actor of a topic.
func NewActor(path *Topic) actor.Producer {
	return func() actor.Actor {
		return &topic{env: path.Env, path: path, children: make(map[int]*actor.PID), follow: notFollowing}
	}
}

// Policy: bugs get a small budget, and etcd's moods are waited for.
func Policy() supervisor.Policy {
	waiting := supervisor.Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second, Factor: 2, Jitter: 0.5, Healthy: 10 * time.Second}
	panicked := supervisor.ForType[*supervisor.PanicError]()
	return supervisor.Policy{
		Rules: []supervisor.Rule{
			{If: func(err error) bool { return !panicked(err) }, Then: supervisor.Restart, Backoff: &waiting, Budget: &supervisor.Budget{}},
		},
		Default: supervisor.Restart,
		Backoff: supervisor.DefaultBackoff(),
		Budget:  supervisor.DefaultPolicy().Budget,
	}
}

func (a *topic) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *partitionWanted:
		a.partition(ctx, m.part)
	case *PartitionMail:
		ctx.RequestWithCustomSender(a.partition(ctx, m.Part), m.Mail, ctx.Sender())
	case *readerCame:
		a.followIndex()
	case *lookWanted:
		a.wanted = append(a.wanted, m)
		a.look()
	case lookDone:
		a.lookDone(ctx, m)
	case discovery.Snapshot:
		a.snapshot(ctx, m)
	case discovery.Delta:
		a.delta(ctx, m)
	case *listenerCame:
		a.listenerCame(ctx, m.pid)
	case discovery.Opened:
		a.indexOpened(ctx, m)
	case discovery.Heard:
		a.heard(ctx, m)
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *supervisor.Ended:
		a.ended(ctx, m)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (a *topic) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.state = topicMoves.To(ctx, a.state, topicOpen)
	tell := a.host.Teller()
	watch := discovery.NewKeyWatch(a.env.Etcd.Watch, a.env.Keys.Topic(a.path.Name), discovery.WatchConfig{})
	a.host.Run("watch settings", func(ctx context.Context) error {
		return watch.Run(ctx, func(e discovery.WatchEvent) { tell(e) })
	})
	for _, part := range a.path.used() {
		a.partition(ctx, part)
		if part.readers.Load() > 0 {
			a.followIndex()
		}
	}
}

// partition returns a partition's actor, begun when it is wanted first.
func (a *topic) partition(ctx actor.Context, part *Partition) *actor.PID {
	if pid := a.children[part.P]; pid != nil {
		return pid
	}
	pid, err := ctx.SpawnNamed(supervisor.Props(newPartition(part)), a.env.Name("partition", strconv.Itoa(part.P)))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	a.children[part.P] = pid
	part.PID.Store(pid)
	return pid
}

// terminated begins a partition again that somebody has stopped from outside: what
// was put waits in its path.
func (a *topic) terminated(ctx actor.Context, who *actor.PID) {
	for p, pid := range a.children {
		if !pid.Equal(who) || a.state != topicOpen {
			continue
		}
		a.env.Events.Emit(messages.ActorStopped{Actor: who.Id, Err: node.ErrOutside})
		delete(a.children, p)
		for _, part := range a.path.used() {
			if part.P == p {
				a.partition(ctx, part)
			}
		}
	}
}

func (a *topic) followIndex() {
	if a.follow == following {
		return
	}
	a.follow = following
	tell := a.host.Teller()
	index := discovery.NewFollow(a.env.Etcd.Watch, a.env.Keys.Indexes(a.path.ID), discovery.WatchConfig{})
	a.host.Run("follow index", func(ctx context.Context) error {
		return index.Run(ctx, func(e discovery.FollowEvent) { tell(e) })
	})
}

func (a *topic) tell(ctx actor.Context, m any) {
	for _, pid := range a.children {
		supervisor.Notify(ctx, pid, m)
	}
}

// heard hands news of the index to the partitions in use.
func (a *topic) heard(ctx actor.Context, m discovery.Heard) {
	news := make(map[int][]format.Entry)
	for _, kv := range m.Puts {
		p, e, ok := a.env.Log.ParseEntry(a.path.ID, kv.Key, kv.Value, kv.ModRevision)
		if ok && a.children[p] != nil {
			news[p] = append(news[p], e)
		}
	}
	for p, entries := range news {
		supervisor.Notify(ctx, a.children[p], &indexed{entries})
	}
	a.tellEdits(ctx, news)
}

func (a *topic) snapshot(ctx actor.Context, s discovery.Snapshot) {
	for _, kv := range s.KVs {
		if kv.Key == a.env.Keys.Topic(a.path.Name) {
			a.see(ctx, kv, s.Reset || s.Revision >= a.path.Info().ModRevision)
			return
		}
	}
	a.gone(ctx)
}

func (a *topic) delta(ctx actor.Context, d discovery.Delta) {
	key := a.env.Keys.Topic(a.path.Name)
	for _, kv := range d.Deletes {
		if kv.Key == key {
			a.gone(ctx)
			return
		}
	}
	for _, kv := range d.Puts {
		if kv.Key == key {
			a.see(ctx, kv, d.Revision >= a.path.Info().ModRevision)
		}
	}
}

// see takes in settings, unless this process knows newer ones; those of another
// topic under our name end this one. An etcd that was restored has settings of
// before, and they hold.
func (a *topic) see(ctx actor.Context, kv discovery.KV, newest bool) {
	info, err := format.ParseTopic(a.path.Name, kv.Value, kv.CreateRevision, kv.ModRevision)
	had := a.path.Info()
	switch {
	case err != nil:
		return // somebody else's bytes; the settings known hold
	case info.ID != a.path.ID:
		a.gone(ctx)
	case newest && info.ModRevision != had.ModRevision:
		a.path.Current.Store(&info)
		a.env.Events.Emit(messages.TopicUpdated{Topic: info.Name, Partitions: info.Config.Partitions})
		supervisor.Notify(ctx, ctx.Parent(), &Changed{a.path})
	}
}

// gone ends the topic for everybody who holds it.
func (a *topic) gone(ctx actor.Context) {
	if a.state == topicGone {
		return
	}
	a.state = topicMoves.To(ctx, a.state, topicGone)
	a.path.Close(messages.ErrTopicDeleted)
	a.env.Events.Emit(messages.TopicDeleted{Topic: a.path.Name, ID: a.path.ID})
	supervisor.Notify(ctx, ctx.Parent(), &Changed{a.path})
	ctx.Stop(ctx.Self())
}

// ended: a watch is refused. It is tried again later.
func (a *topic) ended(ctx actor.Context, m *supervisor.Ended) {
	if m.Err != nil {
		supervisor.Fail(ctx, m.Err)
	}
}
