package supervisor

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// These tests say what proto.actor does by itself, without this package. They
// are here to be noticed: one that fails after an upgrade means that a fault is
// gone, and that what works around it may go too.

// raw spawns an unguarded actor that is written down in j.
func raw(sys *actor.ActorSystem, j *journal, name string, f func(actor.Context), opts ...actor.PropsOption) *actor.PID {
	return sys.Root.Spawn(actor.PropsFromProducer(logged(j, name, f), opts...))
}

func registered(sys *actor.ActorSystem, pid *actor.PID) bool {
	_, ok := sys.ProcessRegistry.GetLocal(pid.Id)
	return ok
}

func TestPinned01PanicInStoppingResurrects(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		once := true
		pid := raw(sys, &j, "a", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Stopping); ok && once {
				once = false
				panic(errBoom)
			}
		})
		sys.Root.Stop(pid)
		synctest.Wait()
		j.want(t, "a started", "a stopping", "a restarting", "a started")
		if !registered(sys, pid) {
			t.Error("it did stop")
		}
	})
}

func TestPinned02PanicInStoppedKeepsTheParent(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		parent := raw(sys, &j, "parent", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopped); ok {
						panic(errBoom)
					}
				}))
			}
		})
		synctest.Wait()
		sys.Root.Stop(parent)
		time.Sleep(time.Hour)
		j.want(t, "parent started", "parent stopping")
	})
}

func TestPinned03StopSelfThenPanicMakesAZombie(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := raw(sys, &j, "a", func(ctx actor.Context) {
			if ctx.Message() == any("die") {
				ctx.Stop(ctx.Self())
				panic(errBoom)
			}
		})
		sys.Root.Send(pid, "die")
		synctest.Wait()
		if got := j.take(); !slices.Equal(got[len(got)-1:], []string{"a started"}) || registered(sys, pid) {
			t.Error(got)
		}
	})
}

// crashEnv makes the test binary do what would take a test down.
const crashEnv = "SUPERVISOR_TEST_CRASH"

func crash() {
	sys := newSystem()
	var j journal
	pid := raw(sys, &j, "a", nil, actor.WithGuardian(actor.NewOneForOneStrategy(1, time.Second,
		func(any) actor.Directive { return actor.EscalateDirective })))
	sys.Root.Send(pid, "boom")
	select {}
}

func TestPinned04EscalationAtAGuardianCrashesTheProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), crashEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "guardian cannot escalate failure") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPinned05EscalateThenResumeLeavesTheGrandchildSuspended(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		var child *actor.PID
		directive := func(d actor.Directive) actor.PropsOption {
			return actor.WithSupervisor(actor.NewOneForOneStrategy(1, time.Second, func(any) actor.Directive { return d }))
		}
		raw(sys, &j, "top", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				ctx.Spawn(actor.PropsFromProducer(logged(&j, "middle", func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok {
						child = ctx.Spawn(actor.PropsFromProducer(logged(&j, "child", func(ctx actor.Context) {
							if m, ok := ctx.Message().(int); ok {
								j.add("got %d", m)
							}
						})))
					}
				}), directive(actor.EscalateDirective)))
			}
		}, directive(actor.ResumeDirective))
		synctest.Wait()
		j.take()
		sys.Root.Send(child, "boom")
		sys.Root.Send(child, 1)
		time.Sleep(time.Hour)
		j.want(t)
	})
}

func TestPinned06MessagesBetweenStoppingAndStopped(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate := make(chan struct{})
		pid := raw(sys, &j, "a", func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				ctx.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Stopping); ok {
						<-gate
					}
				}))
			case int:
				j.add("got a message")
			}
		})
		synctest.Wait()
		sys.Root.Stop(pid)
		synctest.Wait()
		sys.Root.Send(pid, 1)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		j.want(t, "a started", "a stopping", "got a message", "a stopped")
	})
}

func TestPinned07QueuedMessagesVanish(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		dead := eventsOf[*actor.DeadLetterEvent](sys)
		gate := make(chan struct{})
		pid := raw(sys, &j, "a", func(ctx actor.Context) {
			if m, ok := ctx.Message().(int); ok {
				j.add("got %d", m)
				<-gate
			}
		})
		sys.Root.Send(pid, 1)
		sys.Root.Send(pid, 2)
		synctest.Wait()
		sys.Root.Stop(pid)
		close(gate)
		synctest.Wait()
		j.want(t, "a started", "got 1", "a stopping", "a stopped")
		if n := len(dead.list()); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestPinned08LateRestartHitsANamesakeAndBackoffIsLinear(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		backoff := actor.WithGuardian(actor.NewExponentialBackoffStrategy(time.Hour, 100*time.Millisecond))
		start := time.Now()
		fails := raw(sys, &j, "fails", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				j.add("%v", time.Since(start).Truncate(time.Millisecond))
				start = time.Now()
				panic(errBoom)
			}
		}, backoff)
		time.Sleep(1100 * time.Millisecond)
		sys.Root.Stop(fails)
		synctest.Wait()
		if got := strings.Join(j.take(), " "); !strings.Contains(got, "100ms") || !strings.Contains(got, "200ms") || !strings.Contains(got, "300ms") {
			t.Error(got) // and not 400 ms
		}
		time.Sleep(time.Hour)
		j.take()

		first, _ := sys.Root.SpawnNamed(actor.PropsFromProducer(logged(&j, "first", nil), backoff), "same")
		sys.Root.Send(first, "boom")
		synctest.Wait()
		sys.Root.Stop(first)
		synctest.Wait()
		sys.Root.SpawnNamed(actor.PropsFromProducer(logged(&j, "second", nil)), "same")
		time.Sleep(time.Hour)
		j.want(t, "first started", "first stopping", "first stopped", "second started", "second restarting", "second started")
	})
}

func TestPinned09SendInMidSpawnPanicsInTheSender(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		var panicked any
		raw(sys, &j, "a", nil, actor.WithOnInit(func(ctx actor.Context) {
			defer func() { panicked = recover() }()
			ctx.Send(ctx.Self(), "early")
		}))
		if panicked == nil {
			t.Error("no panic")
		}
	})
}

func TestPinned10GoexitWedges(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := raw(sys, &j, "a", func(ctx actor.Context) {
			if m, ok := ctx.Message().(int); ok {
				j.add("got %d", m)
				runtime.Goexit()
			}
		})
		sys.Root.Send(pid, 1)
		sys.Root.Send(pid, 2)
		synctest.Wait()
		sys.Root.Stop(pid)
		time.Sleep(time.Hour)
		j.want(t, "a started", "got 1")
	})
}

func TestPinned11ShutdownStopsNoActorAndOnlyOnce(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := raw(sys, &j, "a", nil)
		sys.Shutdown()
		synctest.Wait()
		j.want(t, "a started")
		defer func() {
			if recover() == nil {
				t.Error("a second Shutdown does not panic")
			}
			mustStop(t, sys, pid)
		}()
		sys.Shutdown()
	})
}

func TestPinnedTerminatedComesTwiceWithWatch(t *testing.T) {
	for _, props := range []func(actor.Producer) *actor.Props{
		func(p actor.Producer) *actor.Props { return actor.PropsFromProducer(p) },
		func(p actor.Producer) *actor.Props { return Props(p) }, // no cure for this one
	} {
		for watch, want := range map[bool]int{false: 1, true: 2} {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				n := 0
				parent := sys.Root.Spawn(props(does(func(ctx actor.Context) {
					switch ctx.Message().(type) {
					case *actor.Started:
						c := ctx.Spawn(props(does(func(actor.Context) {})))
						if watch {
							ctx.Watch(c)
						}
						ctx.Stop(c)
					case *actor.Terminated:
						n++
					}
				})))
				synctest.Wait()
				if n != want {
					t.Errorf("watched %v: %d times", watch, n)
				}
				mustStop(t, sys, parent)
			})
		}
	}
}

func TestPinnedStartedThatPanicsIsTriedElevenTimesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		start, n := time.Now(), 0
		raw(sys, &j, "a", func(ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); ok {
				n++
				panic(errBoom)
			}
		})
		synctest.Wait()
		if n != 11 || time.Since(start) != 0 {
			t.Errorf("%d in %v", n, time.Since(start))
		}
	})
}

func TestPinnedStashIsBackwardsAndLosesTheSender(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		n := 0
		pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
			n++
			first := n == 1
			return actor.ReceiveFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case int:
					if first {
						ctx.Stash()
						return
					}
					j.add("%d from %v", m, ctx.Sender())
				case string:
					panic(m)
				}
			})
		}))
		sys.Root.RequestWithCustomSender(pid, 1, pid)
		sys.Root.Send(pid, 2)
		sys.Root.Send(pid, "restart")
		synctest.Wait()
		j.want(t, "2 from <nil>", "1 from <nil>")
	})
}

func TestPinnedReceiveTimeoutFiresOnce(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		n := 0
		pid := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				ctx.SetReceiveTimeout(time.Second)
			case *actor.ReceiveTimeout:
				n++
			}
		}))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n != 1 {
			t.Errorf("%d times", n)
		}
		mustStop(t, sys, pid)
	})
}

func TestPinnedReenterAfterRunsAfterARestart(t *testing.T) {
	for name, props := range map[string]func(actor.Producer) *actor.Props{
		"unguarded": func(p actor.Producer) *actor.Props { return actor.PropsFromProducer(p) },
		"guarded":   func(p actor.Producer) *actor.Props { return Props(p, WithGuardian(steady())) }, // no cure for this one
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				var j journal
				future := actor.NewFuture(sys, time.Hour)
				n := 0
				pid := sys.Root.Spawn(props(func() actor.Actor {
					n++
					mine := n
					return actor.ReceiveFunc(func(ctx actor.Context) {
						if m, ok := ctx.Message().(string); ok {
							if m == "crash" {
								panic(m)
							}
							ctx.ReenterAfter(future, func(any, error) { j.add("continuation of %d in %d", mine, n) })
						}
					})
				}))
				sys.Root.Send(pid, "wait")
				sys.Root.Send(pid, "crash")
				time.Sleep(time.Minute)
				sys.Root.Send(future.PID(), "now")
				synctest.Wait()
				j.want(t, "continuation of 1 in 2")
				mustStop(t, sys, pid)
			})
		})
	}
}

// looped runs a mailbox on the spot, and gives up when it does nothing but turn.
type looped struct{ turns int }

func (l *looped) Schedule(f func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	<-over
}

func (l *looped) Throughput() int {
	if l.turns++; l.turns > 1000 {
		runtime.Goexit()
	}
	return 300
}

type ignoring struct{}

func (ignoring) InvokeSystemMessage(any)  {}
func (ignoring) InvokeUserMessage(any)    {}
func (ignoring) EscalateFailure(any, any) {}

func TestPinnedDroppingMailboxSpinsForEver(t *testing.T) {
	m := actor.BoundedDropping(8)()
	held := &held{}
	m.RegisterHandlers(ignoring{}, held)
	for i := range 100 {
		m.PostUserMessage(i)
	}
	l := &looped{}
	held.looped = l
	l.Schedule(held.f)
	if l.turns <= 1000 {
		t.Errorf("came to rest after %d turns", l.turns)
	}
}

// held keeps what it is to run until somebody runs it.
type held struct {
	*looped
	f func()
}

func (h *held) Schedule(f func()) { h.f = f }

func TestPinnedBoundedMailboxHoldsTheSender(t *testing.T) {
	sys := newSystem()
	gate := make(chan struct{})
	pid := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(int); ok && m == 0 {
			<-gate
		}
	}, actor.WithMailbox(actor.Bounded(4))))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range 20 {
			sys.Root.Send(pid, i)
		}
	}()
	select {
	case <-sent:
		t.Error("20 messages fit into 4")
	case <-time.After(20 * time.Millisecond):
	}
	close(gate)
	<-sent
	mustStop(t, sys, pid)
}
