package recvq

import "testing"

// Promise: a look shows what has come and is not handed out, and what is in hand.
func TestLook(t *testing.T) {
	in, k, _ := fed(t, 5, nil)
	if got := k.Look(); got != (LinkLook{Waiting: 5}) {
		t.Errorf("before anybody reads: %+v", got)
	}
	told(k)
	seen := 0
	for d, err := range in.Messages(t.Context(), true) {
		if err != nil {
			t.Fatal(err)
		}
		told(k) // the sender hears of credit
		if got := k.Look(); got.Waiting != 4-seen || got.InHand != 1 || got.Credit == 0 {
			t.Errorf("with delivery %d in hand: %+v", d.Seq, got)
		}
		d.Ack()
		if got := k.Look(); got.InHand != 0 {
			t.Errorf("after the ack of %d: %+v", d.Seq, got)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if got := k.Look(); got.InHand != 0 || got.Waiting != 2 {
		t.Errorf("after the loop: %+v", got)
	}
}
