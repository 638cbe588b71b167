package supervisor_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/supervisor"
)

func TestGraceOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, stop := context.WithCancelCause(context.Background())
		grace, cancel := supervisor.Grace(ctx, time.Second)
		defer cancel()
		time.Sleep(time.Hour)
		if grace.Err() != nil {
			t.Fatal("over before its context")
		}
		stop(why)
		time.Sleep(time.Second - time.Nanosecond)
		synctest.Wait()
		if grace.Err() != nil {
			t.Fatal("over with its context")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if !errors.Is(context.Cause(grace), why) {
			t.Fatalf("after the grace: %v", context.Cause(grace))
		}
	})
}

func TestGraceIsOverWhenCancelled(t *testing.T) {
	for name, over := range map[string]bool{"context lives": false, "context is over": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				if over {
					stop()
				}
				grace, cancel := supervisor.Grace(ctx, time.Hour)
				synctest.Wait()
				cancel()
				if grace.Err() == nil {
					t.Error("goes on")
				}
			})
		})
	}
}

func TestGraceWithinEndsWithBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		within, end := context.WithCancel(t.Context())
		ctx, over := context.WithCancel(t.Context())
		out, cancel := supervisor.GraceWithin(within, ctx, time.Second)
		defer cancel()
		over()
		time.Sleep(time.Second / 2)
		if out.Err() != nil {
			t.Error("it has no grace")
		}
		end()
		if out.Err() == nil {
			t.Error("it outlives the other one")
		}
	})
}
