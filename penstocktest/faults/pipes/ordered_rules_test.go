package pipes_test

// What groups that keep an order do by the rules that all groups have: AckWait, full
// queues, requests, and pauses.

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// inOrder are the modes that keep an order, and how many orders the messages of keyed have
// in them.
var inOrder = map[string]struct {
	mode   penstock.Mode
	orders int
}{
	"Failover":    {penstock.Failover, 1},
	"KeyAffinity": {penstock.KeyAffinity, orderedKeys},
}

// recorder is a member whose handler writes a history.
type recorder struct {
	history
	name  string
	begun atomic.Int64
}

// handler enters what comes into the history, and then does what do does.
func (r *recorder) handler(do func(context.Context, penstock.Delivery) error) penstock.Handler {
	return func(ctx context.Context, d penstock.Delivery) error {
		r.add(doing{id: harness.Number(d), at: time.Now().UnixNano(), by: r.name})
		r.begun.Add(1)
		return do(ctx, d)
	}
}

// histories puts together what recorders did.
func histories(all ...*recorder) []doing {
	var members []*child
	for _, r := range all {
		c := &child{name: r.name}
		r.mu.Lock()
		c.did.all = append(c.did.all, r.all...)
		r.mu.Unlock()
		members = append(members, c)
	}
	return together(members...)
}

func nothing(context.Context, penstock.Delivery) error { return nil }

// Promise: in a group that keeps an order a handler that is busy for longer than AckWait
// loses its message, and those behind it wait for the next member to handle it.
func TestAckWaitKeepsOrder(t *testing.T) {
	for name, mode := range inOrder {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, ctx := penstocktest.Space(t), harness.Context(t)
			orders := harness.Register(t, harness.Runtime(t, ns), "orders", quick)
			const n = 2000
			var stuck sync.Map // the messages whose first handler was busy for too long
			members := []*recorder{{name: "first"}, {name: "second"}}
			for _, r := range members {
				m := harness.Join(t, harness.Runtime(t, ns), "orders", "billing", penstock.MemberID(r.name),
					penstock.InMode(mode.mode), penstock.AckWait(500*time.Millisecond), penstock.Concurrency(4))
				consume(t, m, r.handler(func(ctx context.Context, d penstock.Delivery) error {
					if id := harness.Number(d); id%500 == 250 {
						if _, again := stuck.LoadOrStore(id, true); !again {
							<-ctx.Done()
							return context.Cause(ctx)
						}
					}
					return nil
				}))
			}
			for id := range n {
				if err := orders.Send(ctx, keyed(id)); err != nil {
					t.Fatal(err)
				}
			}
			if err := orders.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			all := histories(members...)
			again := checkOrder(t, all, mode.orders)
			if len(all)-again != n {
				t.Errorf("of %d messages %d were handled", n, len(all)-again)
			}
			if again < n/500 {
				t.Errorf("%d messages were handled again: less than were given up", again)
			}
		})
	}
}

// Promise: a full group that keeps an order and drops its oldest messages hands out what is
// left in order, and counts each that it drops.
func TestDropOldestKeepsOrder(t *testing.T) {
	for name, mode := range inOrder {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, ctx := penstocktest.Space(t), harness.Context(t)
			rt := harness.Runtime(t, ns)
			events := penstocktest.Record(t, rt)
			orders := harness.Register(t, rt, "orders", penstock.MaxQueue(100, 8<<20))
			r := &recorder{name: "slow"}
			open := make(chan struct{})
			m := harness.Join(t, harness.Runtime(t, ns), "orders", "billing", penstock.InMode(mode.mode),
				penstock.OnFull(penstock.QueueDropOldest), penstock.Window(4), penstock.Concurrency(2))
			consume(t, m, r.handler(func(ctx context.Context, _ penstock.Delivery) error {
				select {
				case <-open:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}))
			const n = 3000
			for id := range n {
				if err := orders.Send(ctx, keyed(id)); err != nil {
					t.Fatal(err)
				}
			}
			close(open)
			if err := orders.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			all := histories(r)
			last := make(map[int]int)
			for _, d := range all {
				of := d.id % mode.orders
				if at, had := last[of]; had && d.id <= at {
					t.Errorf("%d was handled after %d", d.id, at)
				}
				last[of] = d.id
			}
			if last := last[(n-1)%mode.orders]; last != n-1 {
				t.Errorf("the newest message that was handled is %d", last)
			}
			dropped := 0
			for _, p := range orders.Stats() {
				dropped += int(p.Dropped)
			}
			if dropped == 0 || len(all)+dropped != n {
				t.Errorf("%d messages were sent, %d handled, %d dropped", n, len(all), dropped)
			}
			told := 0
			penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MessagesDropped) bool {
				told += e.Count
				return told >= dropped
			})
		})
	}
}

// Promise: requests to a group that keeps an order are handled in it and replied to, when
// members die by SIGKILL, too.
func TestRequestsKeepOrder(t *testing.T) {
	for name, mode := range inOrder {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, ctx := penstocktest.Space(t), harness.Context(t)
			orders := harness.Register(t, harness.Runtime(t, ns), "orders", quick)
			dies := spawn(t, childSpec{
				Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
				Member: "dies", Mode: mode.mode, Window: window, History: true, Concurrency: 4,
			}, harness.NewLedger())
			dies.awaitReady(t)
			stays := &recorder{name: "stays"}
			consume(t, harness.Join(t, harness.Runtime(t, ns), "orders", "billing", penstock.InMode(mode.mode), penstock.Concurrency(4)),
				stays.handler(func(_ context.Context, d penstock.Delivery) error {
					return d.Reply(harness.Numbered(harness.Number(d)))
				}))
			// One requester for each key: its requests follow one another.
			const keys, each = 7, 40
			faults := make(chan error, keys)
			for key := range keys {
				go func() {
					for i := range each {
						m := harness.Numbered(i*keys + key)
						m.Key = strconv.AppendInt([]byte("key-"), int64(key), 10)
						r, err := orders.Request(ctx, m, penstock.FromGroup("billing"))
						if err == nil && !bytes.Equal(r.Value, m.Value) {
							err = fmt.Errorf("request %d was replied to with %q", i*keys+key, r.Value)
						}
						if err != nil {
							faults <- err
							return
						}
						if i == each/4 && key == 0 {
							faults <- dies.cmd.Process.Kill()
						}
					}
					faults <- nil
				}()
			}
			for range keys + 1 {
				if err := harness.Await(t, "the replies", faults); err != nil {
					t.Error(err)
				}
			}
			harness.Await(t, "the end of the one that dies", harness.Closing(dies.ended))
			next := make(map[int]int)
			for _, d := range histories(stays) {
				if of := d.id % keys; d.id < next[of] {
					t.Errorf("request %d was handled after %d", d.id, next[of])
				} else {
					next[of] = d.id
				}
			}
			if stays.begun.Load() == 0 {
				t.Error("the member that stays got no requests")
			}
		})
	}
}

// Promise: a pause of a group that keeps an order, and the end of the pause, leave no gap
// and change no order.
func TestPauseKeepsOrder(t *testing.T) {
	for name, mode := range inOrder {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns, ctx := penstocktest.Space(t), harness.Context(t)
			rt := harness.Runtime(t, ns)
			orders := harness.Register(t, rt, "orders", quick)
			members := []*recorder{{name: "first"}, {name: "second"}}
			var seen []*penstocktest.Recording
			for _, r := range members {
				own := harness.Runtime(t, ns)
				seen = append(seen, penstocktest.Record(t, own))
				consume(t, harness.Join(t, own, "orders", "billing", penstock.MemberID(r.name), penstock.InMode(mode.mode), penstock.Concurrency(2)),
					r.handler(nothing))
			}
			load := harness.StartLoadOf(t, orders, keyed)
			done := func() int64 { return members[0].begun.Load() + members[1].begun.Load() }
			for range 3 {
				had := done()
				harness.Eventually(t, "work", func() bool { return done() > had+200 })
				if err := rt.PauseGroup(ctx, "orders", "billing", time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				for _, events := range seen {
					penstocktest.WaitEvent(t, events, harness.Patience, func(messages.GroupPaused) bool { return true })
				}
				if err := rt.ResumeGroup(ctx, "orders", "billing"); err != nil {
					t.Fatal(err)
				}
			}
			n := load.Stop(t)
			if err := orders.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			all := histories(members...)
			again := checkOrder(t, all, mode.orders)
			if len(all)-again != n {
				t.Errorf("of %d messages %d were handled", n, len(all)-again)
			}
		})
	}
}
