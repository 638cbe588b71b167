package penstock_test

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: the counters are there for OpenTelemetry, with bounded labels.
func TestMetrics(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(t.Context())
	registration, err := rt.Metrics(provider)
	if err != nil {
		t.Fatal(err)
	}

	orders := harness.Register(t, rt, "orders")
	l := harness.NewLedger()
	l.Handle(t, "member", harness.Join(t, rt, "orders", "billing"))
	harness.Send(t, orders, 0, 100)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}

	got := collect(t, reader)
	for name, want := range map[string]int64{
		"penstock.pipe.accepted": 100, "penstock.pipe.sent": 100, "penstock.pipe.acked": 100,
		"penstock.pipe.nacked": 0, "penstock.pipe.redelivered": 0, "penstock.pipe.dropped": 0,
		"penstock.pipe.dead_lettered": 0, "penstock.pipe.pending": 0, "penstock.pipe.pending_bytes": 0,
		"penstock.pipe.links": 1, "penstock.member.links": 1, "penstock.member.delivered": 100, "penstock.member.waiting": 0,
	} {
		points := got[name]
		if len(points) != 1 || points[0].Value != want {
			t.Errorf("%s: %v, want one point of %d", name, points, want)
			continue
		}
		labels := attribute.NewSet(attribute.String("destination", "orders"), attribute.String("group", "billing"))
		if !points[0].Attributes.Equals(&labels) {
			t.Errorf("%s is labelled %v", name, points[0].Attributes.ToSlice())
		}
	}
	linked := attribute.NewSet(attribute.String("event", "member_linked"))
	found := false
	for _, p := range got["penstock.events"] {
		found = found || p.Attributes.Equals(&linked) && p.Value == 1
	}
	if !found {
		t.Errorf("events: %v, want one member_linked", got["penstock.events"])
	}

	if alive := got["penstock.session.alive"]; len(alive) != 1 || alive[0].Value != 1 || alive[0].Attributes.Len() != 0 {
		t.Errorf("session: %v", alive)
	}
	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if left := collect(t, reader); len(left["penstock.pipe.accepted"]) != 0 {
		t.Errorf("after Unregister: %v", left)
	}
}

// collect reads every number by the name of its instrument.
func collect(t *testing.T, reader metric.Reader) map[string][]metricdata.DataPoint[int64] {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]metricdata.DataPoint[int64])
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if !data.IsMonotonic {
					t.Errorf("%s is not a counter", m.Name)
				}
				out[m.Name] = data.DataPoints
			case metricdata.Gauge[int64]:
				out[m.Name] = data.DataPoints
			}
		}
	}
	return out
}

// Promise: the same for topics and their groups.
func TestTopicMetrics(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(t.Context())
	registration, err := rt.Metrics(provider)
	if err != nil {
		t.Fatal(err)
	}
	defer registration.Unregister()

	audit, err := rt.CreateTopic(harness.Context(t), "audit", penstock.TopicConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := audit.PutTo(harness.Context(t), i%2, penstock.Message{Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := audit.Subscribe(harness.Context(t), "billing")
	if err != nil {
		t.Fatal(err)
	}
	handled := 0
	for _, err := range sub.Records(harness.Context(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if handled++; handled == 10 {
			break // hands the last one back
		}
	}
	if err := sub.Commit(harness.Context(t)); err != nil {
		t.Fatal(err)
	}

	got := collect(t, reader)
	topic := attribute.NewSet(attribute.String("topic", "audit"))
	group := attribute.NewSet(attribute.String("topic", "audit"), attribute.String("group", "billing"))
	for name, want := range map[string]struct {
		value  int64
		labels attribute.Set
	}{
		"penstock.topic.accepted": {10, topic}, "penstock.topic.committed": {10, topic}, "penstock.topic.failed": {0, topic},
		"penstock.topic.appends": {10, topic}, "penstock.topic.queued_bytes": {0, topic},
		"penstock.subscription.finished": {9, group}, "penstock.subscription.failed": {0, group},
		"penstock.subscription.dead_lettered": {0, group}, "penstock.subscription.lost": {0, group},
		"penstock.subscription.partitions": {2, group},
	} {
		points := got[name]
		if len(points) != 1 || points[0].Value != want.value || !points[0].Attributes.Equals(&want.labels) {
			t.Errorf("%s: %v, want one point of %d with %v", name, points, want.value, want.labels.ToSlice())
		}
	}
	if n := got["penstock.subscription.commits"]; len(n) != 1 || n[0].Value < 2 {
		t.Errorf("commits: %v, want two at least", n)
	}
	if s := sub.Stats(); s.Finished != 9 || s.Partitions != 2 || s.Member != sub.ID() {
		t.Errorf("%+v", s)
	}
}

// Promise: each call of a handler, and each put that is committed, is in a histogram, as
// long as there is a meter.
func TestTimeMetrics(t *testing.T) {
	ctx := harness.Context(t)
	rt := harness.Runtime(t, penstocktest.Space(t))
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(t.Context())
	registration, err := rt.Metrics(provider)
	if err != nil {
		t.Fatal(err)
	}
	orders, billing := harness.Register(t, rt, "orders"), harness.Join(t, rt, "orders", "billing")
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	export, err := audit.Subscribe(ctx, "export")
	if err != nil {
		t.Fatal(err)
	}
	m := penstock.Message{Value: []byte("v")}
	_, _, one := audit.Put(ctx, m)
	_, two := audit.PutTo(ctx, 0, m)
	_, batch := audit.PutBatch(ctx, []penstock.Message{m, m})
	called := make(chan struct{})
	async := audit.PutAsync(ctx, m, func(penstock.PutResult) { close(called) })
	none := audit.PutAsync(ctx, m, nil)
	if err := errors.Join(one, two, batch, async, none, audit.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	<-called
	_, refused := audit.PutTo(ctx, 7, m)
	if refused == nil {
		t.Fatal("a put into a partition that does not exist")
	}
	handled := make(chan struct{}, 100)
	go billing.Consume(ctx, func(context.Context, penstock.Delivery) error { handled <- struct{}{}; return nil })
	go export.Consume(ctx, func(context.Context, penstock.Record) error { handled <- struct{}{}; return nil })
	harness.Send(t, orders, 0, 10)
	for range 10 + 6 {
		<-handled
	}
	if err := errors.Join(billing.Leave(ctx), export.Unsubscribe(ctx)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"penstock.member.handler_time": 10, "penstock.subscription.handler_time": 6, "penstock.topic.put_time": 4} {
		if points := times(t, reader)[name]; len(points) != 1 || points[0].Count != want || points[0].Sum < 0 || points[0].Sum > 60 {
			t.Errorf("%s: %+v, want %d", name, points, want)
		}
	}
	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := audit.Put(ctx, m); err != nil {
		t.Fatal(err)
	}
	if points := times(t, reader)["penstock.topic.put_time"]; points[0].Count != 4 {
		t.Errorf("after Unregister: %+v", points)
	}
}

// times reads every histogram by its name.
func times(t *testing.T, reader metric.Reader) map[string][]metricdata.HistogramDataPoint[float64] {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]metricdata.HistogramDataPoint[float64])
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if data, ok := m.Data.(metricdata.Histogram[float64]); ok {
				out[m.Name] = data.DataPoints
			}
		}
	}
	return out
}

// gauge reads the one point of a gauge, and whether there is one.
func gauge(t *testing.T, reader metric.Reader, name string) (float64, bool) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				if m.Name == name && len(data.DataPoints) == 1 {
					return float64(data.DataPoints[0].Value), true
				}
			case metricdata.Gauge[float64]:
				if m.Name == name && len(data.DataPoints) == 1 {
					return data.DataPoints[0].Value, true
				}
			}
		}
	}
	return 0, false
}

// Promise: what is not acked ages, at the sender and at the member, until it is. What is
// not committed is the lag, with the age of its oldest record; a pause does not hide it.
func TestAgeMetrics(t *testing.T) {
	ctx := harness.Context(t)
	rt := harness.Runtime(t, penstocktest.Space(t))
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(t.Context())
	if _, err := rt.Metrics(provider); err != nil {
		t.Fatal(err)
	}
	value := func(name string) float64 {
		v, ok := gauge(t, reader, name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		return v
	}
	until := func(name string, is func(float64) bool) {
		harness.Eventually(t, name, func() bool { return is(value(name)) })
	}
	none, some := func(v float64) bool { return v == 0 }, func(v float64) bool { return v > 0 && v < 60 }

	orders, billing := harness.Register(t, rt, "orders"), harness.Join(t, rt, "orders", "billing")
	until("penstock.pipe.oldest", none)
	release := make(chan struct{})
	consumed := make(chan error, 1)
	go func() {
		consumed <- billing.Consume(ctx, func(context.Context, penstock.Delivery) error { <-release; return nil })
	}()
	harness.Send(t, orders, 0, 1)
	until("penstock.pipe.oldest", some)
	until("penstock.member.oldest", some)
	close(release)
	until("penstock.pipe.oldest", none)
	until("penstock.member.oldest", none)

	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) {
		for i := range n {
			if _, err := audit.PutTo(ctx, i%2, penstock.Message{Value: []byte("v")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	export, err := audit.Subscribe(ctx, "export", penstock.ManualCommit())
	if err != nil {
		t.Fatal(err)
	}
	put(10)
	until("penstock.subscription.lag", func(v float64) bool { return v == 10 })
	until("penstock.subscription.lag_age", some)
	for got := 0; got < 10; {
		recs, err := export.Poll(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		got += len(recs)
		if err := export.Commit(ctx, recs...); err != nil {
			t.Fatal(err)
		}
	}
	until("penstock.subscription.lag", none)
	until("penstock.subscription.lag_age", none)
	export.Pause()
	put(4)
	until("penstock.subscription.lag", func(v float64) bool { return v == 4 })
	until("penstock.subscription.lag_age", some)
	if s := export.Stats(); s.Lag != 4 || s.LagAge <= 0 {
		t.Errorf("%+v", s)
	}
	if err := billing.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-consumed; err != nil {
		t.Error(err)
	}
}
