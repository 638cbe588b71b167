package penstock

// Middleware: functions around handlers and around sends. See docs/middleware.md.

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Send accepts one message for the groups of a destination, or puts it into a topic. It
// is what the middleware of UseSend surrounds.
type Send func(ctx context.Context, m Message) error

// Use puts middleware around the handler that Member.Consume is given. Each function is
// called once for each Consume, with the next handler, and returns the one to call in its
// place. The first given is the outermost, over all options of one Join: with
// Use(a, b) and Use(c), a calls b, b calls c, and c calls the handler.
//
// Middleware runs where the handler does: its error or panic nacks the message, and it
// must be safe for concurrent use where Concurrency is more than 1. A loop over Messages
// and Poll have none, as there is no function to surround. MemberProps refuses it with ErrInvalid:
// an actor that receives has the middleware of proto.actor.
//
// A nil function is ErrInvalid when the member joins, and one that returns nil when it
// consumes.
func Use(mw ...func(next Handler) Handler) JoinOption {
	return joinOption(func(c *actors.MemberConfig) {
		for _, wrap := range mw {
			c.Use = append(c.Use, handlers(wrap))
		}
	})
}

// handlers is wrap for the engine.
func handlers(wrap func(Handler) Handler) func(messages.Handler) messages.Handler {
	if wrap == nil {
		return nil
	}
	return func(next messages.Handler) messages.Handler { return messages.Handler(wrap(Handler(next))) }
}

// UseRecords is Use for Subscription.Consume. Records and Poll have none. With
// SubscriptionProps it surrounds the handing out of each record: next returns when the
// receiver has settled it. With Batch of Receiver it is ErrInvalid.
func UseRecords(mw ...func(next RecordHandler) RecordHandler) SubscribeOption {
	return subscribeOption(func(c *actors.SubscriptionConfig) {
		for _, wrap := range mw {
			c.Use = append(c.Use, recordHandlers(wrap))
		}
	})
}

// recordHandlers is wrap for the engine.
func recordHandlers(wrap func(RecordHandler) RecordHandler) func(messages.RecordHandler) messages.RecordHandler {
	if wrap == nil {
		return nil
	}
	return func(next messages.RecordHandler) messages.RecordHandler {
		return messages.RecordHandler(wrap(RecordHandler(next)))
	}
}

// UseSend puts middleware around whatever accepts a message: around each way to send
// through a destination, and each way to put into a topic. Each function is called once
// for a handle, and what it returns must be safe for concurrent use. The first given is
// the outermost.
//
// The middleware gets each message by itself, also those of a batch, on the goroutine of
// the call, before it is accepted. It may change its copy of the message, but not the
// bytes and the Headers that it came with: those are the caller's. It passes on the ctx
// that it was given, or one derived from it; a call without a ctx gives it one that never
// ends, and is not to be kept waiting. Its error is the call's, or the message's in
// a batch. For Put and PutTo next returns when etcd has decided; for the others when the
// message is accepted, and for PutAsync, TryPut and PutBatch what the middleware returns after
// that does not matter: the record's result is reported.
//
// Middleware that returns nil and does not call next keeps the message back: the call
// returns no error, a put has partition and offset -1, and the function given to
// PutAsync or TryPut is called with that before they return. The function given to
// SendAsync is called with nil in its turn, as for a message that all have acked. For a
// message that SendAsync accepted, what the middleware returns after that does not matter.
//
// The actors of DestinationProps and ProducerProps call it for each message, with a ctx
// of their own; a panic in it is the message's error.
func UseSend(mw ...func(next Send) Send) SendOption { return SendOption{mw} }

// SendOption is an option of Runtime.Register, and of CreateTopic, EnsureTopic and Topic.
type SendOption struct{ mw []func(next Send) Send }

func (o SendOption) applyRegister(c *actors.DestinationConfig) { c.Use = append(c.Use, o.sends()...) }
func (o SendOption) applyProducer(c *actors.ProducerConfig)    { c.Use = append(c.Use, o.sends()...) }

// sends is the option for the engine.
func (o SendOption) sends() (all []func(messages.Send) messages.Send) {
	for _, wrap := range o.mw {
		if wrap == nil {
			all = append(all, nil)
			continue
		}
		all = append(all, func(next messages.Send) messages.Send { return messages.Send(wrap(Send(next))) })
	}
	return all
}

// HandlerOption is middleware that comes with Penstock: an option of Runtime.Join,
// Topic.Subscribe and SubscribePartitions. It takes its place in the order of Use and
// UseRecords.
type HandlerOption struct {
	handler func(next messages.Handler) messages.Handler
	record  func(next messages.RecordHandler) messages.RecordHandler
}

func (o HandlerOption) applyJoin(c *actors.MemberConfig)            { c.Use = append(c.Use, o.handler) }
func (o HandlerOption) applySubscribe(c *actors.SubscriptionConfig) { c.Use = append(c.Use, o.record) }

// Recover makes a panic in the handler, or in the middleware behind it, an error: a
// *supervisor.PanicError with the value and the stack. A panic fails the message all the
// same; with Recover the middleware before it sees the error, and the event
// handler_panicked, which has the stack, is left out.
func Recover() HandlerOption {
	return HandlerOption{recovering[messages.Handler], recovering[messages.RecordHandler]}
}

// recovering is the middleware of Recover.
func recovering[F ~func(context.Context, M) error, M any](next F) F {
	return func(ctx context.Context, m M) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &supervisor.PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		return next(ctx, m)
	}
}

// Timeout ends the handler's ctx after d. An error that the handler returns after that is
// wrapped in one that says so and wraps context.DeadlineExceeded; a nil error settles the
// message, however late.
//
// A handler that does not listen to its ctx is not left behind: its worker waits for it,
// as it does without a Timeout, and AckWait gives the message to another member.
//
// A d that is not positive is ErrInvalid when the member joins or subscribes.
func Timeout(d time.Duration) HandlerOption {
	if d <= 0 {
		return HandlerOption{}
	}
	return HandlerOption{timing[messages.Handler](d), timing[messages.RecordHandler](d)}
}

// timing is the middleware of Timeout.
func timing[F ~func(context.Context, M) error, M any](d time.Duration) func(next F) F {
	late := fmt.Errorf("handle: the Timeout of %s is over: %w", d, context.DeadlineExceeded)
	return func(next F) F {
		return func(ctx context.Context, m M) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, late)
			defer cancel()
			err := next(ctx, m)
			if err == nil || context.Cause(ctx) != late || errors.Is(err, late) { //nolint:errorlint // the very same value is meant
				return err
			}
			return fmt.Errorf("%w: %w", late, err)
		}
	}
}

// Throttle has each message wait until limiter lets it pass, before the handler is
// called. A limiter may be shared by members and subscriptions. While a message waits its
// AckWait begins again and again, so that it stays with its member.
//
// Waiting costs no attempt: when ctx ends meanwhile, because the member or Consume ends or
// a Timeout before it is over, the message goes back as one that nobody tried. Give
// Throttle before Timeout, which then does not count the waiting.
//
// A limiter that is nil is ErrInvalid when the member joins or subscribes. One with a
// burst of 0 lets nothing pass, and each message fails.
func Throttle(limiter *rate.Limiter) HandlerOption {
	if limiter == nil {
		return HandlerOption{}
	}
	return HandlerOption{
		throttling[messages.Handler](limiter, messages.Delivery.InProgress),
		throttling[messages.RecordHandler](limiter, func(Record) {}),
	}
}

// throttleTurn is how long a message waits before its AckWait begins again: less than the
// shortest AckWait.
const throttleTurn = 50 * time.Millisecond

// throttling is the middleware of Throttle.
func throttling[F ~func(context.Context, M) error, M any](limiter *rate.Limiter, inProgress func(M)) func(next F) F {
	return func(next F) F {
		return func(ctx context.Context, m M) error {
			if err := pass(ctx, limiter, func() { inProgress(m) }); err != nil {
				return err
			}
			return next(ctx, m)
		}
	}
}

// pass waits until limiter lets one pass, or ctx ends. waiting is called while it waits.
func pass(ctx context.Context, limiter *rate.Limiter, waiting func()) error {
	r := limiter.Reserve()
	if !r.OK() {
		return fmt.Errorf("throttle: a limiter with a burst of %d lets nothing pass: %w", limiter.Burst(), ErrInvalid)
	}
	left := r.Delay()
	if left <= 0 {
		return nil
	}
	until := time.Now().Add(left)
	t := time.NewTimer(min(left, throttleTurn))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			r.Cancel()
			return messages.Untried(fmt.Errorf("throttle: %w", context.Cause(ctx)))
		}
		waiting()
		if left = time.Until(until); left <= 0 {
			return nil
		}
		t.Reset(min(left, throttleTurn))
	}
}

// Tracing: spans of OpenTelemetry, and their context in the headers of messages.

// Tracing has the runtime make spans with tp, and carry their context in the headers of
// messages, as the W3C's Trace Context and Baggage do: traceparent, tracestate, baggage.
// A nil tp is no tracing, as when the option is not given.
//
// The spans, with the messaging attributes of OpenTelemetry's semantic conventions:
//
//   - send and put, one for each message: from before the middleware of UseSend until the
//     message is accepted or, with Put and PutTo, is in etcd.
//   - process, around the handler of Consume and its middleware, whose ctx has it: a child
//     of the message's send or put. A batch has one, with links to those.
//   - receive, of what comes by a loop or a Poll, or is handed to an actor: for each
//     message a child of its send or put, for what comes together one with links.
//
// A message that is sent with a ctx without a span, as actors do, and has a traceparent,
// is sent in that trace: see Inject. What a span records, and whether, is tp's to decide.
func Tracing(tp trace.TracerProvider) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Tracing = tp })
}

// Received is a message that was received: a Delivery, a Record, a RecordDelivery, or its
// Payload.
type Received interface {
	Header(name string) ([]byte, bool)
}

// ContextOf returns ctx with the span context and the baggage that the headers of m have,
// as the parent of spans: in a loop or an actor, where no handler's ctx has them. Without
// such headers it returns a context like ctx. It works without the option Tracing.
func ContextOf(ctx context.Context, m Received) context.Context { return actors.ContextOf(ctx, m) }

// Inject writes the span context and the baggage of ctx into the headers of m, in place of
// those that it has: for messages that an actor publishes or puts, whose ctx Penstock does
// not see. m gets a slice of headers of its own. It works without the option Tracing.
func Inject(ctx context.Context, m *Message) { actors.Inject(ctx, m) }
