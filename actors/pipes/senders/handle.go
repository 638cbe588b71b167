package senders

// What a caller holds of a destination. The handle outlives the actors behind it.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/internal/worker"
	"github.com/penstock-io/penstock/actors/pipes/internal/asks"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/nanomsg"
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
	at          atomic.Pointer[where]
	listed      atomic.Pointer[where] // of that, what etcd has; nil while that is not known
	asksRights  bool                  // etcd says who may join
	// asksIdentity tells members that certificates decide who may join.
	asksIdentity bool
	rights       atomic.Pointer[links.Rights]
	since        time.Time    // of the registration
	tokens       links.Tokens // admit to a group, or to all
	written      atomic.Bool  // the keys are the registry's to keep
	announced    atomic.Bool  // who registered was told
	removal      node.Removal
	wait         node.KeyWait
	role         node.Role
	plain        *nanomsg.Listener // nil without plain peers
	closePlain   func()
}

// begin says that the runtime is to be a sender.
func (d *Destination) begin() {
	d.role.Kind, d.role.Of, d.role.ID, d.role.Has = node.RoleDestination, d.cfg.Name, d.id, d.out.Links
	if len(d.cfg.Require) > 0 {
		d.role.Missing = d.out.Missing
	}
	if !d.cfg.Lends { // its subscriptions have theirs
		d.node.Roles.Begin(&d.role)
	}
}

// Name returns the destination's name.
func (d *Destination) Name() string { return d.cfg.Name }

// ID returns the sender's id in the destination.
func (d *Destination) ID() string { return d.id }

// URL is penstock.Destination.URL: the first of URLs.
func (d *Destination) URL() string { return d.URLs()[0] }

// URLs returns where members find this sender, in the order in which they try them.
// They change with this machine's addresses.
func (d *Destination) URLs() []string { return slices.Clone(d.at.Load().urls) }

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
	if len(m.Headers) > 0 || !m.Time.IsZero() || !m.ExpiresAt.IsZero() || m.ID != "" || m.Tombstone || !m.DeliverAt.IsZero() {
		if err := m.CheckSend(); err != nil {
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
	var n atomic.Int64
	err = d.SendAll(ctx, msgs, &n)
	return int(n.Load()), err
}

// SendAll is SendBatch that adds to accepted as it goes, for who recovers from panics of
// middleware, or does not wait for it any more.
func (d *Destination) SendAll(ctx context.Context, msgs []messages.Message, accepted *atomic.Int64) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("send to %q: %w", d.cfg.Name, err)
	}
	if d.use != nil {
		for _, m := range msgs {
			if err := d.use.Do(ctx, m, d.sends); err != nil {
				return err
			}
			accepted.Add(1)
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
	n := 0
	err := d.out.SendBatch(ctx, msgs[:good], &n)
	accepted.Add(int64(n))
	return cmp.Or(err, refused)
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

// Request says how a request is made.
type Request struct {
	// Groups are asked; none means all that the destination has.
	Groups []string
	// Replies, of RequestMany, is how many are enough; 0 is one from each group.
	Replies int
	// Quiet, of RequestMany, is how long nothing may come; 0 is without a limit.
	Quiet time.Duration
}

// linkGrace is how long a request waits for the link of a member that etcd shows.
const linkGrace = 500 * time.Millisecond

// Request is penstock.Destination.Request.
func (d *Destination) Request(ctx context.Context, m messages.Message, cfg Request) (messages.Reply, error) {
	if err := node.ContextGiven(ctx); err != nil {
		return messages.Reply{}, fmt.Errorf("request to %q: %w", d.cfg.Name, err)
	}
	groups := d.asked(cfg)
	switch len(groups) {
	case 1:
	case 0:
		return messages.Reply{}, fmt.Errorf("request to %q: %w", d.cfg.Name, messages.ErrNoGroup)
	default:
		return messages.Reply{}, fmt.Errorf("request to %q: one group replies, and there are %q: name one with FromGroup, or call RequestMany: %w", d.cfg.Name, groups, messages.ErrInvalid)
	}
	var got messages.Reply
	err := d.through(ctx, m, func(ctx context.Context, m messages.Message) error {
		a, err := d.ask(ctx, m, groups, false)
		if err != nil {
			return err
		}
		defer a.end()
		o, err := a.next(ctx, nil)
		if err != nil {
			return err
		}
		got = o.Reply
		return o.Err
	})
	if err != nil {
		got = messages.Reply{}
	}
	return got, err
}

// RequestMany is penstock.Destination.RequestMany.
func (d *Destination) RequestMany(ctx context.Context, m messages.Message, cfg Request) iter.Seq2[messages.Reply, error] {
	return func(yield func(messages.Reply, error) bool) {
		if err := d.requestMany(ctx, m, cfg, yield); err != nil {
			yield(messages.Reply{}, err)
		}
	}
}

// requestMany yields what comes. The error is to be yielded last.
func (d *Destination) requestMany(ctx context.Context, m messages.Message, cfg Request, yield func(messages.Reply, error) bool) error {
	if err := node.ContextGiven(ctx); err != nil {
		return fmt.Errorf("request to %q: %w", d.cfg.Name, err)
	}
	groups := d.asked(cfg)
	if len(groups) == 0 {
		return fmt.Errorf("request to %q: %w", d.cfg.Name, messages.ErrNoGroup)
	}
	var a *asking
	err := d.through(ctx, m, func(ctx context.Context, m messages.Message) (err error) {
		if a != nil {
			return fmt.Errorf("request to %q: a middleware called next again for a request that is accepted: %w", d.cfg.Name, messages.ErrInvalid)
		}
		a, err = d.ask(ctx, m, groups, true)
		return err
	})
	if a == nil {
		return err // nil of a middleware that kept it back
	}
	defer a.end()
	var quiet <-chan time.Time
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	replies := 0
	for range groups {
		if cfg.Quiet > 0 {
			timer.Reset(cfg.Quiet)
			quiet = timer.C
		}
		o, err := a.next(ctx, quiet)
		if err != nil {
			return err
		}
		if o == nil || !yield(o.Reply, o.Err) {
			return nil
		}
		if o.Err == nil {
			replies++
		}
		if cfg.Replies > 0 && replies == cfg.Replies {
			return nil
		}
	}
	return nil
}

// asked returns the groups that a request is for.
func (d *Destination) asked(cfg Request) []string {
	if len(cfg.Groups) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(cfg.Groups)))
	}
	all := d.out.Backlogs()
	groups := make([]string, 0, len(all))
	for _, b := range all {
		if !b.Plain() { // those have no reply
			groups = append(groups, b.Group)
		}
	}
	return groups
}

// through has the middleware send m, if there is any.
func (d *Destination) through(ctx context.Context, m messages.Message, send messages.Send) error {
	if d.use != nil {
		return d.use.Do(ctx, m, send)
	}
	return send(ctx, m)
}

// asking is a request under way.
type asking struct {
	d     *Destination
	ask   *asks.Ask
	sent  sendq.Asking
	since time.Time
}

// ask sends m as a request. The caller calls end.
func (d *Destination) ask(ctx context.Context, m messages.Message, groups []string, some bool) (*asking, error) {
	// Nobody is to handle it after that.
	if at, ok := ctx.Deadline(); ok && at.Year() < 2200 && (m.ExpiresAt.IsZero() || at.Before(m.ExpiresAt)) {
		m.ExpiresAt = at
	}
	if err := d.check(&m); err != nil {
		return nil, err
	}
	a := &asking{d: d, ask: d.out.Asks.Begin(groups), since: time.Now()}
	a.sent = sendq.Asking{Groups: groups, Some: some, Grace: linkGrace, Each: a.settled}
	m = messages.Ask(m, a.ask.Number)
	if err := d.out.Ask(ctx, &m, &a.sent); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// settled is told how the request ended in a group. A reply was before, or none comes.
func (a *asking) settled(group string, cause error) {
	if cause == nil {
		cause = fmt.Errorf("request to %q: group %q has acked it: %w", a.d.cfg.Name, group, messages.ErrNoReply)
	}
	a.d.out.Asks.Settle(a.ask.Number, group, asks.Outcome{Err: cause})
}

// next waits for an outcome; nil when quiet comes first.
func (a *asking) next(ctx context.Context, quiet <-chan time.Time) (*asks.Outcome, error) {
	var o asks.Outcome
	select {
	case o = <-a.ask.Outcomes: // before all else
	default:
		var err error
		if o, err = a.await(ctx, quiet); err != nil || o.Group == "" {
			return nil, err
		}
	}
	if at, ok := ctx.Deadline(); ok && errors.Is(o.Err, messages.ErrExpired) && time.Until(at) <= 0 {
		<-ctx.Done() // it is its time that is up
		return nil, a.over(ctx)
	}
	return &o, nil
}

// over is what a requester hears whose context has ended.
func (a *asking) over(ctx context.Context) error {
	return fmt.Errorf("request to %q: no reply after %s: %w", a.d.cfg.Name, time.Since(a.since).Round(time.Millisecond), context.Cause(ctx))
}

// await is next for what has not come yet. Of quiet there is no group.
func (a *asking) await(ctx context.Context, quiet <-chan time.Time) (o asks.Outcome, err error) {
	select {
	case o = <-a.ask.Outcomes:
		return o, nil
	case <-quiet:
		return o, nil
	case <-a.d.out.Ended():
		return o, fmt.Errorf("request to %q: %w", a.d.cfg.Name, errors.Join(messages.ErrClosed, a.d.out.Cause()))
	case <-ctx.Done():
		return o, a.over(ctx)
	}
}

// end takes the request back where it can be.
func (a *asking) end() {
	a.d.out.Asks.Forget(a.ask)
	a.d.out.Withdraw(&a.sent)
}
