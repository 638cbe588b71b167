package commitlog

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// Whatever the limit, everything is handed over once, in order, and after the
// first time nothing is refused; what one alone cannot be is an error.
func TestInTurnFindsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLimits()
		limit := rapid.IntRange(0, 80).Draw(t, "limit")
		tooMany := &messages.LimitError{Limit: messages.LimitOps, Err: errors.New("etcd's")}
		refused := 0
		for round := range 2 {
			all := upTo(rapid.IntRange(0, 200).Draw(t, "all"))
			var got []int
			before := refused
			err := inTurn(l, nests, all, func(some []int) error {
				if len(some) > limit {
					refused++
					return tooMany
				}
				got = append(got, some...)
				return nil
			})
			switch {
			case limit == 0 && len(all) > 0:
				if !errors.Is(err, tooMany) {
					t.Fatalf("one alone is refused: %v", err)
				}
			case err != nil || !slices.Equal(got, all):
				t.Fatalf("%v of %v: %v", got, all, err)
			case round == 1 && refused > before && len(all) <= 1:
				t.Fatal("nothing was learned")
			}
		}
		if refused > 8 && limit > 0 {
			t.Fatalf("refused %d times", refused)
		}
	})
	if err := inTurn(newLimits(), nests, upTo(3), func([]int) error { return messages.ErrUnavailable }); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("another error: %v", err)
	}
}

// Where etcd takes little in one request, less fills one: what is enough for a request does
// not wait for the one before.
func TestLittleFillsASmallRequest(t *testing.T) {
	l := newLimits()
	lower(&l.together, 10_000)
	if got := l.ofTrips(); got.Bytes != 10_000 || got.Full > got.Bytes {
		t.Errorf("%+v: appends wait for more than a request takes", got)
	}
}

// Bodies on their way take no more than there is room for, in the order they
// came; what is small, and what is larger than the room, goes all the same.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom()
		enter := func(ctx context.Context, bytes int) (result chan error, done chan struct{}) {
			result, done = make(chan error, 1), make(chan struct{})
			go func() {
				leave, err := r.enter(ctx, bytes)
				result <- err
				if <-done; err == nil {
					leave()
				}
			}()
			synctest.Wait()
			return result, done
		}
		in := func(result chan error) bool { return len(result) == 1 && <-result == nil }

		most, over := enter(t.Context(), sendRoom-smallBody)
		if !in(most) {
			t.Fatal("there is no room at first")
		}
		ctx, cancel := context.WithCancel(t.Context())
		quits, left := enter(ctx, 2*sendRoom)
		queued, done := enter(t.Context(), smallBody)
		small, none := enter(t.Context(), smallBody-1)
		if !in(small) || len(quits) > 0 || len(queued) > 0 {
			t.Error("with almost no room left, who needs more entered, or who needs none did not")
		}
		cancel()
		synctest.Wait()
		if err := <-quits; !errors.Is(err, context.Canceled) {
			t.Errorf("it gave up with %v", err)
		}
		if !in(queued) {
			t.Error("who gave up keeps what he had")
		}
		huge, all := enter(t.Context(), 2*sendRoom)
		if close(over); len(huge) > 0 {
			t.Error("a body that takes all the room entered beside another")
		}
		close(done)
		synctest.Wait()
		if !in(huge) {
			t.Error("a body that takes all the room never enters")
		}
		for _, end := range []chan struct{}{left, none, all} {
			close(end)
		}
		synctest.Wait()
		if !r.bytes.TryAcquire(sendRoom) {
			t.Error("room is left behind")
		}
	})
}
