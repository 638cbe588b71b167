package senders

// What a caller holds of a destination. The handle outlives the actors behind it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Destination is a registered sender. It is safe for concurrent use.
type Destination struct {
	node        *node.Node
	cfg         Config
	out         *sendq.Queue
	use         *chain.Sends    // middleware; nil for none
	sends       messages.Send   // send, for the middleware
	calls       *usercode.Calls // the functions given to SendAsync
	expired     *usercode.Calls // of OnExpired; nil for none
	pid         atomic.Pointer[actor.PID]
	id          string
	incarnation string
	urls        atomic.Pointer[[]string]
	listed      atomic.Pointer[[]string] // of them, what etcd has; nil while that is not known
	since       time.Time                // of the registration
	token       []byte
	written     atomic.Bool // the keys are the registry's to keep
	announced   atomic.Bool // who registered was told
	removal     node.Removal
	wait        node.KeyWait
	role        node.Role
}

// begin says that the runtime is to be a sender.
func (d *Destination) begin() {
	d.role.Kind, d.role.Of, d.role.ID, d.role.Has = node.RoleDestination, d.cfg.Name, d.id, d.out.Links
	d.node.Roles.Begin(&d.role)
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
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if d.use != nil {
		return d.use.Do(ctx, m, d.sends)
	}
	return d.send(ctx, &m)
}

// send is Send without the middleware.
func (d *Destination) send(ctx context.Context, m *messages.Message) error {
	if err := d.check(m); err != nil {
		return err
	}
	return d.out.Send(ctx, m)
}

// check returns why the encoding cannot carry m.
func (d *Destination) check(m *messages.Message) error {
	if len(m.Headers) > 0 || !m.Time.IsZero() || !m.ExpiresAt.IsZero() {
		if err := m.Check(); err != nil {
			return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
		}
	}
	return nil
}

// TrySend is penstock.Destination.TrySend.
func (d *Destination) TrySend(ctx context.Context, m messages.Message) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if d.use != nil {
		return d.use.Do(ctx, m, func(ctx context.Context, m messages.Message) error { return d.trySend(ctx, &m) })
	}
	return d.trySend(ctx, &m)
}

// trySend is TrySend without the middleware.
func (d *Destination) trySend(ctx context.Context, m *messages.Message) error {
	if err := d.check(m); err != nil {
		return err
	}
	return d.out.TrySend(ctx, m)
}

// SendBatch is penstock.Destination.SendBatch.
func (d *Destination) SendBatch(ctx context.Context, msgs []messages.Message) (accepted int, err error) {
	err = d.SendAll(ctx, msgs, &accepted)
	return accepted, err
}

// SendAll is SendBatch that adds to accepted as it goes, for who recovers from panics of
// middleware.
func (d *Destination) SendAll(ctx context.Context, msgs []messages.Message, accepted *int) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if d.use != nil {
		for _, m := range msgs {
			if err := d.use.Do(ctx, m, d.sends); err != nil {
				return err
			}
			*accepted++
		}
		return nil
	}
	good := len(msgs)
	var refused error
	for i := range msgs {
		if refused = d.check(&msgs[i]); refused != nil {
			good = i
			break
		}
	}
	if err := d.out.SendBatch(ctx, msgs[:good], accepted); err != nil {
		return err
	}
	return refused
}

// SendAsync is penstock.Destination.SendAsync.
func (d *Destination) SendAsync(ctx context.Context, m messages.Message, done func(error)) error {
	if done == nil {
		return d.Send(ctx, m)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if err := d.calls.Room(ctx); err != nil {
		return err
	}
	settled := func(err error) { d.calls.Add(func() { done(err) }) }
	if d.use == nil {
		return d.sendAsync(ctx, &m, settled)
	}
	taken := false
	err := d.use.Do(ctx, m, func(ctx context.Context, m messages.Message) error {
		if taken {
			return fmt.Errorf("send to %q: a middleware called next again for a message that is accepted; call it once: %w", d.cfg.Name, messages.ErrInvalid)
		}
		err := d.sendAsync(ctx, &m, settled)
		taken = err == nil
		return err
	})
	if taken {
		return nil // done is called
	}
	if err == nil { // kept back
		settled(nil)
	}
	return err
}

// sendAsync is SendAsync without the middleware. settled is called under a lock.
func (d *Destination) sendAsync(ctx context.Context, m *messages.Message, settled func(error)) error {
	if err := d.check(m); err != nil {
		return err
	}
	return d.out.SendAsync(ctx, m, settled)
}

// refuse returns messages.ErrBusy to a function given to SendAsync or OnExpired that would
// wait for itself.
func (d *Destination) refuse(ctx context.Context, end string, waits func(*usercode.Run) bool) error {
	return d.node.Runs.Refuse(ctx, fmt.Sprintf("%s %q", end, d.cfg.Name), func(c *usercode.Run) bool {
		return c.Of == d.calls || d.expired != nil && c.Of == d.expired || waits(c)
	})
}

// Flush is penstock.Destination.Flush.
func (d *Destination) Flush(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("flush %q: %w", d.cfg.Name, err)
	}
	if !d.calls.Idle() {
		if err := d.refuse(ctx, "flush", func(*usercode.Run) bool { return false }); err != nil {
			return err
		}
	}
	err := d.out.Flush(ctx)
	if cerr := d.calls.Flushed(ctx); cerr != nil && err == nil {
		err = fmt.Errorf("flush %q: %w", d.cfg.Name, cerr)
	}
	return err
}

// Parked is penstock.Destination.Parked.
func (d *Destination) Parked() []messages.Parked { return d.out.Parked() }

// Unregister is penstock.Destination.Unregister.
func (d *Destination) Unregister(ctx context.Context) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("unregister %q: %w", d.cfg.Name, err)
	}
	if err := d.refuse(ctx, "unregister", func(c *usercode.Run) bool { return c.HasInHand(d.cfg.Name, d.id) }); err != nil {
		return err
	}
	defer d.role.Forget()
	end, cancel := supervisor.Grace(ctx, node.LastGrace)
	defer cancel()
	err := d.deliver(ctx)
	werr := d.node.Withdraw(end, &withdraw{d}, &d.removal)
	if werr == nil || d.removal.Left() != nil {
		d.node.Events.Emit(messages.DestinationUnregistered{Destination: d.cfg.Name, Sender: d.id})
	}
	if werr != nil {
		err = errors.Join(err, fmt.Errorf("unregister %q: %w", d.cfg.Name, werr))
	}
	if cerr := d.called(ctx); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return err
}

// called waits until what SendAsync and OnExpired were given has been called and has
// returned, which is all of it once the destination has ended.
func (d *Destination) called(ctx context.Context) error {
	ctx, cancel := worker.WithinGrace(context.WithoutCancel(ctx))
	defer cancel()
	err := d.calls.Flushed(ctx)
	if d.expired != nil {
		err = errors.Join(err, d.expired.Flushed(ctx))
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
	d.node.Events.Emit(messages.Drained{Destination: d.cfg.Name, Took: time.Since(began)})
	return nil
}

// Stats is penstock.Destination.Stats.
func (d *Destination) Stats() []messages.PipeStats { return d.out.Stats() }

// Done is closed when the destination has ended, by Unregister, Stop or a failure.
func (d *Destination) Done() <-chan struct{} { return d.out.Ended() }

// Err is why the destination ended or takes no more, when nobody asked for that.
func (d *Destination) Err() error { return d.out.Cause() }
