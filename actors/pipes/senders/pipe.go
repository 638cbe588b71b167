package senders

// One group of one destination.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

// pipe keeps the links to a group's members, and the group's queue until etcd has
// removed the group. What it does about the group is in pipe_group.go.
//
//	attended ──nobody──▶ deserted ──etcd has no such group──▶ ended (and stopped)
//	    ▲  │ ◀───somebody──┘                                    ▲
//	    │  └──only a Hello made it, etcd has no such group──────┘
type pipe struct {
	node    *node.Node
	out     *sendq.Queue
	queue   *sendq.Backlog
	from    string // our sender id
	handler deadLetterHandler

	host          supervisor.Host
	state         pipeState
	links         map[string]*actor.PID   // by member
	offered       map[string]*socket.Conn // waiting for old links to end
	group         groupWatch              // what is known of the group
	due           time.Time               // when the next failed message is to be tried
	deadLettering bool                    // a dead letter is with the user's handler
	fading        []fading                // tokens that were replaced and admit for a while yet
}

// fading is a token that was replaced.
type fading struct {
	links.Over
	until time.Time
}

// deadLetterHandler is the user's, or nil.
type deadLetterHandler func(context.Context, messages.DeadLetter) error

type pipeState string

const attended, deserted, ended pipeState = "attended", "deserted", "ended"

var pipeMoves = supervisor.Moves[pipeState]{
	"":       {attended, deserted},
	attended: {deserted, ended},
	deserted: {attended, ended},
}

// What a destination tells its pipe.
type (
	// groupListed is what etcd shows of the group.
	groupListed struct {
		meta     *pb.GroupMeta    // nil when absent
		revision int64            // of meta
		members  map[string]int64 // their CreateRevisions, by id
		reset    bool             // etcd was wiped or restored, and has no meta since
	}
	// linkOffered hands over an authenticated connection.
	linkOffered struct{ conn *socket.Conn }
	// offerTaken is the reply: a pipe that ends sends none, and leaves the connection
	// to the next one of its group.
	offerTaken struct{ conn *socket.Conn }
)

// callDeadLetter names the hosted call of the user's dead-letter handler.
const callDeadLetter = "dead letter"

// What a pipe tells itself and its destination.
type (
	linkGone struct {
		member string
		pid    *actor.PID
	}
	retryDue  struct{}
	deadTaken struct {
		letter messages.DeadLetter
		err    error
	}
	pipeEnded struct{ group string }
	// listAgain asks the destination what etcd shows of the group.
	listAgain struct{ group string }
)

func newPipe(n *node.Node, out *sendq.Queue, queue *sendq.Backlog, from string, deadLetter deadLetterHandler) actor.Producer {
	return func() actor.Actor {
		return &pipe{
			node: n, out: out, queue: queue, from: from, handler: deadLetter,
			links: make(map[string]*actor.PID), offered: make(map[string]*socket.Conn),
		}
	}
}

func (p *pipe) Receive(ctx actor.Context) {
	msg, mine := p.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		p.started(ctx)
	case *groupListed:
		p.seen(ctx, m)
	case *linkOffered:
		if p.state != ended {
			supervisor.Notify(ctx, ctx.Parent(), &offerTaken{m.conn})
			p.offer(ctx, m.conn)
		}
	case *rightsChanged:
		p.judge(ctx, m)
	case *tokenOver:
		p.expel(ctx, m)
	case *linkGone:
		p.gone(ctx, m)
	case lookDue:
		p.lookNow(m)
	case groupLooked:
		p.looked(ctx, m)
	case settingsRead:
		p.settingsRead(ctx, m)
	case *nackSeen:
		p.schedule(m.Due)
		p.deadLetter()
	case retryDue:
		p.retry()
		p.deadLetter() // a rejected one may be due
	case deadTaken:
		p.deadTaken(m)
	case *supervisor.Ended:
		p.callPanicked(m)
	case *supervisor.Failed:
		p.node.Events.Emit(messages.ActorStopped{Actor: m.Who.Id, Err: m.Err}) // a link; its member dials again
	case node.Crash:
		panic(m.Err)
	case *actor.Stopping, *actor.Restarting:
		p.host.End()
		for _, conn := range p.offered {
			conn.Close()
		}
		for _, conn := range p.group.doubted {
			conn.Close()
		}
	case *actor.Stopped:
		if p.state == ended {
			supervisor.Notify(ctx, ctx.Parent(), &pipeEnded{p.queue.Group})
		}
	default:
		supervisor.Unhandled(ctx)
	}
}

// started takes up what an earlier incarnation left.
func (p *pipe) started(ctx actor.Context) {
	p.host.Begin(ctx)
	p.group.keys = pipegroup.At(p.node.Keys, p.out.Name(), p.queue.Group)
	supervisor.Notify(ctx, ctx.Parent(), &listAgain{p.queue.Group})
	p.attend(ctx)
	p.retry()
	p.deadLetter()
}

// end stops the pipe for good; its destination is told once the links are gone.
func (p *pipe) end(ctx actor.Context) {
	p.state = pipeMoves.To(ctx, p.state, ended)
	ctx.Stop(ctx.Self())
}

// offer takes a member's connection in. A second one of the same member means
// that it dialled again: the old link is closed and requeued first.
func (p *pipe) offer(ctx actor.Context, conn *socket.Conn) {
	hello := conn.Hello()
	if p.state == ended {
		conn.Refuse(pb.Code_REMOVED, "the group was removed")
		return
	}
	theirs, err := messages.GroupSettingsOf(hello.Mode, hello.Policy, messages.KeepForMs(hello.KeepFor))
	if err != nil {
		conn.Refuse(pb.Code_MODE_MISMATCH, err.Error())
		return
	}
	old, linked := p.links[hello.Member]
	if linked || p.group.next != nil {
		if earlier, ok := p.offered[hello.Member]; ok {
			earlier.Refuse(pb.Code_REPLACED, errReplaced.Error())
		}
		p.offered[hello.Member] = conn
		if linked {
			ctx.Stop(old)
		}
		return
	}
	if !theirs.Agrees(p.out.Settings(p.queue)) {
		p.doubt(conn)
		return
	}
	name := p.node.Name("link", hello.Member)
	pid, err := ctx.SpawnNamed(supervisor.Props(newLink(p.out, p.queue, conn, p.from, ours(p.node, conn.Hello()))), name)
	if err != nil {
		conn.Refuse(pb.Code_SHUTTING_DOWN, err.Error())
		return
	}
	p.links[hello.Member] = pid
	p.fade(ctx, pid)
	p.attend(ctx)
}

func (p *pipe) gone(ctx actor.Context, m *linkGone) {
	member := m.member
	if m.pid.Equal(p.links[member]) {
		delete(p.links, member)
	}
	p.retry() // what the link had still to say of failures ended with it
	p.deadLetter()
	p.change(ctx)
	if conn, ok := p.offered[member]; ok {
		delete(p.offered, member)
		p.offer(ctx, conn)
	}
	p.attend(ctx)
}

// schedule makes sure that a try is made at due.
func (p *pipe) schedule(due time.Time) {
	if due.IsZero() || !p.due.IsZero() && !due.Before(p.due) {
		return
	}
	p.due = due
	p.host.After(max(0, time.Until(due)), retryDue{})
}

func (p *pipe) retry() {
	p.due = time.Time{}
	p.schedule(p.out.RequeueDue(p.queue, time.Now()))
}

// deadLetter gives the oldest exhausted message to the user's dead-letter handler,
// one at a time.
func (p *pipe) deadLetter() {
	if p.deadLettering {
		return
	}
	letter, ok := p.out.NextExhausted(p.queue)
	if !ok {
		return
	}
	p.deadLettering = true
	handler := p.handler
	code := &usercode.Run{
		What:  fmt.Sprintf("the dead-letter handler of %q", p.out.Name()),
		Holds: func(dest, sender string) bool { return dest == letter.Destination && sender == p.from },
	}
	inside := p.node.Runs
	supervisor.CallUser(&p.host, callDeadLetter, usercode.Patience, func(ctx context.Context) deadTaken {
		defer inside.Enter(code)()
		return deadTaken{letter, handler(code.Mark(ctx), letter)}
	})
}

func (p *pipe) deadTaken(m deadTaken) {
	p.deadLettering = false
	if m.err == nil {
		p.node.Events.Emit(messages.DeadLettered{
			Destination: p.out.Name(), Group: p.queue.Group, Attempt: m.letter.Attempts, Deaths: m.letter.Deaths,
			Rejected: m.letter.Rejected, Err: errors.New(m.letter.Cause),
		})
	}
	p.out.DeadLettered(p.queue, m.err, time.Now())
	p.retry()
	p.deadLetter()
}

// callPanicked: a hosted call did not return. The user's dead-letter handler has
// not taken the message then.
func (p *pipe) callPanicked(m *supervisor.Ended) {
	if m.Name != callDeadLetter {
		panic(m.Err) // ours
	}
	e := messages.HandlerPanicked{Destination: p.out.Name(), Group: p.queue.Group, Value: m.Err.Error()}
	var bug *supervisor.PanicError
	if errors.As(m.Err, &bug) {
		e.Stack = string(bug.Stack)
	}
	p.node.Events.Emit(e)
	p.deadTaken(deadTaken{err: m.Err})
}
