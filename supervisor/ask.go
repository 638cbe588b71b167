package supervisor

// Talking to actors from outside, under a context, and the context of an end.

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// ReplyError says that an actor replied, but not with what was asked for.
type ReplyError struct {
	// From is the id of the actor that was asked.
	From string
	// Want and Got are Go types.
	Want, Got string
}

// Error tells the types.
func (e *ReplyError) Error() string {
	return fmt.Sprintf("ask %s: answered %s, not %s", e.From, e.Got, e.Want)
}

// Ask sends msg to an actor and waits for its reply, or until ctx ends, whose
// cause is then returned. A reply that is an error is returned as the error; one
// that is neither an error nor an R is a *ReplyError.
//
// Who cannot reply any more says so at once. ErrNoActor: nobody got the message,
// or the actor stopped before it replied. ErrFailed, with the cause: the actor is
// guarded, and failed while it handled this message, whatever is done about that
// failure. A message that waits in the mailbox while the actor restarts is handled
// by the next incarnation. An actor that keeps the question beyond its handler,
// and restarts, has to reply in Restarting, or from the next incarnation. One that
// forwards the question and stops before the other replies is ErrNoActor, too.
//
// Waiting does not bind the actor: what it replies after ctx ended is dropped.
// A question to a guarded actor that has ended is no dead letter, as who asks hears of it.
// Do not Ask from within Receive: it blocks.
func Ask[R any](ctx context.Context, sys *actor.ActorSystem, to *actor.PID, msg any) (R, error) {
	var none R
	if to == nil {
		return none, fmt.Errorf("ask nobody: %w", ErrNoActor)
	}
	answers, me, done := listen(sys, "ask")
	defer done()
	// The end of the actor comes through the same channel, after its last reply.
	process, ok := sys.ProcessRegistry.Get(to)
	if !ok {
		return none, fmt.Errorf("ask %s: %w", to.Id, ErrNoActor)
	}
	process.SendSystemMessage(to, &actor.Watch{Watcher: me})
	defer process.SendSystemMessage(to, &actor.Unwatch{Watcher: me})
	sys.Root.RequestWithCustomSender(to, msg, me)
	select {
	case answer := <-answers:
		switch a := answer.(type) {
		case *actor.DeadLetterResponse, *actor.Terminated:
			return none, fmt.Errorf("ask %s: %w", to.Id, ErrNoActor)
		case *unanswered:
			return none, fmt.Errorf("ask %s: %w: %w", to.Id, ErrFailed, a.err)
		case error:
			return none, a
		case R:
			return a, nil
		}
		return none, &ReplyError{From: to.Id, Want: reflect.TypeFor[R]().String(), Got: fmt.Sprintf("%T", answer)}
	case <-ctx.Done():
		return none, fmt.Errorf("ask %s: %w", to.Id, context.Cause(ctx))
	}
}

// unanswered is what Ask gets in place of a reply when the handler failed.
type unanswered struct{ err error }

// excuse tells who asked by Ask that the handler of the message failed. Whoever
// sent it in another way is not told: a reply it does not know would be noise.
func excuse(sys *actor.ActorSystem, message any, err error) {
	sender := actor.UnwrapEnvelopeSender(message)
	if sender == nil {
		return
	}
	process, _ := sys.ProcessRegistry.Get(sender)
	if l, ok := process.(listener); ok {
		l.take(&unanswered{err})
	}
}

// Stop stops an actor and waits until it has stopped, or until ctx ends, whose
// cause is then returned; the actor stops all the same. It returns nil when the
// actor is gone already. Queued user messages are not handled; a guarded actor
// makes dead letters of them.
//
// An actor that is not guarded and that somebody else is stopping already may
// still be at it when Stop returns.
func Stop(ctx context.Context, sys *actor.ActorSystem, pid *actor.PID) error {
	return await(ctx, "stop", sys, pid, func(p actor.Process) { p.Stop(pid) })
}

// Await waits until an actor has stopped, or until ctx ends, whose cause is
// then returned. It returns nil when the actor is gone already.
func Await(ctx context.Context, sys *actor.ActorSystem, pid *actor.PID) error {
	return await(ctx, "await", sys, pid, func(actor.Process) {})
}

func await(ctx context.Context, op string, sys *actor.ActorSystem, pid *actor.PID, then func(actor.Process)) error {
	if pid == nil {
		return nil
	}
	process, ok := sys.ProcessRegistry.Get(pid)
	if !ok {
		return nil
	}
	ended, me, done := listen(sys, op)
	defer done()
	process.SendSystemMessage(pid, &actor.Watch{Watcher: me})
	then(process)
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		process.SendSystemMessage(pid, &actor.Unwatch{Watcher: me})
		return fmt.Errorf("%s %s: %w", op, pid.Id, context.Cause(ctx))
	}
}

// notice is a message that is of no use once its receiver has ended.
type notice struct{ message any }

// Notify sends a message as Send does, of which nobody is to hear when its receiver has
// ended: it is no dead letter, neither then nor when the receiver, which must be guarded
// for that, ends before it handles the message. from is a context of the sender's.
func Notify(from interface{ ActorSystem() *actor.ActorSystem }, to *actor.PID, message any) {
	if to == nil {
		return
	}
	sys := from.ActorSystem()
	if g := find(sys, to.Id); g != nil && to.Address == sys.Address() {
		g.mb.PostUserMessage(&notice{message})
		return
	}
	if process, ok := sys.ProcessRegistry.Get(to); ok {
		process.SendUserMessage(to, message)
	}
}

// Reply is Notify to who sent the message in hand, if that is somebody.
func Reply(ctx actor.Context, message any) { Notify(ctx, ctx.Sender(), message) }

// listener is a process that takes one message and drops the rest, so that a
// late answer finds room and nobody to race with.
type listener chan any

func listen(sys *actor.ActorSystem, what string) (answers <-chan any, me *actor.PID, done func()) {
	l := make(listener, 1)
	me, _ = sys.ProcessRegistry.Add(l, what+sys.ProcessRegistry.NextID())
	return l, me, func() { sys.ProcessRegistry.Remove(me) }
}

// SendUserMessage takes an answer.
func (l listener) SendUserMessage(_ *actor.PID, message any) {
	l.take(actor.UnwrapEnvelopeMessage(message))
}

// SendSystemMessage takes a Terminated.
func (l listener) SendSystemMessage(_ *actor.PID, message any) { l.take(message) }

// Stop does nothing: a listener ends with the call that made it.
func (listener) Stop(*actor.PID) {}

func (l listener) take(message any) {
	select {
	case l <- message:
	default:
	}
}

// Grace returns a context with ctx's values that ends d after ctx does: for what
// an end has to do even when there was no time for more. Its cause is ctx's.
// The function it returns must be called; it ends the context at once.
func Grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return GraceWithin(context.WithoutCancel(ctx), ctx, d)
}

// GraceWithin is Grace with the values of within, with which it ends, too.
func GraceWithin(within, ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(within)
	var mu sync.Mutex
	var last *time.Timer
	over := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			last = time.AfterFunc(d, func() { cancel(context.Cause(ctx)) })
		}
	})
	return out, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		if last != nil {
			last.Stop()
		}
		cancel(nil)
	}
}
