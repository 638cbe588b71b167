package actors

// Limits that the other side of a link does not keep.

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

func TestCreditIsKeptByWhoGrantedIt(t *testing.T) {
	for name, c := range map[string]struct {
		window, bytes int
		largest       uint64
		frames        []int // messages of 8 bytes
		ok            bool
	}{
		"within both":                {10, 10000, 100, []int{4, 6}, true},
		"a message too many":         {10, 10000, 100, []int{4, 7}, false},
		"the last may overshoot":     {10, 1, 100, []int{1}, true},
		"nothing after it":           {10, 1, 100, []int{1, 1}, false},
		"not by more than a message": {10, 1, 20, []int{3}, false},
		"all at once":                {10, 10000, 100, []int{11}, false},
	} {
		in, _ := testInlet(func(c2 *MemberConfig) { c2.Window, c2.WindowBytes = c.window, c.bytes })
		k := in.open("s")
		k.largest = c.largest
		if err := k.arrive(&frame.Data{First: 1, Count: 1, Records: encoded(1)}, nil); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: before any credit: %v", name, err)
		}
		if _, err := in.begin(); err != nil {
			t.Fatal(err)
		}
		told(k)
		var err error
		for _, n := range c.frames {
			if err == nil {
				ids := make([]uint64, n)
				err = k.arrive(&frame.Data{First: k.received + 1, Count: n, Records: encoded(ids...)}, nil)
			}
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is settled, the reports hold all of it, few ranges at a time.
func TestReportsOfManyRanges(t *testing.T) {
	in, _ := testInlet(func(c *MemberConfig) { c.Window, c.WindowBytes = 1<<20, 1<<30 })
	k := in.open("s")
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	const n = 5*frame.MaxAckRanges + 7
	comes(t, k, 2*n)
	k.hand(2*n, 0)
	for seq := uint64(2); seq <= 2*n; seq += 2 {
		k.Ack(seq)
	}
	var known ackSet
	reports := 0
	for {
		r, ok := told(k)
		if !ok {
			break
		}
		reports++
		if len(r.ranges) > frame.MaxAckRanges {
			t.Fatalf("a report of %d ranges", len(r.ranges))
		}
		for _, x := range r.ranges {
			for seq := x.from; seq <= x.to; seq++ {
				known.add(seq)
			}
		}
	}
	if known.count != n || reports > 8 {
		t.Errorf("%d settled of %d are told in %d reports", known.count, n, reports)
	}
}

func TestCreditThatGoesBackOrOverflows(t *testing.T) {
	for name, a := range map[string]frame.Ack{
		"messages back": {CreditMessages: 99, CreditBytes: 1 << 20},
		"bytes back":    {CreditMessages: 100, CreditBytes: 1<<20 - 1},
		"messages over": {CreditMessages: math.MaxUint64, CreditBytes: 1 << 20},
		"bytes over":    {CreditMessages: 100, CreditBytes: math.MaxUint64},
		"renewed":       {Renewed: []frame.Range{{From: 1, To: 7}}},
	} {
		o, b, _ := testOutlet(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 100, 1<<20)
		if err := o.ack(b, l, &a); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreditIsCutToTheWindow(t *testing.T) {
	o, b, _ := testOutlet(t, messages.GroupSettings{}, nil)
	l := newLane("m", 1)
	l.window = 3
	o.attach(b, l)
	mustSend(t, o, numbered(1, 8), numbered(2, 8), numbered(3, 8), numbered(4, 8))
	if err := o.ack(b, l, &frame.Ack{CreditMessages: 1 << 40, CreditBytes: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	if got, ok := o.next(b, l); !ok || got.count != 3 {
		t.Errorf("got %d messages, %t", got.count, ok)
	}
	if got, ok := o.next(b, l); ok {
		t.Errorf("and %d more", got.count)
	}
}

// A message that is only given back waits, longer each time, and is counted.
func TestReturnsAreCountedAndSpaced(t *testing.T) {
	for _, kind := range []uint32{frame.NackReturned, frame.NackExpired} {
		o, b, _ := testOutlet(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		mustSend(t, o, numbered(1, 8))
		now := time.Now()
		began, rounds := now, 0
		for ; now.Sub(began) < time.Minute; rounds++ {
			if _, ok := o.next(b, l); !ok {
				t.Fatal("nothing to carry")
			}
			back, err := o.nack(b, l, &frame.Nack{Seq: l.sent, Kind: kind}, now)
			if err != nil || back.failed {
				t.Fatalf("%+v, %v", back, err)
			}
			if !back.due.IsZero() {
				now = back.due
				o.ripen(b, now)
			}
		}
		if rounds > 90 || rounds < 60 || b.counters.Returned != uint64(rounds) {
			t.Errorf("kind %d: it went round %d times in a minute, %d counted", kind, rounds, b.counters.Returned)
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
	o, b, _ := testOutlet(t, messages.GroupSettings{}, func(c *DestinationConfig) { c.Queue = messages.QueueLimits{Messages: 2 * n, Bytes: 1 << 30} })
	l := linkTo(t, o, b, "m", 1<<20, 1<<40)
	for i := range uint64(n) {
		if err := o.send(t.Context(), numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if _, ok := o.next(b, l); !ok {
			break
		}
	}
	stop := make(chan struct{})
	worst := make(chan time.Duration)
	go func() {
		var most time.Duration
		for {
			began := time.Now()
			o.mu.Lock()
			o.mu.Unlock() //nolint:staticcheck // how long it takes is the point
			most = max(most, time.Since(began))
			select {
			case <-stop:
				worst <- most
				return
			default:
				time.Sleep(time.Millisecond)
			}
		}
	}()
	began := time.Now()
	a := &frame.Ack{}
	for seq := uint64(2); seq < n; seq += 2 {
		a.Ranges = append(a.Ranges, frame.Range{From: seq, To: seq})
		if len(a.Ranges) == frame.MaxAckRanges || seq+2 >= n {
			if err := o.ack(b, l, a); err != nil {
				t.Fatal(err)
			}
			a.Ranges = a.Ranges[:0]
		}
	}
	if err := o.ack(b, l, &frame.Ack{Cumulative: l.sent}); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	close(stop)
	most := <-worst
	t.Logf("settled in %v, nobody waited for more than %v", took, most)
	if most > took/2 {
		t.Errorf("others waited for %v of the %v that it took", most, took)
	}
	if o.pending() != 0 || b.counters.Acked != n {
		t.Errorf("%d pending, %+v", o.pending(), b.counters)
	}
}
