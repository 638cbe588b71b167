package sendq

import (
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
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
