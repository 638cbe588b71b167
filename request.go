package penstock

// Requests: a message that somebody waits for a reply to.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// Reply is what a member replied to a request.
//
//	type Reply struct {
//		Payload              // Key, Value, Time, Headers
//		Group, Member string // who replied
//	}
//
// Its bytes are the caller's own.
type Reply = messages.Reply

// RemoteError says that a member refused a request: its handler rejected it, see
// ErrReject and Delivery.Reject. The request is settled, and is no dead letter.
//
//	type RemoteError struct {
//		Group, Member string // who refused
//		Text          string // the error of the handler, at most 1 KiB of it
//	}
//
//	func (e *RemoteError) Error() string // who refused, and why
//
// Use errors.As with a *RemoteError.
type RemoteError = messages.RemoteError

// Replier is what the Settler of a request is as well: what Delivery.Reply calls. A test of
// a handler can give a Delivery one of its own.
//
//	type Replier interface {
//		Reply(seq, request uint64, m *Message, refused error) error
//	}
type Replier = messages.Replier

// RequestOption is an option of Destination.Request and RequestMany.
type RequestOption interface{ applyRequest(*actors.Request) error }

type requestOption func(*actors.Request) error

func (o requestOption) applyRequest(r *actors.Request) error { return o(r) }

// FromGroup names the groups that are asked: one for Request, and any number for
// RequestMany. Without it all groups of the destination are asked, and Request takes one
// only where there is one only.
func FromGroup(names ...string) RequestOption {
	return requestOption(func(r *actors.Request) error {
		r.Groups = append(r.Groups, names...)
		return nil
	})
}

// EnoughReplies has RequestMany end after n replies, of which refusals and errors are none.
// Without it one from each group is awaited. n must be positive.
func EnoughReplies(n int) RequestOption {
	return requestOption(func(r *actors.Request) error {
		if n < 1 {
			return fmt.Errorf("enough replies are %d: it must be at least one: %w", n, ErrInvalid)
		}
		r.Replies = n
		return nil
	})
}

// QuietFor has RequestMany end, without an error, when for d nothing has come. Without it
// only the replies and ctx end it. d must be positive.
func QuietFor(d time.Duration) RequestOption {
	return requestOption(func(r *actors.Request) error {
		if d <= 0 {
			return fmt.Errorf("quiet for %s: it must be positive: %w", d, ErrInvalid)
		}
		r.Quiet = d
		return nil
	})
}

func requestOptions(opts []RequestOption) (r actors.Request, err error) {
	if err := optionsGiven(opts); err != nil {
		return r, err
	}
	var faults []error
	for _, o := range opts {
		faults = append(faults, o.applyRequest(&r))
	}
	return r, errors.Join(faults...)
}

// Request sends m to one group and waits for the reply of the member that handles it, until
// ctx ends: give it a deadline. The group is the destination's only one, or the one that
// FromGroup names. Other groups do not get m.
//
// ctx's deadline is the request's ExpiresAt, unless that is sooner: no member gets it
// later. The request is delivered as any message of the group: one member gets it, and another one
// when that fails, dies or does not settle it within AckWait. The first reply counts. Once
// Request has returned nobody waits: a request that no member has is taken back, and a late
// reply is dropped and counted (PipeStats.LateReplies). Requests that wait are lost with this
// process. The middleware of UseSend surrounds the whole request.
//
// Errors: ErrNoMember at once when no member is linked, and after half a second when etcd
// shows one that is not linked yet; ErrNoGroup; ErrInvalid when there are several groups and
// FromGroup names none, or several; *RemoteError when the member rejected it; ErrNoReply
// when it acked it without a reply; ErrDeadLettered when it failed too often; ErrExpired when
// m's own ExpiresAt has passed, or ctx's deadline by the clock of a member that is ahead;
// ErrDropped; *AbandonedError when the group was removed; ctx's cause; and those of Send.
func (d *Destination) Request(ctx context.Context, m Message, opts ...RequestOption) (Reply, error) {
	cfg, err := requestOptions(opts)
	if err != nil {
		return Reply{}, fmt.Errorf("request to %q: %w", d.Name(), err)
	}
	return d.d.Request(ctx, m, cfg)
}

// RequestMany sends m to all groups, or those that FromGroup names, and yields one outcome
// for each, as it comes: a reply of one of the group's members, or, with the group's name in
// Reply.Group, why there is none: the errors of Request. A group without a linked member is
// such an error, and does not get m. The loop ends when each group has its outcome, with
// EnoughReplies and QuietFor before that, and when ctx ends, whose cause is then yielded
// last. Nothing is sent before the loop begins.
//
// What Request says of requests and their replies holds for each group. An error that
// concerns all is yielded alone: ErrNoGroup when the destination has none, and those of Send.
func (d *Destination) RequestMany(ctx context.Context, m Message, opts ...RequestOption) iter.Seq2[Reply, error] {
	cfg, err := requestOptions(opts)
	if err != nil {
		return func(yield func(Reply, error) bool) {
			yield(Reply{}, fmt.Errorf("request to %q: %w", d.Name(), err))
		}
	}
	return d.d.RequestMany(ctx, m, cfg)
}

// ReplyHandler makes a handler for Member.Consume of a function that replies: what it
// returns without an error is the reply. An error nacks the request, which is tried again
// until its requester waits no more; one that wraps ErrReject refuses it, and the requester
// gets a *RemoteError with its text. A reply that cannot be sent, because it is too large, refuses it as
// well. The function also gets messages to which nobody waits for a reply: then what it
// returns is dropped. A nil function is a nil handler.
func ReplyHandler(reply func(ctx context.Context, d Delivery) (Message, error)) Handler {
	if reply == nil {
		return nil
	}
	return func(ctx context.Context, d Delivery) error {
		m, err := reply(ctx, d)
		if err != nil {
			return err
		}
		if err = d.Reply(m); errors.Is(err, ErrTooLarge) || errors.Is(err, ErrInvalid) {
			return fmt.Errorf("%w: %w", ErrReject, err)
		}
		return err
	}
}
