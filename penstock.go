package penstock

// Runtime: where everything begins and ends.

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstock-io/penstock/actors"
)

// Runtime is one process's part in Penstock: a supervised tree of actors and
// one session with etcd. It is safe for concurrent use.
type Runtime struct {
	engine      *actors.Engine
	diagnostics *diagnosticsServer // nil without the option
}

// Start begins a runtime. It blocks until etcd has replied or ctx ends; ctx bounds
// Start only. An error says what went wrong with the last connection to etcd. A
// Start that waits for more than a second says so in an event and a log line.
//
// When etcd is over its quota the runtime begins without a lease: topics can be
// read, described and deleted, and what needs a lease waits until etcd has room.
//
// Errors: ErrInvalid with every fault of the options, ErrUnavailable, ErrDenied, and
// those of Diagnostics.
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

// Register makes this process a sender of a destination. It blocks until the sender
// is in etcd and the groups of that moment are known, or ctx ends.
//
// Errors: ErrInvalid, ErrExists (this runtime has registered it already),
// ErrDestinationTaken, ErrTaken, ErrAddrInUse, ErrUnavailable, ErrDenied,
// ErrRestarted, ErrClosed, and ctx's cause.
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

// Join makes this process a member of a group of a destination. The group's first
// join decides its mode and queue policy. Join blocks until each sender of that
// moment has accepted the member or has failed once; with no sender it returns at
// once. Links to senders that come later, or come back, are made automatically.
//
// Errors: ErrInvalid, ErrGroupMode, ErrTaken, ErrUnavailable, ErrDenied,
// ErrRestarted, ErrClosed, and ctx's cause.
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

// Events yields what happens from the call on, until ctx ends or the runtime is over:
// the last event is messages.RuntimeStopped.
// A reader that is 1,024 events behind misses events, and messages.EventsLost says
// how many. What can happen for each message comes as sums, with a Count. With a nil
// ctx it yields nothing.
func (r *Runtime) Events(ctx context.Context) iter.Seq[Event] { return r.engine.Events(ctx) }

// Done is closed when the runtime is over, for whatever reason: after a Stop, or when
// it ended by itself. Call Stop then all the same: it ends Diagnostics, and returns at
// once. The runtime ends by itself when a bug has used up the restarts of its actor,
// or when somebody stops that actor in the actor system that was given to Start.
func (r *Runtime) Done() <-chan struct{} { return r.engine.Done() }

// Err is why the runtime is over: what Stop returned, so nil after an orderly Stop, or
// why it ended by itself. It is nil until Done is closed.
func (r *Runtime) Err() error { return r.engine.Err() }

// Metrics registers the runtime's counters with an OpenTelemetry meter provider,
// which reads them when it collects. The caller ends it with the Unregister of what
// Metrics returns. Errors: ErrInvalid for a nil provider, and those of the provider.
func (r *Runtime) Metrics(provider metric.MeterProvider) (metric.Registration, error) {
	return r.engine.Instrument(provider)
}

// Stats returns a snapshot of every counter. It does not block.
func (r *Runtime) Stats() Stats { return r.engine.Stats() }

// Engine returns the same runtime for code that works with actors.
func (r *Runtime) Engine() *Engine { return r.engine }

// Stop drains everything, senders first: what was accepted is delivered, what was
// received is handled, keys are removed, the lease is revoked. When ctx ends first,
// the rest is abandoned and *AbandonedError says how much. The runtime is over when
// Stop returns; a second Stop does nothing. Handlers, loops and callbacks that do
// not return are waited for no longer than AckWait or RevokeTimeout and a few
// seconds: then the error wraps ErrBusy.
//
// Stop in a function of the user's that it would wait for (a loop's body, a handler,
// a callback, the logger) returns ErrBusy at once and stops nothing. Let that
// function return and call Stop elsewhere. In a loop over Events it may be called.
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
