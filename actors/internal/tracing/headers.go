package tracing

// Span contexts in the headers of messages.

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock/messages"
)

var (
	traceContext propagation.TraceContext
	baggage      propagation.Baggage
)

// Received is a message that was received, or its payload.
type Received interface {
	Header(name string) ([]byte, bool)
}

// ContextOf returns ctx with the span context and the baggage that m came with.
func ContextOf(ctx context.Context, m Received) context.Context {
	return extract(ctx, &received[Received]{m})
}

// contextOf is ContextOf for a payload, with one allocation less.
func contextOf(ctx context.Context, p messages.Payload) context.Context {
	return extract(ctx, &received[messages.Payload]{p})
}

func extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	return baggage.Extract(traceContext.Extract(ctx, c), c)
}

// Inject writes the span context and the baggage of ctx into the headers of m, in place of
// those it has. The slice of headers that m came with stays as it is.
func Inject(ctx context.Context, m *messages.Message) {
	c := &sent{m: m}
	traceContext.Inject(ctx, c)
	baggage.Inject(ctx, c)
}

// received reads the headers of a message that was received.
type received[M Received] struct{ m M }

// Get returns the value of a header.
func (r *received[M]) Get(name string) string {
	value, _ := r.m.Header(name)
	return string(value)
}

// Set does nothing: what was received is not changed.
func (*received[M]) Set(string, string) {}

// Keys are not listed; the formats in use ask for the names that they know.
func (*received[M]) Keys() []string { return nil }

// sent writes the headers of a message.
type sent struct {
	m   *messages.Message
	own bool // the slice of headers is ours to change
}

// roomForHeaders is how many headers of ours a message may get.
const roomForHeaders = 3

// Set replaces a header, or adds it.
func (s *sent) Set(name, value string) {
	if !s.own {
		s.own = true
		s.m.Headers = append(make([]messages.Header, 0, len(s.m.Headers)+roomForHeaders), s.m.Headers...)
	}
	for i := range s.m.Headers {
		if s.m.Headers[i].Name == name {
			s.m.Headers[i].Value = []byte(value)
			return
		}
	}
	s.m.Headers = append(s.m.Headers, messages.Header{Name: name, Value: []byte(value)})
}

// Get returns the value of a header.
func (s *sent) Get(name string) string {
	for i := range s.m.Headers {
		if s.m.Headers[i].Name == name {
			return string(s.m.Headers[i].Value)
		}
	}
	return ""
}

// Keys are not listed; the formats in use ask for the names that they know.
func (s *sent) Keys() []string { return nil }

// origin returns ctx with the span context that m has already, where ctx has none: what an
// actor publishes has the context in its headers.
func origin(ctx context.Context, m *messages.Message) context.Context {
	if len(m.Headers) == 0 || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return extract(ctx, &sent{m: m})
}

// linkTo returns a link to the span that sent a message, and whether there is one.
func linkTo(p messages.Payload) (trace.Link, bool) {
	sc := trace.SpanContextFromContext(traceContext.Extract(context.Background(), &received[messages.Payload]{p}))
	return trace.Link{SpanContext: sc}, sc.IsValid()
}
