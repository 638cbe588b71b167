package runtimes_test

// Loggers that fail, end their goroutine or block.

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: a logger that panics, or ends its goroutine, loses that line. An event
// tells of it, and the next events are logged.
func TestLoggerFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){
		"panic":  func() { panic("a bug of the logger's") },
		"goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var lines atomic.Int64
			logged := make(chan string, 1000)
			rt := harness.Runtime(t, penstocktest.Space(t), penstock.Logger(slog.New(stubbornHandler{func(event string) {
				if strings.HasPrefix(event, "destination_") && lines.Add(1) <= 2 {
					fail()
				}
				logged <- event
			}})))
			events := penstocktest.Record(t, rt)
			for range 3 {
				d := harness.Register(t, rt, "orders")
				if err := d.Unregister(harness.Context(t)); err != nil {
					t.Fatal(err)
				}
			}
			for n := 0; n < 4; {
				if strings.HasPrefix(harness.Await(t, "the next lines", logged), "destination_") {
					n++
				}
			}
			e := penstocktest.WaitEvent[messages.CallbackPanicked](t, events, harness.Patience, nil)
			if e.Callback != "logger" || e.Value == "" || e.Stack == "" {
				t.Errorf("the event says %+v", e)
			}
		})
	}
}

// Promise: a logger that fails with every line, also with the one that tells so, does
// not make events without end.
func TestLoggerAlwaysFails(t *testing.T) {
	t.Parallel()
	calls := make(chan struct{}, 1000)
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.Logger(slog.New(stubbornHandler{func(string) {
		calls <- struct{}{}
		panic("always")
	}})))
	for range 5 {
		d := harness.Register(t, rt, "orders")
		if err := d.Unregister(harness.Context(t)); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		harness.Await(t, "a line is tried", calls)
	}
	if n := rt.Stats().Events[messages.EventName(messages.CallbackPanicked{})]; n == 0 || n > 3 {
		t.Errorf("%d events of it", n)
	}
}

// Promise: a callback of PutAsync that panics, or ends its goroutine, is told by an
// event; the callbacks after it are called.
func TestTopicCallbackFails(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	events := penstocktest.Record(t, rt)
	topic, err := rt.CreateTopic(harness.Context(t), "audit", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]func(){"panic": func() { panic("a bug") }, "goexit": runtime.Goexit} {
		handle, err := rt.Topic(harness.Context(t), topic.Name())
		if err != nil {
			t.Fatal(err)
		}
		called := make(chan struct{}, 1)
		for _, f := range []func(){fail, func() { called <- struct{}{} }} {
			if err := handle.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) { f() }); err != nil {
				t.Fatal(err)
			}
		}
		harness.Await(t, "the callback after a "+name, called)
		penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.CallbackPanicked) bool {
			return strings.Contains(e.Callback, "PutAsync") && (name == "panic") == (e.Value == "a bug")
		})
	}
}

// Promise: a logger that blocks holds up lines only: no call, no event, and not
// Stop.
func TestLoggerBlocks(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	blocks := make(chan struct{}, 1000)
	rt := harness.Runtime(t, penstocktest.Space(t), penstock.Logger(slog.New(stubbornHandler{func(string) {
		blocks <- struct{}{}
		<-release
	}})))
	events := penstocktest.Record(t, rt)
	harness.Register(t, rt, "orders")
	harness.Await(t, "it blocks", blocks)
	penstocktest.WaitEvent[messages.DestinationRegistered](t, events, harness.Patience, nil)
	if err := harness.Within(t, 2*harness.Soon, "Stop", func() error { return rt.Stop(context.Background()) }); err != nil {
		t.Errorf("Stop: %v", err)
	}
}
