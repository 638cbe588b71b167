package sendq

// Limits that a member does not keep.

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

func TestCreditThatGoesBackOrOverflows(t *testing.T) {
	for name, a := range map[string]frame.Ack{
		"messages back": {CreditMessages: 99, CreditBytes: 1 << 20},
		"bytes back":    {CreditMessages: 100, CreditBytes: 1<<20 - 1},
		"messages over": {CreditMessages: math.MaxUint64, CreditBytes: 1 << 20},
		"bytes over":    {CreditMessages: 100, CreditBytes: math.MaxUint64},
		"renewed":       {Renewed: []frame.Range{{From: 1, To: 7}}},
	} {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 100, 1<<20)
		if err := o.Ack(b, l, &a); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreditIsCutToTheWindow(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := NewLink("m", 1, 1<<20)
	l.window = 3
	o.Attach(b, l)
	mustSend(t, o, recordtest.Numbered(1, 8), recordtest.Numbered(2, 8), recordtest.Numbered(3, 8), recordtest.Numbered(4, 8))
	if err := o.Ack(b, l, &frame.Ack{CreditMessages: 1 << 40, CreditBytes: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	if got, ok := o.Next(b, l); !ok || got.Count != 3 {
		t.Errorf("got %d messages, %t", got.Count, ok)
	}
	if got, ok := o.Next(b, l); ok {
		t.Errorf("and %d more", got.Count)
	}
}

// A message that is only given back waits, longer each time, and is counted.
func TestReturnsAreCountedAndSpaced(t *testing.T) {
	for _, kind := range []uint32{frame.NackReturned, frame.NackExpired} {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		mustSend(t, o, recordtest.Numbered(1, 8))
		now := time.Now()
		began, rounds := now, 0
		for ; now.Sub(began) < time.Minute; rounds++ {
			if _, ok := o.Next(b, l); !ok {
				t.Fatal("nothing to carry")
			}
			back, err := o.Nack(b, l, &frame.Nack{Seq: l.sent, Kind: kind}, now)
			if err != nil || back.Failed {
				t.Fatalf("%+v, %v", back, err)
			}
			if !back.Due.IsZero() {
				now = back.Due
				o.RequeueDue(b, now)
			}
		}
		if got := b.counters.Released + b.counters.Died; rounds > 90 || rounds < 60 || got != uint64(rounds) {
			t.Errorf("kind %d: it went round %d times in a minute, %d counted", kind, rounds, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint16().Draw(t, "n")
		if a, b := returnAfter(n), returnAfter(n+min(1, math.MaxUint16-n)); a > b || b > returnLimit {
			t.Errorf("%d returns wait %v, one more %v", n, a, b)
		}
	})
}

// An ack of very much lets others have the lock in between.
func TestALongAckLetsOthersIn(t *testing.T) {
	const n = 300_000
	o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) { c.Queue = messages.QueueLimits{Messages: 2 * n, Bytes: 1 << 30} })
	l := linkTo(t, o, b, "m", 1<<20, 1<<40)
	for i := range uint64(n) {
		if err := o.Send(t.Context(), recordtest.Numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if _, ok := o.Next(b, l); !ok {
			break
		}
	}
	stop := make(chan struct{})
	worst := make(chan time.Duration)
	go func() {
		var most time.Duration
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for {
			began := time.Now()
			o.mu.Lock()
			o.mu.Unlock() //nolint:staticcheck // how long it takes is the point
			most = max(most, time.Since(began))
			select {
			case <-stop:
				worst <- most
				return
			case <-pace.C:
			}
		}
	}()
	began := time.Now()
	a := &frame.Ack{}
	for seq := uint64(2); seq < n; seq += 2 {
		a.Ranges = append(a.Ranges, frame.Range{From: seq, To: seq})
		if len(a.Ranges) == frame.MaxAckRanges || seq+2 >= n {
			if err := o.Ack(b, l, a); err != nil {
				t.Fatal(err)
			}
			a.Ranges = a.Ranges[:0]
		}
	}
	if err := o.Ack(b, l, &frame.Ack{Cumulative: l.sent}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	close(stop)
	most := <-worst
	t.Logf("settled in %v, nobody waited for more than %v", took, most)
	if most > took/2 {
		t.Errorf("others waited for %v of the %v that it took", most, took)
	}
	if o.Pending() != 0 || b.counters.Acked != n {
		t.Errorf("%d pending, %+v", o.Pending(), b.counters)
	}
}
