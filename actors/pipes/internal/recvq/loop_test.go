package recvq

// Loops and handlers over a member's deliveries.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// fed is an queue with one link, on which n messages have come.
func fed(t *testing.T, n int, change func(*Config)) (*Queue, *Link, chan messages.Event) {
	t.Helper()
	in, events := testQueue(change)
	k := in.Open("s", 0)
	if n > 0 {
		comes(t, k, n)
	}
	return in, k, events
}

// settledOf is what k would tell its sender is settled, without telling it.
func settledOf(k *Link) (acked uint64, failures []failure) {
	k.lock()
	defer k.mu.Unlock()
	return k.acks.Cumulative, slices.Clone(k.failures)
}

func TestTakingTheNextAcksTheOneBefore(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	want := uint64(0)
	for d, err := range in.Messages(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		if acked, _ := settledOf(k); acked != want || d.Seq != want+1 {
			t.Fatalf("delivery %d with %d acked, want %d", d.Seq, acked, want)
		}
		want++
		if want == 3 {
			// More than one frame: the seam acks as well.
			comes(t, k, 2)
		}
		if want == 5 {
			break
		}
	}
	acked, failures := settledOf(k)
	if acked != 5 || !slices.Equal(failures, []failure{{seq: 5, kind: frame.NackReturned}}) {
		t.Errorf("settled up to %d, failures %v; want the fifth handed back", acked, failures)
	}
}

func TestABrokenLoopHandsItsMessageBack(t *testing.T) {
	boom := errors.New("boom")
	for name, stop := range map[string]func(){"break": nil, "panic": func() { panic(boom) }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			in, k, _ := fed(t, 4, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() {
					if p := recover(); p != nil && p != boom {
						t.Errorf("panicked: %v", p)
					}
				}()
				for d := range in.Messages(t.Context(), false) {
					if d.Seq < 2 {
						continue
					}
					if stop != nil {
						stop()
					}
					break
				}
			}()
			<-done
			acked, failures := settledOf(k)
			if acked != 2 || !slices.Equal(failures, []failure{{seq: 2, kind: frame.NackReturned}}) {
				t.Errorf("settled up to %d, failures %v; want the second handed back", acked, failures)
			}
			if in.Busy() {
				t.Fatal("the member is still being read")
			}
			// The rest waits for the next loop, in order.
			var rest []uint64
			for d, err := range in.Messages(t.Context(), false) {
				if err != nil {
					t.Fatal(err)
				}
				if rest = append(rest, d.Seq); len(rest) == 2 {
					break
				}
			}
			if !slices.Equal(rest, []uint64{3, 4}) {
				t.Errorf("the next loop got %v", rest)
			}
		})
	}
}

func TestANackInALoopDecides(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	for d := range in.Messages(t.Context(), false) {
		if d.Seq == 1 {
			d.Nack(errors.New("not today"))
		}
		if d.Seq == 2 {
			d.Ack()
		}
		if d.Seq == 3 {
			d.Ack()
			break
		}
	}
	acked, failures := settledOf(k)
	if acked != 3 || !slices.Equal(failures, []failure{{seq: 1, reason: "not today"}}) {
		t.Errorf("settled up to %d, failures %v", acked, failures)
	}
}

func TestManualAck(t *testing.T) {
	in, k, _ := fed(t, 4, nil)
	var got []messages.Delivery
	for d := range in.Messages(t.Context(), true) {
		if got = append(got, d); len(got) == 3 {
			break
		}
	}
	if acked, failures := settledOf(k); acked != 0 || len(failures) > 0 {
		t.Errorf("settled up to %d, failures %v, and nobody said so", acked, failures)
	}
	got[2].Ack()
	got[0].Nack(nil)
	r, ok := told(k)
	if !ok || r.cumulative != 1 || !slices.Equal(r.ranges, []frame.Range{{From: 3, To: 3}}) || len(r.failures) != 1 {
		t.Errorf("told %+v, %t", r, ok)
	}
}

func TestAtMostOnceHandsNothingBack(t *testing.T) {
	in, k, events := fed(t, 3, func(c *Config) { c.Mode = messages.AtMostOnce })
	for d := range in.Messages(t.Context(), false) {
		if d.Seq == 1 {
			d.Nack(errors.New("too late"))
		}
		if d.Seq == 2 {
			break
		}
	}
	if acked, failures := settledOf(k); acked != 2 || len(failures) > 0 || len(events) > 0 {
		t.Errorf("settled up to %d, failures %v, %d events", acked, failures, len(events))
	}
}

func TestALoopEnds(t *testing.T) {
	cause := errors.New("removed by an operator")
	enough := errors.New("enough")
	tests := map[string]struct {
		end  func(in *Queue, k *Link, cancel context.CancelCauseFunc)
		want error
	}{
		"when the member leaves": {func(in *Queue, k *Link, _ context.CancelCauseFunc) {
			in.Leave(Leaving, nil)
			in.Shut(k)
		}, nil},
		"when it left for a reason": {func(in *Queue, _ *Link, _ context.CancelCauseFunc) { in.Leave(Left, cause) }, cause},
		"when its context ends":     {func(_ *Queue, _ *Link, cancel context.CancelCauseFunc) { cancel(enough) }, enough},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, k, _ := fed(t, 2, nil)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var seqs []uint64
				var errs []error
				done := make(chan struct{})
				go func() {
					defer close(done)
					for d, err := range in.Messages(ctx, false) {
						if err != nil {
							errs = append(errs, err)
							continue
						}
						seqs = append(seqs, d.Seq)
					}
				}()
				synctest.Wait()
				if acked, failures := settledOf(k); acked != 2 || len(failures) > 0 {
					t.Errorf("settled up to %d, failures %v", acked, failures)
				}
				tt.end(in, k, cancel)
				<-done
				if !slices.Equal(seqs, []uint64{1, 2}) {
					t.Errorf("got %v", seqs)
				}
				if tt.want == nil && len(errs) > 0 || tt.want != nil && (len(errs) != 1 || !errors.Is(errs[0], tt.want)) {
					t.Errorf("ended with %v, want %v, once", errs, tt.want)
				}
				if in.Busy() {
					t.Error("the member is still being read")
				}
			})
		})
	}
}

// A loop that is in the middle of a frame when its context ends leaves the
// rest to the next.
func TestAContextEndsALoopBetweenTwoMessages(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range in.Messages(ctx, false) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err == nil {
			n++
		}
		cancel()
	}
	if acked, failures := settledOf(k); n != 1 || acked != 1 || len(failures) > 0 {
		t.Errorf("%d handed out, %d acked, failures %v", n, acked, failures)
	}
	for d := range in.Messages(t.Context(), false) {
		if d.Seq != 2 {
			t.Errorf("the next loop began with %d", d.Seq)
		}
		break
	}
}

func TestLeavingHandsOutWhatHasCome(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	in.Leave(Leaving, nil)
	n := 0
	for d, err := range in.Messages(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; d.Seq == 3 {
			d.Ack()
			in.Shut(k) // as the link does once everything is told
		}
	}
	if n != 3 {
		t.Errorf("%d handed out", n)
	}
}

func TestOneReaderAtATime(t *testing.T) {
	in, _, _ := fed(t, 1, nil)
	for range in.Messages(t.Context(), false) {
		n := 0
		for _, err := range in.Messages(t.Context(), false) {
			if n++; !errors.Is(err, messages.ErrBusy) {
				t.Errorf("a second loop: %v", err)
			}
		}
		if n != 1 {
			t.Errorf("a second loop went round %d times", n)
		}
		break
	}
	if _, err := in.begin(); err != nil {
		t.Errorf("after the first: %v", err)
	}
}

func TestADeadLinkIsNotReadOn(t *testing.T) {
	in, k, events := fed(t, 3, nil)
	other := in.Open("other", 0)
	comes(t, other, 1)
	var got []string
	for d, err := range in.Messages(t.Context(), false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(d.Sender, d.Seq))
		if d.Sender == "other" {
			d.Ack()
			break
		}
		if n := in.Shut(k); n != 2 {
			t.Errorf("discarded %d", n)
		}
	}
	if !slices.Equal(got, []string{"s1", "other1"}) {
		t.Errorf("got %v", got)
	}
	if e, ok := (<-events).(messages.LateAck); !ok || e.Seq != 1 || len(events) > 0 {
		t.Errorf("event %+v and %d more; want the one in hand to be late", e, len(events))
	}
}

// A record that does not decode fails, with the rest of its frame: nothing
// behind it can be found, and it must not be stuck in the window.
func TestACorruptRecordFailsTheRestOfItsFrame(t *testing.T) {
	good := recordtest.Records(1)
	broken := []byte{good[0], 2, 0xff, 0xff} // a record whose inside is no field
	records := slices.Concat(good, broken, recordtest.Records(3))
	n, err := messages.CountRecords(records)
	if err != nil || n != 3 {
		t.Fatalf("the frame has %d records, %v", n, err)
	}
	read := map[string]func(in *Queue, got func(messages.Delivery) bool){
		"a loop": func(in *Queue, got func(messages.Delivery) bool) {
			for d, err := range in.Messages(t.Context(), false) {
				if err != nil {
					t.Fatal(err)
				}
				if !got(d) {
					d.Ack()
					break
				}
			}
		},
		"a handler": func(in *Queue, got func(messages.Delivery) bool) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := newConsumption(ctx, in, func(_ context.Context, d messages.Delivery) error {
				if !got(d) {
					cancel()
				}
				return nil
			})
			if err := c.Work(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("work: %v", err)
			}
		},
	}
	for name, read := range read {
		t.Run(name, func(t *testing.T) {
			in, _ := testQueue(nil)
			k := in.Open("s", 0)
			if err := arriveAt(k, 1, 3, records, nil, false); err != nil {
				t.Fatal(err)
			}
			comes(t, k, 1)
			var seqs []uint64
			read(in, func(d messages.Delivery) bool {
				seqs = append(seqs, d.Seq)
				return d.Seq < 4
			})
			if !slices.Equal(seqs, []uint64{1, 4}) {
				t.Errorf("handed out %v", seqs)
			}
			acked, failures := settledOf(k)
			if acked != 4 || len(failures) != 2 || failures[0].seq != 2 || failures[1].seq != 3 || failures[0].reason == "" {
				t.Errorf("settled up to %d, failures %v", acked, failures)
			}
		})
	}
}

// runHandlers runs n workers around handler until ctx ends.
func runHandlers(ctx context.Context, in *Queue, n int, handler messages.Handler) (c *Consumption, wait func() []error) {
	c, err := in.Consume(ctx, handler)
	if err != nil {
		panic(err)
	}
	c.Expect(n)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			defer c.Ended() // a handler may end its goroutine
			errs[i] = c.Work(ctx)
		})
	}
	return c, func() []error {
		c.Wait()
		all.Wait()
		return errs
	}
}

func TestHandlersOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k, events := fed(t, 4, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, wait := runHandlers(ctx, in, 1, func(ctx context.Context, d messages.Delivery) error {
			switch d.Seq {
			case 1:
				return errors.New("no stock")
			case 2:
				panic("out of paper")
			case 3:
				d.Nack(errors.New("my own words"))
				return errors.New("not these")
			}
			if ctx.Err() != nil {
				t.Error("what failed before cancelled the context")
			}
			return nil
		})
		synctest.Wait()
		acked, failures := settledOf(k)
		want := []failure{
			{seq: 1, reason: "no stock"},
			{seq: 2, reason: "the handler panicked: out of paper"},
			{seq: 3, reason: "my own words"},
		}
		if acked != 4 || !slices.Equal(failures, want) {
			t.Errorf("settled up to %d, failures %v, want %v", acked, failures, want)
		}
		e, ok := (<-events).(messages.HandlerPanicked)
		if !ok || e.Value != "out of paper" || !strings.Contains(e.Stack, "loop_test.go") || e.Group != "billing" {
			t.Errorf("event %+v", e)
		}
		cancel()
		if errs := wait(); !errors.Is(errs[0], context.Canceled) {
			t.Errorf("ended with %v", errs)
		}
	})
}

func TestAHandlerThatEndsItsGoroutineNacks(t *testing.T) {
	in, k, _ := fed(t, 1, nil)
	_, wait := runHandlers(t.Context(), in, 1, func(context.Context, messages.Delivery) error {
		runtime.Goexit()
		return nil
	})
	wait()
	if acked, failures := settledOf(k); acked != 1 || len(failures) != 1 || failures[0].kind != frame.NackFailed || failures[0].reason == "" {
		t.Errorf("settled up to %d, failures %v", acked, failures)
	}
}

// One that was asked to end releases its message, however it ends.
func TestAHandlerThatWasCancelledReleases(t *testing.T) {
	for name, end := range map[string]func() error{
		"an error":       func() error { return errors.New("cut short") },
		"a rejection":    func() error { return messages.ErrReject },
		"a delay":        func() error { return messages.RetryAfter(time.Hour, nil) },
		"a panic":        func() error { panic("cut short") },
		"runtime.Goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			in, k, _ := fed(t, 1, nil)
			ctx, cancel := context.WithCancel(t.Context())
			_, wait := runHandlers(ctx, in, 1, func(context.Context, messages.Delivery) error {
				cancel()
				return end()
			})
			wait()
			if acked, failures := settledOf(k); acked != 1 || !slices.Equal(failures, []failure{{seq: 1, kind: frame.NackReturned}}) {
				t.Errorf("settled up to %d, failures %v", acked, failures)
			}
		})
	}
}

// What the error of a handler means goes to the sender.
func TestErrorsOfHandlersAreVerbs(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		err  error
		want failure
	}{
		"an error":    {broken, failure{seq: 1, reason: "broken"}},
		"a delay":     {fmt.Errorf("bill: %w", messages.RetryAfter(time.Hour, broken)), failure{seq: 1, after: time.Hour, reason: "bill: broken"}},
		"a rejection": {fmt.Errorf("empty: %w", messages.ErrReject), failure{seq: 1, kind: frame.NackRejected, reason: "empty: " + messages.ErrReject.Error()}},
		"both":        {errors.Join(messages.RetryAfter(time.Hour, broken), messages.ErrReject), failure{seq: 1, kind: frame.NackRejected, reason: "broken\n" + messages.ErrReject.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			in, k, _ := fed(t, 2, nil)
			ctx, cancel := context.WithCancel(t.Context())
			_, wait := runHandlers(ctx, in, 1, func(_ context.Context, d messages.Delivery) error {
				if d.Seq == 1 {
					return test.err
				}
				cancel() // after what was returned is settled
				return nil
			})
			wait()
			if acked, failures := settledOf(k); acked != 2 || !slices.Equal(failures, []failure{test.want}) {
				t.Errorf("settled up to %d, failures %v, want %v", acked, failures, test.want)
			}
		})
	}
}

// A handler that outlives AckWait loses its message and its context, and only
// that.
func TestAckWaitCancelsTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k, events := fed(t, 3, func(c *Config) { c.AckWait = time.Second })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var causes []error
		_, wait := runHandlers(ctx, in, 1, func(ctx context.Context, d messages.Delivery) error {
			switch d.Seq {
			case 1: // obeys
				<-ctx.Done()
				causes = append(causes, context.Cause(ctx))
				return ctx.Err()
			case 2: // does not, and comes late
				time.Sleep(3 * time.Second)
				causes = append(causes, context.Cause(ctx))
				return nil
			}
			causes = append(causes, context.Cause(ctx))
			return nil
		})
		sweeping, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			for sweeping.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				for _, seq := range k.Overdue(time.Now()) {
					if k.Expire(seq, true) {
						in.CancelHandler(k, seq)
					}
				}
			}
		}()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if len(causes) != 3 || !errors.Is(causes[0], errAckWait) || !errors.Is(causes[1], errAckWait) || causes[2] != nil {
			t.Errorf("causes %v; want AckWait for the first two and none for the third", causes)
		}
		want := []failure{{seq: 1, kind: frame.NackExpired, reason: keptReason}, {seq: 2, kind: frame.NackExpired, reason: keptReason}}
		if acked, failures := settledOf(k); acked != 3 || !slices.Equal(failures, want) {
			t.Errorf("settled up to %d, failures %v", acked, failures)
		}
		if e, ok := (<-events).(messages.LateAck); !ok || e.Seq != 2 || len(events) > 0 {
			t.Errorf("event %+v and %d more", e, len(events))
		}
		cancel()
		wait()
		time.Sleep(time.Second) // the sweeper sees its end
	})
}

// AckWait of one message does not cancel another handler's context.
func TestAckWaitCancelsNobodyElse(t *testing.T) {
	in, k, _ := fed(t, 2, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, release := make(chan struct{}), make(chan struct{})
	causes := make(chan error, 2)
	_, wait := runHandlers(ctx, in, 2, func(ctx context.Context, d messages.Delivery) error {
		begun <- struct{}{}
		if d.Seq == 2 {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		}
		<-release
		causes <- context.Cause(ctx)
		return nil
	})
	<-begun
	<-begun
	if !k.Expire(2, true) {
		t.Fatal("the second is not out")
	}
	in.CancelHandler(k, 2)
	in.CancelHandler(k, 7) // nobody has it
	if cause := <-causes; !errors.Is(cause, errAckWait) {
		t.Errorf("the overdue one was cancelled with %v", cause)
	}
	close(release)
	if cause := <-causes; cause != nil {
		t.Errorf("the other was cancelled with %v", cause)
	}
	cancel()
	wait()
}

func TestConsumeRunsHandlersAtOnce(t *testing.T) {
	in, k, _ := fed(t, 10, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun, release := make(chan uint64, 10), make(chan struct{})
	_, wait := runHandlers(ctx, in, 4, func(_ context.Context, d messages.Delivery) error {
		begun <- d.Seq
		<-release
		if d.Seq == 10 {
			cancel()
		}
		return nil
	})
	var seen []uint64
	for range 4 { // none of them waits for another to end
		seen = append(seen, <-begun)
	}
	if len(begun) > 0 {
		t.Errorf("%d more than four in hand", len(begun))
	}
	close(release)
	wait()
	for len(begun) > 0 {
		seen = append(seen, <-begun)
	}
	slices.Sort(seen)
	if want := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(seen, want) {
		t.Errorf("handled %v", seen)
	}
	if acked, failures := settledOf(k); acked != 10 || len(failures) > 0 {
		t.Errorf("acked up to %d, failures %v", acked, failures)
	}
}

// The end of Consume stops handlers between two messages, and what they had not
// begun waits for the next reader.
func TestConsumeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k, _ := fed(t, 100, nil)
		comes(t, k, 100)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		begun := 0
		_, wait := runHandlers(ctx, in, 3, func(ctx context.Context, d messages.Delivery) error {
			mu.Lock()
			begun++
			mu.Unlock()
			<-ctx.Done()
			if d.Seq == 2 {
				return nil // done all the same
			}
			return ctx.Err()
		})
		synctest.Wait()
		cancel()
		for _, err := range wait() {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		}
		if begun != 3 {
			t.Errorf("%d handlers were begun, 3 of them after the end", begun)
		}
		acked, failures := settledOf(k)
		slices.SortFunc(failures, func(a, b failure) int { return int(a.seq) - int(b.seq) })
		if acked != 3 || !slices.Equal(failures, []failure{{seq: 1, kind: frame.NackReturned}, {seq: 3, kind: frame.NackReturned}}) {
			t.Errorf("settled up to %d, failures %v; want what was cut off handed back untried", acked, failures)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for d := range in.Messages(ctx, false) {
			if d.Seq != 4 {
				t.Errorf("the next reader begins with %d", d.Seq)
			}
			break
		}
	})
}

func TestConsumeEndsWhenTheMemberLeft(t *testing.T) {
	cause := errors.New("removed")
	in, _, _ := fed(t, 1, nil)
	handled := make(chan struct{})
	_, wait := runHandlers(t.Context(), in, 3, func(context.Context, messages.Delivery) error {
		close(handled)
		return nil
	})
	<-handled
	in.Leave(Left, cause)
	for _, err := range wait() {
		if !errors.Is(err, cause) {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestALoopAllocatesNothing(t *testing.T) {
	const frames, each = 16, 256
	var ids [each]uint64
	records := recordtest.Records(ids[:]...)
	in, _ := testQueue(nil)
	k := in.Open("s", 0)
	var r report
	per := testing.AllocsPerRun(20, func() {
		for range frames {
			if err := arriveAt(k, k.received+1, each, records, nil, false); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for d, err := range in.Messages(context.Background(), false) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == frames*each {
				d.Ack()
				break
			}
		}
		if ok, _ := k.collect(&r, time.Now()); !ok || r.cumulative != k.received {
			t.Fatalf("told %+v of %d", r, k.received)
		}
	}) / (frames * each)
	if per >= 0.05 {
		t.Errorf("%.3f allocations for each message", per)
	}
	t.Logf("%.4f allocations for each message", per)
}
