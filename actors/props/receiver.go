package props

// Who receives, what a subscription's receiver has in hand, and how its failures are seen.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Receiver is who gets what a member or a subscription hands out: To or Handler, and one
// of them must be set. What is said of deliveries is said of records, too. The receiver
// settles each delivery, those of an at-most-once group, too: to settle is to ask for the
// next.
type Receiver struct {
	// To is the receiver's PID, in the actor system of the runtime. It is watched: when it terminates, what it has in hand
	// goes back to the senders and the member ends. When it restarts, or resumes after a
	// failure, the member waits until what is in its mailbox has passed; what is not
	// settled then goes back, and the next deliveries follow. When the receiver failed, the
	// oldest of what goes back is what it may have failed over: it counts a death, and a
	// record an attempt. The rest counts nothing, and a record of it is handed out again at
	// once. The receiver's restarts are seen by *supervisor.Restarted
	// and *actor.SupervisorEvent on the system's EventStream. Where a strategy restarts it
	// because of another child of its parent's, that is seen if its producer makes a new
	// pointer for each incarnation. After one of these, and when the member begins, the
	// receiver gets a message of an unexported type, which it must not fail over, and which
	// middleware of its props must pass on: while it has not passed, nothing more is handed
	// out, and messages.ReceiverStuck says so every now and then.
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
	// *messages.Delivery or a *messages.RecordDelivery. A delivery that has counted a death,
	// or a record that failed before, comes as a batch of its own. Handler takes no batches.
	Batch int
	// AwaitReleased lets a subscription's parent decide when partitions are released: it
	// replies *messages.Released to each *messages.Revoking. See penstock.BeforeRelease.
	AwaitReleased bool
}

// noAddress is that of actors in a system that has, or had, no address of its own.
const noAddress = "nonhost"

// validate returns what is wrong with it.
func (r *Receiver) validate(system *actor.ActorSystem) error {
	switch {
	case (r.To == nil) == (r.Handler == nil):
		return fmt.Errorf("a member needs a receiver: either To or Handler: %w", messages.ErrInvalid)
	case r.To != nil && r.To.Address != noAddress && r.To.Address != system.Address():
		return fmt.Errorf("the receiver %s is in another actor system, where a delivery cannot be sent to; spawn one here that sends on what it gets: %w", r.To, messages.ErrInvalid)
	case r.Batch < 0, r.Batch > 0 && r.Handler != nil:
		return fmt.Errorf("a receiver with batches of %d: %w", r.Batch, messages.ErrInvalid)
	}
	return nil
}

// hand is what a receiver was handed, in rounds. After a failure of the receiver's a
// message passes through its mailbox: what was handed before it, and is not settled when
// it has passed, is lost to the receiver. The oldest of that may be what it failed over,
// and has failed; the rest is handed again. It is safe for concurrent use.
type hand struct {
	mu    sync.Mutex
	round int     // messages that were sent to pass
	given []given // and not settled, in order

	// emptied is closed when the mailbox holds nothing of an earlier incarnation's any more,
	// which the message of round until says; nil when it holds none.
	emptied chan struct{}
	until   int
}

// given is something that the receiver was handed in a round.
type given struct {
	round int
	lost  chan loss // holds one
}

// loss is that something is lost.
type loss struct {
	cause  error   // of the oldest, which has failed; nil of the others
	behind []given // lost, too, and told of it by the oldest, which may turn out to be settled
}

// tell has all that is lost told so: with a cause the first has failed.
func tell(lost []given, cause error) {
	switch {
	case len(lost) == 0:
	case cause != nil:
		lost[0].lost <- loss{cause, lost[1:]}
	default:
		for _, g := range lost {
			g.lost <- loss{}
		}
	}
}

// give sends a message to the receiver, and returns what says that it is lost; or nil when
// its mailbox is to be empty first.
func (h *hand) give(system *actor.ActorSystem, to *actor.PID, m any) (lost chan loss, emptied <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.emptied != nil {
		return nil, h.emptied
	}
	lost = make(chan loss, 1)
	h.given = append(h.given, given{h.round, lost})
	system.Root.Send(to, m)
	return lost, nil
}

// settled forgets what was given. If it was held to be what failed, the next one is.
func (h *hand) settled(lost chan loss) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given = slices.DeleteFunc(h.given, func(g given) bool { return g.lost == lost })
	select {
	case l := <-lost:
		tell(l.behind, l.cause)
	default:
	}
}

// pass sends a message that passes, and begins a round.
func (h *hand) pass(ctx actor.Context, to *actor.PID) (round int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round++
	ctx.Request(to, &passing{h.round})
	return h.round
}

// empty is pass, before which nothing is given: what an earlier incarnation gave cannot be
// settled any more, and is in the mailbox all the same.
func (h *hand) empty(ctx actor.Context, to *actor.PID) (round int) {
	round = h.pass(ctx, to)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until = round; h.emptied == nil {
		h.emptied = make(chan struct{})
	}
	return round
}

// passed: what was given before a round, and is not settled, is lost.
func (h *hand) passed(round int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.given) && h.given[n].round < round {
		n++
	}
	tell(slices.Clone(h.given[:n]), errReceiverFailed)
	h.given = slices.Delete(h.given, 0, n)
	if h.emptied != nil && round >= h.until {
		close(h.emptied)
		h.emptied = nil
	}
}

// passage is a message of which it is awaited that it comes back: the oldest of those that
// have not.
type passage struct {
	oldest, newest int // rounds; 0 for none
}

// passageDue says that it has not come for so long.
type passageDue struct {
	round int
	after time.Duration
}

// passGrace is how long the receiver's mailbox may take to pass before that is told.
const passGrace = 10 * time.Second

// whyStuck is for people.
const whyStuck = "its Receive does not return, or middleware of its props drops messages that it does not know: have that pass them on"

// sent notes that a message of a round was sent.
func (p *passage) sent(h *supervisor.Host, round int) {
	if p.newest = round; p.oldest == 0 {
		p.oldest = round
		h.After(passGrace, passageDue{round, passGrace})
	}
}

// came notes that the message of a round came back, and with it those before.
func (p *passage) came(h *supervisor.Host, round int) {
	switch {
	case p.oldest == 0 || round < p.oldest:
	case round >= p.newest:
		p.oldest = 0
	default:
		p.oldest = 0
		p.sent(h, p.newest)
	}
}

// late reports whether the message that is due has not come back. That is asked again.
func (p *passage) late(h *supervisor.Host, m passageDue) bool {
	if m.round != p.oldest {
		return false
	}
	h.After(m.after, passageDue{m.round, 2 * m.after})
	return true
}

// settle hands a message to the receiver, as often as it is lost without having failed,
// until it is settled or ctx ends. What was lost cannot be settled any more.
func settle[S any](ctx context.Context, system *actor.ActorSystem, h *hand, to *actor.PID, message func() (any, <-chan S)) (s S, err error) {
	for {
		m, settled := message()
		lost, emptied := h.give(system, to, m)
		if lost == nil {
			select {
			case <-emptied:
				continue
			case <-ctx.Done():
				return s, context.Cause(ctx)
			}
		}
		select {
		case s = <-settled:
			h.settled(lost)
			return s, nil
		case l := <-lost:
			select {
			case s = <-settled:
				tell(l.behind, l.cause)
				return s, nil
			default:
			}
			tell(l.behind, nil)
			if l.cause != nil {
				return s, l.cause
			}
		case <-ctx.Done():
			h.settled(lost)
			return s, context.Cause(ctx)
		}
	}
}
