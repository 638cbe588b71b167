package penstock

// Tracing: spans of OpenTelemetry, and their context in the headers of messages. See
// docs/middleware.md.

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock/actors"
)

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
