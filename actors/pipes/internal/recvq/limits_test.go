package recvq

// Limits that a sender does not keep.

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
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
		in, _ := testQueue(func(c2 *Config) { c2.Window, c2.WindowBytes = c.window, c.bytes })
		k := in.Open("s", 0)
		k.largest = c.largest
		if err := k.Arrive(&frame.Data{First: 1, Count: 1, Records: recordtest.Records(1)}, nil); !errors.Is(err, frame.ErrProtocol) {
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
				err = k.Arrive(&frame.Data{First: k.received + 1, Count: n, Records: recordtest.Records(ids...)}, nil)
			}
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is settled, the reports hold all of it, few ranges at a time.
func TestReportsOfManyRanges(t *testing.T) {
	in, _ := testQueue(func(c *Config) { c.Window, c.WindowBytes = 1<<20, 1<<30 })
	k := in.Open("s", 0)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	const n = 5*frame.MaxAckRanges + 7
	comes(t, k, 2*n)
	k.hand(2*n, 0)
	for seq := uint64(2); seq <= 2*n; seq += 2 {
		k.Ack(seq)
	}
	var known AckSet
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
			for seq := x.From; seq <= x.To; seq++ {
				known.Add(seq)
			}
		}
	}
	if known.Count != n || reports > 8 {
		t.Errorf("%d settled of %d are told in %d reports", known.Count, n, reports)
	}
}

// Promise: a sender that asks for a drain, that says which message is its last and it is one
// before what it has sent, or one that is still to come when nobody has asked, breaks the
// protocol.
func TestDrainThatCannotBe(t *testing.T) {
	in, _ := testQueue(nil)
	k := in.Open("s", 0)
	comes(t, k, 2)
	for what, d := range map[string]frame.Drain{"a request": {Last: 2}, "nobody has asked": {Last: 3, Reply: true}} {
		if err := k.DrainUpTo(d); !errors.Is(err, frame.ErrProtocol) || k.drained() {
			t.Errorf("%s: %v", what, err)
		}
	}
	k.AskDrain()
	for what, d := range map[string]frame.Drain{"a request": {Last: 2}, "one before what came": {Last: 1, Reply: true}} {
		if err := k.DrainUpTo(d); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := k.DrainUpTo(frame.Drain{Last: 2, Reply: true}); err != nil {
		t.Error(err)
	}
}

// Promise: a sender may end a link in order that the member wants to keep, as it does when the
// token of the link was replaced: once all is settled and the sender told so, it is drained.
func TestDrainThatTheSenderBegins(t *testing.T) {
	in, _ := testQueue(nil)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	k := in.Open("s", 0)
	comes(t, k, 1)
	d, _ := (&cursor{q: in, manual: true}).next(t.Context())
	if err := k.DrainUpTo(frame.Drain{Last: 1, Reply: true}); err != nil || k.drained() {
		t.Fatalf("drained %t: %v", k.drained(), err)
	}
	d.Ack()
	if _, ok := told(k); !ok || !k.drained() {
		t.Error("all is settled and told, and it is not drained")
	}
}

// Promise: a message may be as large as the sender said, and no larger, also between small
// ones.
func TestMessageOverTheSendersLimit(t *testing.T) {
	in, _ := testQueue(nil)
	k := in.Open("s", 100)
	fits, over := messages.Message{Value: make([]byte, 96)}, messages.Message{Value: make([]byte, 97)}
	small := messages.Message{Value: []byte("x")}
	batch := func(ms ...messages.Message) (b []byte) {
		for i := range ms {
			b = messages.AppendRecord(b, &ms[i])
		}
		return b
	}
	if err := arriveAt(k, 1, 3, batch(small, fits, small), nil, false); err != nil {
		t.Errorf("a message at the limit: %v", err)
	}
	if err := arriveAt(k, 4, 3, batch(small, over, small), nil, false); !errors.Is(err, frame.ErrProtocol) || !errors.Is(err, messages.ErrTooLarge) {
		t.Errorf("a message over the limit: %v", err)
	}
}
