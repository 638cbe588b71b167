package sendq

// Messages that expire.

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// What has expired is not carried, wherever it stands among what has not, and is told.
func TestExpiredIsNotCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, events := testQueue(t, messages.GroupSettings{}, nil)
		var told []uint64
		o.Expired = func(m messages.ExpiredMessage) bool {
			told = append(told, recordtest.Numbers(t, messages.AppendRecord(nil, &m.Message))...)
			return len(told) > 1
		}
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		var causes []error
		gone := []uint64{1, 2, 5, 9}
		for id := range uint64(10) {
			m := recordtest.Numbered(id, 8)
			if slices.Contains(gone, id) {
				m.ExpiresAt = time.Now().Add(time.Minute)
			} else if id == 4 {
				m.ExpiresAt = time.Now().Add(time.Hour)
			}
			if err := o.SendAsync(t.Context(), m, func(err error) { causes = append(causes, err) }); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if ids := carried(t, o, b, l); !slices.Equal(ids, []uint64{0, 3, 4, 6, 7, 8}) {
			t.Errorf("carried are %v", ids)
		}
		if !slices.Equal(told, gone) || b.counters.Expired != 4 || b.count != 6 {
			t.Errorf("told are %v, %+v, %d are left", told, b.counters, b.count)
		}
		if len(causes) != 4 || slices.ContainsFunc(causes, func(err error) bool { return !errors.Is(err, messages.ErrExpired) }) {
			t.Errorf("the causes are %v", causes)
		}
		o.tellDrops()
		count, untold := 0, 0
		for len(events) > 0 {
			if e, ok := (<-events).(messages.MessagesExpired); ok {
				count, untold = count+e.Count, untold+e.Untold
			}
		}
		if count != 4 || untold != 1 {
			t.Errorf("events tell of %d, %d were not taken", count, untold)
		}
	})
}

// A message that failed is not tried again once it has expired, and one that a member
// found expired is settled; what has no such time is not, whatever a member says.
func TestExpiredIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		for id := range uint64(3) {
			m := recordtest.Numbered(id, 8)
			if id < 2 {
				m.ExpiresAt = time.Now().Add(10 * time.Millisecond)
			}
			mustSend(t, o, m)
		}
		if ids := carried(t, o, b, l); len(ids) != 3 {
			t.Fatalf("carried are %v", ids)
		}
		for seq, kind := range []uint32{frame.NackFailed, frame.NackLapsed, frame.NackLapsed} {
			if _, err := o.Nack(b, l, &frame.Nack{Seq: uint64(seq + 1), Kind: kind}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if b.counters.Expired != 1 || b.count != 2 {
			t.Errorf("%+v, %d are left", b.counters, b.count)
		}
		time.Sleep(time.Minute)
		o.RequeueDue(b, time.Now())
		if ids := carried(t, o, b, l); !slices.Equal(ids, []uint64{2}) || b.counters.Expired != 2 {
			t.Errorf("carried are %v, %+v", ids, b.counters)
		}
		if err := o.Ack(b, l, &frame.Ack{Cumulative: l.sent, CreditMessages: 1 << 20, CreditBytes: 1 << 30}); err != nil || b.count != 0 {
			t.Errorf("%d are left: %v", b.count, err)
		}
	})
}
