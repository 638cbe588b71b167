package props

// Who receives, what a subscription's receiver has in hand, and how its failures are seen.

import (
	"context"
	"fmt"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
)

// Receiver is who gets what a member or a subscription hands out: To or Handler, and one
// of them must be set. What is said of deliveries is said of records, too. The receiver
// settles each delivery, those of an at-most-once group, too: to settle is to ask for the
// next.
type Receiver struct {
	// To is the receiver's PID. It is watched: when it terminates, what it has in hand
	// goes back to the senders and the member ends. When it restarts, or resumes after a
	// failure, the member waits until what is in its mailbox has passed; what is not
	// settled then goes back, and the next deliveries follow. A record that goes back is
	// handed out again, at once. The receiver's restarts are seen by *supervisor.Restarted
	// and *actor.SupervisorEvent on the system's EventStream. Where a strategy restarts it
	// because of another child of its parent's, that is seen if its producer makes a new
	// pointer for each incarnation. After one of these, and when the member begins, the
	// receiver gets a message of an unexported type, which it must not fail over.
	To *actor.PID
	// Handler describes workers, as many as the member's Concurrency, which the member
	// spawns and supervises. Each gets one message at a time: the next when its
	// Receive has returned, and no more than the member's Window that are not settled. A
	// panic nacks the delivery at once, and what else the worker has not settled goes
	// back; the worker restarts after a backoff while the others continue. A delivery that
	// a middleware of Handler panics over or does not pass on is nacked, too, after a
	// second or two. A worker that stops ends the member.
	Handler *actor.Props
	// Batch is how many deliveries come at most as one *messages.Deliveries to To, or
	// records as one *messages.Records. With 0 each comes by itself, as a
	// *messages.Delivery or a *messages.RecordDelivery. Handler takes no batches.
	Batch int
	// AwaitReleased lets a subscription's parent decide when partitions are released: it
	// replies *messages.Released to each *messages.Revoking. See penstock.BeforeRelease.
	AwaitReleased bool
}

// validate returns what is wrong with it.
func (r *Receiver) validate() error {
	switch {
	case (r.To == nil) == (r.Handler == nil):
		return fmt.Errorf("a member needs a receiver: either To or Handler: %w", messages.ErrInvalid)
	case r.Batch < 0, r.Batch > 0 && r.Handler != nil:
		return fmt.Errorf("a receiver with batches of %d: %w", r.Batch, messages.ErrInvalid)
	}
	return nil
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
