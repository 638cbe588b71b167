package sendq

// Groups that keep an order, against members that do what package order and recvq say:
// frames and what members say of them are under way for as long as the test likes.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/actors/pipes/internal/order"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// came is a message as a member got it.
type came struct {
	seq   uint64 // of the link
	id    int
	nacks uint64
}

// orderMember is a member at the other end of a link.
type orderMember struct {
	l      *Link
	unread []came
	inHand []came
	done   recvq.AckSet
	broken uint64
	nacks  uint64
	says   []func() error // to the sender, in order
	reads  bool
	heard  time.Time // when its lease began; the sender hears of it at once
	pings  uint64
	gone   bool // the sender has given the link up, and the member has not noticed
}

// orderWorld is a queue with one group, and what became of each message.
type orderWorld struct {
	q       *Queue
	b       *Backlog
	mode    messages.Mode
	now     time.Time
	keys    int
	sent    int
	handled map[int]bool // or given up
	members []*orderMember
	joined  int
	fails   bool // the dead-letter handler does
}

const orderWindow = 8

func newOrderWorld(mode messages.Mode, keys int) *orderWorld {
	w := &orderWorld{mode: mode, keys: keys, now: time.Unix(1000, 0), handled: make(map[int]bool)}
	w.q = New("orders", Config{
		MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 1 << 10, Bytes: 1 << 20}, MaxAttempts: 2, MaxDeaths: 4,
		Retry: messages.Retry{Min: time.Second, Max: 4 * time.Second}, DeadLetters: true,
	}, func(messages.Event) {}, func(func()) {})
	w.b = w.q.Backlog("billing", messages.GroupSettings{Mode: mode, Policy: messages.QueueBlock})
	return w
}

// orderOf is the order that a message is in; -1 for none.
func (w *orderWorld) orderOf(id int) int {
	if w.mode == messages.Failover {
		return 0
	}
	return id%(w.keys+1) - 1 // one of them has no key
}

func (w *orderWorld) send(t *rapid.T) {
	m := messages.Message{Value: strconv.AppendInt(nil, int64(w.sent), 10)}
	if k := w.sent%(w.keys+1) - 1; k >= 0 {
		m.Key = fmt.Appendf(nil, "key-%d", k)
	}
	if err := w.q.TrySend(context.Background(), &m); err != nil {
		if errors.Is(err, messages.ErrGroupFull) {
			return
		}
		t.Fatal(err)
	}
	w.sent++
}

func (w *orderWorld) join(concurrency int) *orderMember {
	w.joined++
	m := &orderMember{l: NewLink(fmt.Sprint("member-", w.joined), concurrency, orderWindow)}
	w.members = append(w.members, m)
	w.q.Attach(w.b, m.l)
	w.ping(m)
	return m
}

// ping renews a member's lease.
func (w *orderWorld) ping(m *orderMember) {
	m.pings++
	m.heard = w.now
	w.q.Heard(m.l, frame.Ping{Number: m.pings}, w.now)
}

// ack has a member say what is settled, and grant credit while it reads.
func (w *orderWorld) ack(m *orderMember) {
	a := frame.Ack{Cumulative: m.done.Cumulative, Ranges: slices.Clone(m.done.Ranges), Withdraw: !m.reads}
	if m.reads {
		a.CreditMessages, a.CreditBytes = m.done.Count+orderWindow, 1<<20
	}
	m.says = append(m.says, func() error { return w.q.Ack(w.b, m.l, &a) })
}

func (w *orderWorld) nack(m *orderMember, seq uint64, kind uint32) {
	m.nacks++
	if w.mode == messages.Failover && order.Breaks(kind) {
		m.broken = m.nacks
	}
	m.done.Add(seq)
	n := frame.Nack{Seq: seq, Kind: kind, Reason: "because"}
	m.says = append(m.says, func() error { _, err := w.q.Nack(w.b, m.l, &n, w.now); return err })
}

// pull has a link's writer write a batch.
func (w *orderWorld) pull(t *rapid.T, m *orderMember) bool {
	b, ok := w.q.Next(w.b, m.l)
	if !ok || m.gone {
		return false
	}
	rest := b.Records
	for i := range b.Count {
		var r messages.Payload
		n, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		id, _ := strconv.Atoi(string(r.Value))
		m.unread = append(m.unread, came{b.First + uint64(i), id, b.Nacks})
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes behind %d records", len(rest), b.Count)
	}
	return true
}

// hand has a member begin with its next message, and says whether it did.
func (w *orderWorld) hand(t *rapid.T, m *orderMember) bool {
	for len(m.unread) > 0 {
		c := m.unread[0]
		if c.nacks < m.broken {
			m.done.Add(c.seq)
			m.unread = m.unread[1:]
			continue
		}
		if len(m.inHand) > 0 && w.mode == messages.Failover || len(m.inHand) >= m.l.concurrency || !m.reads || w.now.Sub(m.heard) >= order.HandsOutFor {
			return false
		}
		m.unread = m.unread[1:]
		w.check(t, m, c)
		m.inHand = append(m.inHand, c)
		return true
	}
	return false
}

// check is the promise.
func (w *orderWorld) check(t *rapid.T, m *orderMember, c came) {
	of := w.orderOf(c.id)
	if of < 0 {
		return
	}
	for id := range c.id {
		if w.orderOf(id) == of && !w.handled[id] {
			t.Fatalf("%s got %d before %d of the same order was handled", m.l.Member, c.id, id)
		}
	}
	for _, other := range w.members {
		for _, x := range other.inHand {
			if !other.gone && w.orderOf(x.id) == of {
				t.Fatalf("%s got %d while %s had %d of the same order", m.l.Member, c.id, other.l.Member, x.id)
			}
		}
	}
}

// finish ends a handling. Nobody knows of it yet.
func (w *orderWorld) finish(m *orderMember, i int, kind uint32, fails bool) {
	c := m.inHand[i]
	m.inHand = slices.Delete(m.inHand, i, i+1)
	switch {
	case !fails:
		w.handled[c.id] = true
		m.done.Add(c.seq)
	case kind == frame.NackRejected:
		w.handled[c.id] = true
		fallthrough
	default:
		w.nack(m, c.seq, kind)
	}
	w.ack(m)
}

// stopReading has a member give back what it has not begun.
func (w *orderWorld) stopReading(m *orderMember) {
	m.reads = false
	for i, c := range m.unread {
		if i == 0 || w.mode != messages.Failover {
			w.nack(m, c.seq, frame.NackReturned)
		} else {
			m.done.Add(c.seq)
		}
	}
	m.unread = nil
	w.ack(m)
}

// part ends a link. Where that was no orderly end the member may go on for a while.
func (w *orderWorld) part(t *rapid.T, m *orderMember, died bool) {
	if m.says = nil; !died {
		for _, c := range m.inHand {
			if rapid.Bool().Draw(t, "handled") {
				w.handled[c.id] = true
			}
		}
		m.inHand = nil
	}
	if m.gone = died; !died {
		w.members = slices.DeleteFunc(w.members, func(x *orderMember) bool { return x == m })
	}
	w.q.Detach(w.b, m.l, died, w.now)
	w.q.RequeueDue(w.b, w.now)
	w.letters()
}

// letters has the dead-letter handler take what is for it.
func (w *orderWorld) letters() {
	for {
		d, ok := w.q.NextExhausted(w.b)
		if !ok {
			return
		}
		if w.fails && !d.Rejected {
			w.q.DeadLettered(w.b, errors.New("the handler fails"), w.now)
			continue
		}
		id, _ := strconv.Atoi(string(d.Message.Value))
		w.handled[id] = true
		w.q.DeadLettered(w.b, nil, w.now)
	}
}

func (w *orderWorld) hear(t *rapid.T, m *orderMember) {
	if len(m.says) == 0 || m.gone {
		return
	}
	say := m.says[0]
	m.says = m.says[1:]
	if err := say(); err != nil {
		t.Fatal(err)
	}
	w.letters()
}

// settle has one member that fails at nothing handle the rest.
func (w *orderWorld) settle(t *rapid.T) {
	w.fails = false
	for _, m := range slices.Clone(w.members) {
		w.part(t, m, false)
	}
	m := w.join(1)
	m.reads = true
	w.ack(m)
	for range 100 * (w.sent + 10) {
		if w.q.Look(w.b).Queued == 0 && w.q.Pending() == 0 {
			break
		}
		w.now = w.now.Add(time.Second)
		w.ping(m)
		w.q.RequeueDue(w.b, w.now)
		w.letters()
		for len(m.says) > 0 {
			w.hear(t, m)
		}
		w.pull(t, m)
		for w.hand(t, m) {
			w.finish(m, 0, 0, false)
		}
		w.ack(m)
	}
	for id := range w.sent {
		if !w.handled[id] {
			t.Fatalf("%d of %d was not handled: %+v, %+v", id, w.sent, w.q.Look(w.b), w.q.LookAt(m.l))
		}
	}
	if n := w.q.Pending(); n > 0 {
		t.Fatalf("%d are pending, and all are handled", n)
	}
	if w.b.resting != 0 || w.b.queuedSize() != 0 {
		t.Fatalf("%d rest and %d bytes wait, and all are handled", w.b.resting, w.b.queuedSize())
	}
}

// Promise: of an order no message is handled before an earlier one that was not, and of an
// order one message at a time is in a handler; whatever members say and whenever it comes,
// and however their links end. In the end all are handled or given up.
func TestOrderIsKept(t *testing.T) {
	for _, mode := range []messages.Mode{messages.Failover, messages.KeyAffinity} {
		t.Run(string(mode), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newOrderWorld(mode, rapid.IntRange(1, 4).Draw(t, "keys"))
				one := func(do func(*rapid.T, *orderMember)) func(*rapid.T) {
					return func(t *rapid.T) {
						if len(w.members) > 0 {
							do(t, rapid.SampledFrom(w.members).Draw(t, "member"))
						}
					}
				}
				finish := one(func(t *rapid.T, m *orderMember) {
					if len(m.inHand) == 0 {
						return
					}
					kind := rapid.SampledFrom([]uint32{frame.NackFailed, frame.NackReturned, frame.NackExpired, frame.NackRejected}).Draw(t, "kind")
					w.finish(m, rapid.IntRange(0, len(m.inHand)-1).Draw(t, "which"), kind, rapid.IntRange(0, 3).Draw(t, "fails") == 0)
				})
				t.Repeat(map[string]func(*rapid.T){
					"send": func(t *rapid.T) {
						for range rapid.IntRange(1, 6).Draw(t, "messages") {
							w.send(t)
						}
					},
					"join": func(t *rapid.T) {
						if len(w.members) < 4 {
							m := w.join(rapid.IntRange(1, 3).Draw(t, "concurrency"))
							m.reads = true
							w.ack(m)
						}
					},
					"pull": one(func(t *rapid.T, m *orderMember) { w.pull(t, m) }),
					"hand": one(func(t *rapid.T, m *orderMember) {
						for w.hand(t, m) && rapid.Bool().Draw(t, "more") {
						}
					}),
					"finish": finish,
					"hear": one(func(t *rapid.T, m *orderMember) {
						for range rapid.IntRange(1, 4).Draw(t, "says") {
							w.hear(t, m)
						}
					}),
					"work": one(func(t *rapid.T, m *orderMember) {
						for range 3 {
							w.pull(t, m)
							w.hand(t, m)
						}
						finish(t)
						w.hear(t, m)
					}),
					"stop reading": one(func(_ *rapid.T, m *orderMember) {
						if m.reads {
							w.stopReading(m)
						}
					}),
					"read": one(func(_ *rapid.T, m *orderMember) {
						if !m.reads {
							m.reads = true
							w.ack(m)
						}
					}),
					"leave": one(func(t *rapid.T, m *orderMember) {
						if !m.gone {
							w.q.Hold(w.b, m.l)
						}
					}),
					"dies":  one(func(t *rapid.T, m *orderMember) { w.part(t, m, true) }),
					"parts": one(func(t *rapid.T, m *orderMember) { w.part(t, m, false) }),
					"time": func(t *rapid.T) {
						w.now = w.now.Add(time.Second)
						for _, m := range w.members {
							if !m.gone && rapid.IntRange(0, 3).Draw(t, "ping") > 0 {
								w.ping(m)
							}
						}
						w.q.RequeueDue(w.b, w.now)
						w.letters()
					},
					"dead letters": func(*rapid.T) { w.fails = !w.fails },
				})
				w.settle(t)
			})
		})
	}
}

// A request that was rejected holds up no order, and neither when it is withdrawn while the
// dead-letter handler is to be tried again.
func TestWithdrawOfWhatWasRejectedHoldsUpNothing(t *testing.T) {
	for _, mode := range []messages.Mode{messages.Failover, messages.KeyAffinity} {
		t.Run(string(mode), func(t *testing.T) {
			o, b, _ := testQueue(t, messages.GroupSettings{Mode: mode}, func(c *Config) { c.DeadLetters = true })
			l := linkTo(t, o, b, "m", 1<<10, 1<<20)
			a := &Asking{Groups: []string{b.Group}, Each: func(string, error) {}}
			m := messages.Ask(messages.Message{Key: []byte("k"), Value: []byte("1")}, 7)
			if err := o.Ask(t.Context(), &m, a); err != nil {
				t.Fatal(err)
			}
			if got, ok := o.Next(b, l); !ok || got.Count != 1 {
				t.Fatalf("%d messages were sent", got.Count)
			}
			if _, err := o.Nack(b, l, &frame.Nack{Seq: 1, Kind: frame.NackRejected}, time.Now()); err != nil {
				t.Fatal(err)
			}
			o.DeadLettered(b, errors.New("the handler fails"), time.Now())
			o.Withdraw(a)
			mustSend(t, o, &messages.Message{Key: []byte("k"), Value: []byte("2")})
			if got, ok := o.Next(b, l); !ok || got.Count != 1 || b.resting != 0 {
				t.Errorf("%d messages were sent, %d rest", got.Count, b.resting)
			}
		})
	}
}

// Promise: what a member may hand out still is neither sent to another one before its lease
// is over nor given to the dead-letter handler, at the limit of deaths, too.
func TestAtTheLimitOfDeathsALeaseCounts(t *testing.T) {
	for _, mode := range []messages.Mode{messages.Failover, messages.KeyAffinity} {
		for _, letters := range []bool{true, false} {
			t.Run(fmt.Sprint(mode, letters), func(t *testing.T) {
				o, b, _ := testQueue(t, messages.GroupSettings{Mode: mode}, func(c *Config) {
					c.DeadLetters, c.MaxDeaths, c.Retry = letters, 1, messages.Retry{Min: time.Millisecond, Max: time.Second}
				})
				l := linkTo(t, o, b, "m", 1<<10, 1<<20)
				now := time.Now()
				o.Heard(l, frame.Ping{Number: 1}, now)
				mustSend(t, o, &messages.Message{Key: []byte("k"), Value: []byte("1")}, &messages.Message{Key: []byte("k"), Value: []byte("2")})
				if _, ok := o.Next(b, l); !ok {
					t.Fatal("nothing was sent")
				}
				o.Detach(b, l, true, now)
				next := linkTo(t, o, b, "n", 1<<10, 1<<20)
				early := func(at time.Time) bool {
					o.RequeueDue(b, at)
					if _, ok := o.NextExhausted(b); ok {
						return true
					}
					_, ok := o.Next(b, next)
					return ok
				}
				if early(now) || early(now.Add(order.GivenUpAfter-time.Millisecond)) {
					t.Fatal("something went on while the lease may be valid")
				}
				if o.Stranded() {
					t.Error("what waits for the lease counts as stranded")
				}
				o.RequeueDue(b, now.Add(order.GivenUpAfter))
				if _, ok := o.NextExhausted(b); ok != letters {
					t.Fatalf("for the dead-letter handler: %t", ok)
				}
				if o.DeadLettered(b, nil, now.Add(order.GivenUpAfter)); b.resting != 0 && mode == messages.KeyAffinity {
					t.Errorf("%d rest", b.resting)
				}
				if got, ok := o.Next(b, next); !ok || got.First != 1 {
					t.Errorf("the rest was not sent: %+v", b.inOrder())
				}
			})
		}
	}
}

// A request that a member may hand out still is not taken back: what is behind it must not
// go to another member yet.
func TestWithdrawWaitsForNoLease(t *testing.T) {
	for _, mode := range []messages.Mode{messages.Failover, messages.KeyAffinity} {
		t.Run(string(mode), func(t *testing.T) {
			o, b, _ := testQueue(t, messages.GroupSettings{Mode: mode}, nil)
			l := linkTo(t, o, b, "m", 1<<10, 1<<20)
			now := time.Now()
			o.Heard(l, frame.Ping{Number: 1}, now)
			a := &Asking{Groups: []string{b.Group}, Each: func(string, error) {}}
			m := messages.Ask(messages.Message{Key: []byte("k"), Value: []byte("1")}, 7)
			if err := o.Ask(t.Context(), &m, a); err != nil {
				t.Fatal(err)
			}
			if _, ok := o.Next(b, l); !ok {
				t.Fatal("nothing was sent")
			}
			mustSend(t, o, &messages.Message{Key: []byte("k"), Value: []byte("2")})
			o.Detach(b, l, true, now)
			next := linkTo(t, o, b, "n", 1<<10, 1<<20)
			o.Withdraw(a)
			if _, ok := o.Next(b, next); ok {
				t.Error("what is behind it was sent while the lease may be valid")
			}
			o.RequeueDue(b, now.Add(order.GivenUpAfter))
			if _, ok := o.Next(b, next); !ok {
				t.Error("nothing is sent once the lease is over")
			}
		})
	}
}

// Promise: messages without a key are not held up by those with one, however many of them
// come, nor the other way round.
func TestMessagesWithAndWithoutAKeyTakeTurns(t *testing.T) {
	o, b, _ := testQueue(t, messages.GroupSettings{Mode: messages.KeyAffinity}, nil)
	l := linkTo(t, o, b, "m", 8, 1<<20)
	for round := range 20 {
		mustSend(t, o, recordtest.Numbered(uint64(round+1), 8))
		for i := range 16 {
			mustSend(t, o, &messages.Message{Key: fmt.Appendf(nil, "key-%d-%d", round, i), Value: []byte("1")})
		}
	}
	for range 5 { // a frame of each, and then one of the other
		o.Next(b, l)
		if err := o.Ack(b, l, &frame.Ack{Cumulative: l.sent, CreditMessages: l.sent + 8, CreditBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
	}
	if b.fresh.count == 20 || b.keyed.Len() == 20*16 {
		t.Errorf("%d without and %d with a key wait still", b.fresh.count, b.keyed.Len())
	}
}
