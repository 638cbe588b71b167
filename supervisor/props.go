package supervisor

// The description of a guarded actor; guard.go is what it becomes.

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jonboulle/clockwork"
)

// Clock is where delays, deadlines and timers take their time from. The real
// one is the default; tests that cannot run in a testing/synctest bubble pass a
// clockwork.FakeClock.
type Clock = clockwork.Clock

// Option describes a guarded actor; see the functions that return one.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	producer    actor.Producer
	policy      *Policy
	strategy    Strategy
	guardian    *Policy
	clock       Clock
	stopTimeout time.Duration
	mailbox     actor.MailboxProducer // nil for the unbounded one
	props       []actor.PropsOption
}

// byDefault is shared by all actors without a policy of their own.
var byDefault = DefaultPolicy()

// WithPolicy is how the actor treats the failures of its children. Without it
// that is DefaultPolicy.
func WithPolicy(p Policy) Option { return option(func(s *settings) { s.policy = &p }) }

// WithStrategy is which children a restarted one takes along. Without it that
// is OneForOne.
func WithStrategy(st Strategy) Option { return option(func(s *settings) { s.strategy = st }) }

// WithGuardian is how a top-level actor, one spawned from the root context, is
// itself treated when it fails. Without it that is DefaultPolicy. It has no say
// about an actor that has a parent.
func WithGuardian(p Policy) Option { return option(func(s *settings) { s.guardian = &p }) }

// WithClock replaces the real clock for the actor's supervision and its Host.
func WithClock(c Clock) Option { return option(func(s *settings) { s.clock = c }) }

// WithStopTimeout bounds the wait for each child to stop or to end its
// incarnation, with everything below it: an actor needs more than its children
// have for theirs. The default is 10 s; zero or less waits without end.
func WithStopTimeout(d time.Duration) Option {
	return option(func(s *settings) { s.stopTimeout = d })
}

// WithMailbox replaces the unbounded mailbox; Tree does not show how long messages
// wait in another one, as it may be bounded. An actor.WithMailbox inside
// WithProps has no effect, because the guard has to wrap the mailbox.
func WithMailbox(m actor.MailboxProducer) Option { return option(func(s *settings) { s.mailbox = m }) }

// WithProps passes options on to proto.actor. Guardian, supervisor and mailbox
// options have no effect there: WithGuardian, WithPolicy and WithMailbox of
// this package take their place.
func WithProps(opts ...actor.PropsOption) Option {
	return option(func(s *settings) { s.props = append(s.props, opts...) })
}

// Props describes a guarded actor. The producer runs once for each incarnation,
// on the actor's goroutine, just before Started; a panic in it is a failure of
// the actor.
//
// The props may be spawned many times and from many goroutines. Inside the
// actor, Context.Actor is the guard, not what the producer made.
func Props(p actor.Producer, opts ...Option) *actor.Props {
	s := &settings{
		producer:    p,
		policy:      &byDefault,
		guardian:    &byDefault,
		clock:       clockwork.NewRealClock(),
		stopTimeout: 10 * time.Second,
	}
	for _, o := range opts {
		o.apply(s)
	}
	props := actor.PropsFromProducer(func() actor.Actor { return &guard{settings: s} }, s.props...)
	return props.Configure(
		actor.WithGuardian(nil),
		actor.WithMailbox(func() actor.Mailbox { return &mailbox{inner: s.newMailbox()} }),
		actor.WithSpawnMiddleware(adopting),
	)
}

func (s *settings) newMailbox() actor.Mailbox {
	if s.mailbox == nil {
		return actor.Unbounded()()
	}
	return s.mailbox()
}

// ClockOf is the clock of the guarded actor that ctx belongs to, the real one
// for any other actor. It must be called from Receive.
func ClockOf(ctx actor.Context) Clock {
	if g, ok := ctx.Actor().(*guard); ok {
		return g.settings.clock
	}
	return clockwork.NewRealClock()
}
