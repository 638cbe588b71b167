package penstock_test

// Examples of what a service does around its work: it ends on a signal, and is measured.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/penstock-io/penstock"
)

// A signal ends the service: what was accepted is delivered, and what is in hand is handled.
func ExampleRuntime_Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	signals, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-stop")

	orders, err := rt.Register(ctx, "orders")
	check(err)
	billing, err := rt.Join(ctx, "orders", "billing")
	check(err)
	consumed := make(chan error)
	go func() {
		// Not the context of the signal, which would cut the handlers off. Stop ends Consume.
		consumed <- billing.Consume(context.Background(), func(_ context.Context, msg penstock.Delivery) error {
			fmt.Printf("billed %s\n", msg.Value)
			return nil
		})
	}()
	check(orders.Send(ctx, penstock.Message{Value: []byte("tea")}))
	interrupt() // by Control-C, or by an orchestrator

	<-signals.Done()
	stopping, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = rt.Stop(stopping)
	if abandoned, ok := errors.AsType[*penstock.AbandonedError](err); ok {
		fmt.Println("not delivered in time:", abandoned)
	}
	fmt.Println("stopped:", err)
	fmt.Println("consumed:", <-consumed)
	// Output:
	// billed tea
	// stopped: <nil>
	// consumed: <nil>
}

// interrupt sends this process the signal of Control-C.
func interrupt() {
	self, err := os.FindProcess(os.Getpid())
	check(err)
	check(self.Signal(os.Interrupt))
}

// Prometheus reads the counters through OpenTelemetry's exporter.
func ExampleRuntime_Metrics() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rt := exampleRuntime(ctx, "/example-metrics")

	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	check(err)
	registration, err := rt.Metrics(metric.NewMeterProvider(metric.WithReader(exporter)))
	check(err)
	// In a service: http.Handle("/metrics", promhttp.HandlerFor(…)).
	metrics := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer metrics.Close()

	orders, err := rt.Register(ctx, "orders", penstock.DropWithoutGroup())
	check(err)
	for range 3 {
		check(orders.Send(ctx, penstock.Message{Value: []byte("tea")}))
	}
	resp, err := http.Get(metrics.URL)
	check(err)
	page, err := io.ReadAll(resp.Body)
	check(errors.Join(err, resp.Body.Close()))
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "penstock_pipe_dropped") || strings.HasPrefix(line, "penstock_session_alive") {
			fmt.Print(line)
		}
	}
	check(registration.Unregister())
	check(rt.Stop(ctx))
	// Output:
	// penstock_pipe_dropped_total{destination="orders",group=""} 3
	// penstock_session_alive 1
}
