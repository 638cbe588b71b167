package keeper

// Jobs and their loop, without etcd.

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstock-io/penstock/actors/internal/events"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

var errTest = errors.New("a fault of this test")

// failing is a job with something wrong that it goes on beside.
type failing struct {
	again time.Duration
	calls int
}

func (*failing) Name() string { return "failing" }

func (f *failing) Do(context.Context, *Work) (time.Duration, error) {
	f.calls++
	return f.again, errTest
}

// Promise: a job that has told when it is to be called again is called then, with an error
// too: what is wrong with one topic holds up no other. Without it is called later each time.
func TestFaultsHoldUpNothingElse(t *testing.T) {
	for _, tt := range []struct {
		again      time.Duration
		least, max int
	}{{time.Second, 60, 62}, {0, 5, 15}} {
		synctest.Test(t, func(t *testing.T) {
			bus := events.New()
			k := &Keeper{node: &node.Node{Events: bus}, bells: make(map[string]chan struct{})}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			j := &failing{again: tt.again}
			if err := k.do(ctx, j, &Work{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if j.calls < tt.least || j.calls > tt.max {
				t.Errorf("%d calls in a minute, want %d to %d", j.calls, tt.least, tt.max)
			}
		})
	}
}

// leftovers are the keys of trimmed batches of a partition.
type leftovers struct {
	calls [2][]int64 // by part: up to where it was asked to delete
	fails int        // so many calls from now on
}

func (l *leftovers) DeleteTrimmed(_ context.Context, _ commitlog.Office, what commitlog.Part, upTo int64) (int, bool, error) {
	if l.fails > 0 {
		l.fails--
		return 0, false, errTest
	}
	i := 0
	if what == commitlog.Entries {
		i = 1
	}
	l.calls[i] = append(l.calls[i], upTo)
	return 1, false, nil
}

// Promise: what a call that moved the start has left of bodies is deleted whenever that
// was, and what could not be deleted is deleted later.
func TestSweptOwes(t *testing.T) {
	w := &Work{turns: rate.NewLimiter(rate.Inf, 1), Count: func(func(*messages.KeeperStats)) {}}
	var k swept
	l := &leftovers{}
	for i, step := range []struct {
		after           time.Duration
		start           int64
		fails           int
		bodies, entries int // calls so far that did something
	}{
		{0, 10, 1, 0, 0}, {1, 10, 0, 1, 0}, {2, 10, 0, 1, 0}, {3, 20, 0, 2, 0},
		{time.Minute, 20, 1, 2, 0}, {time.Minute + 1, 20, 0, 2, 1}, {time.Minute + 3, 20, 0, 2, 2}, {2 * time.Minute, 20, 0, 2, 2},
	} {
		l.fails = step.fails
		k.sees(step.start, noon.Add(step.after))
		err := k.delete(t.Context(), w, l)
		if got := [2]int{len(l.calls[0]), len(l.calls[1])}; got != [2]int{step.bodies, step.entries} || (err != nil) != (step.fails > 0) {
			t.Errorf("step %d: deleted %v, %v", i, l.calls, err)
		}
	}
}
