package penstock_test

// Tracing on real pipes and topics, through both faces.

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

// traces records the spans of a test.
type traces struct {
	*tracetest.SpanRecorder
	provider trace.TracerProvider
}

func newTraces() traces {
	r := tracetest.NewSpanRecorder()
	return traces{r, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r))}
}

// begin begins a trace, as a request to a service does.
func (s traces) begin(ctx context.Context, name string) (context.Context, trace.Span) {
	return s.provider.Tracer("test").Start(ctx, name)
}

// of waits for the span of a name in a trace.
func (s traces) of(t *testing.T, id trace.TraceID, name string) (found sdktrace.ReadOnlySpan) {
	t.Helper()
	harness.Eventually(t, "the span "+name, func() bool {
		for _, span := range s.Ended() {
			if span.Name() == name && span.SpanContext().TraceID() == id {
				found = span
				return true
			}
		}
		return false
	})
	return found
}

// parented fails when one of spans is not the child of the one before.
func parented(t *testing.T, spans ...sdktrace.ReadOnlySpan) {
	t.Helper()
	for i := 1; i < len(spans); i++ {
		if spans[i].Parent().SpanID() != spans[i-1].SpanContext().SpanID() {
			t.Errorf("%s is no child of %s", spans[i].Name(), spans[i-1].Name())
		}
	}
}

// Promise: a trace goes from who sends through the handler to what the handler puts, and
// to who reads that.
func TestATraceGoesThroughPipesAndTopics(t *testing.T) {
	s := newTraces()
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)), penstock.Tracing(s.provider))
	ctx := harness.Context(t)
	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	orders := harness.Register(t, rt, "orders")
	billing := harness.Join(t, rt, "orders", "billing")
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_ = billing.Consume(consuming, func(ctx context.Context, d penstock.Delivery) error {
			_, _, err := audit.Put(ctx, d.Message())
			return err
		})
	}()
	request, span := s.begin(ctx, "request")
	if err := orders.Send(request, penstock.Message{Value: []byte("tea")}); err != nil {
		t.Fatal(err)
	}
	span.End()
	id := span.SpanContext().TraceID()
	for r, err := range audit.Read(ctx, 0, penstock.FromEarliest()) {
		if err != nil {
			t.Fatal(err)
		}
		if got := trace.SpanContextFromContext(penstock.ContextOf(ctx, r)); got.TraceID() != id || !got.IsRemote() {
			t.Errorf("the record is of trace %v, want %v", got, id)
		}
		break
	}
	put := s.of(t, id, "put audit")
	parented(t, s.of(t, id, "request"), s.of(t, id, "send orders"), s.of(t, id, "process orders"), put, s.of(t, id, "receive audit"))

	export, err := audit.Subscribe(ctx, "export")
	if err != nil {
		t.Fatal(err)
	}
	if recs, err := export.Poll(ctx, 10); err != nil || len(recs) != 1 {
		t.Fatal(recs, err)
	}
	harness.Eventually(t, "the span of the poll", func() bool {
		return slices.ContainsFunc(s.Ended(), func(span sdktrace.ReadOnlySpan) bool {
			return span.Name() == "receive audit" && len(span.Links()) == 1 && span.Links()[0].SpanContext.SpanID() == put.SpanContext().SpanID()
		})
	})
}

// Promise: what an actor publishes with a trace in its headers is sent in that trace, and
// so is what it puts; receivers find it in what they get.
func TestATraceGoesThroughActors(t *testing.T) {
	s := newTraces()
	system := actor.NewActorSystem(actor.WithDeadLetterThrottleInterval(time.Millisecond))
	t.Cleanup(system.Shutdown)
	rt := harness.OrderlyRuntime(t, penstock.Prefix(penstocktest.Space(t)), penstock.ActorSystem(system), penstock.Tracing(s.provider))
	ctx := harness.Context(t)
	if _, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	found := make(chan trace.SpanContext, 2)
	receiver := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *penstock.Delivery:
			found <- trace.SpanContextFromContext(penstock.ContextOf(context.Background(), m))
			m.Ack()
		case *penstock.RecordDelivery:
			found <- trace.SpanContextFromContext(m.Context())
			m.Ack()
		}
	}))
	pids := make(chan *actor.PID, 2)
	parent := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); ok {
			pids <- c.Spawn(penstock.DestinationProps(rt, "orders"))
			pids <- c.Spawn(penstock.ProducerProps(rt, "audit"))
			c.Spawn(penstock.MemberProps(rt, "orders", "billing", penstock.Receiver{To: receiver}))
			c.Spawn(penstock.SubscriptionProps(rt, "audit", "export", penstock.Receiver{To: receiver}))
		}
	}))
	work, span := s.begin(ctx, "an actor's work")
	id := span.SpanContext().TraceID()
	m := penstock.Message{Value: []byte("tea")}
	penstock.Inject(work, &m)
	span.End()
	published, err := supervisor.Ask[*messages.Published](ctx, system, <-pids, &penstock.Publish{Messages: []penstock.Message{m}})
	if err != nil || published.Err != nil {
		t.Fatal(published, err)
	}
	sent := s.of(t, id, "send orders")
	if got := harness.Await(t, "the delivery", found); got.SpanID() != sent.SpanContext().SpanID() {
		t.Errorf("the delivery has %v, it was sent by %v", got, sent.SpanContext())
	}
	harness.Eventually(t, "the span of the hand-over", func() bool {
		return slices.ContainsFunc(s.Ended(), func(span sdktrace.ReadOnlySpan) bool {
			return span.Name() == "receive orders" && len(span.Links()) == 1 && span.Links()[0].SpanContext.SpanID() == sent.SpanContext().SpanID()
		})
	})
	put, err := supervisor.Ask[*messages.PutDone](ctx, system, <-pids, &penstock.Put{Messages: []penstock.Message{m}})
	if err != nil || put.Err != nil {
		t.Fatal(put, err)
	}
	processed := s.of(t, id, "process audit")
	if got := harness.Await(t, "the record", found); got.SpanID() != processed.SpanContext().SpanID() {
		t.Errorf("the record's context has %v, its span is %v", got, processed.SpanContext())
	}
	parented(t, s.of(t, id, "an actor's work"), s.of(t, id, "put audit"), processed)
	if err := supervisor.Stop(ctx, system, parent); err != nil {
		t.Error(err)
	}
}
