package sendq

// How long a member may keep what it was sent, by the sender's clock.

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// keeper is a model of a member and its link: handlers that take from what has
// come, in order, each for a time of its own.
type keeper struct {
	t      *rapid.T
	now    time.Time
	wait   time.Duration
	sent   uint64
	handed uint64
	hands  map[uint64]*keptOne
	acks   recvq.AckSet
	tenure tenure
}

type keptOne struct {
	since time.Time     // handed out, or renewed
	done  time.Time     // when its handler is done
	renew time.Duration // how often it calls InProgress; 0 never
}

// step lets d pass: what is due is settled, what waits is taken.
func (k *keeper) step(d time.Duration, handlers int) {
	k.now = k.now.Add(d)
	var renewed []frame.Range
	for _, seq := range slices.Sorted(maps.Keys(k.hands)) {
		h := k.hands[seq]
		switch {
		case !k.now.Before(h.done), k.now.Sub(h.since) >= k.wait:
			delete(k.hands, seq) // acked, or given up by the member itself
			k.acks.Add(seq)
		case h.renew > 0 && k.now.Sub(h.since) >= h.renew:
			h.since = k.now
			renewed = append(renewed, frame.Range{From: seq, To: seq})
		}
	}
	for len(k.hands) < handlers && k.handed < k.sent {
		k.handed++
		h := &keptOne{since: k.now}
		if rapid.Bool().Draw(k.t, "renews") {
			h.renew = k.wait / 2
			h.done = k.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(k.t, "ms")) * time.Millisecond)
		} else {
			h.done = k.now.Add(time.Duration(rapid.IntRange(0, 1500).Draw(k.t, "ms")) * time.Millisecond)
		}
		k.hands[k.handed] = h
	}
	a := frame.Ack{Cumulative: k.acks.Cumulative, AckWait: k.wait, Renewed: joinedUp(renewed)}
	a.Ranges = append(a.Ranges, k.acks.Ranges...)
	k.tenure.hears(&a)
}

// joinedUp puts neighbours together, as a member does.
func joinedUp(in []frame.Range) (out []frame.Range) {
	for _, r := range in {
		if n := len(out); n > 0 && out[n-1].To+1 == r.From {
			out[n-1].To = r.To
			continue
		}
		out = append(out, r)
	}
	return out
}

// A member that keeps its AckWait is never taken anything from, however slow it is
// and however much waits in its window.
func TestTenureLeavesHonestMembersAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &keeper{t: t, now: time.Now(), wait: time.Second, hands: map[uint64]*keptOne{}}
		handlers := rapid.IntRange(1, 4).Draw(t, "handlers")
		var sweep time.Time
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 5).Draw(t, "sends") == 0 {
				k.sent += rapid.Uint64Range(1, 30).Draw(t, "n")
			}
			k.step(100*time.Millisecond, handlers)
			if k.now.Sub(sweep) < OverdueEvery {
				continue
			}
			sweep = k.now
			for _, r := range k.tenure.overdue(k.now, k.sent, k.acks.Cumulative == k.sent) {
				k.acks.Gaps(r.To, func(seq uint64) {
					if seq >= r.From {
						t.Fatalf("%d of %d is taken back, handed out up to %d, in hand %v", seq, k.sent, k.handed, k.hands[seq])
					}
				})
			}
		}
	})
}

// What a member keeps is taken back after its limit and two looks, whatever else
// it settles meanwhile: all of it when it settles nothing.
func TestTenureTakesBackWhatIsKept(t *testing.T) {
	for name, settles := range map[string]bool{"it settles nothing": false, "it settles others": true} {
		t.Run(name, func(t *testing.T) {
			const sent = 100
			var x tenure
			x.hears(&frame.Ack{AckWait: time.Second})
			began := time.Now()
			for now, high := began, uint64(1); ; now = now.Add(OverdueEvery) {
				if settles && high < sent {
					high++
					x.hears(&frame.Ack{Ranges: []frame.Range{{From: 2, To: high}}})
				}
				late := x.overdue(now, sent, false)
				if len(late) == 0 {
					if now.Sub(began) > x.limit()+3*OverdueEvery {
						t.Fatalf("nothing is taken back after %s", now.Sub(began))
					}
					continue
				}
				if took := now.Sub(began); took < x.limit() {
					t.Errorf("taken back after %s", took)
				}
				if late[0].From != 1 || !settles && late[len(late)-1].To != sent {
					t.Errorf("taken back: %v", late)
				}
				break
			}
		})
	}
}

// Time in which the sender stood still is not the member's: its acks may be unread.
func TestTenureOfASenderThatStoodStill(t *testing.T) {
	const sent = 100
	var x tenure
	x.hears(&frame.Ack{AckWait: time.Second})
	now := time.Now()
	for range 3 {
		now = now.Add(OverdueEvery)
		x.overdue(now, sent, false)
	}
	now = now.Add(time.Minute)
	if late := x.overdue(now, sent, false); len(late) > 0 {
		t.Errorf("taken back before an ack could be read: %v", late)
	}
	woken, late := now, []frame.Range(nil)
	for len(late) == 0 && now.Sub(woken) < 2*x.limit() {
		now = now.Add(OverdueEvery)
		late = x.overdue(now, sent, false)
	}
	if len(late) == 0 {
		t.Error("nothing is taken back of a member that keeps all of it")
	}
}

func TestTenureWithoutALimit(t *testing.T) {
	var x tenure
	x.hears(&frame.Ack{AckWait: -1})
	for i := range 100 {
		if late := x.overdue(time.Now().Add(time.Duration(i)*time.Hour), 10, false); len(late) > 0 {
			t.Fatalf("taken back: %v", late)
		}
	}
	if x.marks != nil {
		t.Errorf("%d marks are kept", len(x.marks))
	}
}

// A long AckWait costs little memory.
func TestLongAckWaitIsKeptInFewMarks(t *testing.T) {
	const wait = 10 * time.Hour
	var x tenure
	x.hears(&frame.Ack{AckWait: wait})
	now := time.Now()
	for seq := uint64(1); seq < uint64(2*wait/time.Second); seq++ {
		now = now.Add(time.Second)
		x.hears(&frame.Ack{Cumulative: seq})
		x.overdue(now, seq+10, false)
		if len(x.marks) > 2*marksKept {
			t.Fatalf("after %d s there are %d marks", seq, len(x.marks))
		}
	}
}

// What is renewed stays, and what the member says is bounded.
func TestTenureRenewed(t *testing.T) {
	var x tenure
	x.renewals = []renewal{{Range: frame.Range{From: 4, To: 5}}, {Range: frame.Range{From: 1, To: 1}}, {Range: frame.Range{From: 9, To: 30}}, {Range: frame.Range{From: 5, To: 6}}}
	if got := x.without(frame.Range{From: 1, To: 10}); !slices.Equal(got, []frame.Range{{From: 2, To: 3}, {From: 7, To: 8}}) {
		t.Errorf("left: %v", got)
	}
	for range 2 * renewalsKept {
		x.hears(&frame.Ack{Renewed: []frame.Range{{From: 1, To: 1}}})
	}
	if len(x.renewals) > renewalsKept {
		t.Errorf("%d renewals are kept", len(x.renewals))
	}
	now := time.Now()
	for past := time.Duration(0); past <= x.limit(); past += OverdueEvery {
		x.overdue(now.Add(past), 10, false)
	}
	if len(x.renewals) > 0 {
		t.Errorf("%d renewals are kept after their time", len(x.renewals))
	}
}

// A member that was taken something back from gets nothing until it has settled
// that, then one message at a time until it settles one in time.
func TestAHungMemberIsTriedWithOne(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "w1", 100, 1<<20)
	l.tenure.wait = time.Second
	give := func(n int) {
		t.Helper()
		for i := range n {
			m := recordtest.Numbered(uint64(i), 8)
			if err := o.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	next := func() int {
		out, _ := o.Next(b, l)
		return out.Count
	}
	ack := func(n uint64) {
		t.Helper()
		if err := o.Ack(b, l, &frame.Ack{Cumulative: n, CreditMessages: 200, CreditBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
	}
	give(10)
	for sent := 0; sent < 10; {
		sent += next()
	}
	now := time.Now()
	for range 20 {
		now = now.Add(OverdueEvery)
		o.TakeBack(b, l, now)
	}
	if b.again.count != 10 || l.tenure.standing != linkHung {
		t.Fatalf("%d taken back, standing %d", b.again.count, l.tenure.standing)
	}
	if n := next(); n > 0 {
		t.Fatalf("a hung member got %d", n)
	}
	ack(10)
	if o.Pending() != 10 {
		t.Fatalf("%d pending after late acks", o.Pending())
	}
	if n := next(); n != 1 {
		t.Fatalf("a member on trial got %d", n)
	}
	if n := next(); n > 0 {
		t.Fatalf("and %d more before it settled", n)
	}
	ack(11)
	if n := next(); n < 2 {
		t.Fatalf("a member that settled in time got %d", n)
	}
}

// Promise: while a link has nothing out nobody looks for what is overdue, however long that
// takes, and what is sent then has all of its time.
func TestAnIdleLinkIsNotLookedAt(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "w1", 100, 1<<20)
	now := time.Now()
	tick := func() (looked bool, back int) {
		now = now.Add(OverdueEvery)
		if o.Idle(l, now) {
			return false, 0
		}
		return true, o.TakeBack(b, l, now)
	}
	for round := range uint64(3) {
		for range 200 {
			if looked, _ := tick(); looked {
				t.Fatal("an idle link was looked at")
			}
		}
		mustSend(t, o, recordtest.Numbered(round, 8))
		mustNext(t, o, b, l)
		o.Next(b, l)
		for range 40 { // AckWait and half of it, less some seconds
			if looked, back := tick(); !looked || back > 0 {
				t.Fatalf("round %d: looked at: %t, %d taken back", round, looked, back)
			}
		}
		if err := o.Ack(b, l, &frame.Ack{Cumulative: round + 1, CreditMessages: 100, CreditBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	mustSend(t, o, recordtest.Numbered(9, 8))
	mustNext(t, o, b, l)
	o.Next(b, l)
	for range 60 {
		if _, back := tick(); back == 1 {
			return
		}
	}
	t.Error("what a member keeps is never taken back")
}

// Credit that is taken back cannot be used; what is granted later can.
func TestWithdrawnCredit(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{}, nil)
	l := linkTo(t, o, b, "w1", 100, 1<<20)
	if err := o.Ack(b, l, &frame.Ack{Withdraw: true}); err != nil {
		t.Fatal(err)
	}
	if err := o.Send(t.Context(), recordtest.Numbered(1, 8)); err != nil {
		t.Fatal(err)
	}
	if out, ok := o.Next(b, l); ok {
		t.Fatalf("%d sent without credit", out.Count)
	}
	if err := o.Ack(b, l, &frame.Ack{CreditMessages: 64, CreditBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, ok := o.Next(b, l); !ok {
		t.Fatal("nothing is sent, and there is credit again")
	}
	if err := o.Ack(b, l, &frame.Ack{Renewed: []frame.Range{{From: 1, To: 2}}}); err == nil {
		t.Error("what was never sent is in progress")
	}
}
