package sendq

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
)

func drawOffer(t *rapid.T) offer {
	return offer{
		phase:        rapid.SampledFrom([]linkPhase{linkWaiting, linkRung, linkWriting, linkClosed}).Draw(t, "phase"),
		freeMessages: rapid.Uint64Range(0, 4).Draw(t, "messages"),
		freeBytes:    rapid.Uint64Range(0, 3).Draw(t, "bytes") * rapid.Uint64Range(1, 200).Draw(t, "scale"),
		window:       rapid.SampledFrom([]uint64{0, 64, quickWindow - 1, quickWindow, 4096}).Draw(t, "window"),
	}
}

// The lanes have whoever comes, and first the one with least out: whatever changed in
// between, and without a look at the others.
func TestTheFirstLaneHasLeastOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := make([]lane, rapid.IntRange(1, 8).Draw(t, "links"))
		for i := range all {
			all[i].link = &Link{}
		}
		var s lanes
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "link")
				r := rank{
					out: rapid.Uint64Range(0, 3).Draw(t, "out"), turn: rapid.Uint64Range(0, 3).Draw(t, "turn"),
					free: rapid.Uint64Range(0, 3).Draw(t, "free"),
				}
				s.place(&all[i], r, drawOffer(t).comes())
			},
			"": func(t *rapid.T) {
				in := 0
				for i := range all {
					if at := all[i].at; at > 0 {
						in++
						if s[at-1] != &all[i] {
							t.Fatalf("lane %d is not where it says", i)
						}
						if all[i].before(s[0].rank) {
							t.Fatalf("%+v goes before %+v", all[i].rank, s[0].rank)
						}
					}
				}
				if in != len(s) {
					t.Fatalf("%d links say that they are among the %d", in, len(s))
				}
				if first := s.first(); (first == nil) != (in == 0) || first != nil && first != s[0].link {
					t.Fatalf("first of %d", in)
				}
			},
		})
	})
}

func TestShareStaysWithinCredit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := filled(sized(t, "sizes", 20)...)
		front := span{c: c, to: uint32(len(c.ends)), seq: 1}
		queued := front.len() + rapid.IntRange(0, 50).Draw(t, "behind")
		others := rapid.IntRange(0, 5).Draw(t, "others")
		o := drawOffer(t)
		if !o.can() {
			t.Skip("nobody asks what such a link takes")
		}
		n := share(front, queued, others, o)
		switch {
		case n < 1 || n > front.len():
			t.Fatalf("%d of %d", n, front.len())
		case uint64(n) > o.freeMessages:
			t.Fatalf("%d messages for a credit of %d", n, o.freeMessages)
		}
		head, _ := front.cut(n)
		if uint64(head.size()) > o.freeBytes && n > 1 {
			t.Fatalf("%d bytes in %d messages for a credit of %d", head.size(), n, o.freeBytes)
		}
		// An even share, rounded up, so that everybody who can comes to carry, or what a
		// quick member may be sent at once.
		part := (queued + others) / (others + 1)
		if o.window >= quickWindow {
			part = max(part, quickShare)
		}
		if n > part {
			t.Fatalf("%d of %d queued, with %d others and a window of %d", n, queued, others, o.window)
		}
		// And nothing is left that all three bounds allow.
		if n < front.len() && uint64(n) < o.freeMessages && n < part {
			more, _ := front.cut(n + 1)
			if uint64(more.size()) <= o.freeBytes {
				t.Fatalf("%d where %d were allowed", n, n+1)
			}
		}
	})
}

func TestWhichLinkIsCalled(t *testing.T) {
	tests := map[string]struct {
		change func(*Link)
		called bool
	}{
		"with credit":            {func(*Link) {}, true},
		"no messages left":       {func(l *Link) { l.sent = 10 }, false},
		"over its messages":      {func(l *Link) { l.sent = 11 }, false},
		"one byte left":          {func(l *Link) { l.sentBytes = 999 }, true},
		"no bytes left":          {func(l *Link) { l.sentBytes = 1000 }, false},
		"over its bytes":         {func(l *Link) { l.sentBytes = 5000 }, false},
		"its member leaves":      {func(l *Link) { l.draining = true }, false},
		"in a write":             {func(l *Link) { l.phase = linkWriting }, false},
		"closed":                 {func(l *Link) { l.phase = linkClosed }, false},
		"called already, asleep": {func(l *Link) { l.phase = linkRung }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
			l := NewLink("m", 0, 1<<20)
			l.phase, l.credit, l.creditBytes = linkWaiting, 10, 1000
			tt.change(l)
			o.Attach(b, l)
			mustSend(t, o, recordtest.Numbered(1, 50))
			if got := rung(l); got != tt.called {
				t.Errorf("called: %t, want %t: %+v", got, tt.called, l)
			}
		})
	}
	if l := NewLink("m", 0, 1<<20); l.concurrency != 1 {
		t.Errorf("concurrency %d of a member that handles one at a time", l.concurrency)
	}
}
