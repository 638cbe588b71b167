package recvq

// Polling, and a member that is paused.

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

func seqsOf(ds []messages.Delivery) (seqs []uint64) {
	for _, d := range ds {
		seqs = append(seqs, d.Seq)
	}
	return seqs
}

func pollOf(t *testing.T, in *Queue, limit int, manual bool) []messages.Delivery {
	t.Helper()
	ds, err := in.Poll(t.Context(), limit, manual)
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// The next Poll acks what the one before returned, but for what was settled.
func TestPollAcksTheOneBefore(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	comes(t, k, 4) // a second frame
	for _, tc := range []struct {
		limit int
		want  []uint64
	}{{2, []uint64{1, 2}}, {4, []uint64{3, 4, 5, 6}}, {4, []uint64{7}}} {
		if got := seqsOf(pollOf(t, in, tc.limit, false)); !slices.Equal(got, tc.want) {
			t.Fatalf("got %v, want %v", got, tc.want)
		}
		if acked, _ := settledOf(k); acked != tc.want[0]-1 {
			t.Errorf("polling %v acked up to %d", tc.want, acked)
		}
	}
	done, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	if _, err := in.Poll(done, 1, false); !errors.Is(err, over) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if acked, _ := settledOf(k); acked != 7 {
		t.Errorf("acked up to %d; want what was polled before", acked)
	}
	comes(t, k, 3)
	ds := pollOf(t, in, 3, false)
	ds[1].Nack(errors.New("not today"))
	for _, err := range in.Messages(done, false) { // a loop acks it, too
		if !errors.Is(err, over) {
			t.Errorf("a loop with that context: %v", err)
		}
	}
	if acked, failures := settledOf(k); acked != 10 || !slices.Equal(failures, []failure{{seq: 9, reason: "not today"}}) {
		t.Errorf("settled up to %d, failures %v", acked, failures)
	}
}

func TestPollWithManualAck(t *testing.T) {
	in, k, _ := fed(t, 3, nil)
	ds := pollOf(t, in, 2, true)
	pollOf(t, in, 2, true)
	if acked, _ := settledOf(k); acked != 0 {
		t.Errorf("acked up to %d", acked)
	}
	ds[0].Ack()
	if acked, _ := settledOf(k); acked != 1 {
		t.Errorf("acked up to %d", acked)
	}
}

func TestPollRefuses(t *testing.T) {
	in, _, _ := fed(t, 1, nil)
	if _, err := in.Poll(t.Context(), 0, false); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("for nothing: %v", err)
	}
	for range in.Messages(t.Context(), false) {
		if _, err := in.Poll(t.Context(), 1, false); !errors.Is(err, messages.ErrBusy) {
			t.Errorf("in a loop: %v", err)
		}
		break
	}
	in.Leave(Left, nil)
	if _, err := in.Poll(t.Context(), 1, false); !errors.Is(err, messages.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	in, _, _ = fed(t, 1, nil)
	in.Leave(Left, messages.ErrGroupMode)
	if _, err := in.Poll(t.Context(), 1, false); !errors.Is(err, messages.ErrGroupMode) {
		t.Errorf("after an end with a cause: %v", err)
	}
}

// A paused member hands out nothing more, however it is read: also of a frame that it
// has begun with.
func TestPauseHandsOutNothing(t *testing.T) {
	for name, read := range map[string]func(ctx context.Context, in *Queue, got func(messages.Delivery)){
		"loop": func(ctx context.Context, in *Queue, got func(messages.Delivery)) {
			for d, err := range in.Messages(ctx, false) {
				if err == nil {
					got(d)
				}
			}
		},
		"poll": func(ctx context.Context, in *Queue, got func(messages.Delivery)) {
			for {
				ds, err := in.Poll(ctx, 1, false)
				if err != nil {
					return
				}
				got(ds[0])
			}
		},
		"handlers": func(ctx context.Context, in *Queue, got func(messages.Delivery)) {
			_, wait := runHandlers(ctx, in, 1, func(_ context.Context, d messages.Delivery) error { got(d); return nil })
			wait()
		},
		"receiver": func(ctx context.Context, in *Queue, got func(messages.Delivery)) {
			_ = in.Deliver(ctx, 10, 1, func(ds []messages.Delivery) { got(ds[0]); ds[0].Ack() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, k, _ := fed(t, 5, nil)
				ctx, cancel := context.WithCancel(t.Context())
				var got []uint64
				over := make(chan struct{})
				go func() {
					defer close(over)
					read(ctx, in, func(d messages.Delivery) {
						if got = append(got, d.Seq); d.Seq == 2 || d.Seq == 4 {
							in.Pause(ByMember)
						}
					})
				}()
				for _, want := range []uint64{2, 4, 6} {
					synctest.Wait()
					if n := uint64(len(got)); n != want {
						t.Fatalf("%v were handed out; want %d", got, want)
					}
					if acked, _ := settledOf(k); acked != want {
						t.Errorf("of %d, %d are acked", want, acked)
					}
					if want == 2 {
						comes(t, k, 1)
					}
					in.Resume(ByMember)
				}
				if !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6}) {
					t.Errorf("handed out: %v", got)
				}
				cancel()
				<-over
			})
		})
	}
}

// What a paused member does not hand out goes back, and is not handed out when it
// resumes. Its senders send nothing until then.
func TestPauseGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, k, _ := fed(t, 4, nil)
		var gone []uint64
		in.ReaderGone = func(reads uint64) { gone = append(gone, reads) }
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan uint64, 10)
		go func() {
			for d, err := range in.Messages(ctx, false) {
				if err != nil {
					break
				}
				if got <- d.Seq; d.Seq == 1 {
					in.Pause(ByMember)
				}
			}
			close(got)
		}()
		synctest.Wait()
		if len(gone) != 1 || !in.UnreadSince(gone[0]) || in.Busy() {
			t.Fatalf("nobody is told that nothing is read: %v", gone)
		}
		in.Yield("the member is paused")
		acked, failures := settledOf(k)
		if acked != 4 || len(failures) != 3 || failures[0] != (failure{seq: 2, kind: frame.NackReturned}) {
			t.Errorf("settled up to %d, failures %v", acked, failures)
		}
		if r, _ := told(k); !r.withdraw {
			t.Error("its sender may still send")
		}
		if l := in.Open("another", 0); l.allowed != creditNone {
			t.Error("another sender may send")
		}
		in.Resume(ByMember)
		if in.UnreadSince(gone[0]) || !in.Busy() {
			t.Error("it is not read after Resume")
		}
		if r, _ := told(k); r.withdraw || r.credit == 0 {
			t.Errorf("after Resume its sender is told %+v", r)
		}
		comes(t, k, 1)
		synctest.Wait()
		if a, b := <-got, <-got; a != 1 || b != 5 {
			t.Errorf("handed out: %d, %d", a, b)
		}
		cancel()
		if _, more := <-got; more {
			t.Error("what went back was handed out")
		}
	})
}

// What outlives AckWait in a paused member goes back because of that: its reader is not
// stuck.
func TestPausedIsNotStuck(t *testing.T) {
	in, k, events := fed(t, 4, nil)
	end, err := in.begin()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	in.Pause(ByGroup)
	in.Stall(k)
	if e, ok := (<-events).(messages.UnreadReturned); !ok || e.Count != 4 || e.Why != WhyPaused {
		t.Errorf("%+v", e)
	}
}

// A paused member that leaves waits for what is in hand, and for no reader.
func TestPausedMembersLeave(t *testing.T) {
	in, k, _ := fed(t, 2, nil)
	ds := pollOf(t, in, 1, true)
	in.Pause(ByMember)
	in.Leave(Leaving, nil)
	in.Yield("the member leaves")
	if !in.Awaits(k) {
		t.Error("it does not wait for what is in hand")
	}
	ds[0].Ack()
	if in.Awaits(k) {
		t.Error("it waits for a reader")
	}
}

// Who paused a member for different reasons resumes it for both.
func TestPausersAreApart(t *testing.T) {
	in, _, _ := fed(t, 1, nil)
	for _, step := range []struct {
		do     func(Pauser) bool
		by     Pauser
		isNew  bool
		paused bool
	}{
		{in.Resume, ByGroup, false, false},
		{in.Pause, ByGroup, true, true},
		{in.Pause, ByGroup, false, true},
		{in.Pause, ByMember, true, true},
		{in.Resume, ByGroup, true, true},
		{in.Resume, ByMember, true, false},
	} {
		if isNew := step.do(step.by); isNew != step.isNew || in.Paused() != step.paused {
			t.Errorf("%+v: new %v, paused %v", step, isNew, in.Paused())
		}
	}
}
