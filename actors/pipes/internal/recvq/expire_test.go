package recvq

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// What has expired when it is to be handed out goes back as such, and the next one comes.
func TestExpiredIsNotHandedOut(t *testing.T) {
	in, _ := testQueue(nil)
	k := in.Open("s", 0)
	if _, err := in.begin(); err != nil {
		t.Fatal(err)
	}
	var records []byte
	for id := range uint64(4) {
		m := recordtest.Numbered(id, 8)
		switch id {
		case 0, 3:
			m.ExpiresAt = time.Now().Add(-time.Second)
		case 1:
			m.ExpiresAt = time.Now().Add(time.Hour)
		}
		records = messages.AppendRecord(records, m)
	}
	if err := arriveAt(k, 1, 4, records, nil, false); err != nil {
		t.Fatal(err)
	}
	c := &cursor{q: in, manual: true}
	for _, seq := range []uint64{2, 3} {
		d, err := c.next(t.Context())
		if err != nil || d.Seq != seq {
			t.Fatalf("handed out is %d, want %d: %v", d.Seq, seq, err)
		}
		d.Ack()
	}
	if f, _ := c.frame.next(&c.at); f {
		t.Error("one more is handed out")
	}
	for _, f := range k.failures {
		if f.kind != frame.NackLapsed || f.seq != 1 && f.seq != 4 {
			t.Errorf("given back is %+v", f)
		}
	}
	if s := in.Stats(); len(k.failures) != 2 || s.Expired != 2 || s.Delivered != 2 || s.Waiting != 0 {
		t.Errorf("%d given back, %+v", len(k.failures), s)
	}
}
