package supervisor

// The guard: what proto.actor runs in place of a user's actor. It sees each message
// before the actor does, and turns panics into failures.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jonboulle/clockwork"
)

// guard is one actor for its whole life; its inner actor is one incarnation.
// To proto.actor the guard is the actor, and it is never restarted: the guard
// does that itself, because proto.actor's own restart cannot be ordered,
// delayed or kept apart from a stop.
//
//	unstarted ──Started──▶ running ─────fail─────▶ failed
//	                        ▲   │                    │
//	                        │   └──halt─▶ halting ◀──┘ halt
//	                        │                │ children gone
//	                        └────begin──── halted
//
//	any of them ──Stop──▶ stopping ──children gone──▶ stopped
//
// All fields but phase, about and looking belong to the goroutine that runs the mailbox.
type guard struct {
	settings *settings
	mb       *mailbox
	raw      actor.MessageInvoker // proto.actor's context, as the mailbox sees it
	ctx      actor.Context        // the same one
	inner    actor.Actor

	kids   []*child // in spawn order
	left   map[*actor.PID]struct{}
	sweep  *child    // the child that is being waited for while all are stopped
	halter report    // who asked for the halt
	next   beginning // what a halt is followed by

	telling   bool  // the lifecycle message in hand is the guard's own
	resample  bool  // the next message to be measured begins a new sample
	unsampled uint8 // how many user messages are still to be measured

	phase   atomic.Uint32            // written by the mailbox's goroutine only
	about   about                    // may be read by others
	looking atomic.Pointer[looking]  // nil before the first look
	stats   *actor.RestartStatistics // what an unguarded parent's strategy counts in; nil before the first failure
	alone   *alone                   // nil before the first failure of a top-level actor
	owed    *Restarted               // what to publish when the next incarnation begins
	waiting map[string]listener      // who asks, or awaits the end; nil when nobody ever did
}

// alone is what a top-level actor keeps to supervise itself.
type alone struct {
	history history
	delay   clockwork.Timer // its backoff; nil when there is none
}

// beginning says what the end of a halt leads to.
type beginning uint8

const (
	whenTold beginning = iota // a beginNow is still to come
	atOnce                    // it came before the halt was through
)

type phase uint32

const (
	unstarted phase = iota
	running
	failed
	halting
	halted
	stopping
	stopped
)

func (p phase) String() string {
	return [...]string{"starting", "running", "failed", "restarting", "restarting", "stopping", "stopped"}[p]
}

// The guard's own system messages. They overtake user messages, pass a
// suspended mailbox, and never reach the inner actor.
type (
	resumed  struct{}                // somebody resumed the mailbox
	haltNow  struct{ report report } // end this incarnation
	beginNow struct{ report report } // begin the next one
	due      struct{ round *round }  // a round's backoff has passed
	late     struct{ child *child }  // a child used up its time; compared by pointer
	progress struct {                // a child's halt or begin is through
		child *child
		state childState
	}
)

// report is where a child tells its parent's guard how far it got; the zero
// report tells nobody. It goes to the parent's mailbox itself, not to a name,
// so that no namesake can get it.
type report struct {
	parent *guard
	child  *child
}

func (r report) send(s childState) {
	if r.parent != nil {
		r.parent.mb.PostSystemMessage(&progress{r.child, s})
	}
}

// attach is called once, before any message.
func (g *guard) attach(m *mailbox, raw actor.MessageInvoker, ctx actor.Context) {
	g.mb, g.raw, g.ctx = m, raw, ctx
	g.about.since = g.settings.clock.Now()
	register(ctx.ActorSystem(), g)
}

func (g *guard) is() phase                  { return phase(g.phase.Load()) }
func (g *guard) become(p phase)             { g.phase.Store(uint32(p)) }
func (g *guard) system() *actor.ActorSystem { return g.ctx.ActorSystem() }

// InvokeUserMessage hands a message to the actor, if it is in a state to handle
// one. A mailbox is suspended in every state but running, stopping and stopped.
func (g *guard) InvokeUserMessage(message any) {
	switch m := message.(type) {
	case *probe:
		g.reach(m)
		return
	case *notice:
		if g.is() != running {
			return
		}
		message = m.message
	}
	if g.is() != running {
		g.deadLetter(message)
		return
	}
	returned := false
	defer func() {
		if !returned {
			g.caught(recover(), message)
		}
	}()
	if g.unsampled > 0 {
		g.measure(message)
	} else {
		g.raw.InvokeUserMessage(message)
	}
	returned = true
}

// InvokeSystemMessage takes what the guard does itself and hands on the rest.
func (g *guard) InvokeSystemMessage(message any) {
	returned := false
	defer func() {
		if !returned {
			g.caught(recover(), message)
		}
	}()
	g.handle(message)
	returned = true
}

func (g *guard) handle(message any) {
	switch m := message.(type) {
	case *actor.Started:
		g.start(m)
	case *actor.Stop:
		g.stop()
	case *actor.Restart:
		g.restart()
	case *actor.Failure:
		g.childFailed(m)
	case *actor.Terminated:
		g.childTerminated(m)
	case *resumed:
		g.resume()
	case *haltNow:
		g.halt(m.report)
	case *beginNow:
		g.begin(m.report)
	case *due:
		g.roundDue(m.round)
	case *late:
		g.childLate(m)
	case *progress:
		g.childProgress(m.child, m.state)
	case *inquiry:
		g.answer(m)
	case *actor.Watch:
		if !g.hears(m.Watcher) {
			g.raw.InvokeSystemMessage(m)
		}
	case *actor.Unwatch:
		if _, ok := g.waiting[m.Watcher.Id]; ok {
			delete(g.waiting, m.Watcher.Id)
		} else {
			g.raw.InvokeSystemMessage(m)
		}
	default:
		if g.is() == running { // a ReenterAfter: not for an instance that is on its way out
			g.raw.InvokeSystemMessage(m)
		}
	}
}

// EscalateFailure is called by the mailbox for a panic outside the handlers:
// in a mailbox middleware.
func (g *guard) EscalateFailure(reason any, message any) { g.fail(unwound(reason), message) }

// caught deals with a handler that did not return. It runs while its stack
// still stands.
func (g *guard) caught(value any, message any) {
	g.fail(unwound(value), message)
	if value == nil {
		g.mb.revive()
	}
}

// Receive is called by proto.actor's context, on the way to the inner actor.
func (g *guard) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Stopping, *actor.Restarting:
		if g.telling { // proto.actor's own Stopping comes last and is one too many
			g.lifecycle(ctx)
		}
		return
	case *actor.Stopped:
		g.lifecycle(ctx)
		g.become(stopped)
		unregister(ctx.ActorSystem(), g)
		// A parent's list of children may still reach a stopped actor's PID, and
		// through it the guard: it shall not keep what the actor held.
		g.inner = nil
		for _, l := range g.waiting {
			l.take(&actor.Terminated{Who: ctx.Self()})
		}
		g.waiting = nil
		return
	case *actor.Terminated:
		if g.is() != running {
			return
		}
	}
	if g.inner != nil {
		g.inner.Receive(ctx)
	}
}

// hears has a listener told of the end, if that is who watches. It is told here because
// it may be gone by then, and what comes for it would be a dead letter.
func (g *guard) hears(watcher *actor.PID) bool {
	process, _ := g.system().ProcessRegistry.Get(watcher)
	l, ok := process.(listener)
	switch {
	case !ok:
	case g.is() == stopped:
		l.take(&actor.Terminated{Who: g.ctx.Self()})
	default:
		if g.waiting == nil {
			g.waiting = make(map[string]listener)
		}
		g.waiting[watcher.Id] = l
	}
	return ok
}

// lifecycle hands a message of ending to the inner actor and comes back in any
// case. The goroutine is there for runtime.Goexit, which cannot be recovered.
func (g *guard) lifecycle(ctx actor.Context) {
	if g.inner == nil {
		return // stopped before its first incarnation, or that one's producer panicked
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if !returned {
				g.endedBadly(unwound(recover()))
			}
		}()
		g.inner.Receive(ctx)
		returned = true
	}()
	<-done
}

// tell delivers a lifecycle message of the guard's own.
func (g *guard) tell(message any) {
	g.telling = true
	g.raw.InvokeUserMessage(message)
	g.telling = false
}

// fail ends the present incarnation with err and leaves the rest to whoever
// supervises the actor.
func (g *guard) fail(err error, message any) {
	excuse(g.system(), message, err)
	switch g.is() {
	case failed, halting, halted, stopping, stopped:
		g.endedBadly(err)
		return
	}
	g.become(failed)
	g.mb.suspend()
	g.dropRounds()
	g.about.failed(err)
	if g.mb.stopAsked.Load() {
		g.endedBadly(err) // its Stop is queued already
		return
	}
	g.logFailure("actor failed", err)
	parent := g.ctx.Parent()
	if parent == nil {
		g.superviseSelf(err)
		return
	}
	process, ok := g.system().ProcessRegistry.Get(parent)
	if !ok {
		g.end(err) // left behind by a parent that is gone
		return
	}
	if g.stats == nil {
		g.stats = actor.NewRestartStatistics()
	}
	defer func() {
		// A guardian of proto.actor's own runs its strategy right here, and
		// panics when asked to escalate, which would take the process down.
		if r := recover(); r != nil {
			g.escalated(unwound(r))
		}
	}()
	process.SendSystemMessage(parent, &actor.Failure{Who: g.ctx.Self(), Reason: err, RestartStats: g.stats, Message: message})
}

// superviseSelf performs the guardian policy of a top-level actor.
func (g *guard) superviseSelf(err error) {
	if g.alone == nil {
		g.alone = &alone{history: history{id: g.ctx.Self().Id, since: g.about.since}}
	}
	v := g.settings.guardian.judge(&g.alone.history, err, g.settings.clock.Now(), rand.Float64())
	switch v.directive {
	case Restart:
		g.mb.PostSystemMessage(&haltNow{})
		g.alone.delay = g.settings.clock.AfterFunc(v.delay, func() {
			g.mb.PostSystemMessage(&beginNow{})
		})
		g.owed = &Restarted{Who: g.ctx.Self(), Err: v.err, Attempt: v.attempt, Delay: v.delay}
	case Terminate:
		g.end(v.err)
	case Escalate:
		g.escalated(v.err)
	}
}

// end stops a top-level actor for good.
func (g *guard) end(err error) {
	g.logFailure("actor stopped for good", err)
	publish(g.ctx, &Stopped{Who: g.ctx.Self(), Err: err})
	g.mb.PostSystemMessage(&actor.Stop{})
}

// escalated stops a top-level actor whose failure has nowhere to go.
func (g *guard) escalated(err error) {
	g.logFailure("actor stopped: its failure has no parent to go to", err)
	publish(g.ctx, &Escalated{Who: g.ctx.Self(), Err: err})
	g.mb.PostSystemMessage(&actor.Stop{})
}

func (g *guard) endedBadly(err error) {
	g.about.failed(err)
	g.logFailure("panic while the actor ends", err)
	publish(g.ctx, &LifecyclePanic{Who: g.ctx.Self(), Err: err})
}

func (g *guard) logFailure(what string, err error) {
	var p *PanicError
	if errors.As(err, &p) {
		g.say(slog.LevelError, what, "err", err, "stack", string(p.Stack))
		return
	}
	g.say(slog.LevelWarn, what, "err", err)
}

func (g *guard) say(level slog.Level, what string, args ...any) {
	say(g.ctx, level, what, append([]any{"actor", g.ctx.Self().Id}, args...)...)
}

// say writes a line to the system's logger. That is the host program's: a panic of
// its own loses the line and must not fail an actor.
func say(ctx actor.Context, level slog.Level, what string, args ...any) {
	defer func() { _ = recover() }()
	ctx.Logger().Log(context.Background(), level, what, args...)
}

// deadLetter gives up a message that the actor will not handle any more. Its
// sender, if any, is told.
func (g *guard) deadLetter(message any) {
	switch actor.UnwrapEnvelopeMessage(message).(type) {
	case *hosted, actor.AutoReceiveMessage:
		return // from and to nobody but the actor itself
	}
	if sender := actor.UnwrapEnvelopeSender(message); sender != nil {
		process, _ := g.system().ProcessRegistry.Get(sender)
		if l, ok := process.(listener); ok {
			l.take(&actor.DeadLetterResponse{Target: g.ctx.Self()})
			return
		}
	}
	g.system().DeadLetter.SendUserMessage(g.ctx.Self(), message)
}

// Unhandled is for the default of Receive: a message that the actor does not know
// becomes a dead letter, as if nobody lived there. So it is on the EventStream, with
// its sender, who is told too, and an Ask returns ErrNoActor at once. Messages of
// proto.actor and of this package are no dead letters: an actor need not know them
// all.
func Unhandled(ctx actor.Context) {
	message := ctx.Message()
	switch message.(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage, *actor.ReceiveTimeout, *actor.DeadLetterResponse, *hosted, *Ended, *Failed:
		return
	}
	if sender := ctx.Sender(); sender != nil {
		message = &actor.MessageEnvelope{Message: message, Sender: sender}
	}
	ctx.ActorSystem().DeadLetter.SendUserMessage(ctx.Self(), message)
}

// publish puts an event on the event stream. A subscriber that panics must not
// fail the actor it is told about.
func publish(ctx actor.Context, event any) {
	defer func() {
		if r := recover(); r != nil {
			say(ctx, slog.LevelError, "subscriber of the event stream panicked", "err", fmt.Sprint(r))
		}
	}()
	ctx.ActorSystem().EventStream.Publish(event)
}
