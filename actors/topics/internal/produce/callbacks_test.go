package produce

// Callbacks that block: they hold up their own handle's, and nothing else.

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
)

func TestACallbackThatBlocksHoldsUpItsHandleOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		stop := f.run(t)
		p, other := f.producer(nil), f.producer(nil)
		release := make(chan struct{})
		var got results
		for i := range 3 {
			if err := p.PutAsync(t.Context(), text("a"), func(r messages.PutResult) {
				if i == 0 {
					<-release
				}
				got.add(r)
			}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if r := p.Put(t.Context(), text("b")); r.Err != nil || r.Offset != 3 {
			t.Errorf("a put of the same handle: %+v", r)
		}
		if _, err := p.PutEach(t.Context(), []messages.Message{*text("c"), *text("d")}, nil); err != nil {
			t.Errorf("a batch of the same handle: %v", err)
		}
		told := make(chan messages.PutResult, 1)
		if err := other.PutAsync(t.Context(), text("e"), func(r messages.PutResult) { told <- r }); err != nil {
			t.Fatal(err)
		}
		if r := <-told; r.Offset != 6 {
			t.Errorf("another handle's callback: %+v", r)
		}
		if err := other.Flush(t.Context()); err != nil {
			t.Errorf("another handle's flush: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Flush(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "callbacks have not returned") {
			t.Errorf("its own flush: %v", err)
		}
		if p.buffered() != 0 || len(got.list()) != 0 || p.calls.Waiting() == nil {
			t.Errorf("%d bytes of room taken, %d told, left: %v", p.buffered(), len(got.list()), p.calls.Waiting())
		}
		close(release)
		if err := p.Flush(t.Context()); err != nil || len(got.list()) != 3 || p.calls.Waiting() != nil {
			t.Errorf("%d told, left: %v: %v", len(got.list()), p.calls.Waiting(), err)
		}
		for i, r := range got.list() {
			if r.Offset != int64(i) {
				t.Errorf("result %d: %+v", i, r)
			}
		}
		stop()
	})
}

// Room is given back by commits, so a callback that waits for it gets it, however
// many callbacks do.
func TestCallbacksThatWaitForRoom(t *testing.T) {
	f := newFakeTopic(2)
	f.run(t)
	p := f.producer(func(c *Config) { c.MaxBuffer, c.Partitioner = 1000, RoundRobin() })
	ctx := within(t)
	done := make(chan struct{})
	left := 100
	var again func(messages.PutResult)
	again = func(r messages.PutResult) { // one at a time
		if r.Err != nil {
			t.Error(r.Err)
		}
		if left--; left == 0 {
			close(done)
		}
		if left > 0 {
			if err := p.PutAsync(ctx, blob(600), again); err != nil {
				t.Error(err)
			}
		}
	}
	var begun sync.WaitGroup
	for range 2 {
		begun.Go(func() {
			if err := p.PutAsync(ctx, blob(600), again); err != nil {
				t.Error(err)
			}
		})
	}
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("the partition stands still")
	}
	begun.Wait()
	if err := p.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// What waits for a callback is bounded, and told to who would put more.
func TestCallbacksWaitingAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(1)
		stop := f.run(t)
		p := f.producer(nil)
		release := make(chan struct{})
		told := 0
		done := func(messages.PutResult) { <-release; told++ }
		var err error
		n := 0
		for ; err == nil && n < 3*MaxCallbacksWaiting; n++ {
			err = p.PutAsync(t.Context(), text("a"), done)
		}
		if !errors.Is(err, messages.ErrBusy) || !strings.Contains(err.Error(), "callbacks wait for one that has not returned") {
			t.Fatalf("after %d: %v", n, err)
		}
		if r := p.Put(t.Context(), text("b")); r.Err != nil {
			t.Errorf("a put without a callback: %v", r.Err)
		}
		short, cancel := context.WithTimeout(t.Context(), stuckCallback/2)
		defer cancel()
		if err := p.PutAsync(short, text("a"), done); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that ends first: %v", err)
		}
		// Who waits goes on as soon as callbacks return.
		waiting := make(chan error, 1)
		go func() { waiting <- p.PutAsync(t.Context(), text("a"), done) }()
		time.Sleep(stuckCallback / 2)
		close(release)
		if err := <-waiting; err != nil {
			t.Errorf("while callbacks return: %v", err)
		}
		if err := p.Flush(t.Context()); err != nil || told != n {
			t.Errorf("%d told of %d: %v", told, n, err)
		}
		stop()
	})
}

// A callback may put the next record although there is no room left: its own was
// given back.
func TestACallbackPutsTheNext(t *testing.T) {
	f := newFakeTopic(1)
	f.run(t)
	p := f.producer(bounded(1000))
	ctx := within(t)
	done := make(chan struct{})
	var again func(r messages.PutResult)
	again = func(r messages.PutResult) {
		if r.Offset == 50 || r.Err != nil {
			close(done)
		} else if err := p.PutAsync(ctx, blob(1000), again); err != nil {
			t.Error(err)
			close(done)
		}
	}
	if err := p.PutAsync(ctx, blob(1000), again); err != nil {
		t.Fatal(err)
	}
	<-done
	if f.logs[0].end != 51 {
		t.Errorf("%d records", f.logs[0].end)
	}
}

// A callback that panics harms nobody, and flush says so. One that ends its
// goroutine ends the loop, and the next loop goes on behind it.
func TestCallbacksThatFail(t *testing.T) {
	f := newFakeTopic(1)
	p := f.producer(nil)
	var got results
	for i := range 10 {
		if err := p.PutAsync(t.Context(), text("a"), func(r messages.PutResult) {
			got.add(r)
			switch i {
			case 3, 4:
				panic(errGivenUp)
			case 6:
				runtime.Goexit()
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.run(t)
	err := p.Flush(within(t))
	var panicked *panicError
	if !errors.As(err, &panicked) || !errors.Is(err, errGivenUp) || !strings.Contains(err.Error(), "2 records") {
		t.Errorf("flush answers %v", err)
	}
	if panicked != nil && !strings.Contains(string(panicked.stack), "callbacks_test.go") {
		t.Errorf("the stack does not lead to the callback:\n%s", panicked.stack)
	}
	for i, r := range got.list() {
		if want := (messages.PutResult{Offset: int64(i)}); r != want {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	if n := len(got.list()); n != 10 || len(f.logs[0].sent) != 1 {
		t.Errorf("%d told, %d batches sent", n, len(f.logs[0].sent))
	}
	if err := p.Flush(within(t)); err != nil {
		t.Errorf("told twice: %v", err)
	}
}
