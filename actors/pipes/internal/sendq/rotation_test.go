package sendq

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// Messages that come one at a time go round the members, and not all to the
// first one.
func TestSingleMessagesGoRound(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	links := []*Link{linkTo(t, o, b, "one", 100, 1<<20), linkTo(t, o, b, "two", 100, 1<<20), linkTo(t, o, b, "three", 100, 1<<20)}
	for _, l := range links {
		if _, ok := o.Next(b, l); ok {
			t.Fatal("a batch of nothing")
		}
	}
	got := map[string]int{}
	for n := range 30 {
		mustSend(t, o, recordtest.Numbered(uint64(n), 8))
		for _, l := range links {
			select {
			case <-l.bell:
			default:
				continue
			}
			if _, ok := o.Next(b, l); ok {
				got[l.Member]++
				o.Next(b, l) // the write is over
				l.credit++   // and it is acked at once: all are as free as before
			}
		}
	}
	for _, l := range links {
		if got[l.Member] != 10 {
			t.Fatalf("%v, want 10 for each", got)
		}
	}
}

// groupmate is a member of a simulated group, whose window grows as a real one's does.
type groupmate struct {
	l       *Link
	window  uint64
	got     []uint64 // pipe numbers of what it was sent
	settled uint64
}

// report settles n more of what the member has, and grants credit.
func (m *groupmate) report(t *rapid.T, q *Queue, b *Backlog, n uint64) {
	m.settled = min(m.settled+n, uint64(len(m.got)))
	if m.l.credit > 0 && m.settled >= m.l.credit && m.window < 4096 {
		m.window *= 2
	}
	err := q.Ack(b, m.l, &frame.Ack{Cumulative: m.settled, CreditMessages: m.settled + m.window, CreditBytes: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
}

// Promise: members that settle equally fast get equally much, within a factor of two and
// what a quick one is sent at once, however many there are. One that settles nothing keeps its first window, and stalls
// nobody. No message goes to two members, and none is left behind.
func TestSharesAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New("orders", testConfig(), func(messages.Event) {}, func(func()) {})
		q.cfg.Queue = messages.QueueLimits{Messages: 1 << 20, Bytes: 1 << 30}
		mode := rapid.SampledFrom([]messages.Mode{messages.AtLeastOnce, messages.AtMostOnce}).Draw(t, "mode")
		b := q.Backlog("billing", messages.GroupSettings{Mode: mode, Policy: messages.QueueBlock})
		mates := make([]*groupmate, rapid.IntRange(2, 12).Draw(t, "members"))
		for i := range mates {
			mates[i] = &groupmate{l: NewLink(strconv.Itoa(i), 1, 1<<20), window: 64}
			q.Attach(b, mates[i].l)
			mates[i].report(t, q, b, 0)
			if _, ok := q.Next(b, mates[i].l); ok {
				t.Fatal("a batch of nothing")
			}
		}
		stuck := mates[:rapid.IntRange(0, 1).Draw(t, "stuck")]
		works := mates[len(stuck):]
		var sent uint64
		write := func() { // every writer that is called works until it has nothing to do
			for called := true; called; {
				called = false
				for _, m := range mates {
					select {
					case <-m.l.Bell():
					default:
						continue
					}
					called = true
					for out, ok := q.Next(b, m.l); ok; out, ok = q.Next(b, m.l) {
						m.got = append(m.got, recordtest.Numbers(t, out.Records)...)
					}
				}
			}
		}
		burst := rapid.IntRange(1, 300*len(works)).Draw(t, "burst")
		for sent < uint64(120*len(works)) {
			for range burst {
				if err := q.Send(t.Context(), recordtest.Numbered(sent, 8)); err != nil {
					t.Fatal(err)
				}
				sent++
			}
			write()
			first := rapid.IntRange(0, len(works)-1).Draw(t, "first")
			for i := range works {
				works[(first+i)%len(works)].report(t, q, b, 64)
			}
			write()
		}
		for b.queued() > 0 {
			before := b.queued()
			for _, m := range works {
				m.report(t, q, b, 1<<20)
			}
			if write(); b.queued() == before {
				t.Fatalf("%d messages wait, and nobody is called", before)
			}
		}
		low, high := len(works[0].got), 0
		seen := make(map[uint64]bool)
		for i, m := range mates {
			for _, n := range m.got {
				if seen[n] {
					t.Fatalf("message %d went to two", n)
				}
				seen[n] = true
			}
			if i >= len(stuck) {
				low, high = min(low, len(m.got)), max(high, len(m.got))
			}
		}
		if uint64(len(seen)) != sent {
			t.Fatalf("%d of %d were sent on", len(seen), sent)
		}
		if high > 2*low+quickShare {
			t.Fatalf("the busiest of %d members got %d messages, the idlest %d", len(works), high, low)
		}
		if n := len(stuck); n > 0 && len(stuck[0].got) > 64 {
			t.Fatalf("a member that settles nothing got %d", len(stuck[0].got))
		}
	})
}

// Over some time, what is sent at once does not matter.
func TestSharesAreEvenInTheLongRun(t *testing.T) {
	q, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) {
		c.Queue = messages.QueueLimits{Messages: 1 << 20, Bytes: 1 << 30}
	})
	mates := make([]*groupmate, 8)
	for i := range mates {
		mates[i] = &groupmate{l: linkTo(t, q, b, strconv.Itoa(i), 64<<(i%4), 1<<40), window: 64 << (i % 4)}
	}
	m := recordtest.Numbered(1, 8)
	sent, settled := 0, make([]uint64, len(mates))
	for round := range 60 {
		for range 1000 {
			mustSend(t, q, m)
			sent++
		}
		for called := true; called; {
			called = false
			for _, m := range mates {
				for rung(m.l) {
					called = true
					for _, ok := q.Next(b, m.l); ok; _, ok = q.Next(b, m.l) {
						called = true
					}
				}
			}
		}
		for i := range mates {
			i = (i + round) % len(mates)
			m := mates[i]
			had := m.l.sent >= m.l.credit
			settled[i] = m.l.sent
			if had && m.window < 4096 {
				m.window *= 2
			}
			if err := q.Ack(b, m.l, &frame.Ack{Cumulative: settled[i], CreditMessages: settled[i] + m.window, CreditBytes: 1 << 40}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if low, high := slices.Min(settled), slices.Max(settled); high > 2*low || low == 0 {
		t.Errorf("of %d messages the busiest member got %d, the idlest %d: %v", sent, high, low, settled)
	}
}

// Promise: what a member may have died over is out alone, so that the next death is its
// own: the acks of neighbours that were handled could die with the member.
func TestSuspectsAreOutAlone(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	for n := range 8 {
		mustSend(t, o, recordtest.Numbered(uint64(n), 8))
	}
	next := func(l *Link, deaths, count int) {
		t.Helper()
		out, ok := o.Next(b, l)
		if ok != (count > 0) || out.Count != count || out.Deaths != deaths {
			t.Fatalf("%s gets %d messages with %d deaths, want %d with %d", l.Member, out.Count, out.Deaths, count, deaths)
		}
	}
	ack := func(l *Link, cumulative uint64) {
		t.Helper()
		if err := o.Ack(b, l, &frame.Ack{Cumulative: cumulative, CreditMessages: cumulative + 100, CreditBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	of := func(name string, concurrency int) *Link {
		l := NewLink(name, concurrency, 1<<20)
		l.credit, l.creditBytes = 100, 1<<20
		o.Attach(b, l)
		return l
	}
	one := of("one", 2)
	next(one, 0, 8)
	o.Detach(b, one, true, time.Now())

	two := of("two", 1)
	next(two, 1, 1) // of two suspects, as many as it handles at once
	next(two, 0, 0)
	ack(two, 1)
	next(two, 1, 1)
	o.Detach(b, two, true, time.Now()) // the second suspect kills again

	three := of("three", 4)
	next(three, 2, 1) // alone, whatever it handles at once
	next(three, 0, 0)
	ack(three, 1)
	next(three, 0, 6)
	mustSend(t, o, recordtest.Numbered(8, 8))
	four := of("four", 1)
	next(four, 0, 1)
	o.Detach(b, three, true, time.Now()) // four of its six are suspects
	next(four, 0, 0)                     // it has something out
	ack(four, 1)
	next(four, 1, 1)
}
