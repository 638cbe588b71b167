package peers

// What a runtime has of this: the listener that it is watched by, and what outlives
// the actor.

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/rebalance"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/pulse"
)

// Peers outlives the incarnations of its actor. It is safe for concurrent use.
type Peers struct {
	node *node.Node
	url  string // of the runtime's listeners
	pid  atomic.Pointer[actor.PID]

	// Of the actor's alone.
	wants map[string]*want // by the id of who wants
	over  map[string]struct{}

	binding  sync.Mutex // of who binds the listener, for as long as it takes to look up a name
	mu       sync.Mutex // taken after binding; actors take it, and must not wait for a name
	listener *pulse.Listener
	closed   bool
	at       []string // what the last look found; nil before
}

// want is whom a subscription wants watched, by the tokens of the processes.
type want struct {
	who       *actor.PID
	processes map[string]rebalance.Process
}

// New makes the peers of a node whose listeners have that URL. Nothing is bound yet.
func New(n *node.Node, url string) *Peers {
	return &Peers{node: n, url: url, wants: make(map[string]*want), over: make(map[string]struct{})}
}

// Watched is what others watch this process by. The first call binds the listener;
// while that fails nobody can watch the process, the event ProcessUnwatched says why,
// and the result is nil.
func (p *Peers) Watched(ctx context.Context) *pb.WatchedProcess {
	l := p.bind(ctx)
	if l == nil {
		return nil
	}
	at := l.Peer()
	return &pb.WatchedProcess{Addresses: at.Addresses, Token: at.Token}
}

// At are the addresses that others find this process at, as of the last look; nil before
// the first. They are not to be changed.
func (p *Peers) At() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// look asks the system where others find this process, and reports whether that is not
// what the look before found.
func (p *Peers) look() (changed bool) {
	l := p.bound()
	if l == nil {
		return false
	}
	at := l.Peer().Addresses
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = !slices.Equal(at, p.at)
	p.at = at
	return changed
}

// bind returns the listener, or nil.
func (p *Peers) bind(ctx context.Context) *pulse.Listener {
	p.binding.Lock()
	defer p.binding.Unlock()
	if l, over := p.state(); over || l != nil {
		return l
	}
	l, err := pulse.Listen(ctx, p.url)
	if err != nil {
		p.node.Events.Emit(messages.ProcessUnwatched{Err: err})
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = l.Close() // nobody knows of it
		return nil
	}
	p.listener = l
	p.node.Send(p.pid.Load(), &serve{})
	return l
}

// Token tells this process apart from others; it is "" before anybody could watch it.
func (p *Peers) Token() string {
	if l := p.bound(); l != nil {
		return string(l.Token())
	}
	return ""
}

func (p *Peers) bound() *pulse.Listener {
	l, _ := p.state()
	return l
}

func (p *Peers) state() (l *pulse.Listener, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listener, p.closed
}

// Want replaces whom a subscription's actor wants watched, which may be nobody. Such an
// actor hears of *Moved, too. nil is for one that has ended. The processes are not to be
// changed any more.
func (p *Peers) Want(who *actor.PID, processes map[string]rebalance.Process) {
	p.node.Send(p.pid.Load(), &wanted{who, processes})
}

// Begin begins the actor, unless it is there. It is for the branch that keeps it, as is
// Is.
func (p *Peers) Begin(ctx actor.Context, again bool) {
	if p.pid.Load() == nil || again {
		p.node.Spawn(ctx, "peers", "", newWatcher(p), node.ShowPID(&p.pid))
	}
}

// Is reports whether that is the actor.
func (p *Peers) Is(who *actor.PID) bool { return who.Equal(p.pid.Load()) }

// Begun reports whether the actor ever was begun.
func (p *Peers) Begun() bool { return p.pid.Load() != nil }

// Close ends the listener, from which others conclude that the process has ended: it
// is called when the actor and all keys of the runtime's are gone.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.listener != nil {
		_ = p.listener.Close() // it may only have been closed before
		p.listener = nil
	}
}
