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
	}
}

func TestFreestHasMostCredit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		links := make([]offer, rapid.IntRange(0, 6).Draw(t, "links"))
		for i := range links {
			links[i] = drawOffer(t)
		}
		asking := rapid.IntRange(-1, len(links)-1).Draw(t, "asking")
		comes := func(i int) bool { return links[i].can() && (links[i].phase != linkWriting || i == asking) }
		// beats is a total order, so that there is one winner.
		beats := func(i, j int) bool {
			if a, b := links[i].freeMessages, links[j].freeMessages; a != b {
				return a > b
			}
			if i == asking || j == asking {
				return i == asking
			}
			return i < j
		}
		got := freest(links, asking)
		for i := range links {
			if !comes(i) {
				if i == got {
					t.Fatalf("link %d cannot come: %+v", i, links[i])
				}
				continue
			}
			if got < 0 {
				t.Fatalf("nobody, but link %d can: %+v", i, links[i])
			}
			if i != got && beats(i, got) {
				t.Fatalf("link %d of %+v, asked by %d, but %d has more", got, links, asking, i)
			}
		}
		if len(links) == 0 && got != -1 {
			t.Fatalf("link %d of none", got)
		}
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
		// An even share, rounded up, so that everybody who can comes to carry.
		if part := (queued + others) / (others + 1); n > part {
			t.Fatalf("%d of %d queued, with %d others", n, queued, others)
		}
		// And nothing is left that all three bounds allow.
		if n < front.len() && uint64(n) < o.freeMessages && n < (queued+others)/(others+1) {
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
