package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Promise: after Cut nothing is written any more.
func TestCutWaitsForTheEndOfTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := BeginWrite(t.Context())
		began, over := time.Now(), false
		result := make(chan error, 1)
		go func() {
			result <- w.Do(func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second) // the request that is under way
				over = true
				return context.Cause(ctx)
			})
		}()
		synctest.Wait()
		w.Cut()
		if !over || time.Since(began) != time.Second {
			t.Errorf("cut after %s, with the write over: %t", time.Since(began), over)
		}
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the write: %v", err)
		}
		w.Cut() // again, as at the end of an actor that has cut it before
	})
}

// Promise: keys are taken away once, and again only when that failed, of which the
// handle's owner hears.
func TestRemoval(t *testing.T) {
	var r Removal
	calls := 0
	remove := func(err error) error { return r.Of(func() error { calls++; return err }) }
	if err := r.Left(); err != nil {
		t.Errorf("nothing was removed yet: %v", err)
	}
	if err := remove(messages.ErrUnavailable); !errors.Is(err, messages.ErrUnavailable) || calls != 1 {
		t.Errorf("the first time, %d calls: %v", calls, err)
	}
	if err := r.Left(); !errors.Is(err, messages.ErrUnavailable) {
		t.Errorf("after a failure: %v", err)
	}
	for range 2 {
		if err := remove(nil); err != nil || calls != 2 {
			t.Errorf("%d calls: %v", calls, err)
		}
		if err := r.Left(); err != nil {
			t.Errorf("after the removal: %v", err)
		}
	}
}

// withdrawing is a node whose root replies to nothing, or with reply.
func withdrawing(t *testing.T, reply any) *Node {
	t.Helper()
	c, err := discovery.NewClient(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{System: NewSystem(), Etcd: &discovery.Clients{Control: c}}
	supervisor.Prepare(n.System)
	n.Root = n.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok && reply != nil {
			ctx.Respond(reply)
		}
	}))
	t.Cleanup(func() {
		n.System.Shutdown()
		c.Close()
	})
	return n
}

// Promise: who gives up waiting for an end is told whose fault it is.
func TestWithdrawSaysWhatItWaitsFor(t *testing.T) {
	gone := errors.New("the caller has no more time")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	for name, tt := range map[string]struct {
		stage func(*Removal)
		want  error
	}{
		"its actor has not begun": {func(*Removal) {}, messages.ErrRestarted},
		"etcd was asked":          {func(r *Removal) { r.stage.Store(removalAsked) }, messages.ErrUnavailable},
		"etcd has refused":        {func(r *Removal) { _ = r.Of(func() error { return messages.ErrDenied }) }, messages.ErrUnavailable},
		"the keys are gone":       {func(r *Removal) { _ = r.Of(func() error { return nil }) }, messages.ErrBusy},
	} {
		var r Removal
		tt.stage(&r)
		if err := withdrawing(t, nil).Withdraw(ctx, "end", &r); !errors.Is(err, tt.want) || !errors.Is(err, gone) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// Promise: an end that was confirmed is one, but for keys that stand.
func TestWithdrawReturns(t *testing.T) {
	n := withdrawing(t, &Withdrawn{})
	var r Removal
	if err := n.Withdraw(t.Context(), "end", &r); err != nil {
		t.Errorf("the end: %v", err)
	}
	_ = r.Of(func() error { return messages.ErrDenied })
	if err := n.Withdraw(t.Context(), "end", &r); !errors.Is(err, messages.ErrDenied) || !strings.Contains(err.Error(), "may stay") {
		t.Errorf("with keys that stand: %v", err)
	}
	if err := supervisor.Stop(t.Context(), n.System, n.Root); err != nil {
		t.Fatal(err)
	}
	if err := n.Withdraw(t.Context(), "end", &r); err != nil {
		t.Errorf("of a runtime that is over: %v", err)
	}
}

func TestKeyLossAsAnError(t *testing.T) {
	for _, tt := range []struct {
		loss KeyLoss
		want error
	}{
		{KeyLoss{Key: "/a"}, messages.ErrTaken},
		{KeyLoss{Key: "/a", Guard: true}, messages.ErrTopicDeleted},
	} {
		if err := tt.loss.As(messages.ErrTopicDeleted); !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), "/a: ") {
			t.Errorf("%+v: %v, want %v", tt.loss, err, tt.want)
		}
	}
}
