package plain

// The pipe of a destination's plain listener: one group of peers that nobody joined.

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// Outlet is what the actor of a plain listener is made of. It is not written to.
type Outlet struct {
	Node     *node.Node
	Queue    *sendq.Queue
	Listener *nanomsg.Listener
	// Settings are the policy of the peers' queue, and how long it is kept without a peer.
	Settings messages.GroupSettings
}

// Moved tells an outlet's parent that its listener's URLs may be others.
type Moved struct{}

// outlet accepts peers, and keeps their queue as the actor of a pipe keeps a group's.
//
//	vacant ──peer──▶ attended ──last peer gone──▶ deserted ──peer──▶ attended
//	   ▲                                              │
//	   └──────────────── KeepFor is over ─────────────┘
//
// Vacant, it has no queue: Send goes by without it.
type outlet struct {
	*Outlet

	host  supervisor.Host
	state outletState
	queue *sendq.Backlog // nil while vacant
	peers map[string]*actor.PID
	keeps uint64 // number of the wait for KeepFor that counts
}

type outletState string

const vacant, attended, deserted outletState = "vacant", "attended", "deserted"

var outletMoves = supervisor.Moves[outletState]{
	"":       {vacant, deserted},
	vacant:   {attended},
	attended: {deserted},
	deserted: {attended, vacant},
}

// What an outlet tells itself.
type (
	peerCame struct{ conn *nanomsg.Puller }
	keepOver struct{ number uint64 }
	lookDue  struct{}
	looked   struct{ changed bool }
)

// lookEvery is how often it is looked whether this machine still has the addresses that
// are advertised.
const lookEvery = 5 * time.Second

// NewOutlet makes the actor of a plain listener, which outlives it.
func NewOutlet(o *Outlet) actor.Producer {
	return func() actor.Actor { return &outlet{Outlet: o, peers: make(map[string]*actor.PID)} }
}

func (a *outlet) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case peerCame:
		a.came(ctx, m.conn)
	case *actor.Terminated:
		a.gone(ctx, m.Who)
	case *supervisor.Failed:
		a.Node.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err}) // a peer's; the peer dials again
	case keepOver:
		a.keepOver(ctx, m.number)
	case lookDue:
		a.look()
	case looked:
		a.host.After(lookEvery, lookDue{})
		if m.changed {
			supervisor.Notify(ctx, ctx.Parent(), &Moved{})
		}
	case *supervisor.Ended:
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

// started takes up the queue that an earlier incarnation left.
func (a *outlet) started(ctx actor.Context) {
	a.host.Begin(ctx)
	for _, b := range a.Queue.Backlogs() {
		if b.Plain() {
			a.queue = b
		}
	}
	if a.queue == nil {
		a.become(ctx, vacant)
	} else {
		a.become(ctx, deserted)
	}
	a.host.After(lookEvery, lookDue{})
	l, tell := a.Listener, a.host.Teller()
	a.host.Run("accept", func(ctx context.Context) error { return accept(ctx, l, tell) })
}

// become moves to a state, and does what every way into it has in common.
func (a *outlet) become(ctx actor.Context, next outletState) {
	a.state = outletMoves.To(ctx, a.state, next)
	a.keeps++
	if keep := a.Settings.KeepFor; next == deserted && keep != messages.Forever {
		a.host.After(keep, keepOver{a.keeps})
	}
}

// accept hands over peers until ctx ends or the listener does. It runs hosted.
func accept(ctx context.Context, l *nanomsg.Listener, tell func(any)) error {
	for {
		conn, err := l.Accept(ctx)
		if err != nil {
			return nil //nolint:nilerr // the listener has ended, which whoever closed it knows, or this actor
		}
		tell(peerCame{conn})
	}
}

// came gives a peer a link, and the first one a queue.
func (a *outlet) came(ctx actor.Context, conn *nanomsg.Puller) {
	if a.queue == nil {
		a.queue = a.Queue.Backlog(messages.PlainGroup, a.Settings)
	}
	name := a.Node.Name("peer", conn.RemoteAddr())
	pid, err := ctx.SpawnNamed(supervisor.Props(newPeer(a.Queue, a.queue, conn), supervisor.WithPolicy(supervisor.Policy{Default: supervisor.Terminate})), name)
	if err != nil {
		conn.Close()
		return
	}
	a.peers[pid.Id] = pid
	if a.state != attended {
		a.become(ctx, attended)
	}
}

func (a *outlet) gone(ctx actor.Context, who *actor.PID) {
	if a.peers[who.Id] == nil {
		return
	}
	delete(a.peers, who.Id)
	if len(a.peers) == 0 {
		a.become(ctx, deserted)
	}
}

// keepOver gives up what waits for a peer: none has come for too long.
func (a *outlet) keepOver(ctx actor.Context, number uint64) {
	if number != a.keeps || a.state != deserted {
		return
	}
	n, bytes := a.Queue.Remove(a.queue)
	a.queue = nil
	a.Node.Events.Emit(messages.GroupRemoved{Destination: a.Queue.Name(), Group: messages.PlainGroup, Unsent: n, Bytes: int64(bytes)})
	a.become(ctx, vacant)
}

// look asks the system for this machine's addresses.
func (a *outlet) look() {
	l := a.Listener
	supervisor.Call(&a.host, "look", func(context.Context) looked { return looked{l.Look()} })
}
