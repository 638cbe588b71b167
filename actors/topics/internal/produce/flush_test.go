package produce

// What Flush waits for and returns.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/messages"
)

func TestFlushAnswersWhatNobodyHeard(t *testing.T) {
	f := newFakeTopic(1)
	f.logs[0].before = func(context.Context) error { return messages.ErrNoSpace }
	f.run(t)
	p, other := f.producer(nil), f.producer(nil)
	for range 5 {
		if err := p.PutAsync(t.Context(), text("a"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.PutAsync(t.Context(), text("a"), func(messages.PutResult) {}); err != nil {
		t.Fatal(err)
	}
	if err := other.Flush(within(t)); err != nil {
		t.Errorf("another handle's flush: %v", err)
	}
	if err := p.Flush(within(t)); !errors.Is(err, messages.ErrNoSpace) || !strings.Contains(err.Error(), "5 records") {
		t.Errorf("flush: %v", err)
	}
	if err := p.Flush(within(t)); err != nil {
		t.Errorf("the flush after it: %v", err)
	}
}

func TestWhatFlushMightHearIsBounded(t *testing.T) {
	p := newFakeTopic(1).producer(nil)
	for i := range 3 * faultsKept {
		p.unheard(fmt.Errorf("fault %d: %w", i, messages.ErrDenied), 2)
	}
	err := p.Flush(t.Context())
	if lines := strings.Count(err.Error(), "\n") + 1; lines != faultsKept+1 || !strings.Contains(err.Error(), fmt.Sprintf("%d records more", 4*faultsKept)) || !errors.Is(err, messages.ErrDenied) {
		t.Errorf("%d lines: %v", lines, err)
	}
}

func TestFlushWaitsForWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTopic(2)
		gate := gated(f.logs[1])
		f.run(t)
		p := f.producer(func(c *Config) { c.Partitioner = RoundRobin() })
		put := func() {
			t.Helper()
			if err := p.PutAsync(t.Context(), text("a"), nil); err != nil {
				t.Fatal(err)
			}
		}
		put()
		put()
		flushed := make(chan error, 1)
		go func() { flushed <- p.Flush(t.Context()) }()
		synctest.Wait()
		put()
		put() // the next batch of partition 1
		if len(flushed) > 0 {
			t.Fatal("flushed before everything was committed")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errGivenUp)
		if err := p.Flush(ctx); !errors.Is(err, errGivenUp) || !strings.Contains(err.Error(), "bytes are not committed") {
			t.Errorf("a flush that was given up: %v", err)
		}
		gate <- struct{}{}
		synctest.Wait()
		if len(flushed) == 0 {
			t.Fatal("waits for what was put after it")
		}
		if err := <-flushed; err != nil {
			t.Error(err)
		}
	})
}
