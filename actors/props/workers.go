package props

// The workers of a member or subscription: actors of the user's that it spawns and
// supervises.

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/messages"
)

// crew is the workers of one incarnation of a member or subscription. What happens to them is told by a
// middleware around their Receive.
type crew struct {
	face        *Face
	from, group string       // destination or topic
	workers     []*actor.PID // of the actor's goroutine

	mu    sync.Mutex
	ready []*actor.PID            // up, and with nothing to do
	of    map[string]*workerState // by PID
	more  chan struct{}           // holds one: ready has got one
}

// workerState is where a worker stands.
type workerState struct {
	up   bool          // Started, and not failed since
	busy bool          // a delivery was sent to it and has not come out of Receive
	lost chan struct{} // closed when it fails
}

func newCrew(f *Face, from, group string) *crew {
	return &crew{face: f, from: from, group: group, of: make(map[string]*workerState), more: make(chan struct{}, 1)}
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
func (c *crew) deliver(ctx context.Context, system *actor.ActorSystem, m *members.Member) error {
	if !c.await(ctx) {
		return context.Cause(ctx)
	}
	return m.Deliver(ctx, m.Window(), 1, func(ds []messages.Delivery) {
		for i := range ds {
			if pid := c.next(ctx); pid != nil {
				system.Root.Send(pid, &ds[i])
			}
		}
		c.await(ctx)
	})
}

// handle hands a record to a worker that has nothing to do, and waits until it is
// settled.
func (c *crew) handle(ctx context.Context, system *actor.ActorSystem, r messages.Record) error {
	for {
		pid := c.next(ctx)
		if pid == nil {
			return context.Cause(ctx)
		}
		lost := c.lost(pid)
		record, settled := messages.NewRecordDelivery(ctx, r)
		system.Root.Send(pid, record)
		select {
		case err := <-settled:
			return err
		case <-lost:
			select {
			case err := <-settled: // it is what the worker failed over
				return err
			default: // the worker failed over something else, and has forgotten it
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
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
			c.of[pid.Id].busy = true
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
		return m.Fail
	}
	return nil
}

// attend is the middleware around a worker's Receive.
func (c *crew) attend(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		nack := nackOf(envelope.Message)
		_, begins := envelope.Message.(*actor.Started)
		returned := false
		defer func() {
			if returned {
				c.returned(ctx.Self(), nack != nil, begins)
				return
			}
			cause := recover()
			c.failed(ctx.Self(), nack, cause)
			if cause != nil {
				panic(cause) // supervision decides
			}
		}()
		next(ctx, envelope)
		returned = true
	}
}

// returned notes that a worker has handled something.
func (c *crew) returned(who *actor.PID, delivery, begins bool) {
	if !delivery && !begins {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	w.up = w.up || begins
	w.busy = w.busy && !delivery
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

// failed nacks what a worker failed over; it gets nothing until it has begun again.
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
	close(w.lost)
	w.up, w.lost = false, make(chan struct{})
	w.busy = w.busy && nack == nil
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
