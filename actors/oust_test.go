package actors

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// oustedDelivers: a sender whose place another one has taken delivers what it had
// accepted over the links that live.
func oustedDelivers(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e := s.begin(t)
	d := mustRegister(t, e, senders.Config{ID: "mine", SoleSender: true})
	m := mustJoin(t, e, members.Config{ID: "m", Concurrency: 1})
	started := make(chan struct{}, 1)
	goOn := make(chan struct{})
	consumes(t, m, func(context.Context, messages.Delivery) error {
		select {
		case started <- struct{}{}:
		default:
		}
		<-goOn
		return nil
	})
	mustAccept(t, d, 20)
	closedInTime(t, "the first delivery", started)
	takeSole(t, e, s, d)
	until(t, "the sender is refused", func() bool { return errors.Is(d.Send(ctx, messages.Message{}), messages.ErrClosed) })
	close(goOn)
	if err := supervisor.Await(ctx, e.node.System, d.PID()); err != nil {
		t.Fatal(err)
	}
	if row := d.Stats()[0]; row.Acked < 20 || row.Acked != row.Accepted || row.Dropped != 0 {
		t.Errorf("%+v", row)
	}
	if err := d.Flush(ctx); err != nil {
		t.Errorf("flush: %v", err)
	}
}

// oustedGivesUp: without a link what was accepted is given up, and said.
func oustedGivesUp(t *testing.T, s endsSpace) {
	ctx := endsWithin(t)
	e, err := Start(ctx, nil, Config{Etcd: s.etcd, Prefix: s.prefix, Listen: "tcp://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	events := e.Events(ctx)
	d := mustRegister(t, e, senders.Config{ID: "mine", SoleSender: true})
	m := mustJoin(t, e, members.Config{ID: "m", KeepFor: messages.Forever})
	until(t, "the group is known", func() bool { return len(d.Stats()) == 1 })
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, d, 7)
	takeSole(t, e, s, d)
	if err := supervisor.Await(ctx, e.node.System, d.PID()); err != nil {
		t.Fatal(err)
	}
	until(t, "the destination has ended", func() bool { return d.Flush(ctx) != nil })
	for what, err := range map[string]error{"flush": d.Flush(ctx), "stop": e.Stop(ctx)} {
		var lost *messages.AbandonedError
		if !errors.As(err, &lost) || lost.Messages != 7 || !errors.Is(err, messages.ErrTaken) && !errors.Is(err, messages.ErrDestinationTaken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if row := d.Stats()[0]; row.Dropped != 7 || row.Pending != 0 {
		t.Errorf("%+v", row)
	}
	told := 0
	for event := range events {
		switch e := event.(type) {
		case messages.Abandoned:
			told += e.Count
		case messages.Drained:
			if e.Group == "" {
				t.Errorf("drained: %+v", e)
			}
		}
	}
	if told != 7 {
		t.Errorf("events tell of %d", told)
	}
}

// takeSole puts another sender in d's place.
func takeSole(t *testing.T, e *Engine, s endsSpace, d *senders.Destination) {
	t.Helper()
	_, err := s.client(t).Txn(endsWithin(t)).Then(
		clientv3.OpPut(e.node.Keys.Sole("orders"), "of another"), clientv3.OpPut(e.node.Keys.Sender("orders", d.ID()), "of another"),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
}

// Promise: who is refused in a group is no member of it: the count of its KeepFor
// goes on.
func TestRefusedJoinProlongsNoGroup(t *testing.T) {
	t.Parallel()
	ctx, e := beginAlone(t, Config{})
	cfg := members.Config{Destination: "orders", Group: "billing", KeepFor: time.Hour}
	m, err := e.Join(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	meta, err := e.node.Etcd.Control.Get(ctx, e.node.Keys.GroupMeta("orders", "billing"))
	if err != nil || len(meta.Kvs) != 1 {
		t.Fatal(meta, err)
	}
	left := func() int64 {
		resp, err := e.node.Etcd.Control.TimeToLive(ctx, clientv3.LeaseID(meta.Kvs[0].Lease))
		if err != nil {
			t.Fatal(err)
		}
		return resp.TTL
	}
	for left() > 3597 {
		time.Sleep(50 * time.Millisecond)
	}
	cfg.Mode = messages.AtMostOnce
	if _, err := e.Join(ctx, cfg); !errors.Is(err, messages.ErrGroupMode) {
		t.Fatal(err)
	}
	until(t, "the refused member is gone", func() bool { return len(e.Stats().Members) == 0 })
	if left() > 3597 {
		t.Errorf("the group is kept for %d s", left())
	}
}
