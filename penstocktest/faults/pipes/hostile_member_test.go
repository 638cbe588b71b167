package pipes_test

// What a member with a token can send, case by case, and what becomes of it: the link ends
// with an event and a Bye that say why, or it is ignored. Whatever it is, the honest member
// of its group gets everything, once.

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// hostileHeld is how many messages a hostile member has in hand when it begins.
const hostileHeld = 8

// hostileLimit is the MaxMessageSize of the tests' destinations, and hostileRecord the
// longest record that it allows.
const (
	hostileLimit  = 1000
	hostileRecord = hostileLimit + 64 + 18*hostileLimit
)

// rawHolder is a hostile member with messages in hand.
type rawHolder struct {
	*rawPeer
	ids   []int        // by sequence, from 1
	acked map[int]bool // numbers of messages that it has acked
}

// ack settles what it has in hand up to a sequence, as a member may.
func (h *rawHolder) ack(to int, change func(*pb.Ack)) {
	a := &pb.Ack{Cumulative: uint64(to)}
	for _, id := range h.ids[:to] {
		h.acked[id] = true
	}
	if change != nil {
		change(a)
	}
	h.say(&pb.Frame{Kind: &pb.Frame_Ack{Ack: a}})
}

// takes notes what has come of f.
func (h *rawHolder) takes(f *pb.Frame) bool {
	for _, r := range f.GetData().GetRecords() {
		h.ids = append(h.ids, harness.Number(penstock.Delivery{Payload: messages.Payload{Value: r.Value}}))
	}
	return len(h.ids) >= hostileHeld
}

// leaves ends a link that lives, in order: the other side still hears and replies.
func (h *rawHolder) leaves() {
	h.t.Helper()
	h.say(&pb.Frame{Kind: &pb.Frame_Drain{Drain: &pb.Drain{}}})
	if !h.until(func(f *pb.Frame) bool { h.takes(f); return f.GetDrain().GetReply() }) {
		h.t.Errorf("the link has ended: %v", h.told)
	}
	h.say(&pb.Frame{Kind: &pb.Frame_Bye{Bye: &pb.Bye{Code: pb.Code_DRAINED}}})
	h.close()
}

// hostileMember is one case.
type hostileMember struct {
	name string
	mode penstock.Mode
	say  func(*rawHolder)
	// breaks is a part of why the link ends by ProtocolViolated; none when it lives.
	breaks string
	// hangsUp: the link has ended, and nothing is said to be violated.
	hangsUp bool
	// unheard: what is said cannot be told from a broken stream, so no Bye is waited for.
	unheard bool
	// held is how many messages the member may keep away: a delay of a day.
	held int
}

// watchMemory fails the test when the heap grew by more than so many bytes at any time.
func watchMemory(t *testing.T, most uint64) {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	base, peak := m.HeapInuse, m.HeapInuse
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			case <-over:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(over)
		<-done
		t.Logf("the heap grew by %d MiB at most", (peak-base)>>20)
		if peak-base > most {
			t.Errorf("the heap grew by %d MiB, want at most %d", (peak-base)>>20, most>>20)
		}
	})
}

// counted is who got which number how often.
type counted struct {
	mu sync.Mutex
	of map[int]int
}

func (c *counted) note(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[int]int)
	}
	c.of[id]++
}

func (c *counted) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.of)
}

// violated waits for the event that names the hostile peer and says why, and for the Bye.
func (p *rawPeer) violated(events *penstocktest.Recording, dest, member, sender, reason string, unheard bool) {
	p.t.Helper()
	e := penstocktest.WaitEvent(p.t, events, harness.Patience, func(e messages.ProtocolViolated) bool {
		return e.Destination == dest && e.Member == member && e.Sender == sender
	})
	if !strings.Contains(e.Err.Error(), reason) || e.Addr == "" {
		p.t.Errorf("the event says %q of %q, want %q", e.Err, e.Addr, reason)
	}
	if unheard {
		return
	}
	p.drained()
	if p.told == nil || p.told.Code != pb.Code_PROTOCOL_ERROR || !strings.Contains(p.told.Reason, reason) {
		p.t.Errorf("the peer was told %v, want %q", p.told, reason)
	}
}

// Promise: whatever a member with a token sends, the other members of its group lose
// nothing and get nothing twice; what breaks the protocol ends its link with an event that
// names it and says why, and it is told; the rest is ignored; memory is bounded.
func TestHostileMember(t *testing.T) {
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	defer bugs(t, rt)()
	watchMemory(t, 192<<20)
	for i, c := range hostileMembers() {
		t.Run(c.name, func(t *testing.T) {
			const n = 20
			dest := fmt.Sprint("member-", i)
			d := harness.Register(t, rt, dest, penstock.SenderID("s"), penstock.MaxMessageSize(hostileLimit),
				penstock.RetryDelay(5*time.Millisecond, 20*time.Millisecond), penstock.MaxAttempts(-1))
			m := harness.Join(t, rt, dest, "g", penstock.InMode(cmp.Or(c.mode, penstock.AtLeastOnce)))
			hello := rawHello(d.URL(), dest, "g", "mallory")
			hello.Mode = pb.Mode(pb.Mode_value[map[penstock.Mode]string{
				penstock.AtMostOnce: "AT_MOST_ONCE", penstock.Failover: "FAILOVER", penstock.KeyAffinity: "KEY_AFFINITY",
			}[c.mode]])
			h := &rawHolder{rawPeer: rawMember(t, tokenOf(t, ns, dest, "s"), hello), acked: make(map[int]bool)}
			h.say(&pb.Frame{Kind: &pb.Frame_Ack{Ack: &pb.Ack{CreditMessages: hostileHeld, CreditBytes: 1 << 20}}})
			harness.Send(t, d, 0, n) // the honest member does not read yet: nobody else has credit
			if !h.until(h.takes) {
				t.Fatalf("the hostile member has %d messages, and is told %v", len(h.ids), h.told)
			}
			var got counted
			stop := honest(t, m, func(d penstock.Delivery) { got.note(harness.Number(d)) })
			defer stop()

			c.say(h)
			switch {
			case c.breaks != "":
				h.violated(events, dest, "mallory", "s", c.breaks, c.unheard)
			case c.hangsUp:
				penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool {
					return e.Destination == dest && e.Member == "mallory"
				})
			default:
				h.leaves()
			}
			h.close()
			harness.Eventually(t, "the honest member gets the rest", func() bool { return got.distinct()+len(h.acked)+c.held >= n })
			if c.held == 0 {
				if err := d.Flush(harness.Context(t)); err != nil {
					t.Errorf("what was left: %v", err)
				}
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			for id := range n {
				if times := got.of[id]; times > 1 || h.acked[id] && times > 0 {
					t.Errorf("message %d was handled %d times by the honest member, acked by the other one: %t", id, times, h.acked[id])
				}
			}
			if err := m.Leave(harness.Context(t)); err != nil && !errors.Is(err, penstock.ErrUnavailable) { // a busy etcd
				t.Errorf("leave: %v", err)
			}
			for _, e := range events.Events() {
				if v, ok := e.(messages.ProtocolViolated); ok && v.Destination == dest && (v.Member != "mallory" || c.breaks == "") {
					t.Errorf("unexpected: %+v", v)
				}
			}
		})
	}
}
