package actors

import (
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// Messages that come one at a time go round the members, and not all to the
// first one.
func TestSingleMessagesGoRound(t *testing.T) {
	o, b, _ := testOutlet(t, messages.GroupSettings{}, nil)
	lanes := []*lane{linkTo(t, o, b, "one", 100, 1<<20), linkTo(t, o, b, "two", 100, 1<<20), linkTo(t, o, b, "three", 100, 1<<20)}
	for _, l := range lanes {
		if _, ok := o.next(b, l); ok {
			t.Fatal("a batch of nothing")
		}
	}
	got := map[string]int{}
	for n := range 30 {
		mustSend(t, o, numbered(uint64(n), 8))
		for _, l := range lanes {
			select {
			case <-l.bell:
			default:
				continue
			}
			if _, ok := o.next(b, l); ok {
				got[l.member]++
				o.next(b, l) // the write is over
				l.credit++   // and it is acked at once: all are as free as before
			}
		}
	}
	for _, l := range lanes {
		if got[l.member] != 10 {
			t.Fatalf("%v, want 10 for each", got)
		}
	}
}
