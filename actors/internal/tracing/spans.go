package tracing

// The kinds of spans: send and put, receive, process.

import (
	"context"
	"iter"
	"strconv"
	"time"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/messages"
)

// Operations, as spans name them.
const (
	Send    = "send"
	Put     = "put"
	receive = "receive"
	process = "process"
)

// Sends puts tracing before the middleware of a sender or producer: a span for each
// message, whose context goes into the message's headers.
func (t *Tracer) Sends(operation, dest string, use []func(messages.Send) messages.Send) []func(messages.Send) messages.Send {
	if t == nil {
		return use
	}
	k := t.newKind(operation, semconv.MessagingOperationTypeSend, trace.SpanKindProducer, dest, "")
	return append([]func(messages.Send) messages.Send{k.sending}, use...)
}

func (k *kind) sending(next messages.Send) messages.Send {
	return func(ctx context.Context, m messages.Message) (err error) {
		placed := chain.PlaceIn(ctx)
		ctx, span := k.start(origin(ctx, &m))
		returned := false
		defer func() { end(span, returned, err) }()
		if span.IsRecording() {
			span.SetAttributes(semconv.MessagingMessageBodySize(len(m.Value)))
		}
		Inject(ctx, &m)
		err = next(ctx, m)
		if placed != nil && placed.Offset >= 0 && span.IsRecording() {
			span.SetAttributes(semconv.MessagingDestinationPartitionID(strconv.Itoa(placed.Partition)), OffsetKey.Int64(placed.Offset))
		}
		returned = true
		return err
	}
}

// Handlers puts tracing before the middleware of a member: a span for each message,
// which is in the handler's context. Its parent is the span that sent the message.
func (t *Tracer) Handlers(dest, group string, use []func(messages.Handler) messages.Handler) []func(messages.Handler) messages.Handler {
	if t == nil {
		return use
	}
	k := t.newKind(process, semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer, dest, group)
	return append([]func(messages.Handler) messages.Handler{func(next messages.Handler) messages.Handler {
		return func(ctx context.Context, d messages.Delivery) (err error) {
			ctx, span := k.start(contextOf(ctx, d.Payload))
			returned := false
			defer func() { end(span, returned, err) }()
			sayDelivery(span, &d)
			err = next(ctx, d)
			returned = true
			return err
		}
	}}, use...)
}

// Records is Handlers for a subscription.
func (t *Tracer) Records(topic, group string, use []func(messages.RecordHandler) messages.RecordHandler) []func(messages.RecordHandler) messages.RecordHandler {
	if t == nil {
		return use
	}
	k := t.newKind(process, semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer, topic, group)
	return append([]func(messages.RecordHandler) messages.RecordHandler{func(next messages.RecordHandler) messages.RecordHandler {
		return func(ctx context.Context, r messages.Record) (err error) {
			ctx, span := k.start(contextOf(ctx, r.Payload))
			returned := false
			defer func() { end(span, returned, err) }()
			sayRecord(span, &r)
			err = next(ctx, r)
			returned = true
			return err
		}
	}}, use...)
}

// Batches puts tracing around the handling of batches: a span for each, with links to the
// spans that put the records.
func (t *Tracer) Batches(topic, group string, next messages.RecordsHandler) messages.RecordsHandler {
	if t == nil {
		return next
	}
	k := t.newKind(process, semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer, topic, group)
	return func(ctx context.Context, rs []messages.Record) (handled int, err error) {
		ctx, span := k.startLinked(ctx, time.Now(), links(rs, ofRecord))
		returned := false
		defer func() { end(span, returned, err) }()
		k.sayBatch(span, len(rs))
		handled, err = next(ctx, rs)
		returned = true
		return handled, err
	}
}

func (k *kind) sayBatch(span trace.Span, n int) {
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingBatchMessageCount(n))
	}
}

// Receives are the spans of what is received and not given to a handler, by loops, polls
// and actors. A nil Receives is off.
type Receives struct{ *kind }

// NewReceives makes the spans of one member or subscription. group may be empty.
func (t *Tracer) NewReceives(dest, group string) *Receives {
	if t == nil {
		return nil
	}
	return &Receives{t.newKind(receive, semconv.MessagingOperationTypeReceive, trace.SpanKindClient, dest, group)}
}

// Deliveries has a span for each delivery of a loop, whose parent is the span that sent
// the message.
func (r *Receives) Deliveries(ctx context.Context, all iter.Seq2[messages.Delivery, error]) iter.Seq2[messages.Delivery, error] {
	if r == nil {
		return all
	}
	return func(yield func(messages.Delivery, error) bool) {
		for d, err := range all {
			if err == nil {
				_, span := r.start(contextOf(ctx, d.Payload))
				sayDelivery(span, &d)
				span.End()
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// Records is Deliveries for records.
func (r *Receives) Records(ctx context.Context, all iter.Seq2[messages.Record, error]) iter.Seq2[messages.Record, error] {
	if r == nil {
		return all
	}
	return func(yield func(messages.Record, error) bool) {
		for rec, err := range all {
			if err == nil {
				_, span := r.start(contextOf(ctx, rec.Payload))
				sayRecord(span, &rec)
				span.End()
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// Handing has a span for each hand-over to an actor, with links to the spans that sent the
// messages.
func (r *Receives) Handing(ctx context.Context, hand func([]messages.Delivery)) func([]messages.Delivery) {
	if r == nil {
		return hand
	}
	return func(ds []messages.Delivery) {
		r.batch(ctx, time.Now(), len(ds), links(ds, ofDelivery))
		hand(ds)
	}
}

// Now is the time, or none while tracing is off.
func (r *Receives) Now() (now time.Time) {
	if r != nil {
		now = time.Now()
	}
	return now
}

// Polled has a span of a poll of messages that began at some time, with links to the spans
// that sent what it returned.
func (r *Receives) Polled(ctx context.Context, began time.Time, got []messages.Delivery) {
	if r != nil && len(got) > 0 {
		r.batch(ctx, began, len(got), links(got, ofDelivery))
	}
}

// PolledRecords is Polled for records.
func (r *Receives) PolledRecords(ctx context.Context, began time.Time, got []messages.Record) {
	if r != nil && len(got) > 0 {
		r.batch(ctx, began, len(got), links(got, ofRecord))
	}
}

func (r *Receives) batch(ctx context.Context, began time.Time, n int, links []trace.Link) {
	_, span := r.startLinked(ctx, began, links)
	r.sayBatch(span, n)
	span.End()
}
