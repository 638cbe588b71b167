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

// What has expired leaves a group that no member is in, a few times a second and in whatever
// order, also before its next try, and whoever waits for room hears of it.
func TestExpiredMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan messages.Event, 100)
		cfg := testConfig()
		cfg.Queue.Messages = 10
		o := New("orders", cfg, func(e messages.Event) { events <- e }, func(f func()) { time.AfterFunc(250*time.Millisecond, f) })
		b := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock})
		l := linkTo(t, o, b, "m", 2, 1<<30)
		until := time.Now().Add(time.Minute)
		mustSend(t, o, expiring(0, until))
		mustSend(t, o, expiring(20, until))
		if ids := carried(t, o, b, l); len(ids) != 2 {
			t.Fatalf("carried are %v", ids)
		}
		if _, err := o.Nack(b, l, &frame.Nack{Seq: 1, Kind: frame.NackFailed, After: time.Hour}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if o.Detach(b, l, false, time.Now()) != 1 || b.again.count != 1 || len(b.delayed) != 1 {
			t.Fatal("one is to be sent again, and one is delayed")
		}
		for id := uint64(1); id < 9; id++ {
			m := recordtest.Numbered(id, 8)
			if id%3 == 0 {
				m = expiring(id, until)
			}
			mustSend(t, o, m)
		}
		if err := o.Send(t.Context(), recordtest.Numbered(10, 8)); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(until); late < 0 || late > 300*time.Millisecond {
			t.Errorf("there was room %s after they expired", late)
		}
		synctest.Wait()
		checkBooks(t, b)
		if b.counters.Expired != 4 || b.count != 7 || len(b.delayed) != 0 {
			t.Errorf("%+v, %d are left, %d of them delayed", b.counters, b.count, len(b.delayed))
		}
		sweeping := func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.sweeping
		}
		if sweeping() {
			t.Error("it is looked for what expires, and nothing does")
		}
		l = NewLink("n", 1, 1<<20)
		o.Attach(b, l)
		if err := o.Ack(b, l, &frame.Ack{CreditMessages: 1 << 20, CreditBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		if ids := carried(t, o, b, l); !slices.Equal(ids, []uint64{1, 2, 4, 5, 7, 8, 10}) {
			t.Errorf("carried are %v", ids)
		}
		mustSend(t, o, expiring(11, time.Now().Add(time.Hour)))
		o.Close(nil)
		time.Sleep(time.Second)
		if sweeping() {
			t.Error("a closed queue is swept")
		}
	})
}

func expiring(id uint64, at time.Time) *messages.Message {
	m := recordtest.Numbered(id, 8)
	m.ExpiresAt = at
	return m
}

// What a member rejected is the dead-letter handler's, which gets it though it expires.
func TestRejectedDoesNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, func(cfg *Config) { cfg.DeadLetters = true })
		l := linkTo(t, o, b, "m", 1<<20, 1<<30)
		mustSend(t, o, expiring(0, time.Now().Add(time.Second)))
		carried(t, o, b, l)
		if _, err := o.Nack(b, l, &frame.Nack{Seq: 1, Kind: frame.NackRejected}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, ok := o.NextExhausted(b); !ok {
			t.Fatal("the handler does not get it")
		}
		o.DeadLettered(b, errors.New("no room"), time.Now())
		time.Sleep(time.Hour)
		o.sweep()
		o.RequeueDue(b, time.Now())
		if letter, ok := o.NextExhausted(b); !ok || !letter.Rejected || b.counters.Expired != 0 {
			t.Errorf("the handler gets %+v, %t; %+v", letter, ok, b.counters)
		}
	})
}

// A message that does not expire pays nothing for those that do: nothing is noted of it,
// allocated for it, or looked for later.
func TestWhatNeverExpiresPaysNothing(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	o.later = func(func()) { t.Error("something is to be looked for later") }
	l := linkTo(t, o, b, "m", 1<<40, 1<<50)
	m := recordtest.Numbered(1, 100)
	round := func() {
		if err := o.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if c := b.fresh.front().c; len(c.expires) > 0 {
			t.Fatal("the chunk notes when its records expire")
		}
		if _, ok := o.Next(b, l); !ok {
			t.Fatal("nothing to carry")
		}
		if err := o.Ack(b, l, &frame.Ack{Cumulative: l.sent, CreditMessages: 1 << 40, CreditBytes: 1 << 50}); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if n := testing.AllocsPerRun(1000, round); n > 1 { // the ack itself
		t.Errorf("a message allocates %v times", n)
	}
}

// Of many messages that expire together each hold of the lock gives up some: a link rings
// itself for the rest, and a sweep goes on to their end.
func TestManyThatExpireDoNotHoldTheLock(t *testing.T) {
	many := func(t *testing.T) (*Queue, *Backlog) {
		o, b, _ := testQueue(t, messages.GroupSettings{}, func(c *Config) {
			c.Queue = messages.QueueLimits{Messages: 4 * expiredAtOnce, Bytes: 1 << 30}
		})
		for id := range uint64(2*expiredAtOnce + 1) {
			m := recordtest.Numbered(id, 8)
			m.ExpiresAt = time.Now().Add(time.Minute)
			mustSend(t, o, m)
		}
		return o, b
	}
	left := []int{expiredAtOnce + 1, 1, 0}
	t.Run("a link", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, b := many(t)
			mustSend(t, o, recordtest.Numbered(1<<20, 8))
			time.Sleep(time.Minute)
			l := NewLink("m", 1, 1<<20)
			l.credit, l.creditBytes = 100, 1<<20
			o.Attach(b, l)
			for i, left := range left {
				got, ok := o.Next(b, l)
				if b.count != left+1 || ok != (i == 2) || ok == rung(l) {
					t.Fatalf("%d are left after %d, carried are %d", b.count-1, i, got.Count)
				}
			}
		})
	})
	t.Run("a sweep", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, b := many(t)
			time.Sleep(time.Minute)
			for i, left := range left {
				more := o.sweepSome(unixNano())
				if b.count != left || more != (i < 2) {
					t.Fatalf("%d are left after %d", b.count, i)
				}
			}
			o, b = many(t)
			time.Sleep(time.Minute)
			if o.sweep(); b.count != 0 || o.sweeping {
				t.Errorf("%d are left", b.count)
			}
		})
	})
	t.Run("a sweep of what waits for its next try", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, b := many(t)
			l := linkTo(t, o, b, "m", 0, 0)
			if err := o.Ack(b, l, &frame.Ack{CreditMessages: 1 << 20, CreditBytes: 1 << 30}); err != nil {
				t.Fatal(err)
			}
			carried(t, o, b, l)
			for seq := range uint64(2*expiredAtOnce + 1) {
				if _, err := o.Nack(b, l, &frame.Nack{Seq: seq + 1, After: time.Hour}, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			for i, left := range left {
				more := o.sweepSome(unixNano())
				if b.count != left || len(b.delayed) != left || more != (i < 2) {
					t.Fatalf("%d are left after %d", b.count, i)
				}
			}
		})
	})
}
