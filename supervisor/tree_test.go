package supervisor

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

type mood string

const (
	idle mood = "idle"
	busy mood = "busy"
	done mood = "done"
)

var moodMoves = Moves[mood]{"": {idle}, idle: {busy}, busy: {idle, done}}

// walker goes where it is told.
type walker struct{ mood mood }

func (w *walker) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		w.mood = moodMoves.To(ctx, w.mood, idle)
	case mood:
		w.mood = moodMoves.To(ctx, w.mood, m)
	case chan struct{}:
		<-m
	}
}

func TestMoves(t *testing.T) {
	for _, tc := range []struct {
		from, to mood
		may      bool
	}{{"", idle, true}, {idle, busy, true}, {busy, done, true}, {idle, done, false}, {done, idle, false}, {"", busy, false}} {
		if moodMoves.May(tc.from, tc.to) != tc.may {
			t.Errorf("%q to %q: %v", tc.from, tc.to, !tc.may)
		}
	}
}

func TestTree(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		if got := Tree(sys); len(got) != 0 {
			t.Error(got)
		}
		start := time.Now()
		top, _ := sys.Root.SpawnNamed(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.SpawnNamed(Props(func() actor.Actor { return &walker{} }), "walker")
			}
		}), WithPolicy(steady())), "top")
		synctest.Wait()
		w := below(sys, top, "walker")
		want := func(state string, restarts, queue int, since time.Time, lastErr string) {
			t.Helper()
			synctest.Wait()
			all := Tree(sys)
			if len(all) != 2 || all[0].ID != "top" || all[0].Parent != "" || all[0].State != "running" || all[0].Type != "actor.ReceiveFunc" {
				t.Fatalf("%+v", all)
			}
			i := all[1]
			if i.ID != "top/walker" || i.Parent != "top" || i.Type != "*supervisor.walker" {
				t.Errorf("%+v", i)
			}
			if i.State != state || i.Restarts != restarts || i.Queue != queue || !i.Since.Equal(since) || !strings.Contains(i.LastError, lastErr) || (lastErr == "") != (i.LastError == "") {
				t.Errorf("%+v", i)
			}
		}
		want("idle", 0, 0, start, "")
		sys.Root.Send(w, busy)
		want("busy", 0, 0, start, "")
		gate := make(chan struct{})
		sys.Root.Send(w, gate)
		sys.Root.Send(w, idle)
		sys.Root.Send(w, done)
		want("busy", 0, 2, start, "")
		failed := time.Now() // the look waited for the actor
		close(gate)
		want("restarting", 0, 0, start, `no move from "idle" to "done"`)
		time.Sleep(time.Second)
		want("idle", 1, 0, failed.Add(time.Second), "no move")
		mustStop(t, sys, top)
		if got := Tree(sys); len(got) != 0 {
			t.Error(got)
		}
	})
}

func TestSetStateOfAnUnguardedActor(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &walker{} }))
		sys.Root.Send(pid, busy)
		synctest.Wait()
		if got := Tree(sys); len(got) != 0 {
			t.Error(got)
		}
		mustStop(t, sys, pid)
	})
}

func TestName(t *testing.T) {
	a, b := Name("dest/orders"), Name("dest/orders")
	form := regexp.MustCompile(`^dest/orders#\d+$`)
	if a == b || !form.MatchString(a) || !form.MatchString(b) {
		t.Error(a, b)
	}
}

// Many actors come and go, crash and are stopped, all at once, while somebody looks.
func TestStartStopStress(t *testing.T) {
	sys := newSystem()
	policy := Policy{Backoff: Backoff{Min: time.Microsecond, Max: time.Millisecond, Jitter: 1}}
	leaf := Props(does(func(ctx actor.Context) {
		if ctx.Message() == any("boom") {
			panic(errBoom)
		}
	}))
	tree := Props(func() actor.Actor {
		var h Host
		return actor.ReceiveFunc(func(ctx actor.Context) {
			msg, mine := h.Open(ctx.Message())
			if !mine {
				return
			}
			switch m := msg.(type) {
			case *actor.Started:
				h.Begin(ctx)
				h.Every(time.Microsecond, "tick")
				for range 3 {
					ctx.Spawn(leaf)
				}
			case *actor.Stopping, *actor.Restarting:
				h.End()
			case int:
				ctx.Send(ctx.Children()[m%3], "boom")
			case error:
				Fail(ctx, m)
			}
		})
	}, WithPolicy(policy), WithGuardian(policy), WithStrategy(RestForOne))
	looking := make(chan struct{})
	var looker, wg sync.WaitGroup
	looker.Go(func() {
		for {
			select {
			case <-looking:
				return
			default:
				Tree(sys)
			}
		}
	})
	for worker := range 4 {
		wg.Go(func() {
			for i := range 250 {
				pid := sys.Root.Spawn(tree)
				for k := range i % 4 {
					if k == 3 {
						sys.Root.Send(pid, fmt.Errorf("worker %d: %w", worker, errBoom))
					}
					sys.Root.Send(pid, i+k)
				}
				if err := Stop(t.Context(), sys, pid); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(looking)
	looker.Wait()
	if left := Tree(sys); len(left) != 0 {
		t.Errorf("%d actors left: %+v", len(left), left[0])
	}
}
