package topics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// Promise: code of the user's own that is in the way of an end is not blamed on
// etcd: neither a handler, nor BeforeRelease, nor a callback.
func TestSlowUserCodeIsNoFaultOfEtcd(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T, sub *penstock.Subscription, block func()){
		"a handler": func(t *testing.T, sub *penstock.Subscription, block func()) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = sub.Consume(context.Background(), func(context.Context, penstock.Record) error { block(); return nil })
			}()
			t.Cleanup(func() { <-done })
		},
		"BeforeRelease": func(*testing.T, *penstock.Subscription, func()) {},
		"a callback of CommitAsync": func(t *testing.T, sub *penstock.Subscription, block func()) {
			sub.CommitAsync(func(error) { block() }, polled(t, sub, 1)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, release := make(chan struct{}, 1), make(chan struct{})
			block := func() {
				select {
				case in <- struct{}{}:
				default:
				}
				<-release
			}
			rt := harness.Runtime(t, penstocktest.Space(t))
			topic := makeTopic(t, rt, theTopic, 1)
			if _, _, err := topic.Put(harness.Context(t), penstock.Message{}); err != nil {
				t.Fatal(err)
			}
			opts := []penstock.SubscribeOption{penstock.ManualCommit()}
			if name == "BeforeRelease" {
				opts = append(opts, penstock.BeforeRelease(func(context.Context, []int) error { block(); return nil }))
			}
			sub := subscribe(t, topic, theGroup, opts...)
			begin(t, sub, block)
			if name != "BeforeRelease" {
				harness.Await(t, name, in)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			err := sub.Unsubscribe(ctx)
			if err == nil || errors.Is(err, penstock.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, penstock.ErrBusy) {
				t.Errorf("Unsubscribe: %v", err)
			}
			close(release)
		})
	}
}
