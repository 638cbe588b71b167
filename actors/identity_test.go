package actors_test

// An id has one holder. Who finds another one in its place waits for its end, is
// refused, or is gone.

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: an id that a process held which has ended comes free with its
// lease, which is waited for and told.
func TestIDOfEndedProcessIsWaitedFor(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	c := s.Client(t)
	enginetest.Hold(t, c, 2, s.Keys.Sender("orders", "mine"))
	enginetest.Hold(t, c, 2, s.Keys.Member("orders", "billing", "mine"))
	events := e.Events(ctx)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := e.Register(short, senders.Config{Name: "orders", ID: "mine"}); !errors.Is(err, messages.ErrTaken) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	enginetest.Until(t, "the name is free again", func() bool {
		_, err := e.Register(ctx, senders.Config{Name: "orders", ID: "mine"})
		if err != nil && !errors.Is(err, messages.ErrExists) {
			t.Fatal(err)
		}
		return err == nil
	})
	enginetest.Join(t, e, members.Config{ID: "mine"})
	for event := range events {
		if _, ok := event.(messages.RegistrationAwaited); ok {
			return
		}
	}
	t.Error("nobody was told")
}

// Promise: who is ended by ErrTaken is gone: its keys are not put back when
// the other one leaves.
func TestTakenKeysAreNotPutBack(t *testing.T) {
	s := enginetest.NewSpace(t)
	ctx := enginetest.Within(t)
	e := s.Begin(t)
	look := s.Client(t)
	d := enginetest.Register(t, e, senders.Config{ID: "mine"})
	m := enginetest.Join(t, e, members.Config{ID: "mine"})
	enginetest.Join(t, e, members.Config{ID: "other"}) // shows when the registry has looked
	sender, member := s.Keys.Sender("orders", "mine"), s.Keys.Member("orders", "billing", "mine")
	other := s.Keys.Member("orders", "billing", "other")
	if _, err := look.Txn(ctx).Then(clientv3.OpPut(sender, "of another"), clientv3.OpPut(member, "of another")).Commit(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []*actor.PID{d.PID(), m.PID()} {
		if err := supervisor.Await(ctx, e.System(), pid); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Send(ctx, messages.Message{}); !errors.Is(err, messages.ErrTaken) {
		t.Errorf("send: %v", err)
	}
	for _, err := range m.Messages(ctx, false) {
		if !errors.Is(err, messages.ErrTaken) {
			t.Errorf("read: %v", err)
		}
	}
	gone := []string{sender, member, other}
	for range 2 { // all that the first look brings has come by the second
		events := e.Events(ctx)
		ops := make([]clientv3.Op, len(gone))
		for i, key := range gone {
			ops[i] = clientv3.OpDelete(key)
		}
		if _, err := look.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		awaitPutBack(t, events, other)
		gone = []string{other}
	}
	if ctx.Err() != nil {
		t.Fatal("the other member's key is not put back")
	}
	if back := s.With(t, look, "/mine"); len(back) > 0 {
		t.Errorf("these keys of nobody stand: %v", back)
	}
}

func awaitPutBack(t *testing.T, events iter.Seq[messages.Event], key string) {
	t.Helper()
	for event := range events {
		if m, ok := event.(messages.RegistrationRestored); ok {
			if m.Key == key {
				return
			}
			t.Errorf("%s is put back for nobody", m.Key)
		}
	}
}
