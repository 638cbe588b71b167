package sendq

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

func TestSpill(t *testing.T) {
	for name, c := range map[string]struct {
		z            zones
		queued, want int
	}{
		"nobody near":                {zones{above: 10}, 7, 7},
		"near ones have credit":      {zones{above: 0, near: 2, ready: 1}, 100, 0},
		"all full, few wait":         {zones{above: 10, near: 2}, 10, 0},
		"all full, more wait":        {zones{above: 10, near: 2}, 13, 3},
		"all full, nothing may wait": {zones{above: 0, near: 2}, 1, 1},
		"stalled":                    {zones{above: 10, near: 2, ready: 1, pace: paceStalled}, 4, 4},
		"nothing waits":              {zones{above: 10, near: 2}, 0, 0},
	} {
		if got := c.z.spill(c.queued); got != c.want {
			t.Errorf("%s: others may take %d of %d, want %d", name, got, c.queued, c.want)
		}
	}
}

// zoned is a queue that prefers the zone "a", and its clock.
func zoned(t testing.TB, above int, mode messages.Mode) (*Queue, *Backlog) {
	cfg := testConfig()
	cfg.Zone, cfg.FarAbove = "a", above
	q := New("orders", cfg, func(messages.Event) {}, func(f func()) { time.AfterFunc(250*time.Millisecond, f) })
	return q, q.Backlog("billing", messages.GroupSettings{Mode: mode, Policy: messages.QueueBlock})
}

// resident is a link of a member in a zone, whose writer sleeps.
func resident(t testing.TB, q *Queue, b *Backlog, name, zone string, credit uint64) *Link {
	l := NewLink(name, 1, 1<<20)
	l.Zone = zone
	q.Attach(b, l)
	if err := q.Ack(b, l, &frame.Ack{CreditMessages: credit, CreditBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if _, ok := q.Next(b, l); ok {
		t.Fatal("a batch of nothing")
	}
	return l
}

// writes has the writers that are called work until none is, and returns who got how much.
func writes(q *Queue, b *Backlog, links ...*Link) map[string]int {
	got := make(map[string]int)
	for called := true; called; {
		called = false
		for _, l := range links {
			if !rung(l) {
				continue
			}
			called = true
			for out, ok := q.Next(b, l); ok; out, ok = q.Next(b, l) {
				got[l.Member] += out.Count
			}
		}
	}
	return got
}

func sendMany(t testing.TB, q *Queue, n int) {
	t.Helper()
	for i := range n {
		if err := q.Send(t.Context(), recordtest.Numbered(uint64(i), 8)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestZoneFirst(t *testing.T) {
	for name, c := range map[string]struct {
		above, near, sent int
		mode              messages.Mode
		wantNear, wantFar int
	}{
		"all to the zone":           {0, 100, 40, messages.AtLeastOnce, 40, 0},
		"few wait for it":           {10, 20, 30, messages.AtLeastOnce, 20, 0},
		"more wait":                 {10, 20, 37, messages.AtLeastOnce, 20, 7},
		"nothing waits":             {0, 20, 37, messages.AtLeastOnce, 20, 17},
		"at most once":              {10, 20, 37, messages.AtMostOnce, 20, 7},
		"nobody of the zone reads":  {10, 0, 12, messages.AtLeastOnce, 0, 12},
		"an order: no zone is near": {1000, 1000, 30, messages.Failover, 0, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, b := zoned(t, c.above, c.mode)
				far := resident(t, q, b, "far", "b", 1000)
				near := NewLink("near", 1, 1<<20)
				near.Zone = "a"
				q.Attach(b, near)
				if c.near > 0 {
					if err := q.Ack(b, near, &frame.Ack{CreditMessages: uint64(c.near), CreditBytes: 1 << 30}); err != nil {
						t.Fatal(err)
					}
				}
				q.Next(b, near)
				sendMany(t, q, c.sent)
				got := writes(q, b, near, far)
				if got["near"] != c.wantNear || got["far"] != c.wantFar {
					t.Errorf("of %d messages %v, want near %d and far %d", c.sent, got, c.wantNear, c.wantFar)
				}
				counted := uint64(c.wantFar)
				if c.mode.Ordered() {
					counted = 0
				}
				if n := q.Stats()[0].Far; n != counted {
					t.Errorf("%d counted as far, want %d", n, counted)
				}
			})
		})
	}
}

// Promise: what waits for members of the zone that take nothing goes to others after a
// second, and to the zone again when it takes.
func TestZoneStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, b := zoned(t, 100, messages.AtLeastOnce)
		near, far := resident(t, q, b, "near", "a", 5), resident(t, q, b, "far", "", 1000)
		sendMany(t, q, 9)
		if got := writes(q, b, near, far); got["near"] != 5 || got["far"] != 0 {
			t.Fatalf("%v at first", got)
		}
		time.Sleep(990 * time.Millisecond)
		if got := writes(q, b, near, far); len(got) > 0 {
			t.Fatalf("%v within a second", got)
		}
		time.Sleep(300 * time.Millisecond)
		if got := writes(q, b, near, far); got["far"] != 4 {
			t.Fatalf("%v after a second, want far 4", got)
		}
		sendMany(t, q, 3) // the zone has not taken anything yet
		if got := writes(q, b, near, far); got["far"] != 3 {
			t.Fatalf("%v while the zone stalls, want far 3", got)
		}
		if err := q.Ack(b, near, &frame.Ack{Cumulative: 5, CreditMessages: 10, CreditBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		for range 8 { // no message at once: all are alike, until the zone takes one
			sendMany(t, q, 1)
			writes(q, b, near, far)
		}
		sendMany(t, q, 4)
		if got := writes(q, b, near, far); got["far"] != 0 {
			t.Fatalf("%v when the zone takes again", got)
		}
		time.Sleep(1300 * time.Millisecond)
		writes(q, b, near, far)
		if n := b.queued(); n > 0 {
			t.Fatalf("%d wait", n)
		}
		time.Sleep(time.Second) // and then nobody looks any more
	})
}

// Promise: when the last member of the zone goes, what waits goes to others at once.
func TestZoneGone(t *testing.T) {
	for name, leave := range map[string]func(q *Queue, b *Backlog, l *Link) error{
		"dead":    func(q *Queue, b *Backlog, l *Link) error { q.Detach(b, l, true, time.Now()); return nil },
		"leaving": func(q *Queue, b *Backlog, l *Link) error { q.Hold(b, l); return nil },
		"reads no more": func(q *Queue, b *Backlog, l *Link) error {
			return q.Ack(b, l, &frame.Ack{Withdraw: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, b := zoned(t, 100, messages.AtMostOnce)
				near, far := resident(t, q, b, "near", "a", 5), resident(t, q, b, "far", "b", 1000)
				sendMany(t, q, 9)
				writes(q, b, near, far)
				if err := leave(q, b, near); err != nil {
					t.Fatal(err)
				}
				if got := writes(q, b, far); got["far"] != 4 {
					t.Errorf("%v, want far 4", got)
				}
				time.Sleep(2 * time.Second)
			})
		})
	}
}

// Promise: no message waits without end while any member has credit, none goes to two, and
// while a member of the zone has credit others get nothing, unless the zone stalls.
func TestZonesLoseNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			above := rapid.IntRange(0, 20).Draw(rt, "above")
			q, b := zoned(t, above, messages.AtLeastOnce)
			type mate struct {
				l    *Link
				sent uint64
			}
			var mates []*mate
			for i := range rapid.IntRange(1, 5).Draw(rt, "members") {
				zone := rapid.SampledFrom([]string{"a", "b", ""}).Draw(rt, "zone")
				l := resident(t, q, b, strconv.Itoa(i), zone, uint64(rapid.IntRange(1, 10).Draw(rt, "credit")))
				mates = append(mates, &mate{l: l})
			}
			sent, got := 0, 0
			write := func() {
				for called := true; called; {
					called = false
					for _, m := range mates {
						if !rung(m.l) {
							continue
						}
						called = true
						for {
							ready, stalled := b.zones.ready, b.zones.pace == paceStalled
							out, ok := q.Next(b, m.l)
							if !ok {
								break
							}
							if m.l.far && ready > 0 && !stalled {
								rt.Fatalf("%d messages to another zone while %d members of it have credit", out.Count, ready)
							}
							m.sent += uint64(out.Count)
							got += out.Count
						}
					}
				}
			}
			acks := func(m *mate, more int) {
				if err := q.Ack(b, m.l, &frame.Ack{Cumulative: m.sent, CreditMessages: m.sent + uint64(more), CreditBytes: 1 << 30}); err != nil {
					rt.Fatal(err)
				}
			}
			for range rapid.IntRange(1, 30).Draw(rt, "steps") {
				switch rapid.IntRange(0, 3).Draw(rt, "step") {
				case 0, 1:
					n := rapid.IntRange(1, 30).Draw(rt, "sent")
					sendMany(t, q, n)
					sent += n
				case 2:
					acks(mates[rapid.IntRange(0, len(mates)-1).Draw(rt, "who")], 10)
				case 3:
					time.Sleep(time.Duration(rapid.IntRange(1, 900).Draw(rt, "ms")) * time.Millisecond)
				}
				write()
			}
			// One member takes all from here on, whoever it is and wherever it runs.
			last := mates[rapid.IntRange(0, len(mates)-1).Draw(rt, "last")]
			for range 3 {
				acks(last, 10_000)
				write()
				time.Sleep(1300 * time.Millisecond)
				write()
			}
			if got != sent || b.queued() > 0 {
				rt.Fatalf("%d of %d messages were sent on, %d wait", got, sent, b.queued())
			}
			time.Sleep(2 * time.Second)
		})
	})
}
