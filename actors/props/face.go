package props

// What the actors of one engine share: the engine, what outlives an incarnation, and
// the ends that are under way.

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// drainGrace is how long the end of an actor's destination or membership may take
// when the actor is not there any more.
const drainGrace = 5 * time.Second

// Engine is what the actors need of theirs.
type Engine interface {
	Register(context.Context, senders.Config) (*senders.Destination, error)
	Join(context.Context, members.Config) (*members.Member, error)
	Topic(context.Context, string, topics.ProducerConfig) (*topics.Topic, error)
	EnsureTopic(context.Context, string, messages.TopicConfig, topics.ProducerConfig) (*topics.Topic, error)
	// Call has a queue called on a goroutine of the engine's, for which Stop waits.
	Call(usercode.Callbacks)
	// Emit tells an event.
	Emit(messages.Event)
	// System is where the engine lives, and its children.
	System() *actor.ActorSystem
	// Stopping reports whether the end of the engine has begun.
	Stopping() bool
	// Done is closed when the engine has ended: nothing is called any more.
	Done() <-chan struct{}
}

// Face makes the props of one engine. It is safe for concurrent use.
type Face struct {
	engine Engine

	mu    sync.Mutex
	parts map[*actor.PID]any       // of actors that live; by pointer: another actor may get the name of one that ends
	ends  map[string]chan struct{} // by place; closed when the end is through
	begun chan struct{}            // closed when the next end begins
}

// New makes the face of an engine.
func New(e Engine) *Face {
	return &Face{engine: e, parts: make(map[*actor.PID]any), ends: make(map[string]chan struct{}), begun: make(chan struct{})}
}

// part returns what the actor keeps from one incarnation to the next, made by fresh
// for the first one.
func part[P any](f *Face, self *actor.PID, fresh func() *P) *P {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.parts[self].(*P); ok {
		return p
	}
	p := fresh()
	f.parts[self] = p
	return p
}

// Has reports whether an actor is one of this face's, and lives.
func (f *Face) Has(pid *actor.PID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, has := f.parts[pid]
	return has
}

// forget drops what the actor kept.
func (f *Face) forget(self *actor.PID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.parts, self)
}

// end has a place given up by somebody that is not there any more, on a goroutine of
// the engine's. settled awaits it.
func (f *Face) end(place string, end func(context.Context) error) { f.beginEnd(place, end).hurry() }

// beginEnd is end for somebody that is there and waits: it has its time, until hurry.
func (f *Face) beginEnd(place string, end func(context.Context) error) *ending {
	over := make(chan struct{})
	f.mu.Lock()
	f.ends[place] = over
	close(f.begun)
	f.begun = make(chan struct{})
	f.mu.Unlock()
	e := &ending{place: place, end: end, gone: f.engine.Done(), done: over, over: func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.ends[place] == over {
			delete(f.ends, place)
		}
		close(over)
	}}
	e.asked, e.hurry = context.WithCancel(context.Background())
	f.engine.Call(e)
	return e
}

// over is why an actor ends whose handle did, though nobody here asked for that. op is
// what it can't do any more.
func (f *Face) over(op string, cause error) error {
	switch {
	case errors.Is(cause, messages.ErrClosed) && cause.Error() != messages.ErrClosed.Error():
		return fmt.Errorf("%s: %w", op, cause)
	case cause != nil && !errors.Is(cause, messages.ErrClosed):
		return fmt.Errorf("%s: %w: %w", op, messages.ErrClosed, cause)
	case f.engine.Stopping():
		return fmt.Errorf("%s: the runtime was stopped: %w", op, messages.ErrClosed)
	}
	return fmt.Errorf("%s: it has been ended by somebody else: %w", op, messages.ErrClosed)
}

// home returns messages.ErrInvalid for an actor in another system than the engine's:
// who is sent something there could not reply.
func (f *Face) home(ctx actor.Context) error {
	if ctx.ActorSystem() == f.engine.System() {
		return nil
	}
	return fmt.Errorf("%s: its actor system is not that of the runtime; spawn it there: %w", ctx.Self().Id, messages.ErrInvalid)
}

// settled waits until no end of the place is under way, as long as an end may take.
func (f *Face) settled(ctx context.Context, place string) {
	f.mu.Lock()
	over := f.ends[place]
	f.mu.Unlock()
	if over == nil {
		return
	}
	late := time.NewTimer(2 * drainGrace)
	defer late.Stop()
	select {
	case <-over:
	case <-late.C:
	case <-f.engine.Done(): // it ends nothing any more
	case <-ctx.Done():
	}
}

// handoverGrace is how long a place that is taken may take to be given up: by an actor
// that was stopped a moment ago and has not heard of it.
const handoverGrace = time.Second

// enter has a place taken, after whoever is giving it up.
func (f *Face) enter(ctx context.Context, place string, take func() error) error {
	f.settled(ctx, place)
	err := take()
	if !errors.Is(err, messages.ErrExists) {
		return err
	}
	late := time.NewTimer(handoverGrace)
	defer late.Stop()
	for waits := true; waits; {
		f.mu.Lock()
		_, ends := f.ends[place]
		begun := f.begun
		f.mu.Unlock()
		if ends {
			break
		}
		select {
		case <-begun:
		case <-late.C:
			waits = false
		case <-f.engine.Done():
			waits = false
		case <-ctx.Done():
			return err
		}
	}
	f.settled(ctx, place)
	return take()
}

// ending is the end of one place.
type ending struct {
	place string
	end   func(context.Context) error
	once  sync.Once
	over  func()
	done  <-chan struct{} // closed by over
	err   error           // once it is
	gone  <-chan struct{} // closed when the engine has ended, and performs nothing any more

	asked context.Context // ends when nobody waits any more
	hurry func()          // ends it: the end may take drainGrace from then on
}

// Call performs the end. What fails of it is told by events.
func (e *ending) Call(ctx context.Context) {
	e.once.Do(func() {
		defer e.over()
		defer e.hurry()
		ctx, cancel := supervisor.GraceWithin(ctx, e.asked, drainGrace)
		defer cancel()
		e.err = e.end(ctx)
	})
}

// wait waits for the end, and returns what came of it.
func (e *ending) wait(ctx context.Context) error {
	select {
	case <-e.done:
		return e.err
	case <-e.gone:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-e.done:
		return e.err
	default:
		return messages.ErrClosed
	}
}

// Waiting says what is left to do.
func (e *ending) Waiting() error {
	select {
	case <-e.done:
		return nil
	default:
		return fmt.Errorf("the end of %s is under way", e.place)
	}
}

// Run describes the end: it is no code of the user's.
func (e *ending) Run() *usercode.Run { return &usercode.Run{What: "the end of " + e.place} }

// policy restarts a member's workers, without end: what each fails over is nacked.
func policy() supervisor.Policy {
	return supervisor.Policy{Default: supervisor.Restart, Backoff: supervisor.DefaultBackoff()}
}

// giveUp tells the parent why the actor ends for good, and ends it.
func giveUp(ctx actor.Context, err error) {
	if parent := ctx.Parent(); parent != nil {
		ctx.Send(parent, &supervisor.Failed{Who: ctx.Self(), Err: err})
	}
	ctx.Stop(ctx.Self())
}

// tellParent tells the parent a fact.
func tellParent(ctx actor.Context, fact any) {
	if parent := ctx.Parent(); parent != nil {
		ctx.Send(parent, fact)
	}
}
