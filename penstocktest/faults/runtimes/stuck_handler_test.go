package runtimes

// Handlers that stand still.

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

//go:noinline
func standsStill(release chan struct{}) { <-release }

// Promise: a handler that stands still for AckWait, or RevokeTimeout, is told with its
// stack, once and again when that has doubled; one that is quick is not.
func TestStuckHandlerIsTold(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	events := penstocktest.Record(t, rt)
	release := make(chan struct{})
	consumed := make(chan error, 3)

	orders := harness.Register(t, rt, "orders")
	stuck := harness.Join(t, rt, "orders", "stuck", penstock.AckWait(limit))
	quick := harness.Join(t, rt, "orders", "quick", penstock.AckWait(limit))
	go func() {
		consumed <- quick.Consume(ctx, func(context.Context, penstock.Delivery) error { return nil })
	}()
	go func() {
		consumed <- stuck.Consume(ctx, func(context.Context, penstock.Delivery) error {
			standsStill(release)
			return nil
		})
	}()
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := audit.Put(ctx, penstock.Message{Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := audit.Subscribe(ctx, "export", penstock.RevokeTimeout(limit))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		consumed <- sub.Consume(ctx, func(_ context.Context, r penstock.Record) error {
			if r.Offset == 1 {
				standsStill(release)
			}
			return nil
		})
	}()
	harness.Send(t, orders, 0, 1)
	for _, least := range []time.Duration{limit, 2 * limit} {
		e := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.HandlerStuck) bool { return e.Running >= least })
		if e.Group != "stuck" || e.Member != stuck.ID() || !strings.Contains(e.Stack, "runtimes.standsStill") {
			t.Errorf("%+v", e)
		}
		r := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.RecordHandlerStuck) bool { return e.Running >= least })
		if r.Group != "export" || r.Member != sub.ID() || r.Offset != 1 || !strings.Contains(r.Stack, "runtimes.standsStill") {
			t.Errorf("%+v", r)
		}
	}
	close(release)
	if err := rt.Stop(ctx); err != nil {
		t.Error(err)
	}
	for range cap(consumed) {
		if err := harness.Await(t, "an end of Consume", consumed); err != nil {
			t.Error(err)
		}
	}
}
