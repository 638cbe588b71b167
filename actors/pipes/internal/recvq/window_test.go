package recvq

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// A reader that takes all it may have is granted more, up to its Window; one
// that is busy keeps what it had.
func TestWindowGrowsWithTheReadersHunger(t *testing.T) {
	const most = 200
	in, _ := testQueue(func(c *Config) { c.Window = most })
	k := in.Open("s", 0)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	credit := func() uint64 {
		t.Helper()
		r, ok := told(k)
		if !ok {
			t.Fatal("nothing to tell")
		}
		return r.credit
	}
	if got := credit(); got != firstWindow {
		t.Fatalf("%d granted to begin with, want %d", got, firstWindow)
	}
	c := &cursor{q: in, manual: true}
	take := func(n int) {
		t.Helper()
		comes(t, k, n)
		for range n {
			d, err := c.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			d.Ack()
		}
	}

	take(firstWindow - 1)
	k.starved()
	if got := credit(); got != 2*firstWindow-1 {
		t.Errorf("%d granted to a reader that the sender kept waiting, want the same window: %d", got, 2*firstWindow-1)
	}
	take(firstWindow)
	k.starved()
	if got, want := credit(), uint64(2*firstWindow-1+2*firstWindow); got != want {
		t.Errorf("%d granted to a reader that had taken all, want twice the window: %d", got, want)
	}
	take(2 * firstWindow)
	k.starved()
	if got, want := credit(), uint64(4*firstWindow-1+most); got != want {
		t.Errorf("%d granted, want no more than the Window: %d", got, want)
	}
}

// A long AckWait costs little memory.
func TestLongAckWaitIsKeptInFewMarks(t *testing.T) {
	const wait = 10 * time.Hour
	in, _ := testQueue(func(c *Config) { c.AckWait = wait })
	k := in.Open("s", 0)
	k.received = 1 << 40
	now := time.Now()
	for seq := uint64(1); seq < uint64(2*wait/time.Second); seq++ {
		now = now.Add(time.Second)
		k.handed, k.acks.Cumulative = seq, seq
		k.Overdue(now)
		if len(k.marks) > 2*marksKept {
			t.Fatalf("after %d s there are %d marks", seq, len(k.marks))
		}
	}
}

// What came on a link that has ended waits for nobody, and a reader that waits is not
// stuck: the next link has credit.
func TestReaderIsNotStuckBecauseOfALinkThatHasEnded(t *testing.T) {
	in, _ := testQueue(func(c *Config) { c.AckWait = time.Second })
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	granted := func(when string, k *Link) {
		t.Helper()
		if k.lock(); k.allowed != creditGranted {
			t.Errorf("%s: a link has no credit: %d", when, k.allowed)
		}
		k.mu.Unlock()
	}
	k := in.Open("s", 0)
	told(k)
	comes(t, k, 3)
	now := time.Now()
	k.Overdue(now)
	in.Shut(k)
	later := now.Add(time.Hour)
	if late := k.Overdue(later); len(late) > 0 || k.Stalled(later) {
		t.Errorf("a link that has ended: %v are late, stalled: %t", late, k.Stalled(later))
	}
	in.Stall(k)
	granted("ended", in.Open("s", 0))

	other := in.Open("t", 0)
	taken := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := in.take(ctx)
		taken <- err
	}()
	for waits := false; !waits; {
		runtime.Gosched()
		in.mu.Lock()
		waits = in.wanted != nil
		in.mu.Unlock()
	}
	in.Stall(other)
	for granting := false; !granting; {
		runtime.Gosched()
		in.mu.Lock()
		granting = in.reader == readerTakes && in.wanted != nil
		in.mu.Unlock()
	}
	granted("waits", other)
	granted("waits", in.Open("u", 0))
	cancel()
	<-taken
}
