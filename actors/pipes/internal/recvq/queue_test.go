package recvq

// A member's end of its links: what comes is handed out once, settled once, and
// told to the sender as it is.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// testQueue is a member's queue, and what it emits.
func testQueue(change func(*Config)) (*Queue, chan messages.Event) {
	cfg := Config{
		Destination: "orders", Group: "billing", ID: "me", Mode: messages.AtLeastOnce,
		Window: 4096, WindowBytes: 8 << 20, AckWait: 30 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	events := make(chan messages.Event, 1000)
	return New(cfg, func(e messages.Event) { events <- e }), events
}

// arriveAt lets one frame arrive.
func arriveAt(k *Link, first uint64, count int, records []byte, attempts []uint32, again bool) error {
	k.granted = [2]uint64{math.MaxUint64, math.MaxUint64} // credit has tests of its own
	return k.Arrive(&frame.Data{First: first, Count: count, Records: records, Attempts: attempts, Redelivered: again}, nil)
}

// comes lets a frame arrive, numbered by its link sequences.
func comes(t recordtest.T, k *Link, n int) {
	t.Helper()
	first := k.received + 1
	var ids []uint64
	for i := range uint64(n) {
		ids = append(ids, first+i)
	}
	if err := arriveAt(k, first, n, recordtest.Records(ids...), nil, false); err != nil {
		t.Fatalf("a frame of %d at %d: %v", n, first, err)
	}
}

// told is what l tells its sender, at the latest.
func told(k *Link) (report, bool) {
	var r report
	ok, _ := k.collect(&r, time.Now().Add(time.Hour))
	return r, ok
}

// fakeLink is the model of one link.
type fakeLink struct {
	k        *Link
	received uint64
	handed   uint64
	settled  AckSet
	frames   []fakeFrame
	failures []failure
	expired  map[uint64]bool
	credit   [2]uint64
	reported uint64
}

type fakeFrame struct {
	first, last uint64
	size        uint64
}

func (l *fakeLink) freed() (n uint64) {
	for _, f := range l.frames {
		whole := true
		for seq := f.first; seq <= f.last; seq++ {
			whole = whole && l.settled.Has(seq)
		}
		if whole {
			n += f.size
		}
	}
	return n
}

// expected is a delivery that has come and was not handed out.
type expected struct {
	l       *fakeLink
	seq, id uint64
	attempt int
	again   bool
}

// fakeReader drives an queue and the model side by side.
type fakeReader struct {
	t      *rapid.T
	in     *Queue
	events chan messages.Event
	cursor *cursor
	stop   func()
	links  []*fakeLink
	queue  []expected
	inHand []messages.Delivery
	ids    uint64
	late   int
}

func (r *fakeReader) open() {
	if len(r.links) == 3 {
		return
	}
	r.ids++
	r.links = append(r.links, &fakeLink{k: r.in.Open(fmt.Sprint(r.ids), 0), expired: map[uint64]bool{}})
}

func (r *fakeReader) link() *fakeLink {
	if len(r.links) == 0 {
		r.open()
	}
	return r.links[rapid.IntRange(0, len(r.links)-1).Draw(r.t, "link")]
}

func (r *fakeReader) arrive() {
	l := r.link()
	n := rapid.IntRange(1, 8).Draw(r.t, "n")
	again := rapid.Bool().Draw(r.t, "again")
	attempt := 1
	var attempts []uint32
	if rapid.Bool().Draw(r.t, "tried") {
		attempt = rapid.IntRange(2, 9).Draw(r.t, "attempt")
		attempts = slices.Repeat([]uint32{uint32(attempt)}, n)
	}
	var records []byte
	for i := range uint64(n) {
		r.ids++
		records = messages.AppendRecord(records, recordtest.Numbered(r.ids, rapid.IntRange(8, 40).Draw(r.t, "size")))
		r.queue = append(r.queue, expected{l, l.received + 1 + i, r.ids, attempt, again})
	}
	if err := arriveAt(l.k, l.received+2, n, records, attempts, again); !errors.Is(err, messages.ErrCorrupt) {
		r.t.Fatalf("a frame that leaves one out: %v", err)
	}
	if err := arriveAt(l.k, l.received+1, n, records, attempts, again); err != nil {
		r.t.Fatalf("a frame: %v", err)
	}
	clear(attempts) // the next Recv reuses it
	l.frames = append(l.frames, fakeFrame{l.received + 1, l.received + uint64(n), uint64(len(records))})
	l.received += uint64(n)
}

func (r *fakeReader) take() {
	if len(r.queue) == 0 {
		return
	}
	want := r.queue[0]
	r.queue = r.queue[1:]
	d, err := r.cursor.next(context.Background())
	if err != nil || d == nil {
		r.t.Fatalf("no delivery where %+v was due: %v", want, err)
	}
	if id := recordtest.Numbers(r.t, frameOf(d)); id[0] != want.id || d.Seq != want.seq || d.Sender != want.l.k.Sender ||
		d.Attempt != want.attempt || d.Redelivered != want.again || d.Destination != "orders" || d.Group != "billing" {
		r.t.Fatalf("took %+v with %d, want %+v", d, id, want)
	}
	want.l.handed = want.seq
	r.inHand = append(r.inHand, *d)
}

// frameOf encodes a delivery again, to read its number.
func frameOf(d *messages.Delivery) []byte {
	m := d.Message()
	return messages.AppendRecord(nil, &m)
}

func (r *fakeReader) linkOf(d messages.Delivery) *fakeLink {
	for _, l := range r.links {
		if l.k == d.Settler {
			return l
		}
	}
	return nil
}

// settle settles a delivery in hand in one way or another, or once more.
func (r *fakeReader) settle() {
	if len(r.inHand) == 0 {
		return
	}
	i := rapid.IntRange(0, len(r.inHand)-1).Draw(r.t, "i")
	r.settleOne(i, rapid.IntRange(0, 7).Draw(r.t, "how"))
}

func (r *fakeReader) settleOne(i, how int) {
	d := r.inHand[i]
	l := r.linkOf(d)
	dead := l == nil
	if l == nil {
		// Its link ended: whatever is done is too late, and only an Ack matters.
		r.inHand = slices.Delete(r.inHand, i, i+1)
		if how == 0 && r.in.cfg.Mode != messages.AtMostOnce {
			d.Ack()
			r.late++
		} else {
			d.Nack(nil)
			d.InProgress()
		}
		return
	}
	fresh := l.settled.Add(d.Seq)
	fail := func(f failure) {
		if fresh && r.in.cfg.Mode != messages.AtMostOnce {
			l.failures = append(l.failures, f)
		}
	}
	switch how {
	case 0:
		if l.expired[d.Seq] {
			if r.in.cfg.Mode != messages.AtMostOnce {
				r.late++
			}
			r.inHand = slices.Delete(r.inHand, i, i+1)
		}
		d.Ack()
	case 1:
		d.Nack(errors.New("broken"))
		fail(failure{seq: d.Seq, reason: "broken"})
	case 2:
		l.k.giveBack(d.Seq)
		fail(failure{seq: d.Seq, kind: frame.NackReturned})
	case 3:
		death := rapid.Bool().Draw(r.t, "death")
		if got := l.k.Expire(d.Seq, death); got != fresh || dead {
			r.t.Fatalf("expired %d: %t, want %t", d.Seq, got, fresh)
		}
		if fresh {
			l.expired[d.Seq] = true
		}
		if death {
			fail(failure{seq: d.Seq, kind: frame.NackExpired, reason: keptReason})
		} else {
			fail(failure{seq: d.Seq, kind: frame.NackReturned})
		}
	case 4:
		d.Nack(nil)
		fail(failure{seq: d.Seq, reason: "nacked"})
	case 5:
		after := time.Duration(rapid.IntRange(-1, 5).Draw(r.t, "hours")) * time.Hour
		d.NackAfter(after, errors.New("broken"))
		fail(failure{seq: d.Seq, after: max(after, 1), reason: "broken"})
	case 6:
		d.Release()
		fail(failure{seq: d.Seq, kind: frame.NackReturned})
	case 7:
		d.Reject(errors.New("empty"))
		fail(failure{seq: d.Seq, kind: frame.NackRejected, reason: "empty"})
	}
}

func (r *fakeReader) report() {
	r.reportOf(r.link())
}

func (r *fakeReader) reportOf(l *fakeLink) {
	got, ok := told(l.k)
	if !ok {
		if l.settled.Count != l.reported || len(l.failures) > 0 || l.credit[0] == 0 {
			r.t.Fatalf("nothing to tell of %d settled, %d failures, credit %v; %d are told", l.settled.Count, len(l.failures), l.credit, l.reported)
		}
		return
	}
	l.reported = l.settled.Count
	if !slices.Equal(got.failures, l.failures) {
		r.t.Fatalf("failures %v, want %v", got.failures, l.failures)
	}
	l.failures = nil
	if got.cumulative != l.settled.Cumulative || !slices.Equal(got.ranges, l.settled.Ranges) {
		r.t.Fatalf("settled up to %d and %v, want %d and %v", got.cumulative, got.ranges, l.settled.Cumulative, l.settled.Ranges)
	}
	if want := l.settled.Count + uint64(l.k.window); got.credit != want {
		r.t.Fatalf("credit %d, want %d", got.credit, want)
	}
	if want := l.freed() + uint64(r.in.cfg.WindowBytes); got.creditBytes != want {
		r.t.Fatalf("credit of %d bytes, want %d", got.creditBytes, want)
	}
	if got.credit < l.credit[0] || got.creditBytes < l.credit[1] {
		r.t.Fatalf("credit shrank from %v to %d, %d", l.credit, got.credit, got.creditBytes)
	}
	l.credit = [2]uint64{got.credit, got.creditBytes}
	if l.k.drained() {
		r.t.Fatalf("drained, and nobody said so")
	}
}

// restart ends the loop in the middle of a frame; another goes on there.
func (r *fakeReader) restart() {
	r.cursor.out = false // manual: what is in hand stays there
	r.cursor.end()
	r.stop()
	var err error
	if r.stop, err = r.in.begin(); err != nil {
		r.t.Fatalf("another loop: %v", err)
	}
	r.cursor = &cursor{q: r.in, manual: true}
}

// yield ends the reading: what was not handed out goes back, and what still comes
// does so at once. The next reader is granted credit again.
func (r *fakeReader) yield() {
	if rapid.IntRange(0, 3).Draw(r.t, "really") > 0 {
		return
	}
	r.cursor.out = false
	r.cursor.end()
	r.stop()
	r.in.Yield("nobody reads")
	for _, l := range r.links {
		if r.in.cfg.Mode == messages.AtMostOnce {
			break
		}
		for range rapid.IntRange(0, 1).Draw(r.t, "on its way") {
			n := rapid.IntRange(1, 3).Draw(r.t, "n")
			comes(r.t, l.k, n)
			l.frames = append(l.frames, fakeFrame{l.received + 1, l.received + uint64(n), uint64(len(recordtest.Records(make([]uint64, n)...)))})
			l.received += uint64(n)
		}
		for seq := l.handed + 1; seq <= l.received; seq++ {
			if l.settled.Add(seq) {
				l.failures = append(l.failures, failure{seq: seq, kind: frame.NackReturned})
			}
		}
		l.handed = l.received
		if got, ok := told(l.k); !ok || !got.withdraw && l.credit[0] > 0 || got.credit != 0 {
			r.t.Fatalf("told %+v, %t after the reader's end", got, ok)
		}
		l.failures, l.reported = nil, l.settled.Count
	}
	if r.in.cfg.Mode != messages.AtMostOnce {
		r.queue = nil
	}
	var err error
	if r.stop, err = r.in.begin(); err != nil {
		r.t.Fatalf("another loop: %v", err)
	}
	r.cursor = &cursor{q: r.in, manual: true}
}

func (r *fakeReader) end() {
	if rapid.IntRange(0, 3).Draw(r.t, "really") > 0 {
		return
	}
	l := r.link()
	want := int(l.received - l.handed)
	if r.in.cfg.Mode == messages.AtMostOnce {
		want = 0 // nobody would deliver it again
	} else {
		r.queue = slices.DeleteFunc(r.queue, func(e expected) bool { return e.l == l })
	}
	if got := r.in.Shut(l.k); got != want {
		r.t.Fatalf("discarded %d, want %d", got, want)
	}
	r.inHand = slices.DeleteFunc(r.inHand, func(d messages.Delivery) bool {
		return d.Settler == l.k && (l.settled.Has(d.Seq) || l.expired[d.Seq])
	})
	r.links = slices.DeleteFunc(r.links, func(x *fakeLink) bool { return x == l })
}

func TestIntakeAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, events := testQueue(func(c *Config) {
			c.Window = rapid.IntRange(1, 100).Draw(t, "window")
			c.WindowBytes = rapid.IntRange(1, 1000).Draw(t, "bytes")
			c.Mode = rapid.SampledFrom([]messages.Mode{messages.AtLeastOnce, messages.AtLeastOnce, messages.AtMostOnce}).Draw(t, "mode")
		})
		stop, err := in.begin()
		if err != nil {
			t.Fatal(err)
		}
		r := &fakeReader{t: t, in: in, events: events, stop: stop, cursor: &cursor{q: in, manual: true}}
		moves := []func(){r.open, r.arrive, r.arrive, r.take, r.take, r.take, r.take, r.settle, r.settle, r.settle, r.report, r.restart, r.yield, r.end}
		for range rapid.IntRange(0, 200).Draw(t, "moves") {
			moves[rapid.IntRange(0, len(moves)-1).Draw(t, "move")]()
		}
		for len(r.queue) > 0 {
			r.take()
		}
		for i := range r.inHand {
			if r.linkOf(r.inHand[i]) != nil {
				r.settleOne(i, 1+i%2)
			}
		}
		for _, l := range r.links {
			r.reportOf(l)
			arrived := uint64(0)
			for _, f := range l.frames {
				arrived += f.size
			}
			if l.k.freed != arrived || len(l.k.frames) != 0 {
				t.Fatalf("%d bytes freed of %d, %d frames kept", l.k.freed, arrived, len(l.k.frames))
			}
			if l.k.acks.Cumulative != l.received || len(l.k.acks.Ranges) != 0 {
				t.Fatalf("settled up to %d and %v of %d", l.k.acks.Cumulative, l.k.acks.Ranges, l.received)
			}
		}
		late := 0
		for len(events) > 0 {
			if _, ok := (<-events).(messages.LateAck); ok {
				late++
			}
		}
		if late != r.late {
			t.Fatalf("%d late acks, want %d", late, r.late)
		}
	})
}

func TestCreditComesWithAReader(t *testing.T) {
	in, _ := testQueue(func(c *Config) { c.Window, c.WindowBytes = 10, 1000 })
	k := in.Open("s", 0)
	if r, ok := told(k); ok {
		t.Fatalf("told %+v, and nobody reads", r)
	}
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*Link{"an old link": k, "a new link": in.Open("s2", 0)} {
		select {
		case <-k.bell:
		default:
			t.Errorf("%s: its writer sleeps on", name)
		}
		var r report
		if ok, _ := k.collect(&r, time.Now()); !ok || r.credit != 10 || r.creditBytes != 1000 {
			t.Errorf("%s: told %+v, %t", name, r, ok)
		}
		if r, ok := told(k); ok {
			t.Errorf("%s: and again %+v", name, r)
		}
	}
}

// When a report goes: at a quarter of the window, when idle, or a little after
// the first.
func TestWhenAReportGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := testQueue(func(c *Config) { c.Window = 16 })
		if _, err := in.begin(); err != nil {
			t.Fatal(err)
		}
		k := in.Open("s", 0)
		comes(t, k, 100)
		c := &cursor{q: in, manual: true}
		ack := func() {
			d, err := c.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			d.Ack()
		}
		told(k)
		rungBell := func() bool {
			select {
			case <-k.bell:
				return true
			default:
				return false
			}
		}
		rungBell()
		var r report
		report := func() (bool, time.Duration) { return k.collect(&r, time.Now()) }
		if ok, wait := report(); ok || wait != 0 {
			t.Fatalf("told at once, or in %s", wait)
		}
		ack()
		if ok, wait := report(); ok || wait != ackDelay || !rungBell() {
			t.Fatalf("after the first: %t, in %s", ok, wait)
		}
		ack()
		if ok, wait := report(); ok || wait != ackDelay || rungBell() {
			t.Fatalf("after the second: %t, in %s", ok, wait)
		}
		time.Sleep(ackDelay)
		if ok, _ := report(); !ok || r.cumulative != 2 {
			t.Fatalf("when it was due: %t, %+v", ok, r)
		}
		for range 3 {
			ack()
		}
		if ok, _ := report(); ok {
			t.Fatal("told before a quarter of the window")
		}
		rungBell()
		ack()
		if ok, _ := report(); !ok || r.cumulative != 6 || !rungBell() {
			t.Fatalf("at a quarter of the window: %t, %+v", ok, r)
		}
		ack()
		rungBell()
		k.starved()
		if ok, _ := report(); !ok || r.cumulative != 7 || !rungBell() {
			t.Fatalf("when idle: %t, %+v", ok, r)
		}
		k.starved()
		if ok, _ := report(); ok || rungBell() {
			t.Fatal("told nothing new")
		}
		d, _ := c.next(t.Context())
		d.Nack(nil)
		if ok, _ := report(); !ok || r.cumulative != 8 || len(r.failures) != 1 || !rungBell() {
			t.Fatalf("a nack: %t, %+v", ok, r)
		}
	})
}

// What is settled between a report and the question is not known to the sender:
// a link that ended there would have it delivered again.
func TestDrainedOnlyOnceTold(t *testing.T) {
	in, _ := testQueue(nil)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	k := in.Open("s", 0)
	comes(t, k, 2)
	c := &cursor{q: in, manual: true}
	first, _ := c.next(t.Context())
	first.Ack()
	if k.drained() {
		t.Fatal("drained, and the sender said nothing")
	}
	k.AskDrain()
	if err := k.DrainUpTo(frame.Drain{Last: 2, Reply: true}); err != nil {
		t.Fatal(err)
	}
	second, _ := c.next(t.Context())
	if r, ok := told(k); !ok || r.cumulative != 1 || k.drained() {
		t.Fatalf("told %+v, drained %t", r, k.drained())
	}
	second.Ack()
	if k.drained() {
		t.Fatal("drained before the last ack was told")
	}
	if r, ok := told(k); !ok || r.cumulative != 2 || !k.drained() {
		t.Fatalf("told %+v, drained %t", r, k.drained())
	}
}

// The sender's answer may come when all is settled and told.
func TestDrainOfALinkWithNothingOut(t *testing.T) {
	in, _ := testQueue(nil)
	k := in.Open("s", 0)
	k.AskDrain()
	if err := k.DrainUpTo(frame.Drain{Reply: true}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-k.bell:
	default:
		t.Error("nobody looks whether it is drained")
	}
	if _, ok := told(k); !ok || !k.drained() {
		t.Errorf("told %t, drained %t", ok, k.drained())
	}
}

func TestLateAcks(t *testing.T) {
	tests := map[string]struct {
		settle func(in *Queue, k *Link, d *messages.Delivery)
		late   bool
	}{
		"in time":                     {func(in *Queue, k *Link, d *messages.Delivery) { d.Ack(); d.Ack() }, false},
		"after AckWait":               {func(in *Queue, k *Link, d *messages.Delivery) { k.Expire(d.Seq, true); d.Ack() }, true},
		"a nack after AckWait":        {func(in *Queue, k *Link, d *messages.Delivery) { k.Expire(d.Seq, true); d.Nack(nil) }, false},
		"after its link":              {func(in *Queue, k *Link, d *messages.Delivery) { in.Shut(k); d.Ack() }, true},
		"a nack after its link":       {func(in *Queue, k *Link, d *messages.Delivery) { in.Shut(k); d.Nack(nil) }, false},
		"in time, and after its link": {func(in *Queue, k *Link, d *messages.Delivery) { d.Ack(); in.Shut(k); d.Ack() }, false},
		"a nack, and after its link":  {func(in *Queue, k *Link, d *messages.Delivery) { d.Nack(nil); in.Shut(k); d.Ack() }, false},
		"progress does not settle":    {func(in *Queue, k *Link, d *messages.Delivery) { d.InProgress(); in.Shut(k); d.Ack() }, true},
		"nothing is late at most once": {func(in *Queue, k *Link, d *messages.Delivery) {
			in.cfg.Mode = messages.AtMostOnce
			in.Shut(k)
			d.Ack()
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in, events := testQueue(nil)
			if _, err := in.begin(); err != nil {
				t.Fatal(err)
			}
			k := in.Open("s", 0)
			comes(t, k, 1)
			d, err := (&cursor{q: in, manual: true}).next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tt.settle(in, k, d)
			late := 0
			for len(events) > 0 {
				if e, ok := (<-events).(messages.LateAck); ok && e.Seq == 1 && e.Group == "billing" {
					late++
				}
			}
			if late > 1 || (late == 1) != tt.late {
				t.Errorf("%d late acks, want one: %t", late, tt.late)
			}
		})
	}
}

func TestPutBackGoesFirst(t *testing.T) {
	in, _ := testQueue(nil)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	k, other := in.Open("s", 0), in.Open("o", 0)
	comes(t, k, 2)
	comes(t, other, 1)
	first, err := in.take(t.Context())
	if err != nil || first.link != k {
		t.Fatalf("took %+v, %v", first, err)
	}
	in.putBack(first)
	in.putBack(nil)
	if again, _ := in.take(t.Context()); again != first {
		t.Errorf("what was put back is not first")
	}
	in.Shut(k)
	in.putBack(first)
	if next, _ := in.take(t.Context()); next == nil || next.link != other {
		t.Errorf("took %+v: a dead link's load was put back", next)
	}
}

func TestLeaveEndsTake(t *testing.T) {
	broken := errors.New("removed")
	tests := map[string]struct {
		end   func(in *Queue, k *Link)
		cause error
	}{
		"left":                      {func(in *Queue, k *Link) { in.Leave(Left, nil) }, nil},
		"left with a cause":         {func(in *Queue, k *Link) { in.Leave(Left, broken) }, broken},
		"leaving, and drained":      {func(in *Queue, k *Link) { in.Leave(Leaving, nil); in.Shut(k) }, nil},
		"drained, then leaving":     {func(in *Queue, k *Link) { in.Shut(k); in.Leave(Leaving, nil) }, nil},
		"left stays left":           {func(in *Queue, k *Link) { in.Leave(Left, nil); in.Leave(Leaving, broken) }, nil},
		"leaving, and then at once": {func(in *Queue, k *Link) { in.Leave(Leaving, nil); in.Leave(Left, nil) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, _ := testQueue(nil)
				if _, err := in.begin(); err != nil {
					t.Fatal(err)
				}
				k := in.Open("s", 0)
				type answer struct {
					l   *Frame
					err error
				}
				taken := make(chan answer, 1)
				go func() {
					l, err := in.take(context.Background())
					taken <- answer{l, err}
				}()
				synctest.Wait()
				select {
				case got := <-taken:
					t.Fatalf("took %+v of nothing", got)
				default:
				}
				tt.end(in, k)
				if got := <-taken; got.l != nil || !errors.Is(got.err, tt.cause) {
					t.Errorf("took %+v, want %v", got, tt.cause)
				}
			})
		})
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	in, _ := testQueue(nil)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if l, err := in.take(ctx); l != nil || !errors.Is(err, enough) {
		t.Errorf("took %v, %v", l, err)
	}
}

// An queue that is never empty must not remember all that went through it.
func TestInletKeepsNoDeadPrefix(t *testing.T) {
	in, _ := testQueue(nil)
	k := in.Open("s", 0)
	comes(t, k, 1)
	for range 20_000 {
		comes(t, k, 1)
		if _, err := in.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(in.frames)-in.head != 1 || len(in.frames) > 1000 {
		t.Errorf("%d loads in a slice of %d", len(in.frames)-in.head, len(in.frames))
	}
}

// undated hides the test's deadline, which a synctest bubble has no clock for.
type undated struct{ testing.TB }

// A delivery is overdue AckWait after it was handed out, or after the last
// InProgress, within two sweeps, never before.
func TestOverdue(t *testing.T) {
	const wait, sweep = time.Second, 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(undated{t}, func(t *rapid.T) {
			in, _ := testQueue(func(c *Config) { c.AckWait = wait })
			if _, err := in.begin(); err != nil {
				t.Fatal(err)
			}
			k := in.Open("s", 0)
			comes(t, k, 60)
			c := &cursor{q: in, manual: true}
			since := map[uint64]time.Time{}
			given := map[uint64]bool{}
			hand := func() {
				if len(since)+len(given) == 60 {
					return
				}
				d, err := c.next(context.Background())
				if err != nil {
					t.Fatalf("next: %v", err)
				}
				since[d.Seq] = time.Now()
			}
			pick := func() uint64 {
				out := slices.Sorted(maps.Keys(since))
				if len(out) == 0 {
					return 0
				}
				return out[rapid.IntRange(0, len(out)-1).Draw(t, "seq")]
			}
			for range rapid.IntRange(0, 80).Draw(t, "sweeps") {
				for range rapid.IntRange(0, 3).Draw(t, "moves") {
					switch rapid.IntRange(0, 3).Draw(t, "move") {
					case 0:
						hand()
					case 1:
						if seq := pick(); seq > 0 {
							k.Ack(seq)
							delete(since, seq)
							given[seq] = true
						}
					case 2:
						if seq := pick(); seq > 0 {
							k.InProgress(seq)
							since[seq] = time.Now()
						}
					case 3:
						time.Sleep(sweep / 10)
					}
				}
				time.Sleep(sweep)
				now := time.Now()
				var late []uint64
				if !k.Idle(now) {
					late = k.Overdue(now)
				}
				if len(slices.Compact(slices.Sorted(slices.Values(late)))) != len(late) {
					t.Fatalf("overdue twice: %v", late)
				}
				for _, seq := range late {
					at, out := since[seq]
					if !out || now.Sub(at) < wait {
						t.Fatalf("%d is overdue %s after it was handed out (still out: %t)", seq, now.Sub(at), out)
					}
					if !k.Expire(seq, true) || k.Expire(seq, true) {
						t.Fatalf("%d was not given up once", seq)
					}
					delete(since, seq)
					given[seq] = true
				}
				for seq, at := range since {
					// The pace of the sweeps here is up to 1.3 of sweep.
					if now.Sub(at) >= wait+3*sweep {
						t.Fatalf("%d is in hand for %s", seq, now.Sub(at))
					}
				}
			}
		})
	})
}

// Promise: a link with nothing unsettled is not looked at, and a message that comes after
// that has all of AckWait to be read.
func TestAnIdleLinkIsNotLookedAt(t *testing.T) {
	const wait = 30 * time.Second
	in, _ := testQueue(func(c *Config) { c.AckWait = wait })
	k := in.Open("s", 0)
	c := &cursor{q: in, manual: true}
	now := time.Now()
	tick := func() (looked, stalled bool) {
		now = now.Add(time.Second)
		if k.Idle(now) {
			return false, false
		}
		k.Overdue(now)
		return true, k.Stalled(now)
	}
	for range 3 {
		for range 100 {
			if looked, _ := tick(); looked {
				t.Fatal("an idle link was looked at")
			}
		}
		comes(t, k, 1)
		for range 20 {
			if looked, stalled := tick(); !looked || stalled {
				t.Fatalf("looked at: %t, stalled: %t", looked, stalled)
			}
		}
		d, err := c.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if looked, _ := tick(); !looked {
			t.Fatal("a message is in hand")
		}
		d.Ack()
	}
	k.AskDrain()
	if looked, _ := tick(); !looked {
		t.Error("a link that drains is waited for")
	}
}

func TestNothingIsOverdueForEver(t *testing.T) {
	in, _ := testQueue(func(c *Config) { c.AckWait = -1 })
	k := in.Open("s", 0)
	comes(t, k, 1)
	if _, err := (&cursor{q: in, manual: true}).next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if late := k.Overdue(time.Now().Add(1000 * time.Hour)); len(late) > 0 {
		t.Errorf("overdue %v", late)
	}
}

// What is not settled keeps its bytes while other frames come and go, of every size, in
// whatever order it is settled; what is settled gives its memory to others.
func TestUnsettledDeliveriesKeepTheirBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, _ := testQueue(nil)
		k := in.Open("s", 0)
		k.granted = [2]uint64{math.MaxUint64, math.MaxUint64}
		var mine frames.Buffers
		c := cursor{q: in, manual: true}
		var held []messages.Delivery
		next := uint64(1)
		for range rapid.IntRange(1, 60).Draw(t, "frames") {
			size := rapid.SampledFrom([]int{8, 300, 5000, 20 << 10, 66 << 10, 300 << 10}).Draw(t, "size")
			count := rapid.IntRange(1, 4).Draw(t, "count")
			one := messages.RecordSize(recordtest.Numbered(next, size))
			b := mine.Get(count * one)
			clear(b) // as a frame would overwrite them
			records := b[:0]
			for i := range count {
				records = messages.AppendRecord(records, recordtest.Numbered(next+uint64(i), size))
			}
			if err := k.Arrive(&frame.Data{First: next, Count: count, Records: records}, mine.Take()); err != nil {
				t.Fatal(err)
			}
			next += uint64(count)
			for range count {
				d, err := c.next(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, *d)
			}
			for range rapid.IntRange(0, len(held)).Draw(t, "settled") {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				held[i].Ack()
				held = slices.Delete(held, i, i+1)
			}
			for _, d := range held {
				if got := recordtest.Number(d.Value); got != d.Seq {
					t.Fatalf("delivery %d, which is not settled, is %d now", d.Seq, got)
				}
			}
		}
	})
}

// A frame's memory is used again once all of it is settled, and never before
// the reader of the last delivery is done with it.
func TestReusedFramesAreNotInUse(t *testing.T) {
	for _, mode := range []messages.Mode{messages.AtLeastOnce, messages.AtMostOnce} {
		t.Run(string(mode), func(t *testing.T) {
			in, _ := testQueue(func(c *Config) { c.Mode = mode })
			k := in.Open("s", 0)
			k.granted = [2]uint64{math.MaxUint64, math.MaxUint64}
			var mine frames.Buffers
			size := messages.RecordSize(recordtest.Numbered(1, 20<<10))
			b := mine.Get(size)
			messages.AppendRecord(b[:0], recordtest.Numbered(1, 20<<10))
			if err := k.Arrive(&frame.Data{First: 1, Count: 1, Records: b}, mine.Take()); err != nil {
				t.Fatal(err)
			}
			for d, err := range in.Messages(t.Context(), false) {
				if err != nil {
					t.Fatal(err)
				}
				if next := mine.Get(size); &next[0] == &b[0] {
					t.Error("the next frame overwrites a delivery in hand")
				}
				if id := recordtest.Numbers(t, frameOf(&d)); id[0] != 1 {
					t.Errorf("the delivery in hand is %d", id[0])
				}
				break
			}
		})
	}
}
