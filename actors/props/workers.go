package props

// The workers of a member or subscription: actors of the user's that it spawns and
// supervises.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/messages"
)

// crew is the workers of one incarnation of a member or subscription. What happens to
// them is told by a middleware around their Receive. It is the innermost one: what a
// middleware of the user's fails over, or does not pass on, is found by a message sent
// behind it.
type crew struct {
	face        *Face
	system      *actor.ActorSystem
	from, group string       // destination or topic
	workers     []*actor.PID // of the actor's goroutine

	mu    sync.Mutex
	ready []*actor.PID            // up, and with nothing to do
	of    map[string]*workerState // by PID
	more  chan struct{}           // holds one: ready has got one
}

// workerState is where a worker stands.
type workerState struct {
	up     bool          // Started, and not failed since
	busy   bool          // a delivery was sent to it and has not come out of Receive
	inside bool          // that has come to Receive
	sent   uint64        // deliveries
	posted atomic.Uint64 // of them are in the mailbox, or were
	looked uint64        // sent, when it was last looked at
	fail   func(error)   // of the last one
	lost   chan struct{} // closed when it fails
	kept   handedOut     // came out of Receive and is not settled
}

// behind follows a delivery through a worker's mailbox and middleware.
type behind struct{ sent uint64 }

// NotInfluenceReceiveTimeout keeps the worker's timeout as it is.
func (*behind) NotInfluenceReceiveTimeout() {}

// lookEvery is how often a delivery is looked after that has not come to Receive.
const lookEvery = time.Second

// errNotPassed is what becomes of a delivery that does not.
var errNotPassed = errors.New("a middleware of the handler's failed over it or did not pass it on")

func newCrew(f *Face, system *actor.ActorSystem, from, group string) *crew {
	return &crew{face: f, system: system, from: from, group: group, of: make(map[string]*workerState), more: make(chan struct{}, 1)}
}

// spawn begins n workers, or one.
func (c *crew) spawn(ctx actor.Context, props *actor.Props, n int) error {
	props = props.Clone(actor.WithReceiverMiddleware(c.attend))
	for i := range max(1, n) {
		pid, err := ctx.SpawnNamed(props, fmt.Sprintf("worker-%d", i))
		if err != nil {
			return fmt.Errorf("spawn a worker: %w", err)
		}
		c.workers = append(c.workers, pid)
	}
	return nil
}

// has reports whether that is one of the workers.
func (c *crew) has(who *actor.PID) bool {
	return slices.ContainsFunc(c.workers, func(pid *actor.PID) bool { return pid.Equal(who) })
}

// deliver hands each delivery to a worker that has nothing to do, until ctx ends. It runs
// hosted, and waits for a worker where nothing is in its hands.
func (c *crew) deliver(ctx context.Context, m *members.Member) error {
	if !c.await(ctx) {
		return context.Cause(ctx)
	}
	return m.Deliver(ctx, m.Window(), 1, func(ds []messages.Delivery) {
		for i := range ds {
			if pid := c.next(ctx); pid != nil {
				c.send(pid, &ds[i])
			}
		}
		c.await(ctx)
	})
}

// handle hands a record to a worker that has nothing to do, and waits until it is
// settled.
func (c *crew) handle(ctx context.Context, r messages.Record) error {
	for {
		pid := c.next(ctx)
		if pid == nil {
			return context.Cause(ctx)
		}
		lost := c.lost(pid)
		record, settled := messages.NewRecordDelivery(ctx, r)
		nth := c.send(pid, record)
		for has := true; has; {
			select {
			case err := <-settled:
				return err
			case <-lost:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			has, lost = c.stillHas(pid, nth)
			select {
			case err := <-settled: // it is what the worker failed over
				return err
			default: // the worker failed over something else, and has forgotten it if it had it
			}
		}
	}
}

// stillHas reports whether a delivery that was sent to a worker is still to be handled
// there, and returns what is closed when the worker fails again.
func (c *crew) stillHas(who *actor.PID, nth uint64) (has bool, lost <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	return w.busy && w.sent == nth, w.lost
}

// lost is closed when the worker fails.
func (c *crew) lost(who *actor.PID) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state(who).lost
}

// await waits until a worker is ready, or ctx ends: false.
func (c *crew) await(ctx context.Context) bool {
	for {
		c.mu.Lock()
		n := len(c.ready)
		c.mu.Unlock()
		if n > 0 {
			return true
		}
		select {
		case <-c.more:
		case <-ctx.Done():
			return false
		}
	}
}

// next takes the worker that is ready longest, or returns nil when ctx has ended: what is
// in hand then is taken back.
func (c *crew) next(ctx context.Context) *actor.PID {
	for c.await(ctx) {
		c.mu.Lock()
		if len(c.ready) > 0 {
			pid := c.ready[0]
			c.ready = slices.Delete(c.ready, 0, 1)
			w := c.of[pid.Id]
			w.busy, w.inside, w.fail = true, false, nil
			if len(c.ready) > 0 {
				c.signal() // others may wait for one, too
			}
			c.mu.Unlock()
			return pid
		}
		c.mu.Unlock()
	}
	return nil
}

// nackOf is how what a worker is handed fails; nil for any other message.
func nackOf(m any) func(error) {
	switch m := m.(type) {
	case *messages.Delivery:
		return m.Nack
	case *messages.RecordDelivery:
		return m.Nack
	}
	return nil
}

// send hands a delivery to a worker that next has returned. It is the worker's nth.
func (c *crew) send(pid *actor.PID, delivery any) (nth uint64) {
	c.mu.Lock()
	w := c.state(pid)
	w.sent++
	w.fail = nackOf(delivery)
	nth = w.sent
	c.mu.Unlock()
	c.system.Root.Send(pid, delivery)
	w.posted.Store(nth)
	return nth
}

// look follows each delivery that has not come to Receive since the last look.
func (c *crew) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pid := range c.workers {
		w := c.state(pid)
		if w.looked == w.sent {
			c.follow(pid, w)
		}
		w.looked = w.sent
	}
}

// follow finds out what has become of the delivery that was sent last, if it has not come
// to Receive. mu is held.
func (c *crew) follow(pid *actor.PID, w *workerState) {
	if w.up && w.busy && !w.inside && w.posted.Load() == w.sent {
		c.system.Root.Send(pid, &behind{w.sent})
	}
}

// passed: the delivery that was sent before has come to Receive by now, or never will.
func (c *crew) passed(who *actor.PID, sent uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	if w.busy && !w.inside && w.sent == sent {
		w.fail(errNotPassed) // before anybody sees that the worker has it no more
		w.busy = false
	}
	c.offer(who, w)
}

// attend is the middleware around a worker's Receive.
func (c *crew) attend(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		if m, ok := envelope.Message.(*behind); ok {
			c.passed(ctx.Self(), m.sent)
			return
		}
		delivery := envelope.Message
		nack := nackOf(delivery)
		if nack != nil {
			c.enters(ctx.Self())
		}
		_, begins := delivery.(*actor.Started)
		returned := false
		defer func() {
			switch {
			case !returned:
				cause := recover()
				c.failed(ctx.Self(), nack, cause)
				if cause != nil {
					panic(cause) // supervision decides
				}
			case nack != nil:
				c.returned(ctx.Self(), delivery)
			case begins:
				c.begins(ctx.Self())
			}
		}()
		next(ctx, envelope)
		returned = true
	}
}

// enters notes that what a worker was sent has come to Receive.
func (c *crew) enters(who *actor.PID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state(who).inside = true
}

// returned notes that a worker has handled a delivery, or keeps it.
func (c *crew) returned(who *actor.PID, delivery any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	w.busy = false
	w.kept.add(delivery)
	c.offer(who, w)
}

// begins notes that a worker has Started. One that had not failed as far as is known has
// failed outside of Receive, or was restarted by somebody.
func (c *crew) begins(who *actor.PID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	if w.up {
		w.loses()
		c.follow(who, w)
	}
	w.up = true
	c.offer(who, w)
}

// loses has what the worker had in hand go to others. What waits in its mailbox stays
// there. mu is held.
func (w *workerState) loses() {
	w.kept.giveBack()
	close(w.lost)
	w.lost = make(chan struct{})
}

// offer notes that a worker has nothing to do, if it is up and so. mu is held.
func (c *crew) offer(who *actor.PID, w *workerState) {
	if !w.up || w.busy || slices.ContainsFunc(c.ready, func(pid *actor.PID) bool { return pid.Equal(who) }) {
		return
	}
	c.ready = append(c.ready, who)
	c.signal()
}

// signal wakes one that waits for a worker. mu is held.
func (c *crew) signal() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// failed nacks what a worker failed over, and gives back what it kept; it gets nothing
// until it has begun again.
func (c *crew) failed(who *actor.PID, nack func(error), cause any) {
	if nack != nil {
		nack(fmt.Errorf("the handler panicked: %v", cause))
		c.face.engine.Emit(messages.HandlerPanicked{
			Destination: c.from, Group: c.group, Value: fmt.Sprint(cause), Stack: string(debug.Stack()),
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	w.up = false
	w.busy = w.busy && nack == nil
	w.loses()
	c.ready = slices.DeleteFunc(c.ready, func(pid *actor.PID) bool { return pid.Equal(who) })
}

// state is where a worker stands. mu is held.
func (c *crew) state(who *actor.PID) *workerState {
	w := c.of[who.Id]
	if w == nil {
		w = &workerState{lost: make(chan struct{})}
		c.of[who.Id] = w
	}
	return w
}

// handedOut is what a worker keeps to settle it later. Most of it is settled when more
// comes: it is looked through when it has grown to twice what was left.
type handedOut struct {
	all  []messages.Delivery
	most int
}

// isKept reports whether a delivery is not settled.
func isKept(d *messages.Delivery) bool {
	in, ok := d.Settler.(interface{ InHand(seq uint64) bool })
	return ok && in.InHand(d.Seq)
}

// add notes a message, if it is a delivery that is not settled.
func (h *handedOut) add(m any) {
	d, ok := m.(*messages.Delivery)
	if !ok || !isKept(d) {
		return
	}
	if len(h.all) >= max(16, h.most) {
		h.all = slices.DeleteFunc(h.all, func(d messages.Delivery) bool { return !isKept(&d) })
		h.most = 2 * len(h.all)
	}
	h.all = append(h.all, *d)
}

// giveBack gives back what is not settled.
func (h *handedOut) giveBack() {
	for i := range h.all {
		if isKept(&h.all[i]) {
			h.all[i].Release()
		}
	}
	h.all = nil
}
