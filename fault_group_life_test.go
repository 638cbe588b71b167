package penstock_test

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
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
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
		"stop, forever": {penstock.Forever, func(t *testing.T, rt *penstock.Runtime, _ *penstock.Destination) error { return rt.Stop(patient(t)) }},
		"stop":          {time.Minute, func(t *testing.T, rt *penstock.Runtime, _ *penstock.Destination) error { return rt.Stop(patient(t)) }},
		"unregister": {time.Minute, func(t *testing.T, _ *penstock.Runtime, d *penstock.Destination) error {
			return d.Unregister(patient(t))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := space(t)
			old, consumers := meet(t, ns), meet(t, ns)
			d := register(t, old, "orders")
			if err := joinGroup(t, consumers, "orders", "audit", penstock.KeepFor(c.keep)).Leave(patient(t)); err != nil {
				t.Fatal(err)
			}
			if err := c.end(t, old, d); err != nil {
				t.Fatal(err)
			}
			send(t, register(t, meet(t, ns), "orders"), 0, 5)
			l := newLedger()
			l.handle(t, "back", joinGroup(t, consumers, "orders", "audit", penstock.KeepFor(c.keep)))
			l.await(t, "what was sent meanwhile", func(now tally) bool { return now.distinct == 5 })
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
			rt := meet(t, ns)
			d := register(t, rt, "orders")
			m := joinGroup(t, rt, "orders", "g", penstock.KeepFor(keep))
			must(t, d.Unregister(patient(t)))
			must(t, m.Leave(patient(t)))
		},
		"the runtimes stop, the sender's first": func(t *testing.T, ns string) {
			sender, member := meet(t, ns), meet(t, ns)
			register(t, sender, "orders")
			joinGroup(t, member, "orders", "g", penstock.KeepFor(keep))
			must(t, sender.Stop(patient(t)))
			must(t, member.Stop(patient(t)))
		},
		"there was never a sender": func(t *testing.T, ns string) {
			joinGroup(t, meet(t, ns), "typo", "g", penstock.KeepFor(keep))
		},
		"the member's lease is lost, and it stops": func(t *testing.T, ns string) {
			rt := meet(t, ns)
			joinGroup(t, rt, "orders", "g", penstock.KeepFor(keep))
			_, err := control(t).Revoke(patient(t), clientv3.LeaseID(rt.Engine().Lease()))
			must(t, err)
			must(t, rt.Stop(patient(t)))
		},
		"a mark of an earlier time": func(t *testing.T, ns string) {
			_, err := control(t).Put(patient(t), keys.Space(ns).Deserted("orders", "g"), "2020-01-01T00:00:00Z")
			must(t, err)
			joinGroup(t, meet(t, ns), "orders", "g", penstock.KeepFor(keep))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := space(t)
			t.Run("life", func(t *testing.T) { play(t, ns) }) // its runtimes are stopped at its end
			awaitKeys(t, control(t), ns+"/", "no key", same(nil))
		})
	}
}

// Promise: a group that is kept forever can be removed, by call or by deleting its
// keys: senders report what was queued, and Send goes on.
func TestGroupKeptForeverIsDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(t *testing.T, ns string, rt *penstock.Runtime) error{
		"by call": func(t *testing.T, _ string, rt *penstock.Runtime) error {
			return rt.DeleteGroup(patient(t), "orders", "retired")
		},
		"by hand": func(t *testing.T, ns string, _ *penstock.Runtime) error {
			_, err := control(t).Delete(patient(t), keys.Space(ns).Group("orders", "retired"), clientv3.WithPrefix())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := space(t)
			rt := meet(t, ns)
			events := penstocktest.Record(t, rt)
			orders := register(t, rt, "orders", penstock.MaxQueue(10, 0))
			l := newLedger()
			l.handle(t, "live", joinGroup(t, rt, "orders", "live"))
			retired := joinGroup(t, rt, "orders", "retired", penstock.KeepFor(penstock.Forever))
			if err := rt.DeleteGroup(patient(t), "orders", "retired"); !errors.Is(err, penstock.ErrGroupLive) {
				t.Errorf("deleted with a member: %v", err)
			}
			if err := retired.Leave(patient(t)); err != nil {
				t.Fatal(err)
			}
			send(t, orders, 0, 10)
			blocked := make(chan error, 1)
			ctx := patient(t)
			go func() { blocked <- orders.Send(ctx, numbered(10)) }()
			if err := remove(t, ns, rt); err != nil {
				t.Fatal(err)
			}
			if err := await(t, "the Send that the group held up", blocked); err != nil {
				t.Fatal(err)
			}
			removed := penstocktest.WaitEvent(t, events, patience, func(e messages.GroupRemoved) bool { return e.Group == "retired" })
			if removed.Unsent != 10 {
				t.Errorf("reported %d messages that nobody will get, want 10", removed.Unsent)
			}
			if err := rt.DeleteGroup(patient(t), "orders", "retired"); !errors.Is(err, penstock.ErrNoGroup) {
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
	ns := space(t)
	rt := meet(t, ns)
	joinGroup(t, rt, "orders", "g", penstock.KeepFor(keep))
	sp, c := keys.Space(ns), control(t)
	// What a sender does when it sees no member, at the moment of its key's absence.
	other := discovery.NewGroups(c, discovery.NewLeases(c), 0)
	k := discovery.GroupKeys{Meta: sp.GroupMeta("orders", "g"), Deserted: sp.Deserted("orders", "g"), Members: sp.Members("orders", "g")}
	ctx := patient(t)
	if _, err := c.Revoke(ctx, clientv3.LeaseID(rt.Engine().Lease())); err != nil {
		t.Fatal(err)
	}
	for {
		if state, err := other.Desert(ctx, k, false); err != nil {
			t.Fatal(err)
		} else if state != discovery.GroupAttended {
			break
		}
		if _, err := c.Delete(ctx, sp.Members("orders", "g"), clientv3.WithPrefix()); err != nil {
			t.Fatal(err) // it was back already
		}
	}
	awaitKeys(t, c, k.Deserted, "no mark", same(nil))
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
	ns := space(t)
	rt := meet(t, ns)
	orders := register(t, rt, "orders")
	old := joinGroup(t, rt, "orders", "g", penstock.KeepFor(penstock.Forever))
	ended := make(chan error, 1)
	ctx := patient(t)
	go func() { ended <- old.Consume(ctx, func(context.Context, penstock.Delivery) error { return nil }) }()
	meta, err := proto.Marshal(&pb.GroupMeta{Mode: pb.Mode_AT_MOST_ONCE, KeepForMs: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control(t).Put(ctx, keys.Space(ns).GroupMeta("orders", "g"), string(meta)); err != nil {
		t.Fatal(err)
	}
	if err := await(t, "the end of the member of the old mode", ended); !errors.Is(err, penstock.ErrGroupMode) {
		t.Errorf("it ended with %v", err)
	}
	send(t, orders, 0, 10)
	l := newLedger()
	l.handle(t, "new", joinGroup(t, meet(t, ns), "orders", "g", penstock.InMode(penstock.AtMostOnce)))
	l.await(t, "what was sent meanwhile", func(now tally) bool { return now.distinct == 10 })
}

// Promise: a Hello makes a pipe only provisionally. One of a group that etcd has
// not got ends, and holds no Send up.
func TestPipeOfAHelloAlone(t *testing.T) {
	t.Parallel()
	ns := space(t)
	rt := meet(t, ns)
	events := penstocktest.Record(t, rt)
	orders := register(t, rt, "orders", penstock.SenderID("s"), penstock.MaxQueue(1, 0))
	l := newLedger()
	l.handle(t, "good", joinGroup(t, rt, "orders", "billing"))
	got, err := control(t).Get(patient(t), keys.Space(ns).Secret("orders", "s"))
	if err != nil {
		t.Fatal(err)
	}
	secret := &pb.Secret{}
	if err := proto.Unmarshal(got.Kvs[0].Value, secret); err != nil {
		t.Fatal(err)
	}
	conn, err := socket.Dial(patient(t), socket.DialConfig{
		URL: orders.URL(), Token: secret.Token, MaxFrame: 8 << 20,
		Hello: frame.Hello{Destination: "orders", Group: "nowhere", Member: "mallory", KeepFor: -1, Window: 10, WindowBytes: 1000, Concurrency: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send(t, orders, 0, 3) // the second waits until the pipe is gone
	penstocktest.WaitEvent(t, events, patience, func(e messages.GroupRemoved) bool { return e.Group == "nowhere" })
	l.await(t, "what was sent", func(now tally) bool { return now.distinct == 3 })
}
