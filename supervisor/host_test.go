package supervisor

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// hostess is an actor with a Host; begin runs in Started, once it is open.
type hostess struct {
	host  Host
	j     *journal
	begin func(h *Host, incarnation int)
	n     *int
}

func (a *hostess) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		a.j.add("ghost")
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.host.Begin(ctx)
		*a.n++
		a.begin(&a.host, *a.n)
	case *Ended:
		a.j.add("ended %s: %v", m.Name, m.Err)
		if m.Err != nil {
			Fail(ctx, m.Err)
		}
	case string:
		a.j.add("got %s", m)
		if m == "boom" {
			Fail(ctx, errBoom)
		}
	case func(*Host):
		m(&a.host)
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
		a.j.add("%s", lifecycleName(m))
	}
}

func hosting(j *journal, begin func(*Host, int)) actor.Producer {
	n := 0
	return func() actor.Actor { return &hostess{j: j, begin: begin, n: &n} }
}

// eachKind runs f for a guarded actor and for one without a guard: Host serves both.
func eachKind(t *testing.T, f func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID)) {
	t.Run("guarded", func(t *testing.T) {
		bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
			f(t, sys, func(p actor.Producer) *actor.PID { return sys.Root.Spawn(Props(p, WithGuardian(steady()))) })
		})
	})
	t.Run("unguarded", func(t *testing.T) {
		bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
			f(t, sys, func(p actor.Producer) *actor.PID { return sys.Root.Spawn(actor.PropsFromProducer(p)) })
		})
	})
}

func TestHostRun(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		pid := spawn(hosting(&j, func(h *Host, _ int) {
			h.Run("short", func(context.Context) error { return nil })
			h.Run("long", func(ctx context.Context) error {
				<-ctx.Done()
				if context.Cause(ctx) != ErrEnded {
					t.Error(context.Cause(ctx))
				}
				j.add("long saw the end")
				return ctx.Err()
			})
		}))
		synctest.Wait()
		j.want(t, "ended short: <nil>")
		mustStop(t, sys, pid)
		j.want(t, "long saw the end", "stopping")
	})
}

func TestHostedPanicBecomesAnErrorThatFailsTheActor(t *testing.T) {
	for name, f := range map[string]func(){
		"panic":  func() { explode(nil) },
		"goexit": runtime.Goexit,
		"fail":   func() { Fail(nil, errBoom) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
				var j journal
				restarts := eventsOf[*Restarted](sys)
				pid := sys.Root.Spawn(Props(hosting(&j, func(h *Host, n int) {
					if n == 1 {
						h.Run("reader", func(context.Context) error { f(); return nil })
						Call(h, "caller", func(ctx context.Context) int { <-ctx.Done(); return 1 })
					}
				}), WithGuardian(steady())))
				time.Sleep(time.Minute)
				r := restarts.list()
				if len(r) != 1 {
					t.Fatal(j.take())
				}
				var p *PanicError
				switch name {
				case "panic":
					if !errors.As(r[0].Err, &p) || !strings.Contains(string(p.Stack), "explode") || !errors.Is(r[0].Err, errBoom) {
						t.Error(r[0].Err)
					}
				case "goexit":
					if !errors.Is(r[0].Err, ErrGoexit) {
						t.Error(r[0].Err)
					}
				case "fail":
					if errors.As(r[0].Err, &p) || !errors.Is(r[0].Err, errBoom) {
						t.Error(r[0].Err)
					}
				}
				if !strings.Contains(r[0].Err.Error(), "reader") {
					t.Errorf("%v does not name the work", r[0].Err)
				}
				mustStop(t, sys, pid)
			})
		})
	}
}

func TestHostAtEnd(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		pid := spawn(hosting(&j, func(h *Host, _ int) {
			h.Run("work", func(ctx context.Context) error {
				<-ctx.Done()
				j.add("work is over")
				return nil
			})
			h.AtEnd(func() { j.add("first") })
			h.AtEnd(func() { j.add("second") })
		}))
		synctest.Wait()
		j.want(t)
		mustStop(t, sys, pid)
		j.want(t, "first", "second", "work is over", "stopping")
	})
}

func TestHostCall(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		got := make(chan any, 1)
		n := 0
		pid := spawn(func() actor.Actor {
			var h Host
			return actor.ReceiveFunc(func(ctx actor.Context) {
				msg, mine := h.Open(ctx.Message())
				if !mine {
					return
				}
				switch m := msg.(type) {
				case *actor.Started:
					h.Begin(ctx)
					if n++; n == 1 {
						Call(&h, "nil", func(context.Context) error { return nil })
					} else {
						Call(&h, "panics", func(context.Context) error { panic(errBoom) })
					}
				case nil:
					got <- nil
					panic("again")
				case *Ended:
					got <- m.Err
				case *actor.Stopping, *actor.Restarting:
					h.End()
				}
			})
		})
		if v := <-got; v != nil {
			t.Errorf("a Call of nil gave %v", v)
		}
		if err, ok := (<-got).(error); !ok || !errors.Is(err, errBoom) {
			t.Errorf("a Call that panics gave %v", err)
		}
		mustStop(t, sys, pid)
		j.want(t)
	})
}

func TestGhostRepliesAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		gate, stubborn := make(chan struct{}), make(chan struct{})
		pid := sys.Root.Spawn(Props(hosting(&j, func(*Host, int) {}), WithGuardian(steady())))
		sys.Root.Send(pid, func(h *Host) {
			h.After(time.Second, "tick")
			h.Run("quick", func(context.Context) error { return nil })
			Call(h, "quicker", func(context.Context) string { return "quicker" })
			Call(h, "stubborn", func(context.Context) string { <-stubborn; return "stubborn" })
			<-gate
			panic(errBoom)
		})
		time.Sleep(2 * time.Second)
		close(gate) // behind the crash three messages are queued
		time.Sleep(time.Minute)
		j.want(t) // the incarnation does not end before its work
		close(stubborn)
		time.Sleep(time.Minute)
		j.want(t, "restarting", "ghost", "ghost", "ghost")
		mustStop(t, sys, pid)
	})
}

func TestHostTimers(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		var host *Host
		stops := map[string]func(){}
		pid := spawn(hosting(&j, func(h *Host, _ int) {
			host = h
			h.After(2*time.Second, "once")
			stops["every"] = h.Every(time.Second, "every")
			stops["never"] = h.After(time.Second/2, "never")
			stops["never"]()
		}))
		time.Sleep(3*time.Second + time.Second/2)
		got := j.take()
		if strings.Join(got, ",") != "got every,got once,got every,got every" && strings.Join(got, ",") != "got every,got every,got once,got every" {
			t.Error(got)
		}
		// A slow actor is not flooded, and a stopped timer is silent at once.
		sys.Root.Send(pid, func(*Host) { time.Sleep(10 * time.Second) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		j.want(t, "got every")
		sys.Root.Send(pid, func(*Host) {
			time.Sleep(2 * time.Second) // one is queued by now
			stops["every"]()
		})
		time.Sleep(time.Minute)
		j.want(t, "ghost")
		if host.Context().Err() != nil {
			t.Error("ended early")
		}
		mustStop(t, sys, pid)
		j.want(t, "stopping")
		if host.Context().Err() == nil {
			t.Error("not ended")
		}
	})
}

func TestHostTeller(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		var tells []func(any)
		pid := spawn(hosting(&j, func(h *Host, n int) {
			tell := h.Teller()
			tells = append(tells, tell)
			h.Run("teller", func(ctx context.Context) error {
				tell("hello")
				<-ctx.Done()
				tell("too late")
				return nil
			})
		}))
		synctest.Wait()
		j.want(t, "got hello")
		ghost := tells[0]
		sys.Root.Send(pid, "boom")
		time.Sleep(time.Minute)
		ghost("from a ghost")
		synctest.Wait()
		j.want(t, "got boom", "restarting", "got hello")
		mustStop(t, sys, pid)
	})
}

func TestHostOutsideOfAnIncarnation(t *testing.T) {
	var h Host
	h.End()
	h.End()
	if context.Cause(h.Context()) != ErrEnded {
		t.Error("an unopened host has a live context")
	}
	if m, mine := h.Open("x"); m != "x" || !mine {
		t.Error(m, mine)
	}
	for name, f := range map[string]func(){
		"Run":           func() { h.Run("x", nil) },
		"Call":          func() { Call[int](&h, "x", nil) },
		"After":         func() { h.After(1, 1) },
		"Every":         func() { h.Every(1, 1) },
		"EveryWhen":     func() { h.EveryWhen(1, 1, nil) },
		"AtEnd":         func() { h.AtEnd(func() {}) },
		"Teller":        func() { h.Teller() },
		"Every nothing": func() { h.Every(0, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, "before Begin does not panic")
				}
			}()
			f()
		}()
	}
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := sys.Root.Spawn(Props(hosting(&j, func(h *Host, _ int) {
			h.End()
			h.Run("late", func(context.Context) error { t.Error("ran"); return nil })
			Call(h, "late", func(context.Context) int { t.Error("ran"); return 1 })
			h.After(1, "late")()
			h.Every(1, "late")
			h.EveryWhen(1, "late", func() bool { t.Error("asked"); return true })
			h.AtEnd(func() { j.add("ended at once") })
		})))
		time.Sleep(time.Minute)
		j.want(t, "ended at once")
		mustStop(t, sys, pid)
	})
}

// An actor is sent the ticks that are due, and no other; End waits for the question, and a
// panic there is one of the actor's work.
func TestHostEveryWhen(t *testing.T) {
	eachKind(t, func(t *testing.T, sys *actor.ActorSystem, spawn func(actor.Producer) *actor.PID) {
		var j journal
		var due atomic.Bool
		var ask atomic.Pointer[func()]
		pid := spawn(hosting(&j, func(h *Host, _ int) {
			h.EveryWhen(time.Second, "due", func() bool {
				if f := ask.Load(); f != nil {
					(*f)()
				}
				return due.Load()
			})
		}))
		time.Sleep(10*time.Second + time.Second/2)
		j.want(t)
		due.Store(true)
		time.Sleep(2 * time.Second)
		j.want(t, "got due", "got due")
		due.Store(false)
		time.Sleep(10 * time.Second)
		j.want(t)
		asked := func() { time.Sleep(5 * time.Second); j.add("asked") }
		ask.Store(&asked)
		time.Sleep(time.Second)
		due.Store(true)
		mustStop(t, sys, pid)
		time.Sleep(time.Minute)
		j.want(t, "asked", "stopping") // and nothing after that
	})
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := sys.Root.Spawn(actor.PropsFromProducer(hosting(&j, func(h *Host, _ int) {
			h.EveryWhen(time.Second, "due", func() bool { panic(errBoom) })
		})))
		time.Sleep(time.Second + time.Second/2)
		j.want(t, "ended EveryWhen: EveryWhen: panic: "+errBoom.Error(), "restarting")
		mustStop(t, sys, pid)
	})
}

func TestBeginTwiceEndsTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var first context.Context
		pid := sys.Root.Spawn(Props(func() actor.Actor {
			var h Host
			return actor.ReceiveFunc(func(ctx actor.Context) {
				switch ctx.Message().(type) {
				case *actor.Started:
					h.Begin(ctx)
					first = h.Context()
					h.Begin(ctx)
					if first.Err() == nil || h.Context().Err() != nil {
						t.Error("contexts mixed up")
					}
				case *actor.Stopping:
					h.End()
				}
			})
		}))
		synctest.Wait()
		mustStop(t, sys, pid)
	})
}

// A crash of the actor ends its hosted work at once, not when the delay is over.
func TestHostedWorkEndsWithTheFailure(t *testing.T) {
	bubble(t, func(t *testing.T, sys *actor.ActorSystem) {
		var j journal
		pid := sys.Root.Spawn(Props(hosting(&j, func(h *Host, n int) {
			h.Run("work", func(ctx context.Context) error { <-ctx.Done(); j.add("work %d over", n); return nil })
		}), WithGuardian(steady())))
		sys.Root.Send(pid, "boom")
		synctest.Wait()
		j.want(t, "got boom", "work 1 over", "restarting")
		mustStop(t, sys, pid)
		j.want(t, "stopping")
	})
}
