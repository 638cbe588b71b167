package members

// One process's place in a group: its key, a link to every sender, and the
// handlers of Consume.

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/pipes/internal/plain"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
)

// member watches the destination's senders and keeps a source for each.
//
//	entering ──keys written, senders tried──▶ inside ──drain, retire──▶ leaving ──key gone──▶ (stopped)
//	    └────────refused, retire─────────────────────────────────────────▲
type member struct {
	node  *node.Node
	m     *Member
	asker *actor.PID // waits for the first join

	host     supervisor.Host
	state    memberState
	write    *node.KeyWrite
	listed   bool                // the first snapshot of senders has come
	told     bool                // whether the group is paused is known
	untried  map[string]struct{} // senders of that snapshot not heard of yet
	sources  map[string]*peer
	inlets   map[string]*actor.PID // of plain peers, by URL
	leavers  []*actor.PID          // wait for the sources to be gone
	begun    *recvq.Consumption    // whose handlers this incarnation began
	handlers *worker.Handlers
}

// peer is one sender and the source that links to it.
type peer struct {
	listed  listing
	pid     *actor.PID
	refused bool // it was given up: only news of the sender begin it again
}

type memberState string

const entering, inside, leaving memberState = "entering", "inside", "leaving"

var memberMoves = supervisor.Moves[memberState]{
	"":       {entering},
	entering: {inside, leaving},
	inside:   {leaving},
}

// readerLinger is how long deliveries wait for the next loop after one ended,
// before they go back to their senders.
const readerLinger = time.Second

// Questions, replies and facts of a member.
type (
	joinWritten    struct{ err error }
	memberKeysGone struct{}
	// drain asks for an orderly end; drained is the reply.
	drain struct{}
	// retire asks for the end: the key is removed, and the actor stops.
	retire struct{}
	// leaveUnasked asks to drain and retire by itself: who wants it cannot wait for it.
	leaveUnasked struct{}
	drained      struct{}
	// pauseSeen is what etcd shows of the group's pause.
	pauseSeen  struct{ e discovery.WatchEvent }
	readerGone struct{ reads uint64 }
	lingered   struct{ reads uint64 }
	// consume asks for handlers around c; consumed is the reply when all have ended.
	consume struct{ c *recvq.Consumption }
)

func newMember(n *node.Node, m *Member, asker *actor.PID) actor.Producer {
	return func() actor.Actor {
		return &member{
			node: n, m: m, asker: asker,
			untried: make(map[string]struct{}), sources: make(map[string]*peer),
		}
	}
}

func (a *member) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case joinWritten:
		a.written(ctx, m.err)
	case discovery.Snapshot:
		a.snapshot(ctx, m)
	case discovery.Delta:
		a.delta(ctx, m)
	case pauseSeen:
		a.pauseSeen(ctx, m.e)
	case discovery.Delayed: // etcd is away: what is known stays
	case discovery.Refused:
		a.ended(ctx, m.Err)
	case *sourceTried:
		a.tried(ctx, m.id, m.err)
	case *plain.Tried:
		a.tried(ctx, m.URL, m.Err)
	case *supervisor.Failed:
		a.failed(ctx, m)
	case *actor.Terminated:
		a.terminated(ctx, m.Who)
	case *readerGone:
		a.readerGone(ctx, m.reads)
	case lingered:
		a.lingered(m.reads)
	case *consume:
		a.consume(ctx, m.c)
	case *drain:
		a.drain(ctx, ctx.Sender())
	case *leaveUnasked:
		a.drain(ctx, ctx.Self())
	case *drained:
		a.m.in.Leave(recvq.Left, nil)
		a.m.left()
		a.retire(ctx) // nobody else asked
	case *retire:
		a.retire(ctx)
	case memberKeysGone:
		a.m.removal.Settle()
		ctx.Stop(ctx.Self())
	case *supervisor.Ended:
		a.ended(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Restarting:
		a.host.End()
		a.drainAgain(ctx)
	case *actor.Stopping:
		a.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

// becomes moves to a state, and notes it for whoever asks for the health.
func (a *member) becomes(ctx actor.Context, next memberState) {
	a.state = memberMoves.To(ctx, a.state, next)
	switch next {
	case entering:
		a.m.role.Is(messages.RoleStarting)
	case inside:
		a.m.role.Is(messages.RoleEstablished)
	case leaving:
		a.m.role.Ends(a.m.in.Cause())
	}
}

func (a *member) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.becomes(ctx, entering)
	n, m, cfg := a.node, a.m, a.m.cfg
	a.write = node.BeginWrite(a.host.Context())
	write := a.write
	supervisor.Call(&a.host, "join", func(context.Context) joinWritten {
		return joinWritten{write.Do(func(ctx context.Context) error { return m.writeKeys(ctx) })}
	})
	a.plug(ctx)
	tell := a.host.Teller()
	a.host.AtEnd(n.Watches.Watch(n.Keys.Senders(cfg.Destination), func(e discovery.WatchEvent) { tell(e) }))
	a.host.AtEnd(n.Watches.Watch(n.Keys.Paused(cfg.Destination, cfg.Group), func(e discovery.WatchEvent) { tell(pauseSeen{e}) }))
	if c := m.in.Consumption(); c != nil {
		a.consume(ctx, c) // an earlier incarnation's handlers ended with it
	}
}

func (a *member) written(ctx actor.Context, err error) {
	if a.state == leaving {
		return // cut short
	}
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	a.m.written.Store(true)
	a.settle(ctx)
}

// ended: a watch is refused. Whoever waits for the join is told; later it is
// tried again.
func (a *member) ended(ctx actor.Context, err error) {
	switch {
	case err == nil:
	case a.m.announced.Load():
		supervisor.Fail(ctx, err)
	default:
		a.refuse(ctx, err)
	}
}

// refuse ends a membership that cannot be, and tells who asked for it.
func (a *member) refuse(ctx actor.Context, err error) {
	supervisor.Notify(ctx, a.asker, err)
	a.m.in.Leave(recvq.Left, err)
	a.retire(ctx)
}

// retire takes the member's key away, which nobody else would, and stops.
func (a *member) retire(ctx actor.Context) {
	if a.state != leaving {
		a.becomes(ctx, leaving)
	}
	m, write := a.m, a.write
	supervisor.Call(&a.host, "remove key", func(ctx context.Context) memberKeysGone {
		write.Cut()
		ctx, cancel := context.WithTimeout(ctx, node.StopGrace)
		defer cancel()
		_ = m.removal.Of(func() error { return m.removeKeys(ctx) }) // what is left ends with the lease
		return memberKeysGone{}
	})
}

// settle replies to who joined, once the key is written and each sender of the
// first snapshot was tried.
func (a *member) settle(ctx actor.Context) {
	if a.state != entering || !a.listed || !a.told || !a.m.written.Load() || len(a.untried) > 0 {
		return
	}
	a.becomes(ctx, inside)
	if a.m.announced.CompareAndSwap(false, true) {
		supervisor.Notify(ctx, a.asker, &joined{})
	}
}

func (a *member) snapshot(ctx actor.Context, s discovery.Snapshot) {
	seen := make(map[string]struct{})
	for _, kv := range s.KVs {
		if sender := a.parse(kv); sender != nil {
			seen[sender.Id] = struct{}{}
			if !a.listed {
				a.untried[sender.Id] = struct{}{}
			}
			a.see(ctx, sender)
		}
	}
	for id, p := range a.sources {
		if _, ok := seen[id]; !ok {
			a.unlist(ctx, p)
		}
	}
	a.listed = true
	a.count()
	a.settle(ctx)
}

// count notes how many senders there are to link.
func (a *member) count() {
	senders := len(a.m.cfg.PlainURLs)
	for _, p := range a.sources {
		if p.listed.Load() != nil {
			senders++
		}
	}
	a.m.role.Wants.Store(int64(senders))
}

// pauseSeen obeys the pause of the group.
func (a *member) pauseSeen(ctx actor.Context, e discovery.WatchEvent) {
	cfg, in := a.m.cfg, a.m.in
	var there []discovery.KV
	switch m := e.(type) {
	case discovery.Snapshot:
		there, a.told = m.KVs, true
	case discovery.Delta: // a key that was deleted and came back is in both
		there = m.Puts
	case discovery.Refused:
		a.ended(ctx, m.Err)
		return
	default:
		return
	}
	switch {
	case len(there) > 0 && in.Pause(recvq.ByGroup):
		a.node.Events.Emit(messages.GroupPaused{
			Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID, Until: messages.PauseUntil(there[0].Value),
		})
	case len(there) == 0 && in.Resume(recvq.ByGroup):
		a.node.Events.Emit(messages.GroupResumed{Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID})
	}
	a.settle(ctx)
}

// delta applies deletes first: a key that was deleted and came back is in both.
func (a *member) delta(ctx actor.Context, d discovery.Delta) {
	for _, kv := range d.Deletes {
		if k, ok := a.node.Keys.Parse(kv.Key); ok && a.sources[k.ID] != nil {
			a.unlist(ctx, a.sources[k.ID])
		}
	}
	for _, kv := range d.Puts {
		if sender := a.parse(kv); sender != nil {
			a.see(ctx, sender)
		}
	}
	a.count()
}

func (a *member) unlist(ctx actor.Context, p *peer) {
	p.listed.Store(nil)
	supervisor.Notify(ctx, p.pid, &senderChanged{})
}

func (a *member) parse(kv discovery.KV) *pb.Sender {
	k, ok := a.node.Keys.Parse(kv.Key)
	if !ok || k.Kind != keys.KindSender {
		return nil
	}
	sender := &pb.Sender{}
	if proto.Unmarshal(kv.Value, sender) != nil || sender.Id != k.ID || sender.Plain {
		return nil
	}
	return sender
}

// see links to a sender, or tells its source that it is still wanted.
func (a *member) see(ctx actor.Context, sender *pb.Sender) {
	if a.state == leaving {
		return
	}
	p, ok := a.sources[sender.Id]
	if !ok {
		p = &peer{}
		a.sources[sender.Id] = p
		p.listed.Store(sender)
		a.link(ctx, sender.Id, p)
		return
	}
	p.listed.Store(sender)
	p.refused = false
	supervisor.Notify(ctx, p.pid, &senderChanged{})
}

func (a *member) link(ctx actor.Context, id string, p *peer) {
	pid, err := ctx.SpawnNamed(supervisor.Props(newSource(a.node, a.m, &p.listed)), a.node.Name("link", id))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	p.pid = pid
}

func (a *member) tried(ctx actor.Context, id string, err error) {
	if errors.Is(err, messages.ErrGroupMode) && a.state == entering {
		a.refuse(ctx, err)
		return
	}
	delete(a.untried, id)
	a.settle(ctx)
}

// failed hears of a child that was given up: a sender that has the group with
// another mode.
func (a *member) failed(ctx actor.Context, m *supervisor.Failed) {
	a.node.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err})
	for _, p := range a.sources {
		if p.pid.Equal(m.Who) {
			p.refused = true
		}
	}
}

func (a *member) terminated(ctx actor.Context, who *actor.PID) {
	if a.handlers.Terminated(ctx, who) {
		return
	}
	a.unplugged(ctx, who)
	for id, p := range a.sources {
		switch {
		case !p.pid.Equal(who):
		case a.state != leaving && !p.refused && p.listed.Load() != nil:
			a.link(ctx, id, p) // the sender came back while its source was ending
		default:
			delete(a.sources, id)
			a.tried(ctx, id, nil)
		}
	}
	if a.state == leaving && len(a.sources)+len(a.inlets) == 0 {
		a.finish(ctx)
	}
}

// readerGone waits a little for the next reader. While the member leaves there
// will be none: what is left goes back at once.
func (a *member) readerGone(ctx actor.Context, reads uint64) {
	if a.state != leaving {
		a.host.After(readerLinger, lingered{reads})
		return
	}
	a.endUnread(ctx)
}

// lingered sends back what nobody came to read: the senders deliver it to others.
// What is in hand stays there.
func (a *member) lingered(reads uint64) {
	if !a.m.in.UnreadSince(reads) {
		return
	}
	why := "nobody reads"
	if a.m.in.Paused() {
		why = recvq.WhyPaused
	}
	a.m.in.Yield(why)
}

// endUnread lets the links end as far as nobody reads: what waits goes back, what
// is in hand may still be settled.
func (a *member) endUnread(ctx actor.Context) {
	if !a.m.in.Busy() {
		a.m.in.Yield("the member leaves")
	}
	for _, p := range a.sources {
		supervisor.Notify(ctx, p.pid, &drainSource{})
	}
	for _, pid := range a.inlets {
		supervisor.Notify(ctx, pid, &plain.Drain{})
	}
}

// drain ends the membership in order: with a reader, what has come is handled
// first, and what is in hand is waited for, until AckWait; without both there is
// nothing to wait for.
func (a *member) drain(ctx actor.Context, asker *actor.PID) {
	if asker != nil {
		a.leavers = append(a.leavers, asker)
	}
	if a.state != leaving {
		a.becomes(ctx, leaving)
	}
	a.m.in.Leave(recvq.Leaving, nil)
	a.endUnread(ctx)
	if len(a.sources)+len(a.inlets) == 0 {
		a.finish(ctx)
	}
}

// drainAgain leaves a drain to the next incarnation.
func (a *member) drainAgain(ctx actor.Context) {
	for _, leaver := range a.leavers {
		if leaver.Equal(ctx.Self()) {
			supervisor.Notify(ctx, leaver, &leaveUnasked{})
			continue
		}
		supervisor.Notify(ctx, leaver, node.ErrAskAgain)
	}
}

func (a *member) finish(ctx actor.Context) {
	for _, leaver := range a.leavers {
		supervisor.Notify(ctx, leaver, &drained{})
	}
	a.leavers = nil
}

// consume begins the handlers of a Consume.
func (a *member) consume(ctx actor.Context, c *recvq.Consumption) {
	if a.begun == c {
		return // begun by this incarnation already, as an earlier one's
	}
	a.begun = c
	in := a.m.in
	a.host.Run("await the end of consuming", func(ctx context.Context) error {
		select {
		case <-c.Context().Done():
			in.Over(c)
		case <-c.Over():
		case <-ctx.Done():
		}
		return nil
	})
	c.Expect(a.m.cfg.Concurrency)
	a.handlers = worker.BeginHandlers(ctx, a.node, c, a.m.cfg.Concurrency)
}
