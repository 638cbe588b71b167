package runtimes_test

// Ends that are called by the functions that they would wait for.

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// busyAtOnce checks that an end called from within returns ErrBusy at once.
func busyAtOnce(ctx context.Context, t *testing.T, what string, end func(context.Context) error) {
	t.Helper()
	began := time.Now()
	if err := end(ctx); !errors.Is(err, penstock.ErrBusy) {
		t.Errorf("%s: %v, want ErrBusy", what, err)
	}
	if took := time.Since(began); took > harness.Soon {
		t.Errorf("%s: it took %s", what, took)
	}
}

// aside calls end from a goroutine of its own and waits for it, as errgroups do.
func aside(end func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() { done <- end(ctx) }()
		return <-done
	}
}

// Promise: an end called by a function that it would wait for returns ErrBusy at
// once, whether it is called on the same goroutine or with the function's context.
// A Leave or Unsubscribe begins the end all the same, and the loop ends after what
// has come.
func TestEndsFromWithin(t *testing.T) {
	t.Parallel()
	background := context.Background()
	for name, run := range map[string]func(*testing.T, *penstock.Runtime, *penstock.Destination, *penstock.Member){
		"loop": func(t *testing.T, rt *penstock.Runtime, d *penstock.Destination, m *penstock.Member) {
			n := 0
			for _, err := range m.Messages(harness.Context(t)) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 1 {
					busyAtOnce(background, t, "Stop", rt.Stop)
					busyAtOnce(background, t, "Unregister", d.Unregister)
					busyAtOnce(background, t, "Leave", m.Leave)
				}
			}
			if n == 0 {
				t.Error("nothing came")
			}
		},
		"handler": func(t *testing.T, rt *penstock.Runtime, d *penstock.Destination, m *penstock.Member) {
			err := m.Consume(harness.Context(t), func(ctx context.Context, msg penstock.Delivery) error {
				if harness.Number(msg) == 0 {
					busyAtOnce(background, t, "Stop", rt.Stop)
					busyAtOnce(background, t, "Unregister", d.Unregister)
					busyAtOnce(ctx, t, "Stop aside", aside(rt.Stop))
					busyAtOnce(ctx, t, "Unregister aside", aside(d.Unregister))
					busyAtOnce(ctx, t, "Leave aside", aside(m.Leave))
					busyAtOnce(background, t, "Leave", m.Leave)
				}
				return nil
			})
			if err != nil {
				t.Errorf("Consume: %v", err)
			}
		},
		"dead-letter handler": func(t *testing.T, rt *penstock.Runtime, d *penstock.Destination, m *penstock.Member) {
			m.Consume(harness.Context(t), func(ctx context.Context, msg penstock.Delivery) error {
				if harness.Number(msg) == 0 {
					return errors.New("no")
				}
				return m.Leave(ctx) // which ends the Consume
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rt := harness.Runtime(t, penstocktest.Space(t))
			var d *penstock.Destination
			letters := make(chan struct{}, 1)
			d = harness.Register(t, rt, "orders", penstock.RetryDelay(2*time.Millisecond, 20*time.Millisecond), penstock.MaxAttempts(1), penstock.DeadLetters(func(ctx context.Context, l penstock.DeadLetter) error {
				select {
				case letters <- struct{}{}:
					busyAtOnce(background, t, "Unregister in the dead-letter handler", d.Unregister)
					busyAtOnce(ctx, t, "Unregister with its context", aside(d.Unregister))
					busyAtOnce(background, t, "Stop in the dead-letter handler", rt.Stop)
				default:
				}
				return nil
			}))
			m := harness.Join(t, rt, "orders", "billing")
			harness.Send(t, d, 0, 2)
			run(t, rt, d, m)
			if name == "dead-letter handler" {
				harness.Await(t, "the dead letter", letters)
			}
			if err := m.Leave(harness.Context(t)); err != nil {
				t.Errorf("Leave afterwards: %v", err)
			}
			if err := rt.Stop(harness.Context(t)); err != nil && name != "dead-letter handler" {
				var abandoned *penstock.AbandonedError
				if !errors.As(err, &abandoned) {
					t.Errorf("Stop afterwards: %v", err)
				}
			}
		})
	}
}

// The same of a topic's subscription.
func TestTopicEndsFromWithin(t *testing.T) {
	t.Parallel()
	background := context.Background()
	for name, run := range map[string]func(*testing.T, *penstock.Runtime, *penstock.Subscription){
		"loop": func(t *testing.T, rt *penstock.Runtime, s *penstock.Subscription) {
			n := 0
			for _, err := range s.Records(harness.Context(t)) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == 1 {
					busyAtOnce(background, t, "Stop", rt.Stop)
					busyAtOnce(background, t, "Unsubscribe", s.Unsubscribe)
				}
			}
			if n != 1 {
				t.Errorf("the loop went round %d times", n)
			}
		},
		"handler": func(t *testing.T, rt *penstock.Runtime, s *penstock.Subscription) {
			n := 0
			err := s.Consume(harness.Context(t), func(ctx context.Context, _ penstock.Record) error {
				n++
				busyAtOnce(background, t, "Stop", rt.Stop)
				busyAtOnce(ctx, t, "Stop aside", aside(rt.Stop))
				busyAtOnce(ctx, t, "Unsubscribe aside", aside(s.Unsubscribe))
				return nil
			})
			if err != nil || n != 1 {
				t.Errorf("Consume, after %d records: %v", n, err)
			}
		},
		"CommitAsync": func(t *testing.T, rt *penstock.Runtime, s *penstock.Subscription) {
			recs, err := s.Poll(harness.Context(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan struct{})
			s.CommitAsync(func(error) {
				defer close(told)
				busyAtOnce(background, t, "Stop", rt.Stop)
				busyAtOnce(background, t, "Unsubscribe", s.Unsubscribe)
			}, recs...)
			harness.Await(t, "the callback", harness.Closing(told))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rt := harness.Runtime(t, penstocktest.Space(t))
			topic, err := rt.CreateTopic(harness.Context(t), "audit", penstock.TopicConfig{})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, _, err := topic.Put(harness.Context(t), penstock.Message{Value: []byte("x")}); err != nil {
					t.Fatal(err)
				}
			}
			var s *penstock.Subscription
			s, err = topic.Subscribe(harness.Context(t), "g", penstock.BeforeRelease(func(ctx context.Context, _ []int) error {
				busyAtOnce(background, t, "Unsubscribe in BeforeRelease", s.Unsubscribe)
				busyAtOnce(ctx, t, "Unsubscribe with its context", aside(s.Unsubscribe))
				busyAtOnce(background, t, "Stop in BeforeRelease", rt.Stop)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			run(t, rt, s)
			told := make(chan struct{}, 1)
			if err := topic.PutAsync(harness.Context(t), penstock.Message{}, func(penstock.PutResult) {
				busyAtOnce(background, t, "Stop in a callback of PutAsync", rt.Stop)
				told <- struct{}{}
			}); err != nil {
				t.Fatal(err)
			}
			harness.Await(t, "the callback of PutAsync", told)
			if err := s.Unsubscribe(harness.Context(t)); err != nil {
				t.Errorf("Unsubscribe afterwards: %v", err)
			}
			if err := rt.Stop(harness.Context(t)); err != nil {
				t.Errorf("Stop afterwards: %v", err)
			}
		})
	}
}

// Promise: Unsubscribe waits for a stuck loop or handler until RevokeTimeout and a
// grace, then says so and leaves it behind.
func TestTopicUnsubscribeWithAStuckReader(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(*penstock.Subscription, func()){
		"loop": func(s *penstock.Subscription, stuck func()) {
			for range s.Records(context.Background()) {
				stuck()
			}
		},
		"handler": func(s *penstock.Subscription, stuck func()) {
			s.Consume(context.Background(), func(context.Context, penstock.Record) error { stuck(); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rt := harness.Runtime(t, penstocktest.Space(t))
			topic, err := rt.CreateTopic(harness.Context(t), "audit", penstock.TopicConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := topic.Put(harness.Context(t), penstock.Message{Value: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			s, err := topic.Subscribe(harness.Context(t), "g", penstock.RevokeTimeout(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			release, stuck, over := make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
			go func() {
				defer close(over)
				read(s, func() {
					stuck <- struct{}{}
					<-release
				})
			}()
			t.Cleanup(func() {
				close(release)
				<-over
			})
			harness.Await(t, "it is stuck", stuck)
			ended := make(chan error, 1)
			go func() { ended <- s.Unsubscribe(context.Background()) }()
			if err := harness.Await(t, "Unsubscribe", ended); !errors.Is(err, penstock.ErrBusy) {
				t.Errorf("Unsubscribe: %v, want ErrBusy", err)
			}
			// Another member handles the record again.
			again, err := topic.Subscribe(harness.Context(t), "g")
			if err != nil {
				t.Fatal(err)
			}
			if recs, err := again.Poll(harness.Context(t), 1); err != nil || len(recs) != 1 || recs[0].Offset != 0 {
				t.Errorf("another member got %v, %v", recs, err)
			}
		})
	}
}

// stubbornHandler is a logger's: do is called with each record's message.
type stubbornHandler struct{ do func(string) }

func (stubbornHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h stubbornHandler) Handle(_ context.Context, r slog.Record) error {
	h.do(r.Message)
	return nil
}
func (h stubbornHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h stubbornHandler) WithGroup(string) slog.Handler      { return h }

// Promise: an event loop may stop its runtime; a logger may not, and hears so.
func TestStopInEventsAndLogger(t *testing.T) {
	t.Parallel()
	var rt *penstock.Runtime
	started := make(chan struct{})
	logged := make(chan struct{})
	rt = harness.Runtime(t, penstocktest.Space(t), penstock.Logger(slog.New(stubbornHandler{func(event string) {
		if event != messages.EventName(messages.DestinationRegistered{}) {
			return
		}
		<-started
		busyAtOnce(context.Background(), t, "Stop in the logger", rt.Stop)
		close(logged)
	}})))
	close(started)
	events := rt.Events(harness.Context(t))
	harness.Register(t, rt, "orders")
	harness.Await(t, "the line", harness.Closing(logged))
	for e := range events {
		if _, ok := e.(messages.DestinationRegistered); ok {
			if err := harness.Within(t, harness.Soon, "Stop", func() error { return rt.Stop(context.Background()) }); err != nil {
				t.Errorf("Stop in an event loop: %v", err)
			}
		}
	}
}
