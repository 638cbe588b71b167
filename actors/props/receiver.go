package props

// What a subscription's receiver has in hand, and how its failures are seen.

import (
	"context"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/penstock-io/penstock/supervisor"
)

// receiverFailures has the actor told receiverFailed when its receiver has begun again,
// or continues without what it failed over, until the subscription is ended.
func receiverFailures(ctx actor.Context, to *actor.PID, tell func(any)) *eventstream.Subscription {
	return ctx.ActorSystem().EventStream.Subscribe(func(event any) {
		switch e := event.(type) {
		case *supervisor.Restarted:
			if e.Who.Equal(to) {
				tell(receiverFailed{})
			}
		case *actor.SupervisorEvent:
			if e.Child.Equal(to) && (e.Directive == actor.RestartDirective || e.Directive == actor.ResumeDirective) {
				tell(receiverFailed{})
			}
		}
	})
}

// hand is what a receiver was handed and has not settled. After a failure of its a
// message passes through its mailbox: what was handed before it, and is not settled
// when it has passed, is lost to the receiver and handed again. It is safe for
// concurrent use.
type hand struct {
	mu    sync.Mutex
	round int // messages that were sent to pass
	out   map[*handed]struct{}
}

// handed is one message in hand.
type handed struct {
	round int
	lost  chan struct{} // closed when it is to be handed again
}

// give sends a message to the receiver.
func (h *hand) give(system *actor.ActorSystem, to *actor.PID, m any) *handed {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.out == nil {
		h.out = make(map[*handed]struct{})
	}
	out := &handed{round: h.round, lost: make(chan struct{})}
	h.out[out] = struct{}{}
	system.Root.Send(to, m)
	return out
}

// settled forgets a message.
func (h *hand) settled(out *handed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.out, out)
}

// pass sends a message that passes.
func (h *hand) pass(ctx actor.Context, to *actor.PID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round++
	ctx.Request(to, &passing{h.round})
}

// passed has everything handed again that is lost.
func (h *hand) passed(round int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for out := range h.out {
		if out.round < round {
			close(out.lost)
			delete(h.out, out)
		}
	}
}

// settle hands a message to the receiver, as often as it is lost, until it is settled or
// ctx ends. What was lost cannot be settled any more.
func settle[S any](ctx context.Context, system *actor.ActorSystem, h *hand, to *actor.PID, message func(context.Context) (any, <-chan S)) (s S, err error) {
	for {
		handling, end := context.WithCancel(ctx)
		m, settled := message(handling)
		out := h.give(system, to, m)
		select {
		case s = <-settled:
			h.settled(out)
			end()
			return s, nil
		case <-ctx.Done():
			h.settled(out)
			end()
			return s, context.Cause(ctx)
		case <-out.lost:
			end()
		}
	}
}
