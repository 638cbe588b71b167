package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/jonboulle/clockwork"
)

// family spawns children c1 to cN that are written down in j.
func family(j *journal, n int, each func(actor.Context)) actor.Producer {
	return does(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			for i := range n {
				name := fmt.Sprintf("c%d", i+1)
				if _, err := ctx.SpawnNamed(Props(logged(j, name, each)), name); err != nil {
					panic(err)
				}
			}
		case *Failed:
			j.add("parent: failed %s: %v", m.Who.Id[len(ctx.Self().Id)+1:], m.Err)
		case *actor.Terminated:
			j.add("parent: terminated %s", m.Who.Id[len(ctx.Self().Id)+1:])
		}
	})
}

func below(sys *actor.ActorSystem, pid *actor.PID, name string) *actor.PID {
	return sys.NewLocalPID(pid.Id + "/" + name)
}

func TestRestartWaitsForItsDelay(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		restarts := eventsOf[*Restarted](sys)
		start := time.Now()
		top := sys.Root.Spawn(Props(family(&j, 1, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				j.add("at %v", time.Since(start))
			}
			if m, ok := ctx.Message().(int); ok {
				j.add("got %d", m)
			}
		}), WithPolicy(steady())))
		c := below(sys, top, "c1")
		synctest.Wait()
		for i := range 3 {
			sys.Root.Send(c, "boom")
			sys.Root.Send(c, i)
			time.Sleep(10 * time.Second)
		}
		j.want(t, "c1 started", "at 0s",
			"c1 restarting", "c1 started", "at 1s", "got 0",
			"c1 restarting", "c1 started", "at 12s", "got 1",
			"c1 restarting", "c1 started", "at 24s", "got 2")
		for i, r := range restarts.list() {
			if r.Attempt != i+1 || r.Delay != time.Second<<i || !errors.Is(r.Err, errBoom) || r.Who.Id != c.Id {
				t.Errorf("event %d: %+v", i, r)
			}
		}
		mustStop(t, sys, top)
	})
}

func TestCrashInStartedBacksOffThenEscalates(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		start := time.Now()
		escalated := eventsOf[*Escalated](sys)
		policy := steady()
		policy.Budget = Budget{Restarts: 2, Window: time.Hour}
		top := sys.Root.Spawn(Props(logged(&j, "top", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.SpawnNamed(Props(does(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						j.add("child at %v", time.Since(start))
						panic(errBoom)
					}
				})), "child")
			}
		}), WithPolicy(policy), WithGuardian(Policy{Default: Terminate})))
		stopped := eventsOf[*Stopped](sys)
		time.Sleep(time.Hour)
		j.want(t, "top started", "child at 0s", "child at 1s", "child at 3s", "top stopping", "top stopped")
		if e := escalated.list(); len(e) != 1 || e[0].Who.Id != top.Id+"/child" || !e[0].Parent.Equal(top) {
			t.Fatalf("events %v", e)
		}
		s := stopped.list()
		var b *BudgetError
		if len(s) != 1 || !errors.As(s[0].Err, &b) || !errors.Is(s[0].Err, errBoom) || b.Restarts != 2 {
			t.Errorf("top stopped with %v", s)
		}
	})
}

func TestEscalationRestartsTheParentWithFreshChildren(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 2, nil), WithPolicy(Policy{Default: Escalate}), WithGuardian(steady())))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		synctest.Wait()
		j.want(t, "c2 stopping", "c2 stopped", "c1 stopping", "c1 stopped")
		time.Sleep(time.Minute)
		if got := j.take(); len(got) != 2 {
			t.Error(got)
		}
		mustStop(t, sys, top)
	})
}

func TestTerminateTellsTheParentFirst(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		stopped := eventsOf[*Stopped](sys)
		top := sys.Root.Spawn(Props(family(&j, 2, nil), WithPolicy(Policy{Rules: []Rule{{If: ForError(errBoom), Then: Terminate}}})))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		synctest.Wait()
		j.want(t,
			"parent: failed c1: boom", "c1 stopping", "c1 stopped", "parent: terminated c1")
		if s := stopped.list(); len(s) != 1 || s[0].Who.Id != top.Id+"/c1" {
			t.Errorf("events %v", s)
		}
		mustStop(t, sys, top)
	})
}

func TestTerminateGoesOnWhenTheParentCannotBearIt(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(logged(&j, "top", func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				ctx.SpawnNamed(Props(logged(&j, "child", nil)), "child")
			case *Failed:
				panic("no!")
			}
		}), WithPolicy(Policy{Default: Terminate}), WithGuardian(Policy{Default: Terminate})))
		synctest.Wait()
		sys.Root.Send(below(sys, top, "child"), "boom")
		synctest.Wait()
		got := j.take()
		slices.Sort(got) // they stop side by side
		if want := []string{"child started", "child stopped", "child stopping", "top started", "top stopped", "top stopping"}; !slices.Equal(got, want) {
			t.Error(got)
		}
	})
}

func TestRestartOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		strategy Strategy
		want     []string
	}{
		"one for one": {OneForOne, []string{"c2 restarting", "|", "c2 started", "up"}},
		"rest for one": {RestForOne, []string{
			"c4 restarting", "c3 restarting", "c2 restarting", "|",
			"c2 started", "up", "c3 started", "up", "c4 started", "up"}},
		"all for one": {AllForOne, []string{
			"c4 restarting", "c3 restarting", "c2 restarting", "c1 restarting", "|",
			"c1 started", "up", "c2 started", "up", "c3 started", "up", "c4 started", "up"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				var j journal
				restarts := eventsOf[*Restarted](sys)
				top := sys.Root.Spawn(Props(family(&j, 4, func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						time.Sleep(time.Millisecond) // a later one could overtake
						j.add("up")
					}
				}), WithPolicy(steady()), WithStrategy(tc.strategy)))
				time.Sleep(time.Minute)
				j.take()
				sys.Root.Send(below(sys, top, "c2"), "boom")
				time.Sleep(500 * time.Millisecond)
				j.add("|")
				time.Sleep(time.Minute)
				j.want(t, tc.want...)
				if n := len(restarts.list()); n != len(tc.want)/3 {
					t.Errorf("%d events", n)
				}
				mustStop(t, sys, top)
			})
		})
	}
}

// proto.actor strikes children off by moving the last one into the gap, so its
// list is not in the order of spawning; ours has to be.
func TestRestartOrderAfterAChildLeft(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 5, nil), WithPolicy(steady()), WithStrategy(RestForOne)))
		synctest.Wait()
		sys.Root.Stop(below(sys, top, "c2"))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c4"), "boom")
		time.Sleep(time.Minute)
		j.want(t, "c5 restarting", "c4 restarting", "c4 started", "c5 started")
		mustStop(t, sys, top)
		j.want(t, "c5 stopping", "c5 stopped", "c4 stopping", "c4 stopped", "c3 stopping", "c3 stopped", "c1 stopping", "c1 stopped")
	})
}

func TestSiblingsThatWaitHandleNothingAndLoseNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 2, func(ctx actor.Context) {
			if m, ok := ctx.Message().(int); ok {
				j.add("got %d", m)
			}
		}), WithPolicy(steady()), WithStrategy(AllForOne)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		synctest.Wait()
		sys.Root.Send(below(sys, top, "c2"), 1)
		sys.Root.Send(below(sys, top, "c2"), 2)
		synctest.Wait()
		j.want(t, "c2 restarting", "c1 restarting")
		time.Sleep(time.Minute)
		j.want(t, "c1 started", "c2 started", "got 1", "got 2")
		mustStop(t, sys, top)
	})
}

func TestFailureWhileBeginningRestartsTheRest(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		starts := 0
		top := sys.Root.Spawn(Props(family(&j, 3, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok && strings.HasSuffix(ctx.Self().Id, "c2") {
				if starts++; starts == 2 {
					panic("not yet")
				}
			}
		}), WithPolicy(steady()), WithStrategy(RestForOne)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		time.Sleep(time.Minute)
		j.want(t, "c3 restarting", "c2 restarting", "c1 restarting",
			"c1 started", "c2 started", "c2 restarting", "c2 started", "c3 started")
		mustStop(t, sys, top)
	})
}

func TestSecondFailureTakesOverTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 3, nil), WithPolicy(steady()), WithStrategy(RestForOne)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c3"), "boom")
		time.Sleep(500 * time.Millisecond)
		sys.Root.Send(below(sys, top, "c1"), "boom")
		time.Sleep(900 * time.Millisecond)
		j.want(t, "c3 restarting", "c2 restarting", "c1 restarting")
		time.Sleep(time.Minute)
		j.want(t, "c1 started", "c2 started", "c3 started")
		mustStop(t, sys, top)
	})
}

func TestStopDuringBackoff(t *testing.T) {
	for _, who := range []string{"child", "parent"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				var j journal
				top := sys.Root.Spawn(Props(family(&j, 1, nil), WithPolicy(steady())))
				synctest.Wait()
				c := below(sys, top, "c1")
				sys.Root.Send(c, "boom")
				synctest.Wait()
				want := []string{"c1 started", "c1 restarting", "c1 stopping", "c1 stopped"}
				begun := time.Now()
				if who == "child" {
					mustStop(t, sys, c)
					want = append(want, "parent: terminated c1")
				} else {
					mustStop(t, sys, top)
				}
				if d := time.Since(begun); d != 0 {
					t.Errorf("took %v", d)
				}
				time.Sleep(time.Hour)
				j.want(t, want...)
				mustStop(t, sys, top)
			})
		})
	}
}

func TestStopOfASiblingDuringARoundLetsItGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 3, nil), WithPolicy(steady()), WithStrategy(AllForOne)))
		synctest.Wait()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		synctest.Wait()
		j.take()
		mustStop(t, sys, below(sys, top, "c2"))
		time.Sleep(time.Minute)
		j.want(t, "c2 stopping", "c2 stopped", "parent: terminated c2", "c1 started", "c3 started")
		mustStop(t, sys, top)
	})
}

func TestStopIsOrderedAndHasADeadline(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		overdue := eventsOf[*Overdue](sys)
		gate := make(chan struct{})
		start := time.Now()
		top := sys.Root.Spawn(Props(family(&j, 3, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopping); ok && strings.HasSuffix(ctx.Self().Id, "c2") {
				<-gate
			}
		}), WithStopTimeout(3*time.Second)))
		synctest.Wait()
		j.take()
		mustStop(t, sys, top)
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
		j.want(t, "c3 stopping", "c3 stopped", "c2 stopping", "c1 stopping", "c1 stopped")
		if o := overdue.list(); len(o) != 1 || o[0].Who.Id != top.Id+"/c2" || o[0].After != 3*time.Second || !o[0].Parent.Equal(top) {
			t.Errorf("events %v", o)
		}
		close(gate)
		synctest.Wait()
		j.want(t, "c2 stopped")
	})
}

func TestChildLeftBehindIsNotSupervisedAnyMore(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		top := sys.Root.Spawn(Props(logged(&j, "top", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Terminated); ok {
				j.add("top was told of somebody it had given up")
			}
			if ctx.Message() == any("spawn") {
				ctx.SpawnNamed(Props(logged(&j, "stuck", func(ctx actor.Context) {
					if ctx.Message() == any("hang") {
						<-gate
						panic("and now this")
					}
				})), "stuck")
			}
		}), WithStopTimeout(time.Second), WithGuardian(steady())))
		sys.Root.Send(top, "spawn")
		synctest.Wait()
		stuck := below(sys, top, "stuck")
		sys.Root.Send(stuck, "hang")
		synctest.Wait()
		sys.Root.Send(top, "boom")
		time.Sleep(time.Minute)
		j.want(t, "top started", "stuck started", "top restarting", "top started")
		close(gate)
		synctest.Wait()
		j.want(t, "stuck stopping", "stuck stopped")
		mustStop(t, sys, top)
	})
}

func TestOverdueHaltIsReportedAndWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		overdue := eventsOf[*Overdue](sys)
		gate := make(chan struct{})
		top := sys.Root.Spawn(Props(family(&j, 3, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Restarting); ok && strings.HasSuffix(ctx.Self().Id, "c2") {
				<-gate
			}
		}), WithPolicy(steady()), WithStrategy(AllForOne), WithStopTimeout(5*time.Second)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		time.Sleep(time.Hour)
		j.want(t, "c3 restarting", "c2 restarting", "c1 restarting")
		if n := len(overdue.list()); n != 1 {
			t.Errorf("%d events", n)
		}
		close(gate)
		synctest.Wait()
		j.want(t, "c1 started", "c2 started", "c3 started")
		mustStop(t, sys, top)
	})
}

func TestNothingIsSpawnedWhileEnding(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var errs []error
		top := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Stopping, *actor.Restarting, *actor.Stopped:
				_, err := ctx.SpawnNamed(Props(does(func(actor.Context) {})), "late")
				errs = append(errs, err)
			case string:
				panic("restart")
			}
		}), WithGuardian(steady())))
		sys.Root.Send(top, "x")
		time.Sleep(time.Minute)
		mustStop(t, sys, top)
		if len(errs) != 3 || slices.ContainsFunc(errs, func(err error) bool { return !errors.Is(err, ErrNotRunning) }) {
			t.Error(errs)
		}
	})
}

func TestUnguardedChildIsSupervisedToo(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				for _, name := range []string{"a", "b"} {
					ctx.SpawnNamed(actor.PropsFromProducer(logged(&j, name, nil)), name)
				}
			}
		}), WithPolicy(steady()), WithStrategy(AllForOne)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "a"), "boom")
		time.Sleep(999 * time.Millisecond)
		j.want(t)
		time.Sleep(time.Minute)
		if got := j.take(); len(got) != 4 {
			t.Error(got)
		}
		if _, err := Ask[*actor.Touched](t.Context(), sys, below(sys, top, "b"), &actor.Touch{}); err != nil {
			t.Error(err)
		}
		mustStop(t, sys, top)
	})
}

func TestProducerPanicIsAFailure(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		n := 0
		pid := sys.Root.Spawn(Props(func() actor.Actor {
			switch n++; n {
			case 1:
				panic(errBoom)
			case 2:
				return nil
			}
			return logged(&j, "third", nil)()
		}, WithGuardian(steady())))
		time.Sleep(time.Minute)
		j.want(t, "third started")
		if i := Tree(sys); len(i) != 1 || i[0].Restarts != 2 {
			t.Errorf("%+v", i)
		}
		mustStop(t, sys, pid)
	})
}

func TestPanicCarriesItsStack(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		stopped := eventsOf[*Stopped](sys)
		for _, fails := range []func(actor.Context){explode, func(ctx actor.Context) { Fail(ctx, errBoom) }, func(ctx actor.Context) { Fail(ctx, nil) }} {
			pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
				if _, ok := ctx.Message().(string); ok {
					fails(ctx)
				}
			}), WithGuardian(Policy{Default: Terminate})))
			sys.Root.Send(pid, "x")
			synctest.Wait()
		}
		s := stopped.list()
		if len(s) != 3 {
			t.Fatal(s)
		}
		var p *PanicError
		if !errors.As(s[0].Err, &p) || !strings.Contains(string(p.Stack), "supervisor.explode") || !errors.Is(p, errBoom) {
			t.Errorf("a panic gave %#v", s[0].Err)
		}
		if s[1].Err != errBoom {
			t.Errorf("Fail gave %#v", s[1].Err)
		}
		if s[2].Err == nil {
			t.Error("Fail(nil) gave no error")
		}
	})
}

func explode(actor.Context) { panic(errBoom) }

func TestPanickingSubscriberDoesNotHurtThePublisher(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		sys.EventStream.Subscribe(func(v any) {
			if _, ok := v.(*Restarted); ok {
				panic("bad subscriber")
			}
		})
		pid := sys.Root.Spawn(Props(logged(&j, "a", nil), WithGuardian(steady())))
		sys.Root.Send(pid, "boom")
		time.Sleep(time.Minute)
		j.want(t, "a started", "a restarting", "a started")
		mustStop(t, sys, pid)
	})
}

func TestInjectedClock(t *testing.T) {
	sys := newSystem()
	clock := clockwork.NewFakeClock()
	started := make(chan struct{}, 8)
	policy := Policy{Backoff: Backoff{Min: time.Hour, Max: time.Hour}}
	pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			if ClockOf(ctx) != clock {
				t.Error("another clock")
			}
			started <- struct{}{}
		case string:
			Fail(ctx, errBoom)
		}
	}), WithGuardian(policy), WithClock(clock)))
	<-started
	sys.Root.Send(pid, "boom")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := clock.BlockUntilContext(ctx, 1); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	select {
	case <-started:
	case <-ctx.Done():
		t.Fatal("not restarted")
	}
	mustStop(t, sys, pid)
}

func TestStopOfASiblingWhileAnotherBeginsHurriesNobody(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		starts := 0
		top := sys.Root.Spawn(Props(family(&j, 3, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok && strings.HasSuffix(ctx.Self().Id, "c1") {
				if starts++; starts == 2 {
					<-gate
				}
			}
		}), WithPolicy(steady()), WithStrategy(AllForOne)))
		synctest.Wait()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		time.Sleep(time.Minute)
		j.take()
		mustStop(t, sys, below(sys, top, "c3"))
		time.Sleep(time.Minute)
		j.want(t, "c3 stopping", "c3 stopped", "parent: terminated c3")
		close(gate)
		synctest.Wait()
		j.want(t, "c2 started")
		mustStop(t, sys, top)
	})
}

func TestTerminateDuringARoundLetsItGoOn(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		starts := 0
		policy := steady()
		policy.Rules = []Rule{{If: ForType[*PanicError](), Then: Terminate}}
		top := sys.Root.Spawn(Props(family(&j, 3, func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok && strings.HasSuffix(ctx.Self().Id, "c2") {
				if starts++; starts == 2 {
					panic("no more")
				}
			}
		}), WithPolicy(policy), WithStrategy(AllForOne)))
		synctest.Wait()
		j.take()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		time.Sleep(1500 * time.Millisecond)
		got := j.take()
		if len(got) != 10 || !slices.Contains(got, "c3 started") || !slices.Contains(got, "parent: failed c2: panic: no more") {
			t.Error(got)
		}
		mustStop(t, sys, top)
	})
}

// A sibling that fails by itself while it is told to halt restarts with the
// others, and is not judged.
func TestFailureWhileHalting(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		restarts := eventsOf[*Restarted](sys)
		gate := make(chan struct{})
		policy := steady()
		policy.Rules = []Rule{{If: ForType[*PanicError](), Then: Escalate}}
		top := sys.Root.Spawn(Props(family(&j, 2, func(ctx actor.Context) {
			if ctx.Message() == any("hang") {
				<-gate
				panic("me too")
			}
		}), WithPolicy(policy), WithStrategy(AllForOne)))
		synctest.Wait()
		sys.Root.Send(below(sys, top, "c2"), "hang")
		synctest.Wait()
		sys.Root.Send(below(sys, top, "c1"), "boom")
		synctest.Wait()
		j.take()
		close(gate)
		time.Sleep(time.Minute)
		j.want(t, "c2 restarting", "c1 restarting", "c1 started", "c2 started")
		for _, r := range restarts.list() {
			if !errors.Is(r.Err, errBoom) {
				t.Error(r.Err)
			}
		}
		mustStop(t, sys, top)
	})
}

// inactive is a strategy of proto.actor's kind that leaves the failed suspended.
type inactive struct{}

func (inactive) HandleFailure(*actor.ActorSystem, actor.Supervisor, *actor.PID, *actor.RestartStatistics, any, any) {
}

func TestAFailedParentRestartsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.SpawnNamed(Props(logged(&j, "middle", func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						ctx.SpawnNamed(Props(logged(&j, "child", nil)), "child")
					}
				}), WithPolicy(steady())), "middle")
			}
		}, actor.WithSupervisor(inactive{})))
		synctest.Wait()
		middle := below(sys, top, "middle")
		sys.Root.Send(below(sys, middle, "child"), "boom")
		synctest.Wait()
		sys.Root.Send(middle, "boom")
		time.Sleep(time.Minute)
		j.want(t, "middle started", "child started", "child restarting")
		process, _ := sys.ProcessRegistry.Get(middle)
		process.SendSystemMessage(middle, &actor.ResumeMailbox{})
		time.Sleep(time.Minute)
		j.want(t, "child started")
		mustStop(t, sys, top)
	})
}

// A deadline that passed just as it was met counts for nothing. The bare guard
// would not survive acting on it.
func TestStaleDeadlineIsIgnored(t *testing.T) {
	c := &child{}
	c.watch = &late{c}
	(&guard{}).childLate(&late{c})
	c.calm()
	(&guard{}).childLate(&late{c})
}

// A restart that somebody else asked for, at any moment, wedges nothing.
func TestForeignRestart(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		top := sys.Root.Spawn(Props(family(&j, 2, nil), WithPolicy(steady()), WithStrategy(RestForOne)))
		synctest.Wait()
		j.take()
		c := below(sys, top, "c1")
		process, _ := sys.ProcessRegistry.Get(c)
		restart := func() { process.SendSystemMessage(c, &actor.Restart{}) }
		restart()
		synctest.Wait()
		j.want(t, "c1 restarting", "c1 started")
		sys.Root.Send(c, "boom")
		synctest.Wait()
		restart()
		synctest.Wait()
		j.want(t, "c2 restarting", "c1 restarting", "c1 started")
		time.Sleep(time.Minute) // its parent's beginNow comes to an actor that runs
		j.want(t, "c2 started")
		sys.Root.Send(c, "boom")
		time.Sleep(time.Minute)
		j.want(t, "c2 restarting", "c1 restarting", "c1 started", "c2 started")
		process.SendSystemMessage(c, &actor.ResumeMailbox{})
		mustStop(t, sys, top)
	})
}

// Context's own EscalateFailure goes round the guard, and is supervised anyway.
func TestEscalateFailureOfTheContext(t *testing.T) {
	for _, top := range []bool{true, false} {
		bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
			var j journal
			fails := Props(logged(&j, "a", func(ctx actor.Context) {
				if ctx.Message() == any("fail") {
					ctx.(actor.Supervisor).EscalateFailure(errBoom, ctx.Message())
				}
			}))
			pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok && !top {
					ctx.SpawnNamed(fails, "a")
				}
			})))
			synctest.Wait()
			a := below(sys, pid, "a")
			if top {
				a = sys.Root.Spawn(fails)
			}
			sys.Root.Send(a, "fail")
			time.Sleep(time.Minute)
			j.want(t, "a started", "a restarting", "a started")
			mustStop(t, sys, a, pid)
		})
	}
}

func TestBoundedMailboxAndItsMiddleware(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		m := &moody{}
		pid := sys.Root.Spawn(Props(logged(&j, "a", nil), WithMailbox(actor.Unbounded(m)), WithGuardian(steady())))
		sys.Root.Send(pid, "bad")
		time.Sleep(time.Minute)
		j.want(t, "a started", "a restarting", "a started")
		if !m.started {
			t.Error("the mailbox given was not used")
		}
		mustStop(t, sys, pid)
	})
}

// moody is a mailbox middleware that panics once.
type moody struct{ started bool }

func (m *moody) MailboxStarted()   { m.started = true }
func (m *moody) MessagePosted(any) {}
func (m *moody) MailboxEmpty()     {}
func (m *moody) MessageReceived(message any) {
	if message == any("bad") {
		panic(errBoom)
	}
}

func TestAwait(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(does(func(actor.Context) {})))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errBoom)
		defer cancel()
		if err := Await(ctx, sys, pid); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- Await(t.Context(), sys, pid) }()
		synctest.Wait()
		mustStop(t, sys, pid)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := errors.Join(Await(t.Context(), sys, pid), Await(t.Context(), sys, nil)); err != nil {
			t.Error(err)
		}
	})
}

func TestStopOfNobody(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		mustStop(t, sys, nil, sys.NewLocalPID("nobody"))
		pid := sys.Root.Spawn(Props(does(func(actor.Context) {})))
		mustStop(t, sys, pid, pid)
	})
}

func TestStopObeysItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		gate := make(chan struct{})
		dead := eventsOf[*actor.DeadLetterEvent](sys)
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(Props(does(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						<-gate
					}
				})))
			}
		})))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errBoom)
		defer cancel()
		if err := Stop(ctx, sys, pid); !errors.Is(err, errBoom) {
			t.Error(err)
		}
		// A second one waits for the same end, and does not answer early.
		done := make(chan error, 1)
		go func() { done <- Stop(t.Context(), sys, pid) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatal("answered early:", err)
		default:
		}
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if d := dead.list(); len(d) != 0 {
			t.Errorf("the first was told, too late: %+v", d[0])
		}
	})
}
