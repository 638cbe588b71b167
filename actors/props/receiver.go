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

// hand is what a receiver was handed, in rounds. After a failure of the receiver's a
// message passes through its mailbox: what was handed before it, and is not settled when
// it has passed, is lost to the receiver and handed again. It is safe for concurrent use.
type hand struct {
	mu    sync.Mutex
	round int             // messages that were sent to pass
	lost  []chan struct{} // of each round that has not passed: closed when it has
}

// give sends a message to the receiver, and returns what is closed when it is to be
// handed again.
func (h *hand) give(system *actor.ActorSystem, to *actor.PID, m any) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lost) == 0 {
		h.lost = append(h.lost, make(chan struct{}))
	}
	system.Root.Send(to, m)
	return h.lost[len(h.lost)-1]
}

// pass sends a message that passes, and begins a round.
func (h *hand) pass(ctx actor.Context, to *actor.PID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round++
	h.lost = append(h.lost, make(chan struct{}))
	ctx.Request(to, &passing{h.round})
}

// passed has what was handed before a round handed again.
func (h *hand) passed(round int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for behind := h.round - round; len(h.lost) > behind+1; h.lost = h.lost[1:] {
		close(h.lost[0])
	}
}

// settle hands a message to the receiver, as often as it is lost, until it is settled or
// ctx ends. What was lost cannot be settled any more.
func settle[S any](ctx context.Context, system *actor.ActorSystem, h *hand, to *actor.PID, message func() (any, <-chan S)) (s S, err error) {
	for {
		m, settled := message()
		lost := h.give(system, to, m)
		select {
		case s = <-settled:
			return s, nil
		case <-lost:
			select {
			case s = <-settled:
				return s, nil
			default:
			}
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
}
