package senders_test

// A destination has one sole sender. Who finds another one in its place waits for
// its end, or delivers what it had accepted.

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: a sender whose place another one has taken delivers what it had
// accepted over the links that live.
func TestOustedSenderDelivers(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	d := enginetest.Register(t, e, senders.Config{ID: "mine", SoleSender: true})
	m := enginetest.Join(t, e, members.Config{ID: "m", Concurrency: 1})
	started := make(chan struct{}, 1)
	goOn := make(chan struct{})
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error {
		select {
		case started <- struct{}{}:
		default:
		}
		<-goOn
		return nil
	})
	enginetest.Send(t, d, 20)
	enginetest.Await(t, "the first delivery", started)
	takeSole(t, s, d)
	enginetest.Until(t, "the sender is refused", func() bool { return errors.Is(d.Send(ctx, messages.Message{}), messages.ErrClosed) })
	close(goOn)
	if err := supervisor.Await(ctx, e.System(), d.PID()); err != nil {
		t.Fatal(err)
	}
	if row := d.Stats()[0]; row.Acked < 20 || row.Acked != row.Accepted || row.Dropped != 0 {
		t.Errorf("%+v", row)
	}
	if err := d.Flush(ctx); err != nil {
		t.Errorf("flush: %v", err)
	}
}

// Promise: without a link what was accepted is given up, and said.
func TestOustedSenderWithoutLinkGivesUp(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Start(t)
	events := e.Events(ctx)
	d := enginetest.Register(t, e, senders.Config{ID: "mine", SoleSender: true})
	m := enginetest.Join(t, e, members.Config{ID: "m", KeepFor: messages.Forever})
	enginetest.Until(t, "the group is known", func() bool { return len(d.Stats()) == 1 })
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	enginetest.Send(t, d, 7)
	takeSole(t, s, d)
	if err := supervisor.Await(ctx, e.System(), d.PID()); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the destination has ended", func() bool { return d.Flush(ctx) != nil })
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
func takeSole(t *testing.T, s enginetest.Space, d *senders.Destination) {
	t.Helper()
	_, err := s.Client(t).Txn(enginetest.Within(t)).Then(
		clientv3.OpPut(s.Keys.Sole("orders"), "of another"), clientv3.OpPut(s.Keys.Sender("orders", d.ID()), "of another"),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
}

// Promise: a destination whose senders were killed comes free with their
// leases, for a sole sender too.
func TestSoleSenderIsWaitedFor(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	c := s.Client(t)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	enginetest.Hold(t, c, 2, s.Keys.Sole("orders"), s.Keys.Sender("orders", "killed"))
	if _, err := e.Register(short, senders.Config{Name: "orders", SoleSender: true}); !errors.Is(err, messages.ErrDestinationTaken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	enginetest.Hold(t, c, 2, s.Keys.Sender("shared", "killed"))
	enginetest.Until(t, "the name is free again", func() bool {
		_, err := e.Register(ctx, senders.Config{Name: "orders", SoleSender: true})
		if err != nil && !errors.Is(err, messages.ErrExists) {
			t.Fatal(err)
		}
		return err == nil
	})
	if _, err := e.Register(ctx, senders.Config{Name: "shared", SoleSender: true}); err != nil {
		t.Error(err)
	}
}

// Promise: a registration that was given up keeps no sole sender of this process out,
// though etcd applies it late.
func TestASoleSenderFollowsOneThatWasGivenUp(t *testing.T) {
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	behind, gate := s.Behind(t, s.Keys.Sole("orders"))
	e := behind.Begin(t)
	other, err := e.Register(enginetest.Within(t), senders.Config{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(enginetest.Within(t))
	first := enginetest.Aside(func() error {
		_, err := e.Register(short, senders.Config{Name: "orders", ID: "first", SoleSender: true})
		return err
	})
	enginetest.Await(t, "the write", gate.Closed())
	key := s.Keys.Sender("orders", "first")
	enginetest.Until(t, "it is applied", func() bool { return len(s.With(t, c, key)) == 1 })
	applied, err := c.Get(enginetest.Within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := enginetest.Outcome(t, "the first", first); !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	enginetest.Until(t, "the write is cut", func() bool { return other.Astray(key) })
	gate.Open()
	enginetest.Until(t, "it is undone", func() bool { return len(s.With(t, c, key)) == 0 })
	for _, late := range []bool{false, true} {
		if late {
			kv := applied.Kvs[0]
			if _, err := c.Put(enginetest.Within(t), key, string(kv.Value), clientv3.WithLease(clientv3.LeaseID(kv.Lease))); err != nil {
				t.Fatal(err)
			}
		}
		var d *senders.Destination
		enginetest.Until(t, "the name is free", func() bool {
			var err error
			d, err = e.Register(enginetest.Within(t), senders.Config{Name: "orders", SoleSender: true})
			if err != nil && !errors.Is(err, messages.ErrExists) {
				t.Fatalf("late: %t: %v", late, err)
			}
			return err == nil
		})
		if err := d.Unregister(enginetest.Within(t)); err != nil {
			t.Error(err)
		}
	}
}
