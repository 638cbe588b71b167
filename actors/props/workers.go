package props

// The workers of a member: actors of the user's that the member spawns and supervises.

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

// crew is the workers of one incarnation of a member. What happens to them is told by a
// middleware around their Receive.
type crew struct {
	face    *Face
	cfg     members.Config
	workers []*actor.PID // of the member's goroutine

	mu    sync.Mutex
	ready []*actor.PID            // up, and with nothing to do
	of    map[string]*workerState // by PID
	more  chan struct{}           // holds one: ready has got one
}

// workerState is where a worker stands.
type workerState struct {
	up   bool // Started, and not failed since
	busy bool // a delivery was sent to it and has not come out of Receive
}

func newCrew(f *Face, cfg members.Config) *crew {
	return &crew{face: f, cfg: cfg, of: make(map[string]*workerState), more: make(chan struct{}, 1)}
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
			c.mu.Unlock()
			return pid
		}
		c.mu.Unlock()
	}
	return nil
}

// attend is the middleware around a worker's Receive.
func (c *crew) attend(next actor.ReceiverFunc) actor.ReceiverFunc {
	return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
		d, _ := envelope.Message.(*messages.Delivery)
		_, begins := envelope.Message.(*actor.Started)
		returned := false
		defer func() {
			if returned {
				c.returned(ctx.Self(), d != nil, begins)
				return
			}
			cause := recover()
			c.failed(ctx.Self(), d, cause)
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
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// failed nacks what a worker failed over; it gets nothing until it has begun again.
func (c *crew) failed(who *actor.PID, d *messages.Delivery, cause any) {
	if d != nil {
		d.Nack(fmt.Errorf("the handler panicked: %v", cause))
		c.face.engine.Emit(messages.HandlerPanicked{
			Destination: c.cfg.Destination, Group: c.cfg.Group, Value: fmt.Sprint(cause), Stack: string(debug.Stack()),
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.state(who)
	w.up = false
	w.busy = w.busy && d == nil
	c.ready = slices.DeleteFunc(c.ready, func(pid *actor.PID) bool { return pid.Equal(who) })
}

// state is where a worker stands. mu is held.
func (c *crew) state(who *actor.PID) *workerState {
	w := c.of[who.Id]
	if w == nil {
		w = &workerState{}
		c.of[who.Id] = w
	}
	return w
}
