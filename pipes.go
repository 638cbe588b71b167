package penstock

// Pipes: the sender's side, Destination, and the receiver's, Member.

import (
	"context"
	"fmt"
	"iter"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Destination is a registered sender. It is safe for concurrent use and ends with
// Unregister or Stop; its methods return ErrClosed then.
type Destination struct {
	d *actors.Destination
}

// Name returns the destination's name.
func (d *Destination) Name() string { return d.d.Name() }

// URL returns where members find this sender: the first of its addresses. It changes
// with the addresses of this machine.
func (d *Destination) URL() string { return d.d.URL() }

// PlainURLs returns where stock nanomsg peers find it, see PlainListen; none without.
func (d *Destination) PlainURLs() []string { return d.d.PlainURLs() }

// Send accepts m for every group of the destination, or for none: with nil, m is
// queued in this process for each group that it knows, and is delivered to one
// member of each as the group's mode promises, unless this process dies first. With
// an error no group gets m.
//
// Send waits while a group with the policy QueueBlock is full, and while there is no
// group unless DropWithoutGroup was given, or one of RequireGroups is missing, until ctx
// ends. m's bytes are copied
// before Send returns.
//
// Errors: ErrTooLarge, ErrGroupFull (QueueError), ErrInvalid (a header's name is not
// UTF-8, or m.Time is outside 1677 to 2262), ErrClosed, and ctx's cause.
func (d *Destination) Send(ctx context.Context, m Message) error { return d.d.Send(ctx, m) }

// TrySend is Send that never waits: where Send would, it returns an error, and no group
// gets m. Groups with QueueDropOldest drop as they do for Send, and without any group
// DropWithoutGroup drops m. ctx is for middleware (UseSend), which may wait itself, and must
// not have ended.
//
// Errors: ErrGroupFull (a group has no room, and its policy is QueueBlock or QueueError),
// ErrNoGroup (there is none, or one of RequireGroups is missing), and those of Send.
func (d *Destination) TrySend(ctx context.Context, m Message) error { return d.d.TrySend(ctx, m) }

// SendBatch sends msgs in order, as that many calls of Send do, and faster when they are
// small. It stops at the first that is refused, which is msgs[accepted], and returns why:
// with the errors of Send. Those before it are accepted; with a nil error all are. While
// it waits for room what it has accepted is delivered.
func (d *Destination) SendBatch(ctx context.Context, msgs []Message) (accepted int, err error) {
	return d.d.SendBatch(ctx, msgs)
}

// SendAsync is Send, and reports what became of the message. It waits for room as Send
// does, and not for the groups. When it returns nil, done is called once: with nil when
// every group that the message was accepted for has acked it, else with the causes, joined,
// once all have acked it or given it up. When it returns an error, no group gets the
// message and done is not called. A nil done makes it Send.
//
// Causes: ErrDropped (QueueDropOldest, or DropWithoutGroup without a group),
// ErrDeadLettered (the DeadLetters function took it; without one a message that was
// rejected is settled, any other is tried on; it is ErrReject as well when a member
// rejected it), ErrExpired (its ExpiresAt passed),
// and *AbandonedError when a group was removed or the destination ended with it, by
// Unregister, Stop or a failure; then it is ErrClosed as well. A group that is
// AtMostOnce has settled a message when a link takes it.
//
// The calls of one destination are made one after the other, in the order in which the
// messages were settled, on a goroutine of their own: one that blocks holds up the
// later ones of its destination and nothing else. A panic in done is the event
// messages.CallbackPanicked. done may send the next message; Flush, Unregister and Stop in
// it, which would wait for it, return ErrBusy. Each of them, called elsewhere, waits for
// the calls: Unregister and Stop for 5 s at most.
//
// Errors: those of Send; ErrBusy when 65,536 calls wait and none has returned for a second.
func (d *Destination) SendAsync(ctx context.Context, m Message, done func(error)) error {
	return d.d.SendAsync(ctx, m, done)
}

// Flush waits until everything accepted before the call is acked by every group that
// it was accepted for, and what SendAsync was given for it has been called.
//
// Errors: ctx's cause; ErrNoMember when for 10 s only groups are left that no member
// is linked to (their messages stay queued, and Flush can be called again);
// *AbandonedError when a group was removed with such messages, or the destination
// ended with them because another sender has its place or it failed.
func (d *Destination) Flush(ctx context.Context) error { return d.d.Flush(ctx) }

// Stats returns counters of the messages, a row for each group, and one with an empty
// Group when messages were dropped because there was none.
func (d *Destination) Stats() []PipeStats { return d.d.Stats() }

// Parked returns copies of the messages that would be dead letters where no DeadLetters
// were given: the newest 64 of each group.
func (d *Destination) Parked() []Parked { return d.d.Parked() }

// Unregister refuses new messages, waits until all that was accepted is acked, also
// by groups without members, and removes the sender. Groups live as long as their
// KeepFor says. The sender is gone when Unregister returns.
//
// Errors: *AbandonedError when ctx ends first, with what was not acked;
// ErrUnavailable or ErrDenied when etcd does not remove the keys within 5 s, which
// then stay until the lease ends.
//
// Unregister in a function that has a message of this sender in hand (a loop's body,
// a handler, the DeadLetters function) would wait for its caller: it returns ErrBusy
// at once and ends nothing.
func (d *Destination) Unregister(ctx context.Context) error { return d.d.Unregister(ctx) }

// Member is a place in a group of a destination. It is safe for concurrent use; one
// loop over Messages or one Consume reads at a time, a second gets ErrBusy.
type Member struct {
	m *actors.Member
}

// ID returns the member's id in its group.
func (m *Member) ID() string { return m.m.ID() }

// Messages yields deliveries, in the order of each sender's link, until the member
// leaves or ctx ends. Taking the next one acks the one before, unless it was nacked.
// A loop that breaks or panics gives its message back. An error comes once and last:
// ctx's cause, or why the member ended; after Leave or Stop the loop ends without
// one.
//
// With ManualAck only Ack and Nack settle, also after the loop: what was handed out
// stays this member's until AckWait is over. What was received and not handed out
// waits a second for another loop, then goes back to its sender. Nothing is asked of
// the senders before the first loop or Consume.
func (m *Member) Messages(ctx context.Context, opts ...ReadOption) iter.Seq2[Delivery, error] {
	if err := optionsGiven(opts); err != nil {
		return func(yield func(Delivery, error) bool) { yield(Delivery{}, fmt.Errorf("messages: %w", err)) }
	}
	s := readSettings{}
	for _, o := range opts {
		o.applyRead(&s)
	}
	return m.m.Messages(ctx, s.manual)
}

// Poll waits for messages and returns between one and max of them. The next Poll, loop or
// Consume acks those that were neither acked nor nacked before, also when its ctx has
// ended; with ManualAck only Ack and Nack settle. What was received and not handed out
// waits a second for another Poll, then goes back to its sender. Leave waits for what the
// last Poll returned as for all that is in hand: call Poll once more, or settle it.
//
// Errors: ctx's cause, ErrInvalid (max below 1), ErrBusy while another reads, ErrClosed
// after Leave, or why the member ended.
func (m *Member) Poll(ctx context.Context, max int, opts ...ReadOption) ([]Delivery, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	s := readSettings{}
	for _, o := range opts {
		o.applyRead(&s)
	}
	return m.m.Poll(ctx, max, s.manual)
}

// Pause hands out nothing more to this member's loop, Poll or handlers until Resume; they
// wait. What they have in hand is settled as ever. The links stay up. What was received
// and not handed out goes back to its senders after a second, for other members, without
// an attempt, and they send nothing more; at most once it waits for Resume. A second
// Pause does nothing.
func (m *Member) Pause() { m.m.Pause() }

// Resume ends Pause.
func (m *Member) Resume() { m.m.Resume() }

// Consume calls handler for each message, as many at once as Concurrency says, until
// ctx ends or the member leaves. A nil error from handler acks; an error or a panic
// nacks, and the message is tried again after a delay. Consume returns ctx's cause,
// nil after Leave or Stop, or why the member ended.
func (m *Member) Consume(ctx context.Context, handler Handler) error {
	return m.m.Consume(ctx, messages.Handler(handler))
}

// Stats returns counters of what this member got.
func (m *Member) Stats() MemberStats { return m.m.Stats() }

// Leave drains and ends the membership. What was received is handled by the loop or
// the handlers that run, what is in hand is waited for, and the rest goes back to
// its senders. When no loop or handler runs and nothing is in hand, and when there is
// no sender, Leave returns at once. The group lives on with its other members, or as KeepFor says.
//
// Errors: ctx's cause when it ends first: the rest went back unhandled. ErrBusy when
// something was not settled within AckWait: it went back with all that waited behind
// it, and a handler that does not return is left running; without an AckWait (-1)
// Leave waits until ctx ends. ErrUnavailable or ErrDenied when etcd does not remove
// the member's key within 5 s, which then stays until the lease ends.
//
// Leave in the body of the member's own loop, or in its handler, cannot wait for its
// caller. It begins the end, returns ErrBusy at once, and the loop ends after what
// was received. To wait for the end, break the loop and leave then:
//
//	for msg := range m.Messages(ctx) {
//		if last(msg) {
//			msg.Ack()
//			break
//		}
//	}
//	err := m.Leave(ctx)
//
// A loop over iter.Pull is not known to be the caller: such a Leave ends after
// AckWait.
func (m *Member) Leave(ctx context.Context) error { return m.m.Leave(ctx) }
