package supervisor

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Each test here has a fault of proto.actor's that the guard cures. The one in
// pinning_test.go with the same number shows the fault itself.

func TestCured01PanicInStopping(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		panics := eventsOf[*LifecyclePanic](sys)
		pid := sys.Root.Spawn(Props(logged(&j, "a", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopping); ok {
				panic(errBoom)
			}
		})))
		mustStop(t, sys, pid)
		j.want(t, "a started", "a stopping", "a stopped")
		if p := panics.list(); len(p) != 1 || !errors.Is(p[0].Err, errBoom) || p[0].Who.Id != pid.Id {
			t.Errorf("events %v", p)
		}
		if _, alive := sys.ProcessRegistry.GetLocal(pid.Id); alive {
			t.Error("still registered")
		}
	})
}

func TestCured02PanicInStopped(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		panics := eventsOf[*LifecyclePanic](sys)
		grim := Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopped); ok {
				panic(errBoom)
			}
		}))
		parent := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(grim)
			}
		})))
		begun := time.Now()
		mustStop(t, sys, parent)
		if d := time.Since(begun); d != 0 {
			t.Errorf("stopping took %v", d)
		}
		if n := len(panics.list()); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestCured03StopSelfThenPanic(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		restarts := eventsOf[*Restarted](sys)
		panics := eventsOf[*LifecyclePanic](sys)
		parent := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				if _, err := ctx.SpawnNamed(Props(logged(&j, "child", func(ctx actor.Context) {
					if ctx.Message() == any("die") {
						ctx.Stop(ctx.Self())
						panic(errBoom)
					}
				})), "child"); err != nil {
					t.Error(err)
				}
			case *actor.Terminated:
				j.add("parent saw the end")
			case *actor.Stopping, *actor.Restarting:
				j.add("parent ends")
			}
		}), WithPolicy(Policy{Default: Escalate})))
		synctest.Wait()
		j.take()
		sys.Root.Send(sys.NewLocalPID(parent.Id+"/child"), "die")
		synctest.Wait()
		j.want(t, "child stopping", "child stopped", "parent saw the end")
		time.Sleep(time.Hour)
		j.want(t)
		mustStop(t, sys, parent)
		if r := restarts.list(); len(r) != 0 {
			t.Errorf("restarted %v", r)
		}
		if p := panics.list(); len(p) != 1 || !errors.Is(p[0].Err, errBoom) {
			t.Errorf("panics %v", p)
		}
	})
}

func TestCured03RestartAfterStop(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		// A parent without a guard restarts a child that is stopping.
		var j journal
		var child *actor.PID
		sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				child = ctx.Spawn(Props(logged(&j, "child", nil)))
				ctx.Stop(child)
				ctx.(actor.Supervisor).RestartChildren(child)
			}
		}))
		synctest.Wait()
		j.want(t, "child started", "child stopping", "child stopped")
		if _, alive := sys.ProcessRegistry.GetLocal(child.Id); alive {
			t.Error("still registered")
		}
	})
}

func TestCured03FailureWhileParentStops(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		parent := sys.Root.Spawn(Props(logged(&j, "parent", func(ctx actor.Context) {
			switch ctx.Message() {
			case "spawn":
				ctx.SpawnNamed(Props(logged(&j, "child", nil)), "child")
			case "block":
				<-gate
			}
		})))
		sys.Root.Send(parent, "spawn")
		sys.Root.Send(parent, "block")
		synctest.Wait()
		sys.Root.Stop(parent)
		sys.Root.Send(sys.NewLocalPID(parent.Id+"/child"), "boom")
		synctest.Wait()
		close(gate)
		synctest.Wait()
		j.want(t, "parent started", "child started",
			"parent stopping", "child stopping", "child stopped", "parent stopped")
		time.Sleep(time.Hour)
		j.want(t)
	})
}

func TestCured04EscalationAtTheTop(t *testing.T) {
	escalate := Policy{Default: Escalate}
	raw := actor.NewOneForOneStrategy(1, time.Second, func(any) actor.Directive { return actor.EscalateDirective })
	rawAll := actor.NewAllForOneStrategy(1, time.Second, actor.DefaultDecider)
	for name, spawn := range map[string]func(*actor.ActorSystem, actor.Producer) *actor.PID{
		"guardian policy": func(sys *actor.ActorSystem, p actor.Producer) *actor.PID {
			return sys.Root.Spawn(Props(p, WithGuardian(escalate)))
		},
		"guardian of proto.actor": func(sys *actor.ActorSystem, p actor.Producer) *actor.PID {
			return sys.Root.Copy().WithGuardian(raw).Spawn(Props(p))
		},
		"all-for-one guardian of proto.actor": func(sys *actor.ActorSystem, p actor.Producer) *actor.PID {
			return sys.Root.Copy().WithGuardian(rawAll).Spawn(Props(p))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				var j journal
				escalated := eventsOf[*Escalated](sys)
				pid := spawn(sys, logged(&j, "a", nil))
				sys.Root.Send(pid, "boom")
				synctest.Wait()
				j.want(t, "a started", "a stopping", "a stopped")
				if e := escalated.list(); len(e) != 1 || e[0].Who.Id != pid.Id || e[0].Parent != nil {
					t.Errorf("events %v", e)
				}
			})
		})
	}
}

func TestCured05EscalateThenResume(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var child *actor.PID
		var j journal
		resume := actor.NewOneForOneStrategy(1, time.Second, func(any) actor.Directive { return actor.ResumeDirective })
		top := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(Props(logged(&j, "middle", func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						child = ctx.Spawn(Props(logged(&j, "child", nil)))
						ctx.Spawn(Props(logged(&j, "healthy", nil)))
					}
				}), WithPolicy(Policy{Default: Escalate})))
			}
		}, actor.WithSupervisor(resume)))
		synctest.Wait()
		j.take()
		sys.Root.Send(child, "boom")
		synctest.Wait()
		if _, err := Ask[*actor.Touched](t.Context(), sys, child, &actor.Touch{}); err != nil {
			t.Error(err)
		}
		j.want(t, "child restarting", "child started")
		mustStop(t, sys, top)
	})
}

func TestCured06NothingBetweenStoppingAndStopped(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		pid := sys.Root.Spawn(Props(func() actor.Actor {
			return actor.ReceiveFunc(func(ctx actor.Context) {
				j.add("%T", ctx.Message())
				if _, ok := ctx.Message().(*actor.Started); ok {
					ctx.Spawn(Props(does(func(ctx actor.Context) {
						if _, ok := ctx.Message().(*actor.Stopping); ok {
							<-gate
						}
					})))
				}
			})
		}))
		synctest.Wait()
		sys.Root.Stop(pid)
		synctest.Wait()
		_, err := Ask[string](t.Context(), sys, pid, "late")
		if !errors.Is(err, ErrNoActor) {
			t.Errorf("asked while stopping: %v", err)
		}
		close(gate)
		synctest.Wait()
		j.want(t, "*actor.Started", "*actor.Stopping", "*actor.Stopped")
	})
}

func TestCured07QueuedMessagesBecomeDeadLetters(t *testing.T) {
	for name, suspended := range map[string]bool{"running": false, "backing off": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				dead := eventsOf[*actor.DeadLetterEvent](sys)
				gate := make(chan struct{})
				var j journal
				pid := sys.Root.Spawn(Props(logged(&j, "a", func(ctx actor.Context) {
					if ctx.Message() == any("block") {
						<-gate
					}
				}), WithGuardian(steady())))
				if suspended {
					sys.Root.Send(pid, "boom")
				} else {
					sys.Root.Send(pid, "block")
				}
				for i := range 10 {
					sys.Root.Send(pid, i)
				}
				answer := make(chan error, 1)
				go func() {
					_, err := Ask[string](t.Context(), sys, pid, "still there?")
					answer <- err
				}()
				synctest.Wait()
				sys.Root.Stop(pid)
				close(gate)
				if err := <-answer; !errors.Is(err, ErrNoActor) {
					t.Errorf("pending Ask: %v", err)
				}
				synctest.Wait()
				n := 0
				for _, d := range dead.list() {
					if v, ok := d.Message.(int); ok && v == n {
						n++
					}
				}
				if n != 10 {
					t.Errorf("%d dead letters of 10", n)
				}
			})
		})
	}
}

func TestCured08LateRestartSparesNamesake(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		first, _ := sys.Root.SpawnNamed(Props(logged(&j, "first", nil), WithGuardian(steady())), "same")
		sys.Root.Send(first, "boom")
		synctest.Wait()
		mustStop(t, sys, first)
		second, err := sys.Root.SpawnNamed(Props(logged(&j, "second", nil)), "same")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		j.want(t, "first started", "first restarting", "first stopping", "first stopped", "second started")
		mustStop(t, sys, second)
	})
}

func TestCured08LateRestartSparesNamesakeChild(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		n := 0
		parent := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started, *actor.Terminated:
				n++
				if _, err := ctx.SpawnNamed(Props(logged(&j, []string{"", "first", "second"}[n], nil)), "same"); err != nil {
					t.Error(err)
				}
			case string:
				ctx.Stop(ctx.Children()[0])
			}
		}), WithPolicy(steady())))
		synctest.Wait()
		sys.Root.Send(sys.NewLocalPID(parent.Id+"/same"), "boom")
		synctest.Wait()
		sys.Root.Send(parent, "stop the child")
		time.Sleep(time.Hour)
		j.want(t, "first started", "first restarting", "first stopping", "first stopped", "second started")
		mustStop(t, sys, parent)
	})
}

func TestCured09SendInMidSpawn(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid, err := sys.Root.SpawnNamed(Props(does(func(ctx actor.Context) {
			j.add("%v", ctx.Message())
		}), WithProps(actor.WithOnInit(func(ctx actor.Context) {
			// The name is registered, the mailbox has no handlers yet.
			ctx.Send(ctx.Self(), "one")
			ctx.Watch(ctx.Self())
			ctx.Send(ctx.Self(), "two")
		}))), "early")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		j.want(t, "&{}", "one", "two")
		mustStop(t, sys, pid)
	})
}

func TestCured10Goexit(t *testing.T) {
	for _, where := range []string{"message", "started", "terminated", "restarting", "stopping", "stopped"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				panics := eventsOf[*LifecyclePanic](sys)
				restarts := eventsOf[*Restarted](sys)
				once := true
				handled := 0
				pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
					hit := where == lifecycleName(ctx.Message())
					switch m := ctx.Message().(type) {
					case *actor.Started:
						ctx.Spawn(Props(does(func(actor.Context) {})))
					case *actor.Terminated:
						hit = where == "terminated"
					case string:
						handled++
						switch m {
						case "exit":
							hit = where == "message"
						case "boom":
							Fail(ctx, errBoom)
						case "terminate":
							ctx.Stop(ctx.Children()[0])
						}
					}
					if hit && once {
						once = false
						runtime.Goexit()
					}
				}), WithGuardian(steady())))
				sys.Root.Send(pid, "exit")
				sys.Root.Send(pid, "terminate")
				time.Sleep(time.Hour)
				sys.Root.Send(pid, "boom")
				time.Sleep(time.Hour)
				sys.Root.Send(pid, "last")
				synctest.Wait()
				if handled != 4 {
					t.Errorf("handled %d of 4", handled)
				}
				mustStop(t, sys, pid)
				synctest.Wait()
				if once {
					t.Error("Goexit was never called")
				}
				wantRestarts, wantPanics := 2, 0
				switch where {
				case "restarting", "stopping", "stopped":
					wantRestarts, wantPanics = 1, 1
				}
				if n := len(restarts.list()); n != wantRestarts {
					t.Errorf("%d restarts, want %d", n, wantRestarts)
				}
				p := panics.list()
				if len(p) != wantPanics {
					t.Errorf("%d lifecycle panics, want %d", len(p), wantPanics)
				}
				for _, e := range p {
					if !errors.Is(e.Err, ErrGoexit) {
						t.Error(e.Err)
					}
				}
			})
		})
	}
}

func TestCuredProducerRunsAfterNameCheck(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		n := 0
		props := Props(func() actor.Actor {
			n++
			return actor.ReceiveFunc(func(actor.Context) {})
		})
		pid, err := sys.Root.SpawnNamed(props, "taken")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sys.Root.SpawnNamed(props, "taken"); !errors.Is(err, actor.ErrNameExists) {
			t.Errorf("second spawn: %v", err)
		}
		synctest.Wait()
		if n != 1 {
			t.Errorf("produced %d", n)
		}
		mustStop(t, sys, pid)
	})
}

// A child that is spawned under the name of one whose Terminated is still on
// its way would be struck off by it.
func TestCuredTerminatedOfNamesake(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		parent := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			spawn := func(name string) {
				if _, err := ctx.SpawnNamed(Props(logged(&j, name, nil)), "same"); err != nil {
					t.Error(err)
				}
			}
			switch ctx.Message() {
			case "one":
				spawn("first")
			case "two":
				<-gate // the first stops meanwhile
				spawn("second")
			case "three":
				j.add("children %d", len(ctx.Children()))
			}
			if _, ok := ctx.Message().(*actor.Terminated); ok {
				j.add("parent: terminated")
			}
		})))
		sys.Root.Send(parent, "one")
		sys.Root.Send(parent, "two")
		synctest.Wait()
		sys.Root.Stop(sys.NewLocalPID(parent.Id + "/same"))
		synctest.Wait()
		close(gate)
		synctest.Wait()
		sys.Root.Send(parent, "three")
		synctest.Wait()
		got := j.take()
		slices.Sort(got[3:5]) // side by side
		if want := []string{"first started", "first stopping", "first stopped", "parent: terminated", "second started", "children 1"}; !slices.Equal(got, want) {
			t.Error(got)
		}
		mustStop(t, sys, parent)
		j.want(t, "second stopping", "second stopped")
	})
}

func TestCuredAskCanBeCancelledAndLateRepliesAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		pid := sys.Root.Spawn(Props(does(func(ctx actor.Context) {
			if _, ok := ctx.Message().(string); ok {
				time.Sleep(time.Second)
				ctx.Respond("late")
				ctx.Respond("later")
			}
		})))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second/2, errBoom)
		defer cancel()
		for range 3 {
			go Ask[string](ctx, sys, pid, "hurry")
		}
		if _, err := Ask[string](ctx, sys, pid, "x"); !errors.Is(err, errBoom) {
			t.Errorf("cancelled Ask: %v", err)
		}
		if got, err := Ask[string](t.Context(), sys, pid, "x"); got != "late" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		mustStop(t, sys, pid)
	})
}
