package penstocktest

// Outcomes: what became of messages, as their sender and the handlers of a service see it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
)

// Outcomes says what a service did with messages: for a test of one that receives. The
// test sends by Send, and the service under test joins with the option Handler, or
// subscribes with RecordHandler. A message is known by its key, or by its value when the
// key is empty.
//
//	out := penstocktest.Watch(t, orders)
//	service.Run(rt, out.Handler()) // calls Join with that option, and Consume
//	out.Send(penstock.Message{Key: []byte("7"), Value: order})
//	out.NackedWith("7", bank.ErrClosed)
//	out.Acked("7")
//
// Its methods must be called from the goroutine that runs the test.
type Outcomes struct {
	t      testing.TB
	dest   *penstock.Destination
	within time.Duration

	mu      sync.Mutex
	sent    []sent
	handled []Handling
	grown   chan struct{} // closed when something changes
}

// sent is a message that Send has sent.
type sent struct {
	key  string
	done bool
	err  error // nil when all have acked it
}

// Handling is one call of a handler that is over.
type Handling struct {
	// Where is the name of the destination or the topic.
	Where, Group string
	// Key is the message's key, or its value when the key is empty.
	Key     string
	Attempt int
	// Err is what the handler returned, or ErrPanicked.
	Err error
}

// ErrPanicked is the Err of a Handling whose handler panicked, or ended its goroutine.
var ErrPanicked = errors.New("penstocktest: the handler panicked")

// Watch begins to watch what becomes of messages that its Send sends to dest.
func Watch(t testing.TB, dest *penstock.Destination) *Outcomes {
	return &Outcomes{t: t, dest: dest, within: DefaultWithin, grown: make(chan struct{})}
}

// Within sets how long the methods wait for what is expected.
func (o *Outcomes) Within(d time.Duration) *Outcomes {
	o.within = d
	return o
}

// Handler is an option of Join that lets o see each call of the handler that Consume is
// given, with the error that middleware within it has left. A loop over Messages and
// Poll have no handler: o then sees only what became of the messages.
func (o *Outcomes) Handler() penstock.JoinOption {
	return penstock.Use(func(next penstock.Handler) penstock.Handler {
		return func(ctx context.Context, d penstock.Delivery) error {
			h := Handling{Where: d.Destination, Group: d.Group, Key: label(d.Key, d.Value), Attempt: d.Attempt}
			return o.watch(h, func() error { return next(ctx, d) })
		}
	})
}

// RecordHandler is Handler for Subscribe. group is what the Handlings say.
func (o *Outcomes) RecordHandler(group string) penstock.SubscribeOption {
	return penstock.UseRecords(func(next penstock.RecordHandler) penstock.RecordHandler {
		return func(ctx context.Context, r penstock.Record) error {
			h := Handling{Where: r.Topic, Group: group, Key: label(r.Key, r.Value), Attempt: r.Attempt}
			return o.watch(h, func() error { return next(ctx, r) })
		}
	})
}

func (o *Outcomes) watch(h Handling, handle func() error) error {
	h.Err = ErrPanicked
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.handled = append(o.handled, h)
		o.grow()
	}()
	h.Err = handle()
	return h.Err
}

// Send sends m. It fails the test when m is not accepted, or not in time.
func (o *Outcomes) Send(m penstock.Message) {
	o.t.Helper()
	ctx, cancel := context.WithDeadline(o.t.Context(), deadline(o.t, o.within))
	defer cancel()
	key := label(m.Key, m.Value)
	o.mu.Lock()
	at := len(o.sent)
	o.sent = append(o.sent, sent{key: key})
	o.mu.Unlock()
	err := o.dest.SendAsync(ctx, m, func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.sent[at].done, o.sent[at].err = true, err
		o.grow()
	})
	if err != nil {
		o.t.Fatalf("penstocktest: send %q to %q: %v", key, o.dest.Name(), err)
	}
}

// Acked waits until every group has acked what was sent with that key. It fails the test
// when one gave it up, or when it takes too long.
func (o *Outcomes) Acked(key string) {
	o.t.Helper()
	if err := o.outcome(key, "acked"); err != nil {
		o.t.Fatalf("penstocktest: %q was given up, want acked: %v%s", key, err, o.story(key))
	}
}

// DeadLettered waits until what was sent with that key is a dead letter, and returns the
// error that the function of SendAsync is given: it is penstock.ErrReject as well when a
// member rejected it. The sender needs the option DeadLetters for what was not rejected.
func (o *Outcomes) DeadLettered(key string) error {
	o.t.Helper()
	return o.GivenUp(key, penstock.ErrDeadLettered)
}

// GivenUp waits until what was sent with that key is given up with an error that is
// target, such as penstock.ErrExpired or penstock.ErrDropped, and returns the error. It
// fails the test when every group acked it, when the error is another, and when it takes
// too long.
func (o *Outcomes) GivenUp(key string, target error) error {
	o.t.Helper()
	err := o.outcome(key, "given up: "+target.Error())
	switch {
	case err == nil:
		o.t.Fatalf("penstocktest: %q was acked, want it given up: %v%s", key, target, o.story(key))
	case !errors.Is(err, target):
		o.t.Fatalf("penstocktest: %q was given up with another error, want %v: %v%s", key, target, err, o.story(key))
	}
	return err
}

// outcome waits for what became of all that was sent with that key.
func (o *Outcomes) outcome(key, want string) error {
	o.t.Helper()
	var outcome error
	o.await(func() (bool, string) {
		open, errs := o.outcomes(key)
		outcome = errors.Join(errs...)
		switch {
		case open < 0:
			return false, "nothing with that key was sent by Send"
		case open > 0:
			return false, ""
		}
		return true, ""
	}, key, want)
	return outcome
}

// outcomes counts what was sent with that key and is not settled, -1 for nothing sent, and
// collects the errors of the rest. The caller holds mu.
func (o *Outcomes) outcomes(key string) (open int, errs []error) {
	open = -1
	for _, s := range o.sent {
		if s.key != key {
			continue
		}
		open = max(open, 0)
		if !s.done {
			open++
		}
		errs = append(errs, s.err)
	}
	return open, errs
}

// Attempt waits for the n-th attempt, from 1, at a message or record with that key, and
// returns how its handler ended. Where several groups or messages have one, it is the
// first of them.
func (o *Outcomes) Attempt(key string, n int) Handling {
	o.t.Helper()
	return o.handling(key, fmt.Sprintf("attempt %d", n), func(h Handling) bool { return h.Attempt == n })
}

// NackedWith waits until a handler has returned an error that is target for a message or
// record with that key, whichever attempt it was.
func (o *Outcomes) NackedWith(key string, target error) Handling {
	o.t.Helper()
	return o.handling(key, fmt.Sprintf("nacked with %q", target), func(h Handling) bool { return h.Err != nil && errors.Is(h.Err, target) })
}

// Handlings returns the calls of handlers so far, in the order in which they ended.
func (o *Outcomes) Handlings() []Handling {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.handled)
}

func (o *Outcomes) handling(key, want string, match func(Handling) bool) (found Handling) {
	o.t.Helper()
	o.await(func() (bool, string) {
		for _, h := range o.handled {
			if h.Key == key && match(h) {
				found = h
				return true, ""
			}
		}
		return false, ""
	}, key, want)
	return found
}

// await waits until look, which is called with mu held, finds what is wanted; it fails the
// test when look says why it never will, and when it takes too long.
func (o *Outcomes) await(look func() (found bool, never string), key, want string) {
	o.t.Helper()
	late := time.NewTimer(time.Until(deadline(o.t, o.within)))
	defer late.Stop()
	for expired := false; ; {
		o.mu.Lock()
		found, never := look()
		grown := o.grown
		o.mu.Unlock()
		switch {
		case found:
			return
		case never != "":
			o.t.Fatalf("penstocktest: want %q %s: %s%s", key, want, never, o.story(key))
		case expired:
			o.t.Fatalf("penstocktest: want %q %s: not within %v%s", key, want, o.within, o.story(key))
		}
		select {
		case <-grown:
		case <-late.C:
			expired = true
		}
	}
}

// story says what handlers did with a message, for a failure.
func (o *Outcomes) story(key string) string {
	var lines []string
	for _, h := range o.Handlings() {
		if h.Key != key {
			continue
		}
		end := "acked"
		if h.Err != nil {
			end = penstock.GiveBackOf(h.Err).Verb.String() + ": " + h.Err.Error()
		}
		lines = append(lines, fmt.Sprintf("\n\tattempt %d in group %q of %q: %s", h.Attempt, h.Group, h.Where, end))
	}
	if len(lines) == 0 {
		lines = append(lines, "\n\tno handler that is watched has returned for it")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch open, errs := o.outcomes(key); {
	case open > 0:
		lines = append(lines, "\n\tnot settled")
	case open == 0 && errors.Join(errs...) == nil:
		lines = append(lines, "\n\tsettled: every group acked it")
	}
	return strings.Join(lines, "")
}

// grow wakes who waits. The caller holds mu.
func (o *Outcomes) grow() {
	close(o.grown)
	o.grown = make(chan struct{})
}

// label is what a message is known by.
func label(key, value []byte) string {
	if len(key) > 0 {
		return string(key)
	}
	return string(value)
}
