package senders

// A sender of one destination: its keys in etcd, and a pipe for each group.

import (
	"context"
	"maps"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/plain"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/socket"
)

const codeGone = pb.Code_UNKNOWN_DESTINATION

// destination watches who wants its messages.
//
//	registering ──keys written, groups known──▶ serving ──retire──▶ retiring ──▶ (stopped)
//	     │                                         │ oust              ▲
//	     │                                         ▼                   │
//	     ├──oust─────────────────────────────▶ ousted ──delivered, or nobody left to deliver to
//	     └──refused──▶ (stopped)
//
// Ousted, somebody else has its place: it takes nothing new, no new member links,
// and what was accepted goes out over the links that live.
type destination struct {
	node  *node.Node
	d     *Destination
	asker *actor.PID // waits for the first registration

	host   supervisor.Host
	state  destState
	write  *node.KeyWrite
	listed bool // the first snapshot of groups has come
	groups map[string]*groupView
	pipes  map[string]*actor.PID
	rights map[string]discovery.KV // who may join, by key
	// generations of tokens, by group, as etcd has them; nil before they are known.
	generations map[string][]byte
	offers      map[*socket.Conn]string // given to the pipes of these groups, and not taken yet
	outlet      *actor.PID              // serves plain peers; nil without
}

type destState string

const registering, serving, ousted, retiring destState = "registering", "serving", "ousted", "retiring"

var destMoves = supervisor.Moves[destState]{
	"":          {registering},
	registering: {serving, ousted, retiring},
	serving:     {ousted, retiring},
	ousted:      {retiring},
}

// groupView is what etcd shows of a group.
type groupView struct {
	meta     *pb.GroupMeta    // nil when absent
	revision int64            // of meta
	members  map[string]int64 // their CreateRevisions, by id
}

type (
	// readdressed says that members find the sender elsewhere now, or know it by another
	// name; relisted that this is in etcd, or why not.
	readdressed struct{ at where }
	relisted    struct {
		at  where
		err error
	}
	keysWritten struct{ err error }
	keysGone    struct{ err error }
	// retire asks a destination to remove its keys and stop.
	retire struct{}
	// oust tells a destination that somebody else has its place; keysOut and
	// strandedDue are what follows.
	oust struct{}
	// pipeGone: the actor of a pipe has ended, and has said so before if it was to.
	pipeGone    struct{ pid *actor.PID }
	keysOut     struct{}
	strandedDue struct{}
)

// strandedEvery is how often an ousted destination looks whether it can deliver.
const strandedEvery = 100 * time.Millisecond

func newDestination(n *node.Node, d *Destination, asker *actor.PID) actor.Producer {
	return func() actor.Actor {
		return &destination{
			node: n, d: d, asker: asker,
			groups: make(map[string]*groupView), pipes: make(map[string]*actor.PID),
			offers: make(map[*socket.Conn]string),
		}
	}
}

func (a *destination) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case keysWritten:
		a.written(ctx, m.err)
	case discovery.Snapshot:
		a.snapshot(ctx, m)
	case discovery.Delta:
		a.delta(ctx, m)
	case discovery.Delayed: // etcd is away: what is known stays
	case discovery.Refused:
		a.watchEnded(ctx, m.Err)
	case tokensSeen:
		a.tokensSeen(ctx, m.event)
	case tokenSettled:
		a.tokenSettled(m)
	case tokenAgain:
		a.settle(m.group)
	case graceOver:
		a.graceOver(ctx, m)
	case rightsSeen:
		a.rightsSeen(ctx, m.event)
	case *linkOffered:
		a.offer(ctx, m)
	case *offerTaken:
		delete(a.offers, m.conn)
	case *listAgain:
		if a.listed {
			a.tell(ctx, m.group, false)
		}
	case *pipeEnded:
		a.ended(ctx, m.group)
	case *actor.Terminated:
		supervisor.Notify(ctx, ctx.Self(), &pipeGone{m.Who}) // it comes behind pipeEnded, which this may have overtaken
	case *pipeGone:
		a.gone(ctx, m.pid)
	case *oust:
		a.oust(ctx)
	case keysOut:
		a.host.Every(strandedEvery, strandedDue{})
	case strandedDue:
		if a.state == ousted && a.d.out.Stranded() {
			a.d.out.Close(nil)
			a.retire(ctx)
		}
	case *readdressed:
		a.move(m.at)
	case *plain.Moved:
		a.plainMoved()
	case relisted:
		a.relisted(m)
	case *retire:
		a.retire(ctx)
	case keysGone:
		a.d.removal.Settle()
		ctx.Stop(ctx.Self())
	case *supervisor.Ended:
		a.watchEnded(ctx, m.Err)
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
		for conn := range a.offers {
			conn.Close()
		}
	default:
		supervisor.Unhandled(ctx)
	}
}

// started registers, or takes up again what an earlier incarnation left: the
// keys are the registry's, the queues outlive it.
func (a *destination) started(ctx actor.Context) {
	a.host.Begin(ctx)
	a.becomes(ctx, registering)
	for _, b := range a.d.out.Backlogs() {
		if !b.Plain() {
			a.pipe(ctx, b)
		}
	}
	a.plug(ctx)
	n, d := a.node, a.d
	a.write = node.BeginWrite(a.host.Context())
	write := a.write
	supervisor.Call(&a.host, "register", func(context.Context) keysWritten {
		return keysWritten{write.Do(func(ctx context.Context) error { return d.writeKeys(ctx) })}
	})
	tell := a.host.Teller()
	a.host.AtEnd(n.Watches.Watch(n.Keys.Groups(d.cfg.Name), func(e discovery.WatchEvent) { tell(e) }))
	a.host.AtEnd(n.Watches.Watch(n.Keys.Secrets(d.cfg.Name), func(e discovery.WatchEvent) { tell(tokensSeen{e}) }))
	if d.asksRights {
		a.host.AtEnd(n.Watches.Watch(n.Keys.AllowedTo(d.cfg.Name), func(e discovery.WatchEvent) { tell(rightsSeen{e}) }))
	}
}

func (a *destination) written(ctx actor.Context, err error) {
	if a.state == retiring || a.state == ousted {
		return // cut short
	}
	if err != nil {
		// Nobody is told by a restart: the caller gets the error itself.
		supervisor.Notify(ctx, a.asker, err)
		a.d.out.Close(err)
		a.d.removal.Settle() // there is none
		ctx.Stop(ctx.Self())
		return
	}
	a.d.written.Store(true)
	if a.generations[links.AllGroups] != nil {
		a.settle(links.AllGroups) // the write may have been behind another one
	}
	a.serve(ctx)
}

// move writes into etcd where the sender is, unless that is there. While the sender
// registers, that comes first.
func (a *destination) move(at where) {
	switch a.state {
	case registering:
		a.d.at.Store(&at)
	case serving:
		a.d.at.Store(&at)
		if has := a.d.listed.Load(); has != nil && at.equal(*has) {
			return
		}
		a.write.Cut() // an earlier move
		a.d.listed.Store(nil)
		a.write = node.BeginWrite(a.host.Context())
		d, write := a.d, a.write
		supervisor.Call(&a.host, "move", func(context.Context) relisted {
			return relisted{at, write.Do(func(ctx context.Context) error { return d.moveKeys(ctx) })}
		})
	}
}

// watchEnded: the watch is refused. Whoever waits for the registration is told;
// later it is tried again.
func (a *destination) watchEnded(ctx actor.Context, err error) {
	switch {
	case err == nil:
	case a.d.announced.Load():
		supervisor.Fail(ctx, err)
	default:
		supervisor.Notify(ctx, a.asker, err)
		a.d.out.Close(err)
		a.retire(ctx)
	}
}

// serve replies to who registered, once the keys are written and the groups known.
func (a *destination) serve(ctx actor.Context) {
	if a.state != registering || !a.listed || !a.d.written.Load() || a.generations == nil || a.d.asksRights && a.d.rights.Load() == nil {
		return
	}
	a.becomes(ctx, serving)
	a.forgetGenerations()
	if a.d.announced.CompareAndSwap(false, true) {
		a.node.Events.Emit(messages.DestinationRegistered{Destination: a.d.cfg.Name, Sender: a.d.id, URLs: a.d.URLs(), Local: address.ThisMachineOnly(a.d.URLs())})
		supervisor.Notify(ctx, a.asker, &registered{})
	}
	a.move(*a.d.at.Load()) // they may have changed, or an earlier incarnation's move been cut short
}

func (a *destination) snapshot(ctx actor.Context, s discovery.Snapshot) {
	a.groups = make(map[string]*groupView)
	for _, kv := range s.KVs {
		a.see(kv)
	}
	for name := range a.pipes {
		if a.groups[name] == nil {
			a.groups[name] = &groupView{}
		}
	}
	for name := range a.groups {
		a.tell(ctx, name, s.Reset)
	}
	a.listed = true
	a.count()
	a.serve(ctx)
}

// delta applies deletes first: a key that was deleted and came back is in both.
func (a *destination) delta(ctx actor.Context, d discovery.Delta) {
	touched := make(map[string]struct{})
	for _, kv := range d.Deletes {
		k, ok := a.node.Keys.Parse(kv.Key)
		if !ok || a.groups[k.Group] == nil {
			continue
		}
		switch k.Kind {
		case keys.KindGroupMeta:
			a.groups[k.Group].meta = nil
		case keys.KindMember:
			delete(a.groups[k.Group].members, k.ID)
		}
		touched[k.Group] = struct{}{}
	}
	for _, kv := range d.Puts {
		touched[a.see(kv)] = struct{}{}
	}
	delete(touched, "")
	for name := range touched {
		a.tell(ctx, name, false)
	}
	a.count()
}

// see takes one key into the view and returns its group.
func (a *destination) see(kv discovery.KV) string {
	k, ok := a.node.Keys.Parse(kv.Key)
	if !ok || k.Kind == keys.KindDeserted || k.Kind == keys.KindPaused {
		return ""
	}
	view := a.groups[k.Group]
	if view == nil {
		view = &groupView{}
		a.groups[k.Group] = view
	}
	switch k.Kind {
	case keys.KindGroupMeta:
		if meta := groupMetaOf(kv.Value); meta != nil {
			view.meta, view.revision = meta, kv.ModRevision
		}
	case keys.KindMember:
		if view.members == nil {
			view.members = make(map[string]int64)
		}
		view.members[k.ID] = kv.CreateRevision
	}
	return k.Group
}

// tell passes a group's listing to its pipe, which is made when the group is
// new and has settings. reset says that etcd is another one than before.
func (a *destination) tell(ctx actor.Context, name string, reset bool) {
	view := a.groups[name]
	if view == nil {
		view = &groupView{}
	}
	if a.pipes[name] == nil && view.meta != nil {
		s, err := messages.GroupSettingsOf(view.meta.Mode, view.meta.Policy, view.meta.KeepForMs)
		if err != nil {
			return // a newer version's group is served by newer senders
		}
		a.open(ctx, name, s)
	}
	if pid := a.pipes[name]; pid != nil {
		supervisor.Notify(ctx, pid, &groupListed{meta: view.meta, revision: view.revision, members: maps.Clone(view.members), reset: reset})
	}
	if view.meta == nil && len(view.members) == 0 {
		delete(a.groups, name)
	}
}

func (a *destination) open(ctx actor.Context, group string, s messages.GroupSettings) {
	a.node.Events.Emit(messages.GroupFound{Destination: a.d.cfg.Name, Group: group})
	a.pipe(ctx, a.d.out.Backlog(group, s))
}

func (a *destination) pipe(ctx actor.Context, b *sendq.Backlog) {
	name := a.node.Name("pipe", b.Group)
	pid, err := ctx.SpawnNamed(supervisor.Props(newPipe(a.node, a.d.out, b, a.d.id, a.d.cfg.DeadLetter), supervisor.WithPolicy(linkPolicy())), name)
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	a.pipes[b.Group] = pid
	a.draw(b.Group)
}

// ended forgets a pipe that is over, and says what it still held. The group may be
// there again by now.
func (a *destination) ended(ctx actor.Context, group string) {
	delete(a.pipes, group)
	a.d.tokens.Drop(group)
	a.settle(group)
	for _, b := range a.d.out.Backlogs() {
		if b.Group == group {
			n, bytes := a.d.out.Remove(b)
			a.node.Events.Emit(messages.GroupRemoved{Destination: a.d.cfg.Name, Group: group, Unsent: n, Bytes: int64(bytes)})
		}
	}
	a.tell(ctx, group, false)
	for conn, of := range maps.Clone(a.offers) {
		if of == group {
			delete(a.offers, conn)
			a.offer(ctx, &linkOffered{conn})
		}
	}
}

// gone begins a pipe again that somebody has stopped from outside: its group waits.
func (a *destination) gone(ctx actor.Context, pid *actor.PID) {
	if a.unplugged(ctx, pid) {
		return
	}
	for group, of := range a.pipes {
		if !of.Equal(pid) {
			continue
		}
		a.node.Events.Emit(messages.ActorStopped{Actor: pid.Id, Err: node.ErrOutside})
		delete(a.pipes, group)
		for _, b := range a.d.out.Backlogs() {
			if b.Group == group {
				a.pipe(ctx, b)
			}
		}
		a.tell(ctx, group, false)
	}
}

// oust takes the keys away that are left: the registry would put them back when
// the other one goes.
func (a *destination) oust(ctx actor.Context) {
	if a.state == retiring || a.state == ousted {
		return
	}
	a.becomes(ctx, ousted)
	d, write := a.d, a.write
	supervisor.Call(&a.host, "withdraw", func(ctx context.Context) keysOut {
		write.Cut()
		ctx, cancel := context.WithTimeout(ctx, node.StopGrace)
		defer cancel()
		_ = d.removeKeys(ctx) // the registry keeps trying
		return keysOut{}
	})
}

func (a *destination) retire(ctx actor.Context) {
	if a.state == retiring {
		return
	}
	a.becomes(ctx, retiring)
	d, write := a.d, a.write
	supervisor.Call(&a.host, "unregister", func(ctx context.Context) keysGone {
		write.Cut()
		ctx, cancel := context.WithTimeout(ctx, node.StopGrace)
		defer cancel()
		return keysGone{d.removal.Of(func() error { return d.takeAway(ctx) })}
	})
}
