package node

// What an engine gives to the halves of its tree: its system, its clients, its
// lease, and the names of its actors.

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Node is one runtime's place in the world. It knows of no pipe and no topic.
// Its exported fields are set before the engine's actor begins and do not change
// then, but for the atomic ones. It is safe for concurrent use.
type Node struct {
	System   *actor.ActorSystem
	Root     *actor.PID // the engine's actor: its branches are asked there
	Etcd     *discovery.Clients
	Keys     keys.Space
	Registry *registry.Registry
	Watches  *discovery.Watches // of prefixes that are small
	Groups   *pipegroup.Groups  // of pipes: their leases are the session's to renew
	Events   *events.Bus
	Runs     *usercode.Runs
	Host     string          // this host's name, as it stands in keys
	Zone     string          // where this runtime runs, or empty
	Own      string          // known to its senders and members alone; empty for none
	Tracing  *tracing.Tracer // nil while that is off
	// Callbacks is the actor that calls callbacks. It ends after Root.
	Callbacks *actor.PID
	Dues      usercode.Dues // what it is to have called
	Roles     Roles         // what it was asked to be

	Lease   atomic.Int64 // in etcd, or 0 before the first: the session alone writes it
	Trusted atomic.Int64 // the lease while it can be trusted, else 0

	session    atomic.Pointer[messages.SessionHealth]
	delay      atomic.Pointer[delay] // why etcd was last waited for
	failed     atomic.Pointer[error] // why the engine's actor was given up
	spawned    atomic.Uint64         // makes actor names unique
	stopping   atomic.Bool
	restarting atomic.Bool
}

// Name makes the name of an actor: what it is, whose, and which incarnation.
func (n *Node) Name(kind, id string) string {
	if id != "" {
		kind += "/" + id
	}
	return fmt.Sprintf("%s#%d", kind, n.spawned.Add(1))
}

// Spawn begins a child of ctx's actor. It fails that actor when the system
// refuses.
func (n *Node) Spawn(ctx actor.Context, kind, id string, p actor.Producer, opts ...supervisor.Option) *actor.PID {
	pid, err := ctx.SpawnNamed(supervisor.Props(p, opts...), n.Name(kind, id))
	if err != nil {
		supervisor.Fail(ctx, err) // the number in it makes the name unique
	}
	return pid
}

// ShowPID stores an actor's PID in at before the actor begins. Whoever hears from
// the actor, or of it, finds the PID there.
func ShowPID(at *atomic.Pointer[actor.PID]) supervisor.Option {
	return supervisor.WithProps(actor.WithOnInit(func(ctx actor.Context) { at.Store(ctx.Self()) }))
}

// Send sends a message that has no sender, and is dropped when the receiver has ended.
func (n *Node) Send(to *actor.PID, msg any) { supervisor.Notify(n.System.Root, to, msg) }

// BeginStop notes that Stop was called. It reports whether this is the first call.
func (n *Node) BeginStop() bool { return n.stopping.CompareAndSwap(false, true) }

// Stopping reports whether Stop was called: nothing new may begin.
func (n *Node) Stopping() bool { return n.stopping.Load() }

// SetRestarting notes whether the engine's actor failed and has not come up again.
func (n *Node) SetRestarting(away bool) { n.restarting.Store(away) }

// Fail notes why the engine's actor was given up.
func (n *Node) Fail(err error) { n.failed.Store(&err) }

// Failure is why the engine ends by itself, or nil.
func (n *Node) Failure() error {
	if why := n.failed.Load(); why != nil {
		return fmt.Errorf("the runtime failed: %w", *why)
	}
	return nil
}

// Ends notes that the engine's actor ends. When nobody called Stop, and it was not
// given up, somebody has stopped it as an actor.
func (n *Node) Ends() {
	if !n.Stopping() && n.failed.Load() == nil {
		n.Fail(ErrOutside)
	}
}

// ErrOutside ends what somebody has stopped as an actor, and not by its handle.
var ErrOutside = fmt.Errorf("its actor was stopped from outside: %w", messages.ErrClosed)

// Closed is the error of a call that comes after the end: messages.ErrClosed, and
// why when nobody had called Stop.
func (n *Node) Closed() error {
	why := n.Failure()
	if why == nil || errors.Is(why, messages.ErrClosed) {
		return cmp.Or(why, messages.ErrClosed)
	}
	return fmt.Errorf("%w: %w", messages.ErrClosed, why)
}

// SetDelay notes why etcd is waited for; nil says that it has done what it was
// asked.
func (n *Node) SetDelay(why error) {
	if why == nil {
		n.delay.Store(nil)
		return
	}
	n.delay.Store(&delay{why, time.Now()})
}

type delay struct {
	why error
	at  time.Time
}

// SetSession notes how the session is, which the session alone does.
func (n *Node) SetSession(s messages.SessionState) {
	if was := n.session.Load(); was == nil || was.State != s {
		n.session.Store(&messages.SessionHealth{State: s, Since: time.Now()})
	}
}

// Session is how the session is. It knows of doubts a little late.
func (n *Node) Session() messages.SessionHealth {
	s := messages.SessionHealth{State: messages.SessionStateOpening}
	if known := n.session.Load(); known != nil {
		s = *known
	}
	s.Lease = n.Lease.Load()
	return s
}

// EtcdHealth is what is known of etcd, when the last request about the lease that
// it has confirmed was sent at that time. Nothing is asked for it.
func (n *Node) EtcdHealth(confirmed time.Time) messages.EtcdHealth {
	h := messages.EtcdHealth{Endpoints: discovery.Where(n.Etcd.Control), Confirmed: confirmed}
	if d := n.delay.Load(); d != nil && !confirmed.After(d.at) {
		h.Err = d.why
	}
	if why := discovery.Trouble(n.Etcd.Control); why != nil {
		h.Err = why
	}
	h.Reachable = h.Err == nil
	return h
}

// Delay is why etcd was last waited for, or nil when it has done since what it
// was asked.
func (n *Node) Delay() error {
	if d := n.delay.Load(); d != nil {
		return d.why
	}
	return nil
}

// Trouble is what keeps etcd from us: why there is no connection, else what it
// said last. It is nil when nothing is known to be wrong.
func (n *Node) Trouble() error {
	if why := discovery.Trouble(n.Etcd.Control); why != nil {
		return why
	}
	return n.Delay()
}

// Silent is the error of a caller that waited for etcd until its context ended;
// says names the place. Whatever the time was, it says what went wrong last.
func (n *Node) Silent(says string, cause error) error {
	says = fmt.Sprintf(says, discovery.Where(n.Etcd.Control))
	if why := n.Trouble(); why != nil {
		return fmt.Errorf("%s: %w: %w (%w)", says, messages.ErrUnavailable, cause, why)
	}
	return fmt.Errorf("%s: %w: %w", says, messages.ErrUnavailable, cause)
}

// Explain says where etcd was looked for when it did not respond in time, and
// what is in the way.
func (n *Node) Explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, messages.ErrUnavailable) {
		return n.Silent("no answer from etcd at %s", context.Cause(ctx))
	}
	return err
}

// Insist asks the engine's actor, and asks again when it failed over the question
// or restarted before it replied: its next incarnation gets the question.
func Insist[R any](ctx context.Context, n *Node, question any) (R, error) {
	return InsistOn[R](ctx, n, n.Root, question)
}

// InsistOn is Insist for another actor of the engine's.
func InsistOn[R any](ctx context.Context, n *Node, pid *actor.PID, question any) (R, error) {
	for {
		r, err := supervisor.Ask[R](ctx, n.System, pid, question)
		if err == nil || ctx.Err() != nil || !errors.Is(err, supervisor.ErrFailed) && !errors.Is(err, ErrAskAgain) {
			return r, err
		}
	}
}

// ErrAskAgain is the reply of an actor that restarts and has forgotten who asked.
var ErrAskAgain = errors.New("ask again")

// Unanswered names what a missing reply of an actor means to a caller. waits is
// for what, once the keys are written; held is what the keys wait for, or nil.
func (n *Node) Unanswered(ctx context.Context, err error, held *KeyWait, written bool, waits string) error {
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return n.Closed()
	case errors.Is(err, supervisor.ErrFailed):
		return Restarted(err)
	case ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)):
		return err
	case written:
		return fmt.Errorf("%s: %w", waits, context.Cause(ctx))
	}
	if n.restarting.Load() {
		return fmt.Errorf("the runtime's own actor is being restarted, try again: %w: %w", messages.ErrRestarted, context.Cause(ctx))
	}
	if why := held.over(context.Cause(ctx)); why != nil {
		return why
	}
	return n.Silent("etcd at %s has not answered", context.Cause(ctx))
}

// Restarted is messages.ErrRestarted with the cause, when an actor failed over a
// question, else err.
func Restarted(err error) error {
	if errors.Is(err, supervisor.ErrFailed) {
		return fmt.Errorf("%w: %w", messages.ErrRestarted, err)
	}
	return err
}

// Call has the callbacks of a queue called, on a goroutine of their own.
func (n *Node) Call(queue usercode.Callbacks) {
	if n.Dues.Add(queue) {
		n.Send(n.Callbacks, &usercode.Due{})
	}
}

// LastGrace is how long an end continues when its caller's context is over.
const LastGrace = time.Second

// StopGrace bounds an actor's removal of its keys.
const StopGrace = 5 * time.Second

// NewSystem makes an actor system that says nothing: what is worth saying is
// an event. Its dead-letter throttle would keep a goroutine for its interval.
func NewSystem() *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
}

// RandomID returns 16 hexadecimal digits.
func RandomID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// LinkError fails a member's link whose connection broke or could not be made. It is
// restarted to dial again, which is no fault of the actor's.
type LinkError struct {
	Destination, Group, Member, Sender string
	Err                                error
}

func (e *LinkError) Error() string { return e.Err.Error() }

// Unwrap is why.
func (e *LinkError) Unwrap() error { return e.Err }

// Crash makes an actor of ours fail, as a bug would: for tests of recovery.
type Crash struct{ Err error }
