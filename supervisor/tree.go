package supervisor

// The guarded actors of a system, listed for people who want to look, and the
// states that they show.

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"
)

// Info describes one guarded actor at one moment.
type Info struct {
	// ID is the PID's id, Parent that of its parent, empty at the top.
	ID, Parent string
	// Type is the Go type of the present incarnation.
	Type string
	// State is what SetState or Moves said last while the actor runs, or
	// "running"; otherwise starting, failed, restarting or stopping.
	State string
	// Restarts counts the incarnations after the first.
	Restarts int
	// Queue is the number of user messages waiting in the mailbox.
	Queue int
	// Mailbox is how long a message that this look put behind the queue waited, and so
	// far when it is still queued. It is 0 for an actor WithMailbox.
	Mailbox time.Duration
	// Processing is the mean time that Receive took for a user message, Longest the
	// longest, of Sampled messages: the first 64 that the actor handled after a look,
	// this one or the last one after which it handled any. Nothing is measured before
	// the first look.
	Processing, Longest time.Duration
	Sampled             int
	// Silent is how long the actor has not replied to a look, this or an earlier one:
	// it is stuck in Receive. It is 0 when the actor has replied, and when it cannot
	// because it does not run.
	Silent time.Duration
	// Attributes are what the actor reports of itself, see Inspector. There are none
	// when it does not reply.
	Attributes []Attribute
	// Since is when the present incarnation began.
	Since time.Time
	// LastError is the last failure, empty when there was none.
	LastError string
}

// Tree lists the guarded actors of sys by ID. The entries are read one after
// the other, so they need not be of one moment.
//
// Each running actor is asked for its attributes. Tree waits for all replies together
// at most a second, and not at all for an actor that owes a reply to an earlier look
// for longer: it shows them without. Called from an actor's Receive it waits for that
// actor in vain.
func Tree(sys *actor.ActorSystem) []Info {
	var looks []look
	for _, g := range guards(sys) {
		looks = append(looks, lookAt(g))
	}
	timeout, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	var all []Info
	for _, l := range looks {
		l.wait(timeout.Done())
	}
	for _, l := range looks {
		all = append(all, l.info())
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// SetState says for Tree what the actor is doing, until the next call or the
// end of its incarnation. It must be called from Receive; for an actor that is
// not guarded it does nothing.
func SetState(ctx actor.Context, state string) {
	if g, ok := ctx.Actor().(*guard); ok {
		g.about.says(state)
	}
}

// Name is name with an incarnation that no other call of this process returns:
// Name("dest/orders") is "dest/orders#7". Actors spawned under such names can
// never be mistaken for one that was there before.
func Name(name string) string {
	return name + "#" + strconv.FormatUint(incarnations.Add(1), 10)
}

var incarnations atomic.Uint64

func (l look) info() Info {
	g := l.guard
	i := Info{ID: g.ctx.Self().Id, Queue: g.mb.UserMessageCount(), State: g.is().String()}
	if p := g.ctx.Parent(); p != nil {
		i.Parent = p.Id
	}
	l.report(&i)
	a := &g.about
	a.mu.Lock()
	defer a.mu.Unlock()
	i.Type, i.Restarts, i.Since = a.kind, a.restarts, a.since
	if a.state != "" && g.is() == running {
		i.State = a.state
	}
	if a.lastErr != nil {
		i.LastError = a.lastErr.Error()
	}
	return i
}

// about is what may be read of a guard from any goroutine.
type about struct {
	mu       sync.Mutex
	kind     string
	state    string
	restarts int
	since    time.Time
	lastErr  error
}

func (a *about) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastErr = err
}

func (a *about) begun(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.restarts++
	a.since = now
	a.state = ""
}

func (a *about) is(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kind = kind
}

func (a *about) says(state string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = state
}

// registry holds the live guards of one actor system, as an extension of it.
type registry map[string]*guard

var (
	registryID = extensions.NextExtensionID()
	// registryMu guards every registry, and the slots they are kept in:
	// extensions have no lock of their own.
	registryMu sync.Mutex
)

func (registry) ExtensionID() extensions.ExtensionID { return registryID }

func register(sys *actor.ActorSystem, g *guard) {
	registryMu.Lock()
	defer registryMu.Unlock()
	r, ok := sys.Extensions.Get(registryID).(registry)
	if !ok {
		r = make(registry)
		sys.Extensions.Register(r)
	}
	r[g.ctx.Self().Id] = g
}

func unregister(sys *actor.ActorSystem, g *guard) {
	registryMu.Lock()
	defer registryMu.Unlock()
	if r, ok := sys.Extensions.Get(registryID).(registry); ok && r[g.ctx.Self().Id] == g {
		delete(r, g.ctx.Self().Id)
	}
}

func find(sys *actor.ActorSystem, id string) *guard {
	registryMu.Lock()
	defer registryMu.Unlock()
	r, _ := sys.Extensions.Get(registryID).(registry)
	return r[id]
}

func guards(sys *actor.ActorSystem) []*guard {
	registryMu.Lock()
	defer registryMu.Unlock()
	r, _ := sys.Extensions.Get(registryID).(registry)
	all := make([]*guard, 0, len(r))
	for _, g := range r {
		all = append(all, g)
	}
	return all
}

// Moves is a table of states: for each, those that may follow it.
//
// It is the one door through which an actor changes its state:
//
//	c.state = consumerMoves.To(ctx, c.state, reading)
type Moves[S ~string] map[S][]S

// May reports whether to may follow from.
func (m Moves[S]) May(from, to S) bool { return slices.Contains(m[from], to) }

// To returns to, the new state, and shows it in Tree. A move that is not in the
// table is a bug: To panics, which fails the actor. It must be called from
// Receive.
func (m Moves[S]) To(ctx actor.Context, from, to S) S {
	if !m.May(from, to) {
		panic(fmt.Errorf("%s: no move from %q to %q", ctx.Self().Id, from, to))
	}
	say(ctx, slog.LevelDebug, "moved", "actor", ctx.Self().Id, "from", string(from), "to", string(to))
	SetState(ctx, string(to))
	return to
}
