package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: whose lease is renewed lives; of one that has ended, a new leader of etcd
// makes nobody believe that.
func TestHolderWatch(t *testing.T) {
	begin := time.Unix(1000, 0)
	for name, tt := range map[string]struct {
		left  func(at time.Duration) time.Duration // whole seconds; 0 when the lease is gone
		alive bool
		by    time.Duration
	}{
		"dead": {func(at time.Duration) time.Duration { return max(0, 10*time.Second-at).Truncate(time.Second) }, false, 0},
		"dead, new leader": {func(at time.Duration) time.Duration {
			return max(0, 10*time.Second-at+at.Truncate(5*time.Second)%(6*time.Second)).Truncate(time.Second)
		}, false, 0},
		"renewed each third": {func(at time.Duration) time.Duration {
			return (10*time.Second - at%(3333*time.Millisecond)).Truncate(time.Second)
		}, true, 10 * time.Second},
		"short, no rise": {func(time.Duration) time.Duration { return 2 * time.Second }, true, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var w HolderWatch
			for at := time.Duration(0); at < 20*time.Second; at += HolderEvery {
				left := tt.left(at)
				if left == 0 {
					if tt.alive {
						t.Fatal("gone")
					}
					return
				}
				if w.Sees(begin.Add(at), 7, left) {
					if !tt.alive || at > tt.by {
						t.Fatalf("alive after %s", at)
					}
					return
				}
			}
			if tt.alive {
				t.Error("never seen to live")
			}
		})
	}
}

// Promise: who gives up waiting for a held id is told of the holder, and of
// nothing once it is free.
func TestKeyWaitNamesTheHolder(t *testing.T) {
	var w KeyWait
	if err := w.over(context.Canceled); err != nil {
		t.Errorf("nothing is held: %v", err)
	}
	for _, tt := range []struct {
		sole      bool
		want, not error
	}{
		{false, messages.ErrTaken, messages.ErrDestinationTaken},
		{true, messages.ErrDestinationTaken, nil},
	} {
		w.On("held by another process", tt.sole)
		err := w.over(context.Canceled)
		if !errors.Is(err, tt.want) || !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "held by another process") {
			t.Errorf("sole %t: %v", tt.sole, err)
		}
		if tt.not != nil && errors.Is(err, tt.not) {
			t.Errorf("sole %t: %v", tt.sole, err)
		}
	}
	w.Done()
	if err := w.over(context.Canceled); err != nil {
		t.Errorf("it is free: %v", err)
	}
}

func TestHolderOf(t *testing.T) {
	for name, tt := range map[string]struct {
		kind  keys.Kind
		value []byte
		want  string
	}{
		"a sender":           {keys.KindSender, Marshal(&pb.Sender{Host: "a"}), `a process on host "a"`},
		"a member":           {keys.KindMember, Marshal(&pb.Member{Host: "b"}), `a process on host "b"`},
		"a consumer":         {keys.KindConsumerMember, Marshal(&pb.ConsumerMember{Host: "c"}), `a process on host "c"`},
		"one without a host": {keys.KindSender, Marshal(&pb.Sender{}), "another process"},
		"no protobuf":        {keys.KindMember, []byte{0xff}, "another process"},
		"another kind":       {keys.KindSole, Marshal(&pb.Sender{Host: "a"}), "another process"},
	} {
		if got := HolderOf(keys.Key{Kind: tt.kind}, tt.value); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
