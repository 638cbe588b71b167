package penstock

// The face of the runtime: plain Go, contexts, iterators.

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Runtime is one process's part in Penstock: a supervised tree of actors and
// one session with etcd. It is safe for concurrent use.
type Runtime struct {
	engine      *actors.Engine
	diagnostics *diagnosticsServer // nil without the option
}

// Start begins a runtime. It blocks until etcd has answered, or ctx ends; ctx
// bounds Start only. An error says what went wrong with the last connection,
// however short the time was, and a Start that waits says so in an event and a
// log line after a second. With an etcd that has no room the runtime begins without a
// lease: topics can be read, described and deleted, and what needs a lease waits
// until there is room. Errors: ErrInvalid with every fault of the options,
// ErrUnavailable, ErrDenied, and those of Diagnostics.
func Start(ctx context.Context, opts ...StartOption) (*Runtime, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	s := startSettings{}
	for _, o := range opts {
		o.applyStart(&s)
	}
	var place diagnosticsPlace
	if s.diagnostics != "" {
		var err error
		if place, err = parseDiagnostics(s.diagnostics); err != nil {
			s.cfg.EnsureDefaults()
			return nil, fmt.Errorf("start: %w", errors.Join(s.cfg.Validate(), err))
		}
	}
	engine, err := actors.Start(ctx, s.system, s.cfg)
	if err != nil {
		return nil, err
	}
	r := &Runtime{engine: engine}
	if s.diagnostics != "" {
		if r.diagnostics, err = startDiagnostics(engine, place); err != nil {
			return nil, fmt.Errorf("start: %w", errors.Join(err, r.Stop(ctx)))
		}
	}
	return r, nil
}

// Register makes this process a sender of a destination. It blocks until the
// destination is in etcd and the groups of that moment are known, or ctx ends.
// Errors: ErrInvalid, ErrExists (registered in this runtime already),
// ErrDestinationTaken, ErrTaken, ErrAddrInUse, ErrUnavailable, ErrDenied,
// ErrClosed.
func (r *Runtime) Register(ctx context.Context, destination string, opts ...RegisterOption) (*Destination, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("register %q: %w", destination, err)
	}
	cfg := actors.DestinationConfig{Name: destination}
	for _, o := range opts {
		o.applyRegister(&cfg)
	}
	d, err := r.engine.Register(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Destination{d}, nil
}

// Join makes this process a member of a group. The first join of a group
// decides its mode and queue policy. Join blocks until each sender of that
// moment has welcomed the member or failed once; with no sender it returns at
// once, and it returns when ctx ends. Errors: ErrInvalid, ErrGroupMode,
// ErrTaken, ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) Join(ctx context.Context, destination, group string, opts ...JoinOption) (*Member, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("join %q of %q: %w", group, destination, err)
	}
	cfg := actors.MemberConfig{Destination: destination, Group: group}
	for _, o := range opts {
		o.applyJoin(&cfg)
	}
	m, err := r.engine.Join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Member{m}, nil
}

// Events yields what happens from now on, until ctx ends or the runtime stops.
// A subscriber that falls 1,024 events behind misses some and is told how many
// by messages.EventsLost. With a ctx that is nil it yields nothing.
func (r *Runtime) Events(ctx context.Context) iter.Seq[Event] { return r.engine.Events(ctx) }

// Metrics registers the runtime's counters with an OpenTelemetry meter
// provider; a collection reads them. The caller ends it with Unregister.
func (r *Runtime) Metrics(provider metric.MeterProvider) (metric.Registration, error) {
	return r.engine.Instrument(provider)
}

// Stats is a snapshot of every counter.
func (r *Runtime) Stats() Stats { return r.engine.Stats() }

// Engine is the actor face of the same runtime.
func (r *Runtime) Engine() *Engine { return r.engine }

// DeleteGroup removes a group of a destination that has no members: one that is
// kept Forever, or before its KeepFor is over. Running senders give up what is
// queued for it, and say how much in a messages.GroupRemoved; a Send that it
// held up goes on. A sender that still has a link to a member, whose key is gone
// because it cannot reach etcd, keeps its queue until the link ends. Errors:
// ErrGroupLive (it has members), ErrNoGroup, ErrInvalid, ErrUnavailable,
// ErrDenied, ErrClosed.
func (r *Runtime) DeleteGroup(ctx context.Context, dest, group string) error {
	return r.engine.DeleteGroup(ctx, dest, group)
}

// Stop drains everything, senders first: what was accepted is delivered, what
// was received is handled, keys are removed, the lease is given up. When ctx
// ends first, the rest is given up and *AbandonedError says how much. The
// runtime is over when Stop returns; a second Stop does nothing. Handlers, loops
// and callbacks that do not return are waited for no longer than AckWait or
// RevokeTimeout and a grace: the error wraps ErrBusy.
//
// Stop called by a function of the user's that it would wait for (a loop's body, a
// handler, a callback, the logger) returns ErrBusy at once and stops nothing. Let
// that function return and call Stop elsewhere, with a context of its own. In a
// loop over Events it may be called.
func (r *Runtime) Stop(ctx context.Context) error {
	if ctx == nil {
		return r.engine.Stop(ctx)
	}
	err := r.engine.Stop(ctx)
	if errors.Is(err, ErrBusy) && !r.engine.Stopped() {
		return err // called from where it would wait for itself
	}
	// Last, so that a drain can be looked at; what ctx has left does not matter.
	return errors.Join(err, r.diagnostics.stop(context.WithoutCancel(ctx), r.engine.System()))
}

// Destination is a sender. It is safe for concurrent use.
type Destination struct {
	d *actors.Destination
}

// Name is the destination's.
func (d *Destination) Name() string { return d.d.Name() }

// URL is where members find this sender.
func (d *Destination) URL() string { return d.d.URL() }

// Send accepts m for every group, or for none: what is accepted is delivered
// to one member of each group as the group's mode promises, unless this
// process dies first. Send waits while a group of policy QueueBlock is full,
// or while there is no group, until ctx ends; it never drops. m's bytes are
// copied before Send returns. Errors: ErrTooLarge, ErrGroupFull, ErrInvalid,
// ErrClosed, and ctx's cause.
func (d *Destination) Send(ctx context.Context, m Message) error { return d.d.Send(ctx, m) }

// Flush waits until everything accepted before the call is acked by every
// group it was accepted for, or ctx ends, whose cause it returns. When for 10 s
// only groups are left that no member is linked to, it returns ErrNoMember: their
// messages stay queued, and Flush can be called again. *AbandonedError says that a group was removed with messages of its own, or that
// the destination ended with them: another sender has its place, or it failed.
func (d *Destination) Flush(ctx context.Context) error { return d.d.Flush(ctx) }

// Stats counts what became of the messages, a row for each group.
func (d *Destination) Stats() []PipeStats { return d.d.Stats() }

// Parked copies the messages that used up their attempts where there is no
// DeadLetters handler, the newest 64 for each group.
func (d *Destination) Parked() []Parked { return d.d.Parked() }

// Unregister refuses new messages, delivers what was accepted, and removes the
// sender. Groups stay for as long as their KeepFor says, also after the last
// sender; for what is queued for a group without members it waits. When ctx
// ends first the rest is given up: *AbandonedError. The sender is gone when
// Unregister returns. When etcd does not take its keys away within 5 s they stay
// until the lease ends, and the error says so: ErrUnavailable or ErrDenied.
//
// Unregister called by a function that has a message of this sender in hand (a
// loop's body, a handler, the DeadLetters handler) would wait for its caller: it
// returns ErrBusy at once and ends nothing.
func (d *Destination) Unregister(ctx context.Context) error { return d.d.Unregister(ctx) }

// Member is a place in a group. It is safe for concurrent use; one loop or
// Consume reads at a time, a second is ErrBusy.
type Member struct {
	m *actors.Member
}

// ID is the member's in its group.
func (m *Member) ID() string { return m.m.ID() }

// Messages yields deliveries until the member leaves or ctx ends. Taking the
// next one acks the one before; Nack decides otherwise. A loop that breaks or
// panics hands its message back. An error comes once, last: ctx's cause, or
// why the member ended; after Leave or Stop the loop ends silently.
//
// With ManualAck only Ack and Nack settle, also after the loop: what was handed out
// stays this member's until AckWait is over. What has come and was not handed out
// waits a second for another loop, then goes back to its sender.
func (m *Member) Messages(ctx context.Context, opts ...ReadOption) iter.Seq2[Delivery, error] {
	if err := optionsGiven(opts); err != nil {
		return func(yield func(Delivery, error) bool) { yield(Delivery{}, fmt.Errorf("messages: %w", err)) }
	}
	s := readSettings{}
	for _, o := range opts {
		o.applyRead(&s)
	}
	return m.m.Messages(ctx, s.manual)
}

// Consume calls handler for each message until ctx ends, whose cause it
// answers, or the member leaves: nil. nil from handler acks, an error or a
// panic nacks: the message is tried again later. Concurrency, given to Join,
// is how many run at once; each runs under an actor of its own.
func (m *Member) Consume(ctx context.Context, handler Handler) error {
	return m.m.Consume(ctx, messages.Handler(handler))
}

// Stats counts what this member got.
func (m *Member) Stats() MemberStats { return m.m.Stats() }

// Leave drains and ends the membership; the group stays for its other members.
// What has come is handled by the loop or handlers that run, and what is in hand is
// waited for; with nobody reading and nothing in hand, and with no sender, Leave
// returns at once. When ctx ends first the rest is given back to its senders
// unhandled. So is what nobody settles within AckWait, with all that waits behind
// it: the error wraps ErrBusy then, and a handler that does not return is left
// behind. With an AckWait without a limit Leave waits as long as ctx lasts. When
// etcd does not take the member's key away within 5 s it stays until the lease
// ends, and the error says so: ErrUnavailable or ErrDenied.
//
// Leave in the body of the member's own loop, or in its handler, cannot wait for
// its caller. It begins the end, returns ErrBusy at once, and the loop ends after
// what has come. To wait for the end, break the loop and leave then:
//
//	for msg := range m.Messages(ctx) {
//		if last(msg) {
//			msg.Ack()
//			break
//		}
//	}
//	err := m.Leave(ctx)
//
// A loop over iter.Pull is not known to be the caller: such a Leave ends after
// AckWait.
func (m *Member) Leave(ctx context.Context) error { return m.m.Leave(ctx) }
