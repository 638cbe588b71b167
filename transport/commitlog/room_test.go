package commitlog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

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
