package actors

// What a caller holds: a destination to send to, a member to read from. The
// handles outlive the actors behind them.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/sendq"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Destination is a registered sender. It is safe for concurrent use.
type Destination struct {
	eng         *Engine
	cfg         DestinationConfig
	out         *sendq.Queue
	pid         atomic.Pointer[actor.PID]
	id          string
	incarnation string
	urls        atomic.Pointer[[]string]
	listed      atomic.Pointer[[]string] // of them, what etcd has; nil while that is not known
	since       time.Time                // of the registration
	token       []byte
	written     atomic.Bool // the keys are the registry's to keep
	announced   atomic.Bool // who registered was told
	removal     removal
	wait        idWait
}

// removal is how far the taking away of a handle's keys is. It is for the words
// of who waits for it and gives up.
type removal struct {
	mu    sync.Mutex // one removal at a time
	stage atomic.Int32
	why   atomic.Pointer[error] // of removalFailed
}

const (
	removalNone   int32 = iota // the actor has not begun
	removalAsked               // etcd was asked
	removalDone                // the keys are gone
	removalFailed              // etcd did not take them away
)

// of performs f, which takes the keys away, unless they are gone: who leaves by
// itself may be asked to leave as well.
func (r *removal) of(f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stage.Load() == removalDone {
		return nil
	}
	r.stage.Store(removalAsked)
	err := f()
	if err == nil {
		r.stage.Store(removalDone)
	} else {
		r.why.Store(&err)
		r.stage.Store(removalFailed)
	}
	return err
}

// left says that keys may stand in etcd though their owner has ended, or is nil.
func (r *removal) left() error {
	if r.stage.Load() != removalFailed {
		return nil
	}
	return fmt.Errorf("it has ended here, but its keys may stay in etcd until the lease ends: %w", *r.why.Load())
}

// Name returns the destination's name.
func (d *Destination) Name() string { return d.cfg.Name }

// ID returns the sender's id in the destination.
func (d *Destination) ID() string { return d.id }

// URL is penstock.Destination.URL: the first of URLs.
func (d *Destination) URL() string { return d.URLs()[0] }

// URLs returns where members find this sender, in the order in which they try them.
// They change with this machine's addresses.
func (d *Destination) URLs() []string { return slices.Clone(*d.urls.Load()) }

// PID returns the destination's actor.
func (d *Destination) PID() *actor.PID { return d.pid.Load() }

// Send is penstock.Destination.Send.
func (d *Destination) Send(ctx context.Context, m messages.Message) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if len(m.Headers) > 0 || !m.Time.IsZero() {
		if err := m.Check(); err != nil {
			return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
		}
	}
	return d.out.Send(ctx, &m)
}

// Flush is penstock.Destination.Flush.
func (d *Destination) Flush(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("flush %q: %w", d.cfg.Name, err)
	}
	return d.out.Flush(ctx)
}

// Parked is penstock.Destination.Parked.
func (d *Destination) Parked() []messages.Parked { return d.out.Parked() }

// Unregister is penstock.Destination.Unregister.
func (d *Destination) Unregister(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("unregister %q: %w", d.cfg.Name, err)
	}
	if err := d.eng.inside.Refuse(ctx, fmt.Sprintf("unregister %q", d.cfg.Name), func(c *usercode.Run) bool { return c.HasInHand(d.cfg.Name, d.id) }); err != nil {
		return err
	}
	end, cancel := supervisor.Grace(ctx, lastGrace)
	defer cancel()
	err := d.deliver(ctx)
	werr := d.eng.withdraw(end, &withdraw{dest: d})
	if werr == nil || d.removal.left() != nil {
		d.eng.hub.emit(messages.DestinationUnregistered{Destination: d.cfg.Name, Sender: d.id})
	}
	if werr != nil {
		return errors.Join(err, fmt.Errorf("unregister %q: %w", d.cfg.Name, werr))
	}
	return err
}

// deliver refuses new messages and waits for the acks of the others, or gives
// them up when ctx ends. *AbandonedError says what was given up, then or before.
func (d *Destination) deliver(ctx context.Context) error {
	began := time.Now()
	d.out.Drain()
	err := d.out.Settled(ctx, 0)
	d.out.End(nil, err)
	if lost := d.out.Abandoned(); lost != nil {
		return lost
	}
	d.eng.hub.emit(messages.Drained{Destination: d.cfg.Name, Took: time.Since(began)})
	return nil
}

// Member is a place in a group. It is safe for concurrent use; one loop or
// Consume reads at a time.
type Member struct {
	eng         *Engine
	in          *inlet
	pid         atomic.Pointer[actor.PID]
	incarnation string
	written     atomic.Bool
	announced   atomic.Bool
	gone        atomic.Bool // LeftGroup was told
	removal     removal
	wait        idWait
}

// left tells, once, that the membership ended.
func (m *Member) left() {
	if m.gone.CompareAndSwap(false, true) {
		cfg := m.in.cfg
		m.eng.hub.emit(messages.LeftGroup{Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID})
	}
}

// end lets loops and Consume return: the actor behind them is gone.
func (m *Member) end() {
	m.in.leave(inletLeft, nil)
	if c := m.in.consumption(); c != nil {
		c.finish()
	}
}

// ID returns the member's id in its group.
func (m *Member) ID() string { return m.in.cfg.ID }

// PID returns the member's actor.
func (m *Member) PID() *actor.PID { return m.pid.Load() }

// Messages is penstock.Member.Messages; manual is its option ManualAck.
func (m *Member) Messages(ctx context.Context, manual bool) iter.Seq2[messages.Delivery, error] {
	if err := contextGiven(ctx); err != nil {
		return func(yield func(messages.Delivery, error) bool) { yield(messages.Delivery{}, err) }
	}
	return m.in.messages(ctx, manual)
}

// Consume is penstock.Member.Consume.
func (m *Member) Consume(ctx context.Context, handler messages.Handler) error {
	if err := errors.Join(contextGiven(ctx), handlerGiven(handler == nil)); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if handler == nil {
		return fmt.Errorf("consume %q of %q: no handler: %w", m.in.cfg.Group, m.in.cfg.Destination, messages.ErrInvalid)
	}
	end, err := m.in.begin()
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := newConsumption(ctx, m.in, handler)
	m.in.watch(c)
	defer m.in.watch(nil)
	if m.in.left() {
		c.finish() // its actor is gone, and so is whoever would say so
	}
	m.eng.sys.Root.Send(m.pid.Load(), &consume{c})
	<-c.over
	c.end()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.in.causeOf()
}

// Leave is penstock.Member.Leave.
func (m *Member) Leave(ctx context.Context) error {
	if err := contextGiven(ctx); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	cfg := m.in.cfg
	if err := m.eng.inside.Refuse(ctx, fmt.Sprintf("leave %q of %q", cfg.Group, cfg.Destination), func(c *usercode.Run) bool { return c.Of == m.in }); err != nil {
		m.eng.sys.Root.Send(m.pid.Load(), &leaveUnasked{})
		return err
	}
	end, cancel := supervisor.Grace(ctx, lastGrace)
	defer cancel()
	err := errors.Join(m.drain(ctx), m.eng.withdraw(end, &withdraw{member: m}))
	m.left()
	if err != nil {
		return fmt.Errorf("leave %q of %q: %w", cfg.Group, cfg.Destination, err)
	}
	return nil
}

// drain has what has come handled by whoever reads, and ends the stream.
func (m *Member) drain(ctx context.Context) error {
	began := time.Now()
	cfg := m.in.cfg
	_, err := supervisor.Ask[*memberDrained](ctx, m.eng.sys, m.pid.Load(), &drainMember{})
	m.in.leave(inletLeft, nil)
	if n := m.in.unread(); n > 0 && cfg.Mode == messages.AtMostOnce {
		m.eng.hub.emit(messages.MessagesDropped{
			Destination: cfg.Destination, Group: cfg.Group, Count: n, Why: "the member left before they were handed out",
		})
	}
	switch n := m.in.givenUp(); {
	case err == nil && n > 0:
		return fmt.Errorf("%d messages were not settled within an AckWait of %s, or waited behind those: they go to others: %w", n, cfg.AckWait, messages.ErrBusy)
	case err == nil:
		m.eng.hub.emit(messages.Drained{Destination: cfg.Destination, Group: cfg.Group, Took: time.Since(began)})
		return nil
	case errors.Is(err, supervisor.ErrNoActor):
		return nil // gone before
	}
	return fmt.Errorf("what had come is not all handled: %w", context.Cause(ctx))
}

// withdraw ends a destination or member and waits until its name is free. Its
// errors say whether the keys are gone and what is waited for: messages.ErrBusy
// for code of the user's, ErrRestarted for an actor of ours that has not come up
// again, ErrUnavailable for etcd.
func (e *Engine) withdraw(ctx context.Context, w *withdraw) error {
	_, err := supervisor.Ask[*withdrawn](ctx, e.sys, e.root, w)
	switch {
	case errors.Is(err, supervisor.ErrNoActor):
		return nil // everything is over
	case err == nil:
		return w.removal().left()
	}
	switch cause := context.Cause(ctx); w.removal().stage.Load() {
	case removalDone:
		return fmt.Errorf("its keys are gone from etcd; a handler or callback that has not returned holds up the rest: %w: %w", messages.ErrBusy, cause)
	case removalNone:
		return fmt.Errorf("its keys stand until its actor, which is being restarted, removes them, or the lease ends: %w: %w", messages.ErrRestarted, cause)
	default:
		return e.silent("etcd at %s has not confirmed it, so its keys may stay until the lease ends", cause)
	}
}

func (w *withdraw) removal() *removal {
	switch {
	case w.dest != nil:
		return &w.dest.removal
	case w.member != nil:
		return &w.member.removal
	}
	return &w.sub.removal
}
