package pipes_test

// The life of a group: who may end before whom, what is left in etcd then, and
// whose settings count.

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/lease"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// Promise: the end of the last sender, in order or not, shortens no KeepFor: what
// the next sender sends is kept for a group without members.
func TestGroupOutlivesTheLastSender(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keep time.Duration
		end  func(t *testing.T, rt *penstock.Runtime, d *penstock.Destination) error
	}{
		"stop, forever": {penstock.Forever, func(t *testing.T, rt *penstock.Runtime, _ *penstock.Destination) error {
			return rt.Stop(harness.Context(t))
		}},
		"stop": {time.Minute, func(t *testing.T, rt *penstock.Runtime, _ *penstock.Destination) error {
			return rt.Stop(harness.Context(t))
		}},
		"unregister": {time.Minute, func(t *testing.T, _ *penstock.Runtime, d *penstock.Destination) error {
			return d.Unregister(harness.Context(t))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := penstocktest.Space(t)
			old, consumers := harness.Runtime(t, ns), harness.Runtime(t, ns)
			d := harness.Register(t, old, "orders")
			if err := harness.Join(t, consumers, "orders", "audit", penstock.KeepFor(c.keep)).Leave(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			if err := c.end(t, old, d); err != nil {
				t.Fatal(err)
			}
			harness.Send(t, harness.Register(t, harness.Runtime(t, ns), "orders"), 0, 5)
			l := harness.NewLedger()
			l.Handle(t, "back", harness.Join(t, consumers, "orders", "audit", penstock.KeepFor(c.keep)))
			l.Await(t, "what was sent meanwhile", func(now harness.Tally) bool { return now.Distinct == 5 })
		})
	}
}

// Promise: whoever ends last, nothing of a group is left in etcd after its
// KeepFor and the leases.
func TestNoKeyOfAGroupIsLeft(t *testing.T) {
	t.Parallel()
	const keep = time.Second
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, play := range map[string]func(t *testing.T, ns string){
		"the sender ends first": func(t *testing.T, ns string) {
			rt := harness.Runtime(t, ns)
			d := harness.Register(t, rt, "orders")
			m := harness.Join(t, rt, "orders", "g", penstock.KeepFor(keep))
			must(t, d.Unregister(harness.Context(t)))
			must(t, m.Leave(harness.Context(t)))
		},
		"the runtimes stop, the sender's first": func(t *testing.T, ns string) {
			sender, member := harness.Runtime(t, ns), harness.Runtime(t, ns)
			harness.Register(t, sender, "orders")
			harness.Join(t, member, "orders", "g", penstock.KeepFor(keep))
			must(t, sender.Stop(harness.Context(t)))
			must(t, member.Stop(harness.Context(t)))
		},
		"there was never a sender": func(t *testing.T, ns string) {
			harness.Join(t, harness.Runtime(t, ns), "typo", "g", penstock.KeepFor(keep))
		},
		"the member's lease is lost, and it stops": func(t *testing.T, ns string) {
			rt := harness.Runtime(t, ns)
			harness.Join(t, rt, "orders", "g", penstock.KeepFor(keep))
			_, err := harness.Client(t).Revoke(harness.Context(t), clientv3.LeaseID(rt.Engine().Lease()))
			must(t, err)
			must(t, rt.Stop(harness.Context(t)))
		},
		"a mark of an earlier time": func(t *testing.T, ns string) {
			_, err := harness.Client(t).Put(harness.Context(t), keys.Space(ns).Deserted("orders", "g"), "2020-01-01T00:00:00Z")
			must(t, err)
			harness.Join(t, harness.Runtime(t, ns), "orders", "g", penstock.KeepFor(keep))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := penstocktest.Space(t)
			t.Run("life", func(t *testing.T) { play(t, ns) }) // its runtimes are stopped at its end
			harness.AwaitKeys(t, harness.Client(t), ns+"/", "no key", harness.Exactly(nil))
		})
	}
}

// Promise: a group that is kept forever can be removed, by call or by deleting its
// keys: senders report what was queued, and Send continues.
func TestGroupKeptForeverIsDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(t *testing.T, ns string, rt *penstock.Runtime) error{
		"by call": func(t *testing.T, _ string, rt *penstock.Runtime) error {
			return rt.DeleteGroup(harness.Context(t), "orders", "retired")
		},
		"by hand": func(t *testing.T, ns string, _ *penstock.Runtime) error {
			_, err := harness.Client(t).Delete(harness.Context(t), keys.Space(ns).Group("orders", "retired"), clientv3.WithPrefix())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := penstocktest.Space(t)
			rt := harness.Runtime(t, ns)
			events := penstocktest.Record(t, rt)
			orders := harness.Register(t, rt, "orders", penstock.MaxQueue(10, 0))
			l := harness.NewLedger()
			l.Handle(t, "live", harness.Join(t, rt, "orders", "live"))
			retired := harness.Join(t, rt, "orders", "retired", penstock.KeepFor(penstock.Forever))
			if err := rt.DeleteGroup(harness.Context(t), "orders", "retired"); !errors.Is(err, penstock.ErrGroupLive) {
				t.Errorf("deleted with a member: %v", err)
			}
			if err := retired.Leave(harness.Context(t)); err != nil {
				t.Fatal(err)
			}
			harness.Send(t, orders, 0, 10)
			blocked := make(chan error, 1)
			ctx := harness.Context(t)
			go func() { blocked <- orders.Send(ctx, harness.Numbered(10)) }()
			if err := remove(t, ns, rt); err != nil {
				t.Fatal(err)
			}
			if err := harness.Await(t, "the Send that the group held up", blocked); err != nil {
				t.Fatal(err)
			}
			removed := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "retired" })
			if removed.Unsent != 10 {
				t.Errorf("reported %d messages that nobody will get, want 10", removed.Unsent)
			}
			if err := rt.DeleteGroup(harness.Context(t), "orders", "retired"); !errors.Is(err, penstock.ErrNoGroup) {
				t.Errorf("deleted twice: %v", err)
			}
		})
	}
}

// Promise: a mark that was made while a member was frozen does not outlive its
// return, so the group is not removed at the next time that nobody is in.
func TestMarkOfAFrozenMemberIsTakenBack(t *testing.T) {
	t.Parallel()
	const keep = 3 * time.Second
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	harness.Join(t, rt, "orders", "g", penstock.KeepFor(keep))
	sp, c := keys.Space(ns), harness.Client(t)
	// What a sender does when it sees no member, at the moment of its key's absence.
	other := pipegroup.New(c, lease.NewLeases(c), 0)
	k := pipegroup.Keys{Meta: sp.GroupMeta("orders", "g"), Deserted: sp.Deserted("orders", "g"), Members: sp.Members("orders", "g")}
	ctx := harness.Context(t)
	if _, err := c.Revoke(ctx, clientv3.LeaseID(rt.Engine().Lease())); err != nil {
		t.Fatal(err)
	}
	for {
		if state, err := other.Desert(ctx, k, false); err != nil {
			t.Fatal(err)
		} else if state != pipegroup.Attended {
			break
		}
		if _, err := c.Delete(ctx, sp.Members("orders", "g"), clientv3.WithPrefix()); err != nil {
			t.Fatal(err) // it was back already
		}
	}
	harness.AwaitKeys(t, c, k.Deserted, "no mark", harness.Exactly(nil))
	deadline := time.After(keep * 3 / 2)
	for gone := c.Watch(ctx, k.Meta); ; {
		select {
		case resp := <-gone:
			for _, ev := range resp.Events {
				if ev.Type == clientv3.EventTypeDelete {
					t.Fatal("the group was removed, and a member lives")
				}
			}
			continue
		case <-deadline:
		}
		return
	}
}

// Promise: the settings that etcd has count. A sender that missed how a group was
// removed and made again with another mode changes over, and its messages are
// kept; a member of the old mode hears ErrGroupMode.
func TestGroupMadeAgainWithAnotherMode(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	orders := harness.Register(t, rt, "orders")
	old := harness.Join(t, rt, "orders", "g", penstock.KeepFor(penstock.Forever))
	ended := make(chan error, 1)
	ctx := harness.Context(t)
	go func() { ended <- old.Consume(ctx, func(context.Context, penstock.Delivery) error { return nil }) }()
	meta, err := proto.Marshal(&pb.GroupMeta{Mode: pb.Mode_AT_MOST_ONCE, KeepForMs: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := harness.Client(t).Put(ctx, keys.Space(ns).GroupMeta("orders", "g"), string(meta)); err != nil {
		t.Fatal(err)
	}
	if err := harness.Await(t, "the end of the member of the old mode", ended); !errors.Is(err, penstock.ErrGroupMode) {
		t.Errorf("it ended with %v", err)
	}
	harness.Send(t, orders, 0, 10)
	l := harness.NewLedger()
	l.Handle(t, "new", harness.Join(t, harness.Runtime(t, ns), "orders", "g", penstock.InMode(penstock.AtMostOnce)))
	l.Await(t, "what was sent meanwhile", func(now harness.Tally) bool { return now.Distinct == 10 })
}

// Promise: a Hello makes a pipe only provisionally. One of a group that etcd has
// not got ends, and holds no Send up.
func TestPipeOfAHelloAlone(t *testing.T) {
	t.Parallel()
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns)
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("s"), penstock.MaxQueue(1, 0))
	l := harness.NewLedger()
	l.Handle(t, "good", harness.Join(t, rt, "orders", "billing"))
	got, err := harness.Client(t).Get(harness.Context(t), keys.Space(ns).Secret("orders", "s"))
	if err != nil {
		t.Fatal(err)
	}
	secret := &pb.Secret{}
	if err := proto.Unmarshal(got.Kvs[0].Value, secret); err != nil {
		t.Fatal(err)
	}
	conn, err := socket.Dial(harness.Context(t), socket.DialConfig{
		URL: orders.URL(), Token: secret.Token, MaxFrame: 8 << 20,
		Hello: frame.Hello{Destination: "orders", Group: "nowhere", Member: "mallory", KeepFor: -1, Window: 10, WindowBytes: 1000, Concurrency: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	harness.Send(t, orders, 0, 3) // the second waits until the pipe is gone
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.GroupRemoved) bool { return e.Group == "nowhere" })
	l.Await(t, "what was sent", func(now harness.Tally) bool { return now.Distinct == 3 })
}
