package members

// What a caller holds of a place in a group. The handle outlives the actors
// behind it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/tracing"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Member is a place in a group. It is safe for concurrent use; one loop or
// Consume reads at a time.
type Member struct {
	node        *node.Node
	links       *links.Config
	trusted     *trusted
	cfg         Config
	in          *recvq.Queue
	receives    *tracing.Receives // nil while tracing is off
	pid         atomic.Pointer[actor.PID]
	incarnation string
	written     atomic.Bool
	announced   atomic.Bool
	gone        atomic.Bool // LeftGroup was told
	removal     node.Removal
	wait        node.KeyWait
	role        node.Role
}

// begin says that the runtime is to be a member.
func (m *Member) begin() {
	m.role.Kind, m.role.Of, m.role.Group, m.role.ID = node.RoleMember, m.cfg.Destination, m.cfg.Group, m.cfg.ID
	m.role.Has = func() int { return m.in.Stats().Links }
	if !m.cfg.Lends { // its subscription has a role
		m.node.Roles.Begin(&m.role)
	}
}

// left tells, once, that the membership ended.
func (m *Member) left() {
	if m.gone.CompareAndSwap(false, true) {
		cfg := m.cfg
		m.node.Events.Emit(messages.LeftGroup{Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID})
	}
}

// end lets loops and Consume return: the actor behind them is gone. cause is why
// when nobody had asked for it.
func (m *Member) end(cause error) {
	m.in.Leave(recvq.Left, cause)
	if c := m.in.Consumption(); c != nil {
		c.Finish()
	}
}

// ID returns the member's id in its group.
func (m *Member) ID() string { return m.cfg.ID }

// PID returns the member's actor.
func (m *Member) PID() *actor.PID { return m.pid.Load() }

// Messages is penstock.Member.Messages; manual is its option ManualAck.
func (m *Member) Messages(ctx context.Context, manual bool) iter.Seq2[messages.Delivery, error] {
	if err := node.ContextGiven(ctx); err != nil {
		return func(yield func(messages.Delivery, error) bool) { yield(messages.Delivery{}, err) }
	}
	return m.receives.Deliveries(ctx, m.in.Messages(ctx, manual))
}

// Poll is penstock.Member.Poll; manual is its option ManualAck.
func (m *Member) Poll(ctx context.Context, limit int, manual bool) ([]messages.Delivery, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	began := m.receives.Now()
	ds, err := m.in.Poll(ctx, limit, manual)
	m.receives.Polled(ctx, began, ds)
	return ds, err
}

// Pause is penstock.Member.Pause.
func (m *Member) Pause() { m.in.Pause(recvq.ByMember) }

// Resume is penstock.Member.Resume.
func (m *Member) Resume() { m.in.Resume(recvq.ByMember) }

// Consume is penstock.Member.Consume.
func (m *Member) Consume(ctx context.Context, handler messages.Handler) error {
	if err := errors.Join(node.ContextGiven(ctx), node.HandlerGiven(handler == nil)); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	use := m.cfg.Use
	if !m.cfg.Lends { // what is lent is traced as what it is
		use = m.node.Tracing.Handlers(m.cfg.Destination, m.cfg.Group, use)
	}
	handler, err := chain.Wrap(handler, use)
	if err != nil {
		return fmt.Errorf("consume %q of %q: %w", m.cfg.Group, m.cfg.Destination, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := m.in.Consume(ctx, handler)
	if errors.Is(err, messages.ErrClosed) {
		return cmp.Or(m.in.Cause(), err)
	}
	if err != nil {
		return err
	}
	m.node.Send(m.pid.Load(), &consume{c})
	c.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.in.Cause()
}

// Leave is penstock.Member.Leave.
func (m *Member) Leave(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	cfg := m.cfg
	if err := m.node.Runs.Refuse(ctx, fmt.Sprintf("leave %q of %q", cfg.Group, cfg.Destination), func(c *usercode.Run) bool { return c.Of == m.in }); err != nil {
		m.node.Send(m.pid.Load(), &leaveUnasked{})
		return err
	}
	defer m.role.Forget()
	end, cancel := supervisor.Grace(ctx, node.LastGrace)
	defer cancel()
	err := errors.Join(m.drain(ctx), m.node.Withdraw(end, &withdraw{m}, &m.removal))
	m.left()
	if err != nil {
		return fmt.Errorf("leave %q of %q: %w", cfg.Group, cfg.Destination, err)
	}
	return nil
}

// drain has what has come handled by whoever reads, and ends the stream.
func (m *Member) drain(ctx context.Context) error {
	began := time.Now()
	cfg := m.cfg
	_, err := node.InsistOn[*drained](ctx, m.node, m.pid.Load(), &drain{})
	m.in.Leave(recvq.Left, nil)
	if n := m.in.Unread(); n > 0 && cfg.Mode == messages.AtMostOnce {
		m.node.Events.Emit(messages.MessagesDropped{
			Destination: cfg.Destination, Group: cfg.Group, Count: n, Why: "the member left before they were handed out",
		})
	}
	switch n := m.in.GivenUp(); {
	case err == nil && n > 0:
		return fmt.Errorf("%d messages were not settled within an AckWait of %s, or waited behind those: they go to others: %w", n, cfg.AckWait, messages.ErrBusy)
	case err == nil:
		m.node.Events.Emit(messages.Drained{Destination: cfg.Destination, Group: cfg.Group, Took: time.Since(began)})
		return nil
	case errors.Is(err, supervisor.ErrNoActor):
		return nil // gone before
	}
	return fmt.Errorf("what had come is not all handled: %w", context.Cause(ctx))
}

// Stats is penstock.Member.Stats.
func (m *Member) Stats() messages.MemberStats { return m.in.Stats() }

// Done is closed when the membership has ended, by Leave, Stop or a failure.
func (m *Member) Done() <-chan struct{} { return m.in.Ended() }

// Err is why the membership ended, when nobody asked for that.
func (m *Member) Err() error { return m.in.Cause() }

// Deliver hands deliveries to a receiver that settles them later: at most batch at a
// time, and never more than window that it has not settled. It blocks until ctx ends,
// whose cause it returns, or the member leaves: nil, or why it did. hand must not
// block; each slice is its own. One loop, Consume or Deliver reads at a time: else
// messages.ErrBusy.
func (m *Member) Deliver(ctx context.Context, window, batch int, hand func([]messages.Delivery)) error {
	return m.in.Deliver(ctx, window, batch, m.receives.Handing(ctx, hand))
}

// TakeBack gives back to the senders what the receiver of Deliver has not settled,
// without an attempt counted, and returns how much that was. With a cause, for which the
// receiver failed, the oldest counts a death. Nobody may be in Deliver.
func (m *Member) TakeBack(cause error) int { return m.in.TakeBack(cause) }

// Window is how many deliveries a receiver of Deliver has in hand at most.
func (m *Member) Window() int { return m.cfg.Window }

// LeaveUnasked begins Leave for who cannot wait for it.
func (m *Member) LeaveUnasked() { m.node.Send(m.pid.Load(), &leaveUnasked{}) }

// Abandon ends the membership at once, without waiting for that.
func (m *Member) Abandon() {
	m.end(nil)
	m.node.Send(m.node.Root, &withdraw{m})
}

// Reads reports whether a run of user code reads here.
func (m *Member) Reads(c *usercode.Run) bool { return c.Of == m.in }
