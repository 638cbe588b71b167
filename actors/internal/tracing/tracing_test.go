package tracing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelbaggage "go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/messages"
)

// recorder is a tracer, and what it records.
func recorder(t *testing.T) (*Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	return New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))), spans
}

// describe is a span as one line.
func describe(s sdktrace.ReadOnlySpan) string {
	var attrs []string
	for _, a := range s.Attributes() {
		attrs = append(attrs, strings.TrimPrefix(string(a.Key), "messaging.")+"="+a.Value.String())
	}
	slices.Sort(attrs)
	return fmt.Sprintf("%s %s links=%d %s %s", s.Name(), s.SpanKind(), len(s.Links()), strings.Join(attrs, " "), s.Status().Code)
}

func expect(t *testing.T, spans *tracetest.SpanRecorder, want ...string) []sdktrace.ReadOnlySpan {
	t.Helper()
	got := spans.Ended()
	spans.Reset()
	var lines []string
	for _, s := range got {
		lines = append(lines, describe(s))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("spans\n\t%s\nwant\n\t%s", strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
	}
	return got
}

// sendOne sends a message through t, and returns it as it is accepted.
func sendOne(ctx context.Context, t testing.TB, tr *Tracer, m messages.Message, err error) (accepted messages.Message) {
	t.Helper()
	s, cerr := chain.NewSends(tr.Sends(Send, "orders", nil))
	if cerr != nil {
		t.Fatal(cerr)
	}
	if got := s.Do(ctx, m, func(_ context.Context, m messages.Message) error { accepted = m; return err }); !errors.Is(got, err) {
		t.Errorf("send returned %v, want %v", got, err)
	}
	return accepted
}

// Promise: a handler's span is a child of the span that sent the message, and both say what
// the conventions ask for.
func TestProcessIsAChildOfSend(t *testing.T) {
	tr, spans := recorder(t)
	member, err := otelbaggage.NewMember("user", "alice")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := otelbaggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	given := []messages.Header{{Name: "own"}, {Name: "traceparent", Value: []byte("an older one")}}
	m := sendOne(otelbaggage.ContextWithBaggage(t.Context(), bag), t, tr, messages.Message{Value: []byte("tea"), Headers: given}, nil)
	if string(given[1].Value) != "an older one" || len(m.Headers) != 3 {
		t.Errorf("headers %q were made of %q", m.Headers, given)
	}
	sent := expect(t, spans, "send orders producer links=0 destination.name=orders message.body.size=3 operation.name=send operation.type=send system=penstock Unset")
	failed := errors.New("no tea")
	h, err := chain.Wrap(messages.Handler(func(ctx context.Context, _ messages.Delivery) error {
		if got := otelbaggage.FromContext(ctx).Member("user").Value(); got != "alice" {
			t.Errorf("the handler's baggage is %q", got)
		}
		if !trace.SpanFromContext(ctx).IsRecording() {
			t.Error("the handler's context has no span")
		}
		return failed
	}), tr.Handlers("orders", "billing", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := h(t.Context(), messages.Delivery{Payload: messages.PayloadOf(&m), Attempt: 2}); !errors.Is(err, failed) {
		t.Error(err)
	}
	processed := expect(t, spans, "process orders consumer links=0 consumer.group.name=billing destination.name=orders error.type=*errors.errorString message.body.size=3 operation.name=process operation.type=process penstock.attempt=2 system=penstock Error")
	if p, s := processed[0].Parent(), sent[0].SpanContext(); p.SpanID() != s.SpanID() || p.TraceID() != s.TraceID() || !p.IsRemote() {
		t.Errorf("its parent is %v, the span that sent it %v", p, s)
	}
}

// Promise: a put says where the record is, and a failed one why not.
func TestPutSaysWhere(t *testing.T) {
	tr, spans := recorder(t)
	s, err := chain.NewSends(tr.Sends(Put, "audit", nil))
	if err != nil {
		t.Fatal(err)
	}
	s.Put(t.Context(), messages.Message{}, func(context.Context, messages.Message) messages.PutResult {
		return messages.PutResult{Partition: 3, Offset: 9}
	})
	s.Put(t.Context(), messages.Message{}, func(context.Context, messages.Message) messages.PutResult {
		return messages.PutResult{Partition: 3, Offset: -1, Err: messages.ErrNoSpace}
	})
	expect(t, spans,
		"put audit producer links=0 destination.name=audit destination.partition.id=3 message.body.size=0 operation.name=put operation.type=send penstock.offset=9 system=penstock Unset",
		"put audit producer links=0 destination.name=audit error.type=*errors.errorString message.body.size=0 operation.name=put operation.type=send system=penstock Error")
}

// Promise: what comes together has one span, with links to those that sent it.
func TestBatchesHaveLinks(t *testing.T) {
	tr, spans := recorder(t)
	var ds []messages.Delivery
	var rs []messages.Record
	for range 3 {
		m := sendOne(t.Context(), t, tr, messages.Message{}, nil)
		ds = append(ds, messages.Delivery{Payload: messages.PayloadOf(&m)})
		rs = append(rs, messages.Record{Payload: messages.PayloadOf(&m)})
	}
	sent := spans.Ended()
	spans.Reset()
	rs = append(rs, messages.Record{}) // of a sender without tracing
	handed := 0
	tr.NewReceives("orders", "billing").Handing(t.Context(), func(ds []messages.Delivery) { handed = len(ds) })(ds)
	if handed != 3 {
		t.Errorf("%d were handed on", handed)
	}
	tr.NewReceives("audit", "export").PolledRecords(t.Context(), time.Now(), rs)
	tr.NewReceives("audit", "export").PolledRecords(t.Context(), time.Now(), nil)
	tr.NewReceives("orders", "billing").Polled(t.Context(), time.Now(), ds)
	n, err := tr.Batches("audit", "export", func(_ context.Context, rs []messages.Record) (int, error) { return len(rs), nil })(t.Context(), rs)
	if n != 4 || err != nil {
		t.Error(n, err)
	}
	got := expect(t, spans,
		"receive orders client links=3 batch.message_count=3 consumer.group.name=billing destination.name=orders operation.name=receive operation.type=receive system=penstock Unset",
		"receive audit client links=3 batch.message_count=4 consumer.group.name=export destination.name=audit operation.name=receive operation.type=receive system=penstock Unset",
		"receive orders client links=3 batch.message_count=3 consumer.group.name=billing destination.name=orders operation.name=receive operation.type=receive system=penstock Unset",
		"process audit consumer links=3 batch.message_count=4 consumer.group.name=export destination.name=audit operation.name=process operation.type=process system=penstock Unset")
	for _, span := range got {
		for i, link := range span.Links() {
			if link.SpanContext.SpanID() != sent[i].SpanContext().SpanID() {
				t.Errorf("link %d of %s is not to the span that sent it", i, span.Name())
			}
		}
	}
}

// Promise: a loop has a span for each message, and nothing more than the loop.
func TestLoopsHaveSpans(t *testing.T) {
	tr, spans := recorder(t)
	m := sendOne(t.Context(), t, tr, messages.Message{}, nil)
	spans.Reset()
	over := errors.New("over")
	r := tr.NewReceives("orders", "billing")
	var got []error
	for _, err := range r.Deliveries(t.Context(), func(yield func(messages.Delivery, error) bool) {
		_ = yield(messages.Delivery{Payload: messages.PayloadOf(&m), Attempt: 1}, nil) && yield(messages.Delivery{}, over)
	}) {
		got = append(got, err)
	}
	for _, err := range r.Records(t.Context(), func(yield func(messages.Record, error) bool) {
		if yield(messages.Record{Payload: messages.PayloadOf(&m), Attempt: 1, Partition: 1, Offset: 2}, nil) {
			t.Error("a loop that was left continues")
		}
	}) {
		got = append(got, err)
		break
	}
	if !slices.Equal(got, []error{nil, over, nil}) {
		t.Errorf("the loops got %v", got)
	}
	expect(t, spans,
		"receive orders client links=0 consumer.group.name=billing destination.name=orders message.body.size=0 operation.name=receive operation.type=receive penstock.attempt=1 system=penstock Unset",
		"receive orders client links=0 consumer.group.name=billing destination.name=orders destination.partition.id=1 message.body.size=0 operation.name=receive operation.type=receive penstock.attempt=1 penstock.offset=2 system=penstock Unset")
}

// Promise: a message that has a trace already is sent in that trace, unless the caller's
// context has another.
func TestTheOriginOfAMessage(t *testing.T) {
	tr, spans := recorder(t)
	ctx, outer := tr.tracer.Start(t.Context(), "an actor's work")
	m := messages.Message{Headers: []messages.Header{{Name: "own"}}}
	Inject(ctx, &m)
	other, mine := tr.tracer.Start(t.Context(), "a caller's work")
	sendOne(t.Context(), t, tr, m, nil)
	sendOne(other, t, tr, m, nil)
	got := spans.Ended()
	if len(got) != 2 || got[0].Parent().SpanID() != outer.SpanContext().SpanID() || got[1].Parent().SpanID() != mine.SpanContext().SpanID() {
		t.Errorf("%v: the parents are not the actor's and the caller's", got)
	}
}

// Promise: a panic ends the span as an error, and is still a panic.
func TestPanicsEndSpans(t *testing.T) {
	tr, spans := recorder(t)
	for name, f := range map[string]func(){
		"handler": func() {
			h, _ := chain.Wrap(messages.Handler(func(context.Context, messages.Delivery) error { panic("a bug") }), tr.Handlers("orders", "billing", nil))
			_ = h(t.Context(), messages.Delivery{})
		},
		"record": func() {
			h, _ := chain.Wrap(messages.RecordHandler(func(context.Context, messages.Record) error { panic("a bug") }), tr.Records("audit", "export", nil))
			_ = h(t.Context(), messages.Record{})
		},
		"batch": func() {
			_, _ = tr.Batches("audit", "export", func(context.Context, []messages.Record) (int, error) { panic("a bug") })(t.Context(), nil)
		},
		"send": func() {
			s, _ := chain.NewSends(tr.Sends(Send, "orders", nil))
			_ = s.Do(t.Context(), messages.Message{}, func(context.Context, messages.Message) error { panic("a bug") })
		},
	} {
		func() {
			defer func() {
				if v := recover(); v != "a bug" {
					t.Errorf("%s: the panic became %v", name, v)
				}
			}()
			f()
		}()
		ended := spans.Ended()
		spans.Reset()
		if len(ended) != 1 || ended[0].Status().Code != codes.Error || !slices.Contains(ended[0].Attributes(), attribute.String("error.type", "panic")) {
			t.Errorf("%s: %v", name, ended)
		}
	}
}

// Promise: tracing that is off adds nothing.
func TestOffIsNothing(t *testing.T) {
	tr := New(nil)
	if tr != nil || tr.Sends(Send, "orders", nil) != nil || tr.Handlers("orders", "billing", nil) != nil || tr.Records("audit", "export", nil) != nil {
		t.Error("it adds middleware")
	}
	r := tr.NewReceives("orders", "billing")
	if r != nil {
		t.Error("it makes spans")
	}
	r.PolledRecords(t.Context(), time.Now(), []messages.Record{{}})
	r.Polled(t.Context(), time.Now(), []messages.Delivery{{}})
	if allocs := testing.AllocsPerRun(10, func() { r.Deliveries(t.Context(), nil); r.Records(t.Context(), nil); r.Handing(t.Context(), nil) }); allocs != 0 {
		t.Errorf("it allocates %v", allocs)
	}
}

// BenchmarkProvider is what a provider takes for a span like ours, by itself.
func BenchmarkProvider(b *testing.B) {
	tr := New(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample())))
	k := tr.newKind(process, semconv.MessagingOperationTypeProcess, trace.SpanKindConsumer, "orders", "billing")
	d := messages.Delivery{Attempt: 1}
	b.ReportAllocs()
	for b.Loop() {
		_, span := k.start(context.Background())
		sayDelivery(span, &d)
		span.End()
	}
}

// BenchmarkTracing is what tracing costs a message: one that is sent, and one that is
// handled, with a provider that records nothing, one that samples nothing, and one that
// records everything.
func BenchmarkTracing(b *testing.B) {
	for name, provider := range map[string]trace.TracerProvider{
		"noop":      noop.NewTracerProvider(),
		"unsampled": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		"recording": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample())),
	} {
		tr := New(provider)
		ctx := trace.ContextWithRemoteSpanContext(b.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
		}))
		b.Run("send/"+name, func(b *testing.B) {
			s, err := chain.NewSends(tr.Sends(Send, "orders", nil))
			if err != nil {
				b.Fatal(err)
			}
			send := func(context.Context, messages.Message) error { return nil }
			b.ReportAllocs()
			for b.Loop() {
				_ = s.Do(ctx, messages.Message{}, send)
			}
		})
		b.Run("process/"+name, func(b *testing.B) {
			m := messages.Message{}
			Inject(ctx, &m)
			d := messages.Delivery{Payload: messages.PayloadOf(&m), Attempt: 1}
			h, err := chain.Wrap(messages.Handler(func(context.Context, messages.Delivery) error { return nil }), tr.Handlers("orders", "billing", nil))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = h(context.Background(), d)
			}
		})
	}
}
