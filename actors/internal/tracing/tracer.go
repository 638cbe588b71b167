package tracing

// Spans and what they say.

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock/messages"
)

// Scope is the name of the tracer that is asked for.
const Scope = "github.com/penstock-io/penstock"

// What the conventions have no name for.
const (
	// AttemptKey is which attempt at a message or record this is, from 1.
	AttemptKey = attribute.Key("messaging.penstock.attempt")
	// OffsetKey is a record's offset in its partition.
	OffsetKey = attribute.Key("messaging.penstock.offset")
)

// Tracer makes the spans of one runtime. It is safe for concurrent use. A nil Tracer is
// off.
type Tracer struct{ tracer trace.Tracer }

// New returns a tracer of a provider; without one it is off.
func New(provider trace.TracerProvider) *Tracer {
	if provider == nil {
		return nil
	}
	return &Tracer{provider.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL))}
}

// kind is one kind of span of one destination or topic: what all of them have.
type kind struct {
	tracer trace.Tracer
	name   string
	opts   []trace.SpanStartOption
}

// newKind makes a kind of span. group may be empty.
func (t *Tracer) newKind(operation string, typ attribute.KeyValue, as trace.SpanKind, dest, group string) *kind {
	all := []attribute.KeyValue{
		semconv.MessagingSystemKey.String("penstock"),
		semconv.MessagingOperationName(operation), typ,
		semconv.MessagingDestinationName(dest),
	}
	if group != "" {
		all = append(all, semconv.MessagingConsumerGroupName(group))
	}
	return &kind{t.tracer, operation + " " + dest, []trace.SpanStartOption{trace.WithSpanKind(as), trace.WithAttributes(all...)}}
}

// start begins a span.
func (k *kind) start(ctx context.Context) (context.Context, trace.Span) {
	return k.tracer.Start(ctx, k.name, k.opts...)
}

// startLinked begins a span at a time, with links.
func (k *kind) startLinked(ctx context.Context, at time.Time, links []trace.Link) (context.Context, trace.Span) {
	opts := append(make([]trace.SpanStartOption, 0, len(k.opts)+2), k.opts...)
	return k.tracer.Start(ctx, k.name, append(opts, trace.WithTimestamp(at), trace.WithLinks(links...))...)
}

// end ends a span, with what came of it. returned is false after a panic.
func end(span trace.Span, returned bool, err error) {
	switch {
	case !span.IsRecording():
	case !returned:
		span.SetStatus(codes.Error, "panic")
		span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
	case err != nil:
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(semconv.ErrorType(err))
	}
	span.End()
}

// sayDelivery says of a span which delivery it is about.
func sayDelivery(span trace.Span, d *messages.Delivery) {
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingMessageBodySize(len(d.Value)), AttemptKey.Int(d.Attempt))
	}
}

// sayRecord says of a span which record it is about.
func sayRecord(span trace.Span, r *messages.Record) {
	if span.IsRecording() {
		span.SetAttributes(
			semconv.MessagingMessageBodySize(len(r.Value)), AttemptKey.Int(r.Attempt),
			semconv.MessagingDestinationPartitionID(strconv.Itoa(r.Partition)), OffsetKey.Int64(r.Offset),
		)
	}
}

// links are those to the messages of a batch.
func links[M any](batch []M, payload func(*M) messages.Payload) []trace.Link {
	all := make([]trace.Link, 0, len(batch))
	for i := range batch {
		if link, ok := linkTo(payload(&batch[i])); ok {
			all = append(all, link)
		}
	}
	return all
}

func ofDelivery(d *messages.Delivery) messages.Payload { return d.Payload }
func ofRecord(r *messages.Record) messages.Payload     { return r.Payload }
